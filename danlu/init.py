"""``danlu init``: look at a folder of text and write a recipe for it, with the reasons beside the values."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from danlu import catalog
from danlu.errors import InputError, OutputError, did_you_mean
from danlu.files import writing
from danlu.readers.reading import kind, read, unpacked
from danlu.readers.record import Content, Damaged, Raw, Wanted
from danlu.readers.sources import Source, SourceFile, find_files
from danlu.recipe_file import quoted
from danlu.tasks.suggest import read_of, task_recipe
from danlu.text.cuts import Blocks, Cut, Whole
from danlu.text.encodings import detect
from danlu.text.language import detect_language
from danlu.text.normalise import normalise

SAMPLED_FILES = 100
SAMPLED_RECORDS = 20
"""In each sampled file."""
SAMPLED_BYTES = 65_536
"""Of each sampled .txt file, which is one record however long."""
LONG_TXT = 100_000
"""A .txt file of more bytes is cut into documents, so that the held-out share spreads over it."""
TEXT_FIELDS = ("text", "content", "body", "article", "document", "passage", "raw_content")
"""Names under which data sets keep their text, tried in this order."""
TXT = (".txt", ".text")
NO_FIELDS = (".md", ".markdown", ".html", ".htm", ".xhtml", ".shtml", ".warc", ".wet", ".pdf", ".docx", ".epub")
"""Kinds of files whose text has no name, so that there is nothing to try."""
BLOCKS = Blocks(characters=4000)
HELDOUT_DOCUMENTS = 10
"""Where the hash of a document decides, about this many must be held out, lest chance hold out none."""
PROMPTS = 2
PROMPT_WORDS = 4
PROMPT_CHARACTERS = 6
"""In a language without spaces."""
LONGEST_PROMPT = 60
"""Characters, for what stands between spaces may be anything."""
NO_SPACES = ("bo", "ja", "km", "lo", "my", "th", "zh")


@dataclass(slots=True)
class Survey:
    """What a sample of a folder's files says."""

    folder: Path
    kinds: Counter[str] = field(default_factory=Counter)
    ignored: int = 0
    bytes: int = 0
    longest_txt: int = 0
    text_field: str = "text"
    languages: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    documents: float = 0
    """How many the files hold, about; counted up to ``ENOUGH_DOCUMENTS``."""
    unknown: list[str] = field(default_factory=list)
    """Sampled files whose encoding cannot be told."""
    prompts: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Beginnings of documents by language."""

    @property
    def cut(self) -> Cut:
        return BLOCKS if self.longest_txt > LONG_TXT else Whole()

    def language_shares(self) -> dict[str, float]:
        """Share of the text by language, the largest first."""
        by_amount = sorted(self.languages.items(), key=lambda item: -item[1])
        return {name: amount / sum(self.languages.values()) for name, amount in by_amount}


@dataclass(slots=True)
class Sample:
    """Some texts of a file, normalised; the field that they stand in; how many documents the file holds, about."""

    text_field: str = "text"
    texts: list[str] = field(default_factory=list)
    documents: float = 0
    unknown: bool = False
    """Whether it is in an encoding that cannot be told."""


@dataclass(frozen=True, slots=True)
class Size:
    """Settings that suit a text of up to so many bytes on a machine without a GPU."""

    up_to_bytes: float
    vocab_size: int
    layers: int
    dim: int
    sequence: int
    batch: int
    heldout: float


SIZES = (
    Size(300_000, 1024, 4, 128, 256, 8, 0.1),
    Size(3_000_000, 2048, 4, 192, 256, 16, 0.05),
    Size(30_000_000, 4096, 6, 256, 512, 8, 0.02),
    Size(300_000_000, 8192, 6, 384, 512, 8, 0.01),
    Size(float("inf"), 16384, 8, 512, 1024, 8, 0.005),
)
ENOUGH_DOCUMENTS = round(max(HELDOUT_DOCUMENTS / size.heldout for size in SIZES))

TEMPLATE = """\
# Written by `danlu init` from a look at {kinds}{ignored}.
# {megabytes} MB of text or thereabouts; languages in a sample: {found}.
#
#   danlu plan {name}    tokens, parameters, time and memory, before anything runs
#   danlu run {name}     every stage; run again, it skips what is done and unchanged
#
# What else can be set: danlu schema. An editor that knows the YAML language server completes and checks this file after
#   danlu schema > {schema}
# and with this as its first line:
#   # yaml-language-server: $schema={schema.name}

clean:
  sources:
{source}
  normalise:
    form: NFC\t# NFKC also makes half-width what is full-width, which harms Chinese punctuation
    repair: true\t# text that was decoded wrongly (cafÃ©) is mended

tokenizer:
  use: bpe
  vocab_size: {size.vocab_size}\t# for this much text; more means fewer tokens, and a larger model

pack:
  split: {{use: {split}, fraction: {size.heldout}}}\t# {held_out}

pretrain:
  model:
    use: gpt
    layers: {size.layers}
    dim: {size.dim}\t# with layers, the size of the model: what this much text can fill
  sequence: {size.sequence}\t# tokens a row, the longest text that the model sees
  batch: {size.batch}\t# rows a step
  optimizer: muon
  budget:
    minutes: {minutes}\t# or tokens, steps, epochs; beyond a dozen epochs it learns by heart

evaluate:
  tasks: [perplexity]\t# loss, bits per byte and perplexity on the held-out part, by language

export: {{}}\t# a folder that stock transformers loads

generate:
  prompts:\t# how documents here begin; the model goes on
{prompts}
"""
COMMENT_COLUMN = 52


def write_recipe(folder: Path, out: Path, *, model: Path | None = None) -> str:
    """Write ``out`` for the text in ``folder``, or for a file of examples of a task; the line to print.

    Args:
        model: the folder that a task begins with.

    Raises:
        InputError: the folder is not there or holds no text that can be read; or the file is no file of examples.
        OutputError: ``out`` exists or cannot be written.
    """
    if out.exists():
        raise OutputError(f"{out} exists and stays as it is; name another file with --out")
    if not out.parent.is_dir():
        raise OutputError(f"cannot write to {out}: there is no folder {str(out.parent)!r}")
    try:
        str(out).encode()
    except UnicodeEncodeError:
        raise OutputError(f"the name of the recipe must be UTF-8; got {str(out)!r}") from None
    if folder.is_file():
        text, verb = task_recipe(folder, model=model, name=out), "finetune"
    else:
        text, verb = recipe_text(survey(folder), name=out), "run"
    ahead = f"danlu plan {out}, " if verb == "run" else ""
    with writing(out.parent), out.open("x", encoding="utf-8") as file:
        file.write(text)
    seen = f"{read_of(text)}\n" if verb == "finetune" else ""
    return f"{seen}{out}: written; look it over, then: {ahead}danlu {verb} {out}"


def survey(folder: Path) -> Survey:
    """Look at the files below ``folder``, into some of them.

    Raises:
        InputError: the folder is not there or holds no text that can be read.
    """
    if not folder.is_dir():
        beside = [str(path) for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise InputError(f"danlu init: no folder {str(folder)!r}{did_you_mean(str(folder), beside)}")
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError:
        raise InputError(f"danlu init: the name of the folder {str(folder)!r} is not UTF-8; rename it") from None
    found = find_files([Source(path=folder)], key="danlu init")
    seen = Survey(folder, ignored=len(found.ignored))
    for file in found.files:
        seen.kinds[_kind(file)] += 1
        seen.bytes += _text_bytes(file)
        seen.longest_txt = max(seen.longest_txt, _text_bytes(file) if _kind(file) in TXT else 0)
    fields: Counter[str] = Counter()
    sampled = found.files[:: max(1, len(found.files) // SAMPLED_FILES)]
    for file in sampled:
        sample = _sample(file, seen.cut, enough=ENOUGH_DOCUMENTS - int(seen.documents))
        seen.documents += sample.documents
        seen.unknown += [file.name] if sample.unknown else []
        fields[sample.text_field] += len(sample.texts)
        for text in sample.texts:
            language = detect_language(text)
            seen.languages[language] += _text_bytes(file) * len(text) / sum(map(len, sample.texts))
            seen.prompts[language].append(opening(text, language))
    if not seen.languages:
        if seen.unknown:
            raise InputError(
                f"danlu init: the encoding of {seen.unknown[0]} in {folder} cannot be told; "
                "write a recipe by hand and name it there, as encoding of the source"
            )
        held = f"{len(found.files)} files without text" if found.files else f"{len(found.ignored)} other files"
        raise InputError(f"danlu init: no text in {folder} ({held}); it reads {' '.join(catalog.names('reader'))}")
    seen.documents *= len(found.files) / len(sampled)
    seen.text_field = fields.most_common(1)[0][0]
    return seen


def _kind(file: SourceFile) -> str:
    """The ending of the file's name, with that of what packs it: ``.jsonl.gz``."""
    ending = kind(file.name) or ""
    return ending + file.name.lower().rpartition(ending)[2]


def _text_bytes(file: SourceFile) -> int:
    return (file.content.size or 0) * (1 if _kind(file) == kind(file.name) else 3)  # text shrinks to a third or so


def _sample(file: SourceFile, cut: Cut, *, enough: int) -> Sample:
    """A look into a file; of one with records, ``enough`` are counted and no more."""
    if kind(file.name) in TXT:
        head = _head(file.content)
        encoding = detect(head, whole=len(head) < SAMPLED_BYTES).encoding
        text = normalise(head.decode(encoding, errors="ignore")) if encoding is not None else ""
        if not text.strip():
            return Sample(unknown=encoding is None)
        return Sample("text", [text], 1 + (_pieces(cut, text) - 1) * _text_bytes(file) / len(head))
    for name in TEXT_FIELDS[:1] if kind(file.name) in NO_FIELDS else TEXT_FIELDS:
        sample = Sample(name)
        for number, record in enumerate(islice(read(file.content, Wanted(name)), max(SAMPLED_RECORDS, enough))):
            text = normalise(record.text) if isinstance(record, Raw) else ""
            if text.strip():
                sample.documents += _pieces(cut, text)
                sample.texts += [text] if number < SAMPLED_RECORDS else []
            elif number >= SAMPLED_RECORDS and not sample.texts:
                break
        if sample.texts:
            return sample
    return Sample()


def _head(content: Content) -> bytes:
    """The first bytes of a text; none where it is damaged there, or cannot be read."""
    try:
        with unpacked(content, Wanted()).open() as opened:
            return opened.read(SAMPLED_BYTES)
    except (Damaged, OSError):
        return b""


def _pieces(cut: Cut, text: str) -> int:
    return sum(1 for _ in cut.pieces(text))


def opening(text: str, language: str) -> str:
    """The first words of a text, or of a language that is written without spaces the first characters."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    line = next((line for line in lines if any(map(str.isalpha, line))), lines[0])
    words = [line[:PROMPT_CHARACTERS]] if language in NO_SPACES else line.split()[:PROMPT_WORDS]
    return " ".join(words)[:LONGEST_PROMPT].rstrip()


def _prompts(seen: Survey) -> list[str]:
    """The section's lines: a prompt of each of the two commonest languages, or two of the only one."""
    shares = seen.language_shares()
    spoken = [name for place, name in enumerate(shares) if place == 0 or shares[name] >= 0.05][:PROMPTS]
    different = {name: list(dict.fromkeys(seen.prompts[name])) for name in spoken}
    found = [(name, prompt) for place in range(PROMPTS) for name in spoken for prompt in different[name][place:][:1]]
    return [
        f"    - {{text: {quoted(prompt)}" + ("}" if name == "und" else f", language: {name}}}")
        for name, prompt in found[:PROMPTS]
    ]


def recipe_text(seen: Survey, *, name: Path) -> str:
    """The commented recipe."""
    size = next(size for size in SIZES if seen.bytes <= size.up_to_bytes)
    shares = seen.language_shares()
    language, share = next(iter(shares.items()))
    found = ", ".join(f"{code} {part:.0%}" for code, part in shares.items() if part >= 0.01)
    source = [f"    - path: {quoted(os.fspath(seen.folder))}"]
    if seen.text_field != "text":
        source.append(f"      text_field: {seen.text_field}\t# the field that holds the text in these files")
    if share > 0.99:
        source.append(f"      language: {language}\t# without this line, each document's is detected")
    if seen.unknown:
        which = f"{len(seen.unknown)} files, such as {_shown(seen.unknown[0])}, do not say theirs"
        source.append(f"      # encoding: gb18030\t# {which}")
    if seen.cut is BLOCKS:
        source.append(
            f"      documents: {{use: blocks, characters: {BLOCKS.characters}}}\t# long files are cut at blank lines"
        )
    split, held_out = "hash", "held out: the model is measured on it, not trained"
    if seen.documents * size.heldout < HELDOUT_DOCUMENTS:
        split = "tail"
        held_out = f"the end of each document; of about {seen.documents:,.0f} too few would be held out whole"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(seen.kinds.items()))
    filled = TEMPLATE.format(
        name=name,
        kinds=kinds,
        ignored=f" ({seen.ignored:,} other files are left out)" if seen.ignored else "",
        megabytes=f"{seen.bytes / 1e6:,.1f}",
        found=found,
        source="\n".join(source),
        size=size,
        minutes=10,
        split=split,
        held_out=held_out,
        prompts="\n".join(_prompts(seen)),
        schema=name.with_name("danlu.schema.json"),
    )
    return "\n".join(_with_comment(line) for line in filled.split("\n"))


def _shown(name: str) -> str:
    """The name of a file as it may stand in a comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _with_comment(line: str) -> str:
    """Comments of the template stand below each other."""
    setting, mark, comment = line.partition("\t# ")  # what is quoted holds no tab
    return f"{setting:<{COMMENT_COLUMN}}# {comment}" if mark else line
