"""The documents that tokenizers are compared on: clean ones of a run, or files as their readers take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from danlu.errors import InputError
from danlu.readers.record import Rejected
from danlu.readers.sources import Source, find_files
from danlu.text.document import Document, read_documents
from danlu.text.language import detect_language
from danlu.tokenizers.named import RECIPES, run_of
from danlu.tokenizers.word_counts import parts

SHARDS = "documents-*.jsonl"
KEY = "--text"


@dataclass(slots=True)
class Texts:
    """Texts by language, and how many records of which path could not be read."""

    by_language: dict[str, list[str]] = field(default_factory=dict)
    rejected: dict[Path, int] = field(default_factory=dict)


def read_texts(paths: Sequence[Path], *, limit_bytes: int) -> Texts:
    """Of each language, sorted, the first texts, up to ``limit_bytes`` of each language; the last one is cut there.

    A long document is several texts, which are encoded one after the other: what is known of the tokens of one text
    takes a hundred times as much memory as the text.

    Raises:
        InputError: a path is not there, holds no text, or has no clean documents yet.
    """
    texts = Texts()
    found = texts.by_language
    sizes: dict[str, int] = {}
    for document in _documents(paths, texts.rejected):
        language = document.meta["language"].split("-")[0]
        room = limit_bytes - sizes.get(language, 0)
        data = document.text.encode()
        if room <= 0 or not data:
            continue
        sizes[language] = sizes.get(language, 0) + len(data)
        text = document.text if len(data) <= room else data[:room].decode(errors="ignore")
        if text:  # less may be left than one character takes
            found.setdefault(language, []).extend(parts(text))
    if not found:
        raise InputError(f"{KEY}: there is no text in {', '.join(map(str, paths))}")
    texts.by_language = dict(sorted(found.items()))
    return texts


def texts_beside(tokenizers: Sequence[Path]) -> list[Path]:
    """The first of ``tokenizers`` that has clean documents beside it, where no texts are named.

    Raises:
        InputError: none has.
    """
    for path in tokenizers:
        if path.suffix in RECIPES or (path / "recipe.yaml").is_file():
            return [path]
    raise InputError(f"{KEY} is needed: none of the tokenizers is that of a run, which has clean documents")


def clean_folder(path: Path) -> Path | None:
    """Where the clean documents of a recipe, a run or a folder of shards lie; None where ``path`` is none of these.

    Raises:
        RecipeError: the recipe cannot be read.
        InputError: it is a recipe or a run without clean documents.
    """
    if any(path.glob(SHARDS)):
        return path
    if path.suffix not in RECIPES and not (path / "recipe.yaml").is_file():
        return None
    folder = run_of(path) / "clean"
    if not (folder / "done.json").is_file():
        raise InputError(f"{path} has no clean documents yet; 'danlu clean RECIPE' makes them")
    return folder


def _documents(paths: Sequence[Path], rejected: dict[Path, int]) -> Iterator[Document]:
    for path in paths:
        folder = clean_folder(path)
        if folder is None:
            yield from _read(path, rejected)
        else:
            yield from (_named(document) for document in read_documents(folder))


def _read(path: Path, rejected: dict[Path, int]) -> Iterator[Document]:
    """What the readers find; no rule is applied."""
    for file in find_files([Source(path=path)], key=KEY).files:
        for record in file.records():
            if isinstance(record, Rejected):
                rejected[path] = rejected.get(path, 0) + 1
            else:
                yield _named(Document(f"{file.name}#{record.number}", record.text))


def _named(document: Document) -> Document:
    if "language" in document.meta:
        return document
    return replace(document, meta={**document.meta, "language": detect_language(document.text)})
