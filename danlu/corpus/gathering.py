"""The second pass of ``pack``: the drafts of all portions, behind each other, become the two stores.

How many tokens each draft has says where in the stream they stand, so that processes write shards of tokens and marks
each by itself, from the drafts that it overlaps, and hash what they wrote. The columns of the documents, some forty
bytes each, are written by the process that was started, as adding the documents one by one would write them.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from danlu.corpus.drafts import Draft
from danlu.corpus.first_sides import FILE as SIDES
from danlu.corpus.first_sides import KIND
from danlu.corpus.hashes import digests
from danlu.corpus.mapped import Ints, joined, mapped, shard_names
from danlu.corpus.offsets import FILE as OFFSETS
from danlu.corpus.offsets import NOWHERE, offsets_in
from danlu.corpus.origins import Origins, carried
from danlu.corpus.split import PARTS, Part
from danlu.corpus.store_writer import finish
from danlu.corpus.table import DocumentTable, TableWriter
from danlu.workers.processes import Workers
from danlu.workers.ray_workers import RayWorkers


@dataclass(frozen=True, slots=True)
class Span:
    """Entries ``first`` to ``behind`` of the array that a draft has of a part's tokens or marks."""

    draft: int
    first: int
    behind: int
    length: int
    """Of the array."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of a store, and what it is made of; picklable."""

    part: Part
    kind: str
    """``tokens`` or ``marks``."""
    name: str
    dtype: str
    shard_tokens: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Gathering:
    """Writes shards of the stores in ``out`` from the drafts there; picklable, and a process calls it once."""

    out: Path

    def __call__(self) -> Callable[[Shard], tuple[Part, str, bytes]]:
        """From a shard to its part, its name and the hashes of its blocks."""

        def write(shard: Shard) -> tuple[Part, str, bytes]:
            path = self.out / shard.part / shard.name
            # A process that seems lost may still be at the same shard: each has a file of its own.
            unfinished = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
            with unfinished.open("wb") as file:
                for span in shard.spans:
                    folder = Draft.of(self.out, span.draft).folder / shard.part
                    files = [folder / name for name in shard_names(shard.kind, span.length, shard.shard_tokens)]
                    entries = joined(files, shard.dtype, span.length, shard.shard_tokens)
                    file.write(np.ascontiguousarray(entries[span.first : span.behind]).data)
            hashes = b"".join(digests(unfinished))
            unfinished.replace(path)
            return shard.part, shard.name, hashes

        return write


@dataclass(frozen=True)
class Gathered:
    """What ``store.json`` says of the documents of all drafts of a part, and where each draft's begin."""

    part: Part
    about: dict[str, Any]
    lengths: Ints
    """``[drafts]`` tokens of each, with the end-of-text that its first document begins with."""
    languages: tuple[tuple[str, ...], ...]
    """Of each, in the order of their numbers there."""

    @classmethod
    def of(cls, out: Path, part: Part, drafts: int) -> Gathered:
        """Of so many drafts, one at least."""
        each = [Draft.of(out, number).about(part) for number in range(drafts)]
        lengths = np.array([about["tokens"] for about in each], dtype=np.int64)
        languages = tuple(tuple(about["languages"]) for about in each)
        pairs = next((about for about in each if "sep" in about), each[0])
        about = {
            **pairs,
            "tokens": int((lengths - 1).sum()) + 1,
            "documents": sum(about["documents"] for about in each),
            "languages": [*dict.fromkeys(language for spoken in languages for language in spoken)],
        }
        return cls(part, about, lengths, languages)

    @cached_property
    def before(self) -> Ints:
        """``[drafts]`` where in the whole stream the first token of each would stand, which is that before its own."""
        return np.cumsum(self.lengths - 1) - (self.lengths - 1)

    def shards(self) -> Iterator[Shard]:
        """Of tokens, and of marks where there are any."""
        tokens, length = self.about["tokens"], self.about["shard_tokens"]
        for kind, dtype in (("tokens", self.about["dtype"]), *([("marks", "|u1")] if "marks" in self.about else [])):
            for number, name in enumerate(shard_names(kind, tokens, length)):
                spans = self._spans(number * length, min(tokens, (number + 1) * length))
                yield Shard(self.part, kind, name, dtype, length, tuple(spans))

    def _spans(self, start: int, end: int) -> Iterator[Span]:
        """The tokens from ``start`` to ``end`` of the stream; the first of a draft is the last of the one before."""
        number = max(0, int(np.searchsorted(self.before, start)) - 1)
        while number < len(self.lengths) and self.before[number] < end:
            own, length = int(self.before[number]), int(self.lengths[number])
            first, behind = max(start - own, 1 if number else 0), min(end - own, length)
            if first < behind:
                yield Span(number, first, behind, length)
            number += 1

    def write_columns(self, out: Path) -> None:
        """The columns of the documents, but for their order by length."""
        if "sep" in self.about:
            self._write_sides(out)
        self._write_offsets(out)
        table = TableWriter(out / self.part)
        with (out / self.part / "starts.bin").open("wb") as file:
            for number, (before, languages) in enumerate(zip(self.before.tolist(), self.languages, strict=True)):
                folder = Draft.of(out, number).folder / self.part
                starts = mapped(folder / "starts.bin", "<i8")[1 if number else 0 :] + before
                file.write(starts.astype("<i8").tobytes())
                table.extend(DocumentTable.open(folder, languages))
        table.close()

    def _write_sides(self, out: Path) -> None:
        """The first sides of pairs; a draft without any pair has no such file."""
        with (out / self.part / SIDES).open("wb") as file:
            for number in range(len(self.lengths)):
                draft = Draft.of(out, number)
                path = draft.folder / self.part / SIDES
                sides = mapped(path, KIND) if path.exists() else np.zeros(draft.about(self.part)["documents"], KIND)
                file.write(sides.tobytes())

    def _write_offsets(self, out: Path) -> None:
        """Where the records begin; no file where none has a place."""
        path, there = out / self.part / OFFSETS, False
        with path.open("wb") as file:
            for number in range(len(self.lengths)):
                draft = Draft.of(out, number)
                offsets = offsets_in(draft.folder / self.part, draft.about(self.part)["documents"])
                there = there or bool((offsets != NOWHERE).any())
                file.write(offsets.tobytes())
        if not there:
            path.unlink()


def gather(out: Path, found: Sequence[Gathered], workers: Workers | RayWorkers, origins: Origins | None = None) -> None:
    """Write the stores in ``out`` from the drafts there; what was there of stores is written anew.

    Args:
        origins: what leads from the documents back to their files.
    """
    for each in found:
        shutil.rmtree(out / each.part, ignore_errors=True)
        (out / each.part).mkdir()
    hashes: dict[Part, dict[str, bytes]] = {part: {} for part in PARTS}
    shards = [shard for each in found for shard in each.shards()]
    for part, name, blocks in workers.work_through(
        Gathering(out), shards, named=lambda each: f"{each.part}/{each.name}"
    ):
        hashes[part][name] = blocks
    for each in found:
        each.write_columns(out)
        if origins is not None:
            origins.write(out, each.part)
        finish(out / each.part, each.about, hashes[each.part], carried(out / each.part))
        for left in (out / each.part).glob(".*"):  # of processes that were lost
            left.unlink()
