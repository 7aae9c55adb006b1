"""The last pass: of each draft the documents that stay become a shard, and all is counted."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from danlu.clean.counts import Counts
from danlu.clean.drafts import Draft, write_line
from danlu.clean.examples import Example, Examples, read_examples
from danlu.clean.numbering import Numbering
from danlu.text.document import Document

Fallen = list[tuple[str, np.ndarray[Any, np.dtype[np.int64]]]]
"""Of one portion: the reason, and ``[documents]`` the number of that which each repeats, or -1."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one portion."""

    counts: Counts
    examples: list[Example]


@dataclass(frozen=True)
class Finishing:
    """Makes shards in ``out`` of the drafts there; picklable, and a process calls it once."""

    out: Path

    def __call__(self) -> Callable[[tuple[int, Fallen]], Outcome]:
        """From a portion and what falls of it to its outcome."""
        numbering = Numbering.of(self.out)

        def finish(thing: tuple[int, Fallen]) -> Outcome:
            portion, fallen = thing
            draft = Draft.of(self.out, portion)
            reasons, repeated = _first_reasons(len(draft.table()), fallen)
            _write_shard(draft, self.out / shard_name(portion), reasons == 0)
            examples = _log_fallen(draft, numbering, [reason for reason, _ in fallen], reasons, repeated)
            return Outcome(_counts(draft, [reason for reason, _ in fallen], reasons), list(examples))

        return finish


def shard_name(portion: int) -> str:
    """The file of its documents."""
    return f"documents-{portion:05d}.jsonl"


def _first_reasons(documents: int, fallen: Fallen) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """``[documents]`` which of the reasons, from 1, takes each, 0 for none; and what each repeats by it."""
    reasons, repeated = np.zeros(documents, dtype=np.int64), np.full(documents, -1, dtype=np.int64)
    for number, (_, repeats) in enumerate(fallen, start=1):
        new = (repeats >= 0) & (reasons == 0)
        reasons[new], repeated[new] = number, repeats[new]
    return reasons, repeated


def _write_shard(draft: Draft, shard: Path, stays: np.ndarray[Any, Any]) -> None:
    """The lines of those that stay; no shard where there are none."""
    if not stays.any():
        return
    unfinished = shard.with_name(f".{shard.name}")
    if stays.all():
        shutil.copyfile(draft.documents, unfinished)
    else:
        with draft.documents.open("rb") as lines, unfinished.open("wb") as file:
            file.writelines(line for line, stay in zip(lines, stays, strict=True) if stay)
    unfinished.replace(shard)


def _log_fallen(
    draft: Draft,
    numbering: Numbering,
    titles: Sequence[str],
    reasons: np.ndarray[Any, Any],
    repeated: np.ndarray[Any, Any],
) -> Examples:
    """Write ``fallen.jsonl``: id, reason and what it repeats; the examples are those of the draft and of these."""
    examples = Examples()
    for example in read_examples(draft.folder / "examples.jsonl"):
        examples.add(example)
    with draft.documents.open("rb") as lines, (draft.folder / "fallen.jsonl").open("wb") as log:
        for line, reason, of in zip(lines, reasons, repeated, strict=True):
            if reason:
                document = Document.from_line(line)
                examples.add(Example.of(document, titles[reason - 1]))
                write_line(log, {"id": document.id, "reason": titles[reason - 1], "of": numbering.id(int(of))})
    return examples


def _counts(draft: Draft, titles: Sequence[str], reasons: np.ndarray[Any, Any]) -> Counts:
    counts, table = draft.counts(), draft.table()
    kept = table[reasons == 0]
    for number, title in enumerate(titles, start=1):
        if fell := int((reasons == number).sum()):
            counts.dropped[title] += fell
    counts.kept, counts.characters, counts.bytes = len(kept), int(kept["characters"].sum()), int(kept["bytes"].sum())
    for language in np.unique(kept["language"]):
        here = kept["language"] == language
        counts.language_documents[language.decode()] = int(here.sum())
        counts.language_bytes[language.decode()] = int(kept["bytes"][here].sum())
    return counts
