"""What a run measures on the way: metrics and progress after every step, the held-out loss now and then."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from danlu.corpus.batches import Batch, MakeExample, collate, make_examples
from danlu.corpus.rows import Rows, Widths
from danlu.log import Metrics, Progress, say
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective, Shape, total_loss
from danlu.train.history import History
from danlu.train.loop import StepInfo

HELDOUT_TOKENS = 8192
"""Tokens of the held-out part that are measured on the way; ``evaluate`` measures all of them."""


@dataclass
class Monitor:
    """Writes a line of metrics after every step and shows the progress."""

    metrics: Metrics
    bar: Progress
    heldout: Callable[[], float]
    heldout_steps: frozenset[int]
    history: History
    """Which it keeps up to date: the tokens read and the held-out losses."""
    seconds: float = 0.0
    """Training time so far, that of earlier processes included."""
    loss: float | None = None
    """Of the last step whose loss was a number; None before the first."""
    step: int = 0
    """The last step; of a resumed run, also before it does one."""
    _marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=20))
    _refused: bool = False

    def __post_init__(self) -> None:
        self._begun = self._mark() - self.seconds

    def __call__(self, info: StepInfo) -> None:
        self.history.tokens += info.tokens
        self.step = info.step
        if math.isfinite(info.loss):
            self.loss = info.loss
        now = self._mark()
        then, before = self._marks[0]
        pace = (self.tokens - before) / (now - then)
        extra: dict[str, float] = {}
        if len(info.losses) > 1:
            extra |= {f"loss.{name}": value for name, value in info.losses.items()}
        if info.skipped:
            extra["skipped"] = 1
        if info.step in self.heldout_steps:
            extra["heldout_loss"] = self.heldout()
            self.history.heldout.append((info.step, extra["heldout_loss"]))
            self._marks.clear()  # the pace is that of training; the time is that of all
            now = self._mark()
        self.seconds = now - self._begun
        measured = {"loss": info.loss, "grad_norm": info.grad_norm}
        known = {name: value for name, value in measured.items() if math.isfinite(value)}  # JSON has no others
        self._write(
            info.step, **known, lr=info.lr, tokens=self.tokens,
            seconds=round(self.seconds, 3), tokens_per_second=round(pace, 1), **extra,
        )  # fmt: skip
        self.bar.update(info.step, loss=info.loss, tokens_per_second=pace)
        if "heldout_loss" in extra:
            say(f"step {info.step}: loss {info.loss:.3f}, held-out {extra['heldout_loss']:.3f}")

    @property
    def tokens(self) -> int:
        """Read so far, padding not counted, those of earlier processes included."""
        return self.history.tokens

    def _mark(self) -> float:
        now = time.perf_counter()
        self._marks.append((now, self.tokens))
        return now

    def _write(self, step: int, **values: float) -> None:
        """A line of metrics; a disk that refuses is told once and does not end the training."""
        try:
            self.metrics.write(step, **values)
        except OSError as error:
            if not self._refused:
                say(f"could not write metrics at step {step} ({error}); training goes on without them")
            self._refused = True


@dataclass(frozen=True)
class Heldout:
    """The held-out rows that are measured on the way, always the same ones with the same noise."""

    objective: Objective
    rows: Rows
    example: MakeExample
    sequence: int
    batch: int
    """Rows at once."""

    @torch.no_grad()
    def loss(self, model: Transformer) -> float:
        """What is minimised in training, in nats, over the rows that hold about ``HELDOUT_TOKENS``; no dropout."""
        room = Shape(self.objective, self.sequence).room
        numbers = list(range(min(-(-HELDOUT_TOKENS // int(room.inputs)), self.rows.per_epoch)))
        sums: dict[str, Tensor] = {}
        counts: Counter[str] = Counter()
        model.eval()
        for cut in range(0, len(numbers), self.batch):
            part = self._batch(numbers[cut : cut + self.batch], room)
            with torch.compiler.set_stance("force_eager"):  # to compile the forward pass alone would not pay here
                losses = self.objective.losses(model, part.to(next(model.parameters()).device))
            for name, value in losses.items():
                sums[name] = sums[name] + value if name in sums else value
            counts.update(part.counts)
        model.train()
        return float(total_loss(self.objective, sums, counts))

    def _batch(self, numbers: Sequence[int], room: Widths) -> Batch:
        examples = [
            make_examples(self.example, self.rows[number], np.random.default_rng([self.rows.seed, number, 2]))
            for number in numbers
        ]
        return collate(examples, widths=room, segments=self.rows.several)
