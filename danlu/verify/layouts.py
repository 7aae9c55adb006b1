"""Rows that are cut into micro-batches, packed and padded in every way: one step stays the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch, Group
from danlu.corpus.reading import Bucketed, Packed, Padded
from danlu.corpus.rows import Widths
from danlu.corpus.store import TokenStore
from danlu.train.setup import Training
from danlu.verify.outcome import Differences, Outcome, within
from danlu.verify.sample import Sample, at_once
from danlu.verify.steps import KINDS, compare, documents_of, prepare, readings


def accumulation(sample: Sample) -> Outcome:
    """Eight rows at once, four, two and one."""
    found: Differences = {}
    for kind, (_, objective) in KINDS.items():
        training = prepare(sample, kind, objective.reading)
        sizes = {f"{kind}, {size} at once": prepare(sample, kind, objective.reading, hardware=at_once(size)).batches(0)
                 for size in (8, 4, 2, 1)}  # fmt: skip
        found |= compare(training, objective, sizes, of=training.batches(0))
    return within(f"{len(found)} steps: 8, 4, 2, 1 rows at once", found)


def ragged(sample: Sample) -> Outcome:
    """Documents of all lengths, seven rows a step, so that the last micro-batch has fewer rows than the others."""
    found: Differences = {}
    for kind, (_, objective) in KINDS.items():
        for rows in (Padded(), Bucketed()):
            for size in (5, 3, 2):
                training = prepare(sample, kind, rows, batch=7, hardware=at_once(size), sequence=96)
                way = f"{kind}, {type(rows).__name__.lower()}, {size} at once"
                found |= compare(training, objective, {way: training.batches(1)})
    return within(f"{len(found)} steps: padded and bucketed; 7 rows a step, 5, 3, 2 at once", found)


def packing(sample: Sample) -> Outcome:
    """Documents side by side in a row, against each in a row of its own; and none is lost or read twice."""
    found: Differences = {}
    lost: list[str] = []
    documents = 0
    for kind, (_, objective) in KINDS.items():
        for rows in readings(objective, Packed()):
            training = prepare(sample, kind, rows, batch=4, sequence=192)
            name = f"{kind}, {type(rows).__name__.lower()}"
            micro, apart_too = _side_by_side(training)
            documents += len(apart_too)
            found |= compare(training, objective, {name: micro, f"{name}, a row each": apart_too}, of=micro)
            lost += [f"{name}: {fault}" for fault in lost_tokens(training, sample.store)]
    outcome = within(f"{documents} documents in {len(found)} steps; every document once an epoch", found)
    outcome.faults += lost
    return outcome


def padding(sample: Sample) -> Outcome:
    """The same rows, padded a little and a lot."""
    found: Differences = {}
    for kind, (_, objective) in KINDS.items():
        training = prepare(sample, kind, Padded(), batch=4, sequence=160)
        room, batches = training.batches.whole.groups(0)[0].widths, training.batches
        [group] = training.batches.whole.groups(0)
        longest = Widths(*(max(_longest(part), 1) for part in _sides(batches.whole.make(group))))
        ways = {}
        for more in (0, 1, 30):
            widths = Widths(min(room.inputs, longest.inputs + more), min(room.source, longest.source + more))
            ways[f"{kind}, {more} more"] = [batches.whole.make(Group(group.numbers, widths))]
        found |= compare(training, objective, {**ways, f"{kind}, full": batches(0)}, of=batches(0))
    return within(f"{len(found)} steps: the longest row, 1 and 30 places more, the full length", found)


def _side_by_side(training: Training) -> tuple[list[Batch], list[Batch]]:
    """The first step of four rows with two documents a row or more, and each of its documents alone."""
    for step in range(20):
        micro = training.batches(step)
        alone = [_alone(document) for document in documents_of(micro)]
        if len(alone) >= 8:
            return micro, alone
    raise AssertionError("no step has two documents a row")


def _alone(document: Batch) -> Batch:
    """A document in a row of its own, as a micro-batch."""
    inputs, source = ({**part, "segments": torch.zeros_like(part["tokens"])} if part else {}
                      for part in (document.inputs, document.source))  # fmt: skip
    counts = {name: int((each != IGNORE).sum()) for name, each in document.targets.items()}
    return replace(document, inputs=inputs, source=source, counts=counts)


def _sides(batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return batch.inputs, batch.source


def _longest(side: dict[str, Tensor]) -> int:
    return int((side["segments"] >= 0).sum(1).max()) if side else 0


def lost_tokens(training: Training, store: TokenStore) -> list[str]:
    """What is wrong with one epoch's rows: every token but the first is learned once."""
    rows = training.batches.whole.rows
    times = np.zeros(len(store.tokens), dtype=np.int64)
    for number in range(rows.per_epoch):
        for piece in rows[number]:
            times[piece.start + 1 + piece.seen : piece.start + len(piece.tokens)] += 1
    return [f"{int((times[1:] != 1).sum())} tokens are lost or read twice"] if (times[1:] != 1).any() else []
