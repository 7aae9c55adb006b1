"""``danlu init``: look at a folder of text and write a recipe for it, with the reasons beside the values."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from danlu.errors import InputError, OutputError, did_you_mean
from danlu.files import writing
from danlu.text.language import detect_language
from danlu.text.readers import Raw, reader_for
from danlu.text.sources import Source, SourceFile, find_files

SAMPLED_FILES = 100
SAMPLED_RECORDS = 20
"""In each sampled file."""
SAMPLED_BYTES = 65_536
"""Of each sampled .txt file, which is one record however long."""
LONG_TXT = 100_000
"""A .txt file of more bytes is cut into documents, so that the held-out share spreads over it."""
TEXT_FIELDS = ("text", "content", "body", "article", "document", "passage", "raw_content")
"""Names under which data sets keep their text, tried in this order."""


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

    def language_shares(self) -> dict[str, float]:
        """Share of the text by language, the largest first."""
        by_amount = sorted(self.languages.items(), key=lambda item: -item[1])
        return {name: amount / sum(self.languages.values()) for name, amount in by_amount}


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

TEMPLATE = """\
# Written by `danlu init` from a look at {kinds}{ignored}.
# {megabytes} MB of text or thereabouts; languages in a sample: {found}.
#
#   danlu plan {name}    tokens, parameters, time and memory, before anything runs
#   danlu run {name}     every stage; run again, it skips what is done and unchanged
#
# What else can be set: danlu schema.

clean:
  sources:
{source}
  form: NFC ## NFKC also makes half-width what is full-width, which harms Chinese punctuation
  repair: false ## true mends text that was decoded wrongly (cafÃ©); slow

tokenizer:
  use: bpe
  vocab_size: {size.vocab_size} ## for this much text; more means fewer tokens, and a larger model

pack:
  split: {{use: hash, fraction: {size.heldout}}} ## held out: the model is measured on it, not trained

pretrain:
  model:
    use: gpt
    layers: {size.layers}
    dim: {size.dim} ## with layers, the size of the model: what this much text can fill
  sequence: {size.sequence} ## tokens a row, the longest text that the model sees
  batch: {size.batch} ## rows a step
  optimizer: muon
  budget:
    minutes: {minutes} ## or tokens, steps, epochs; beyond a dozen epochs it learns by heart

evaluate:
  tasks: [perplexity] ## loss, bits per byte and perplexity on the held-out part, by language

export: {{}} ## a folder that stock transformers loads
"""
COMMENT_COLUMN = 52


def write_recipe(folder: Path, out: Path) -> str:
    """Write ``out`` for the text in ``folder``; the line to print.

    Raises:
        InputError: the folder is not there or holds no text that can be read.
        OutputError: ``out`` exists or cannot be written.
    """
    if out.exists():
        raise OutputError(f"{out} exists and stays as it is; name another file with --out")
    if not out.parent.is_dir():
        raise OutputError(f"cannot write to {out}: there is no folder {str(out.parent)!r}")
    text = recipe_text(survey(folder), name=out)
    with writing(out.parent), out.open("x", encoding="utf-8") as file:
        file.write(text)
    return f"{out}: written; look it over, then: danlu plan {out}, danlu run {out}"


def survey(folder: Path) -> Survey:
    """Look at the files below ``folder``, into some of them.

    Raises:
        InputError: the folder is not there or holds no text that can be read.
    """
    if not folder.is_dir():
        beside = [str(path) for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise InputError(f"danlu init: no folder {str(folder)!r}{did_you_mean(str(folder), beside)}")
    found = find_files([Source(path=folder)], key="danlu init")
    seen = Survey(folder, ignored=len(found.ignored))
    apart = max(1, len(found.files) // SAMPLED_FILES)
    fields: Counter[str] = Counter()
    for number, file in enumerate(found.files):
        size = file.path.stat().st_size * (3 if _kind(file).endswith(".gz") else 1)  # text shrinks to a third or so
        seen.kinds[_kind(file)] += 1
        seen.bytes += size
        seen.longest_txt = max(seen.longest_txt, size if _kind(file) == ".txt" else 0)
        if number % apart == 0:
            name, texts = _sample(file)
            fields[name] += len(texts)
            for text in texts:
                seen.languages[detect_language(text)] += size * len(text) / sum(map(len, texts))
    if not seen.languages:
        held = f"{len(found.files)} files without text" if found.files else f"{len(found.ignored)} other files"
        raise InputError(f"danlu init: no text in {folder} ({held}); it reads .txt, .jsonl, .jsonl.gz and .parquet")
    seen.text_field = fields.most_common(1)[0][0]
    return seen


def _kind(file: SourceFile) -> str:
    return "".join(file.path.suffixes[-2:]) if file.path.suffix == ".gz" else file.path.suffix.lower()


def _sample(file: SourceFile) -> tuple[str, list[str]]:
    """Some texts of a file, and the name of the field that they stand in."""
    if _kind(file) == ".txt":
        with file.path.open("rb") as opened:
            text = opened.read(SAMPLED_BYTES).decode(errors="ignore")
        return "text", [text] if text.strip() and "\0" not in text else []
    reader = reader_for(file.path)
    assert reader is not None, file.path
    for name in TEXT_FIELDS:
        records = islice(reader(file.path, name), SAMPLED_RECORDS)
        texts = [record.text for record in records if isinstance(record, Raw) and record.text.strip()]
        if texts:
            return name, texts
    return "text", []


def recipe_text(seen: Survey, *, name: Path) -> str:
    """The commented recipe."""
    size = next(size for size in SIZES if seen.bytes <= size.up_to_bytes)
    shares = seen.language_shares()
    language, share = next(iter(shares.items()))
    found = ", ".join(f"{code} {part:.0%}" for code, part in shares.items() if part >= 0.01)
    source = [f"    - path: {json.dumps(os.fspath(seen.folder), ensure_ascii=False)}"]
    if seen.text_field != "text":
        source.append(f"      text_field: {seen.text_field} ## the field that holds the text in these files")
    if share > 0.99:
        source.append(f"      language: {language} ## without this line, each document's is detected")
    if seen.longest_txt > LONG_TXT:
        source.append("      documents: {use: blocks, characters: 4000} ## long files are cut at blank lines")
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
    )
    return "\n".join(_with_comment(line) for line in filled.split("\n"))


def _with_comment(line: str) -> str:
    """Comments of the template stand below each other."""
    setting, mark, comment = line.partition(" ## ")
    return f"{setting:<{COMMENT_COLUMN}}# {comment}" if mark else line
