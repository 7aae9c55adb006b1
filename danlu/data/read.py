"""Any file of examples to its rows, by the ending of its name."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from danlu.data.conll import read_conll
from danlu.data.content import PACKED, ending, read_text
from danlu.data.delimited import OWN, TableForm, read_delimited
from danlu.data.fasttext import read_fasttext
from danlu.data.records import read_json, read_jsonl, read_parquet
from danlu.data.rows import Table
from danlu.data.slashed import read_slashed, with_tags_apart
from danlu.data.token_rows import gather_sentences
from danlu.errors import InputError, suggestion

CONLL = (".conll", ".conllu", ".conll03", ".iob", ".iob2", ".bio", ".bioes", ".bmes", ".ner")
PARTS = (".train", ".valid", ".dev", ".test")
"""What files of text are called by the split that they are, as those of fastText and of entities may be."""
SHEETS = (".xlsx", ".xls", ".ods", ".numbers")
ENDINGS = (*OWN, ".json", ".jsonl", ".parquet", *CONLL, *PARTS)
_BLANK_LINE_WITHIN = re.compile(r"\S[^\n]*\n[ \t\r]*\n\s*\S")


def read_rows(
    path: Path,
    *,
    encoding: str | None = None,
    form: TableForm | None = None,
    named: Collection[str] = (),
    sentences: bool = False,
) -> Table:
    """The rows of a file, packed (.gz, .zst) or not.

    Args:
        encoding: what its text is in, where that is not to be detected.
        form: what a table of text does not say of itself.
        named: the columns that the recipe names.
        sentences: whether sentences with a tag a token are looked for: a .txt or .tsv whose rows are parted by blank
            lines is CoNLL then, and words may have their tag behind a slash.

    Raises:
        InputError: it cannot be read: file, line and reason.
    """
    kind = ".txt" if ending(path) in PARTS else ending(path)
    if not path.is_file():
        raise _no_file(path)
    if kind not in ENDINGS:
        hint = "; save its table as .csv" if kind in SHEETS else ""
        raise InputError(f"cannot tell how to read {str(path)!r} by its ending (choices: {', '.join(ENDINGS)}){hint}")
    if kind == ".parquet":
        if path.suffix.lower() in PACKED:
            raise InputError(f"{path}: Parquet is packed in itself; unpack the file around it")
        return read_parquet(path)
    text, note = read_text(path, encoding=encoding)
    if not text.strip():
        raise InputError(f"{path} is empty")
    marked = _marked(path, text, form, named, sentences=sentences) if kind in OWN else None
    if marked is not None:
        table = marked
    elif kind in CONLL or (sentences and kind in (".txt", ".tsv") and _BLANK_LINE_WITHIN.search(text)):
        table = read_conll(path, text)
    elif kind == ".jsonl":
        table = read_jsonl(path, text)
    elif kind == ".json":
        table = read_json(path, text)
    else:
        table = read_delimited(path, text, ending=kind, form=form or TableForm(), named=named)
    if sentences:
        table = gather_sentences(with_tags_apart(table))
    return replace(table, notes=(note, *table.notes)) if note else table


def _marked(path: Path, text: str, form: TableForm | None, named: Collection[str], *, sentences: bool) -> Table | None:
    """Lines in which a mark tells labels, or tags, from text; None where it is a table."""
    if sentences:
        return read_slashed(path, text)
    is_table = form is not None and not (form.delimiter is None and form.header is None)  # the recipe says so
    return None if is_table else read_fasttext(path, text, named)


def _no_file(path: Path) -> InputError:
    if path.is_dir():
        return InputError(f"{path} is a folder; name a file in it")
    beside = sorted(each for each in path.parent.iterdir() if ending(each) in ENDINGS) if path.parent.is_dir() else []
    return InputError(f"there is no file {path}{suggestion(str(path), map(str, beside[:10]))}")
