"""The first pass of ``pack``: what each portion of the documents adds to the two stores.

A draft is a folder that appears whole, so that a killed run goes on with those that are missing:

    train, heldout   the columns of a store (store.py) of the portion's documents alone
    draft.json       what ``store.json`` would say of each of the two
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from danlu.corpus.encoding import Encoded, Piece, batches, encode_ahead, encode_in_turn
from danlu.corpus.marks import Marker, Unit
from danlu.corpus.portions import Portion
from danlu.corpus.split import PARTS, Part, Split
from danlu.corpus.store_writer import ColumnsWriter
from danlu.files import json_text, read_json
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.workers.drafts import appearing, check_unchanged, draft_folder, missing

FILE = "draft.json"

Batch = tuple[list[Piece], list[Encoded]]


@dataclass(frozen=True)
class Draft:
    """What was made of a portion, on disk."""

    folder: Path

    @classmethod
    def of(cls, out: Path, portion: int) -> Draft:
        return cls(draft_folder(out, portion))

    def about(self, part: Part) -> dict[str, Any]:
        """What ``store.json`` would say of its columns of a part."""
        found = read_json(self.folder / FILE)
        assert found is not None, "it is whole"
        about: dict[str, Any] = found[part]
        return about


@dataclass(frozen=True)
class Drafting:
    """Makes drafts below ``out``; picklable, and a process calls it once."""

    tokenizer: Path
    split: Split
    units: tuple[Unit, ...]
    marker: Callable[[], Marker | None]
    """Makes what finds the beginnings of the units."""
    out: Path
    settings: str = ""
    """All that the result depends on beside the documents."""

    def missing(self, todo: Sequence[Portion]) -> list[Portion]:
        """Those without a draft that was made of them, with these settings; drafts of other things go."""
        return missing(self.out, {portion.number: (portion, self.made_from(portion)) for portion in todo})

    def made_from(self, portion: Portion) -> str:
        """A hash of all that its draft depends on; of a shard its size and when it changed."""
        stats = [(each, each.shard.stat()) for each in portion.stretches]
        places = [(each.shard.name, each.start, each.end, stat.st_size, stat.st_mtime_ns) for each, stat in stats]
        return hashlib.blake2b(repr((self.settings, places)).encode(), digest_size=16).hexdigest()

    def __call__(self) -> Callable[[tuple[Portion, str]], int]:
        """From a portion, and what it is made from as the run began, to the bytes of its documents.

        For a process beside others: it uses one core.
        """
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the library would begin a thread a core in each process
        tokenizer, marker = Tokenizer.load(self.tokenizer), self.marker()

        def make(todo: tuple[Portion, str]) -> int:
            portion, made_from = todo
            self._check_unchanged(portion, made_from)
            encoded = encode_in_turn(tokenizer, batches(self._pieces(portion)), marker)
            self._write(portion, made_from, encoded, tokenizer)
            return portion.size

        return make

    def on_all_cores(self, todo: Sequence[tuple[Portion, str]]) -> Iterator[int]:
        """The drafts of ``todo`` by this process alone, whose threads go from one portion to the next without a pause:
        the bytes of each."""
        tokenizer, marker = Tokenizer.load(self.tokenizer), self.marker()
        end: list[Piece] = []
        ended = chain.from_iterable(chain(batches(self._pieces(portion)), [end]) for portion, _ in todo)
        encoded = encode_ahead(tokenizer, ended, marker)
        for portion, made_from in todo:
            self._write(portion, made_from, _up_to_end(encoded), tokenizer)
            yield portion.size

    def _pieces(self, portion: Portion) -> Iterator[Piece]:
        return (piece for document in portion.documents() for piece in self.split.parts(document))

    def _write(self, portion: Portion, made_from: str, encoded: Iterator[Batch], tokenizer: Tokenizer) -> None:
        with appearing(self.out, portion.number, made_from) as folder:
            with ExitStack() as stack:
                writers = {part: stack.enter_context(self._writer(folder / part, tokenizer)) for part in PARTS}
                for batch, arrays in encoded:
                    for (part, document), (ids, marks) in zip(batch, arrays, strict=True):
                        writers[part].add(document, ids, marks)
            known = {part: writer.known() for part, writer in writers.items()}
            (folder / FILE).write_text(json_text(known), encoding="utf-8")
            self._check_unchanged(portion, made_from)  # while they were read, too

    def _writer(self, folder: Path, tokenizer: Tokenizer) -> ColumnsWriter:
        return ColumnsWriter(
            folder,
            vocab_size=tokenizer.vocab_size,
            eot=tokenizer.eot,
            marks=self.units,
            sep=tokenizer.special("sep_token"),
            tokenizer=tokenizer.identity,
        )

    def _check_unchanged(self, portion: Portion, made_from: str) -> None:
        names = ", ".join(str(stretch.shard) for stretch in portion.stretches[:3])
        check_unchanged(f"pack: {names}", lambda: self.made_from(portion), made_from, began="pack")


def _up_to_end(encoded: Iterator[Batch]) -> Iterator[Batch]:
    """The batches before the next that is empty, which ends a portion."""
    for batch, arrays in encoded:
        if not batch:
            return
        yield batch, arrays
