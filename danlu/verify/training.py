"""``danlu verify training``: what a training promises, looked at on this machine, one line each.

The product's own code runs on a small corpus that is made on the fly; what it comes to is compared with sums that are
written out, with figures that are published, or with a training that nothing has disturbed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

from danlu.errors import InputError, VerificationError, suggestion
from danlu.verify import anomalies, crashes, disk, edges, kills, layouts, masking, processes, resuming
from danlu.verify.outcome import Outcome, Property
from danlu.verify.sample import Sample

ROOM = 2**28
"""Bytes that all of it takes on a disk at most, by far."""
PROPERTIES = [
    Property("accumulation", "micro-batches of any size: one step", layouts.accumulation),
    Property("ragged", "and of any lengths, the last one short", layouts.ragged),
    Property("packing", "documents in one row do not see each other", layouts.packing),
    Property("padding", "padding counts nothing", layouts.padding),
    Property("nothing-scored", "nor do micro-batches without targets", edges.nothing_scored),
    Property("one-token", "documents of one token", edges.one_token),
    Property("vocabulary", "more words than the tokenizer has", edges.larger_vocabulary),
    Property("large-vocabulary", "the loss in parts is the plain loss", edges.large_vocabulary),
    Property("memory", "too little memory: smaller parts, same step", edges.memory),
    Property("bad-steps", "NaN, infinity, spikes are left out", anomalies.bad_steps),
    Property("rewinds", "too many: back, slower, then the end", anomalies.rewinds),
    Property("masking", "shares of BERT's masking", masking.shares),
    Property("whole-words", "words are masked whole", masking.whole_words),
    Property("spans", "lengths of SpanBERT's and T5's spans", masking.spans),
    Property("full-disk", "a save that fails: training goes on", disk.refusals),
    Property("damage", "a damaged checkpoint is found and named", disk.damage),
    Property("crashes", "a save killed anywhere: old or new", crashes.crashes),
    Property("kills", "killed and resumed: the same bytes", kills.kills),
    Property("order", "any number of processes reads the same", processes.order),
    Property("ranks", "and trains the same", processes.ranks),
    Property("lost-ranks", "a rank that is dead or hangs stops all", processes.lost_ranks),
    Property("other-sizes", "and goes on with another number", processes.other_sizes),
    Property("changes", "changed settings or inputs are refused", resuming.changes),
]


def lines(only: str | None = None) -> Iterator[str]:
    """A head and, as each is done, a line for each property, or for one.

    Raises:
        InputError: there is no such property.
        VerificationError: after the last line, where something does not hold.
    """
    names = [each.name for each in PROPERTIES]
    if only is not None and only not in names:
        raise InputError(f"--only: unknown property {only!r}{suggestion(only, names)}")
    begun = time.perf_counter()
    yield f"torch {torch.__version__}, {torch.get_num_threads()} threads; differences are relative, in float64, float32"
    yield _columns("property", "largest", "bound", "verdict", "seconds", "compared")
    failed, count = [], 0
    with tempfile.TemporaryDirectory(prefix="danlu-verify-", dir=_place()) as folder:
        sample = Sample(Path(folder))
        for each in PROPERTIES:
            if only in (None, each.name):
                started = time.perf_counter()
                outcome = _looked(each, sample)
                count += 1
                failed += [each.name] if outcome.faults else []
                yield _line(each, outcome, time.perf_counter() - started)
    yield f"{count} {'property' if count == 1 else 'properties'} in {time.perf_counter() - begun:.0f} s"
    if failed:
        raise VerificationError(f"training does not keep what it promises: {', '.join(failed)}")


def _looked(each: Property, sample: Sample) -> Outcome:
    """What came of looking; a mechanism that is broken may end it anywhere, and the table goes on."""
    try:
        return each.look(sample)
    except Exception as error:
        traceback.print_exc()
        said = " ".join(str(error).split())
        return Outcome("nothing", "-", "-", [f"it ended with {type(error).__name__}: {said:.200}"])


def _place() -> Path | None:
    """A folder in main memory where the system has one: thousands of saves are synced, and a disk takes its time."""
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM
    return memory if has_room else None


def _line(each: Property, outcome: Outcome, seconds: float) -> str:
    more = f" ({len(outcome.faults)} faults)" if len(outcome.faults) > 1 else ""
    wrong = f"{outcome.faults[0]}{more}; " if outcome.faults else f"{outcome.not_run}; " if outcome.not_run else ""
    said = f"{wrong}{each.says}; {outcome.compared}"
    return _columns(each.name, outcome.worst, outcome.bound, outcome.verdict, f"{seconds:.1f}", said)


def _columns(*texts: str) -> str:
    name, worst, bound, verdict, seconds, compared = texts
    return f"{name:<17}{worst:>14}  {bound:<13}{verdict:<8}{seconds:>8}  {compared}"
