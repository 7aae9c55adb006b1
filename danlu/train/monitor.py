"""What a run measures on the way: metrics and progress after every step, the held-out loss now and then."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from danlu.corpus.batches import Batch, collate
from danlu.corpus.rows import Rows
from danlu.log import MetricsLog, Progress, say
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective
from danlu.train.loop import StepInfo

HELDOUT_TOKENS = 8192
"""Tokens of the held-out part that are measured on the way; ``evaluate`` measures all of them."""


@dataclass
class Monitor:
    """Writes a line of metrics after every step and shows the progress."""

    metrics: MetricsLog
    bar: Progress
    heldout: Callable[[], float]
    heldout_steps: frozenset[int]
    tokens: int = 0
    """Targets scored so far; a resumed run begins with those of the steps before."""
    seconds: float = 0.0
    """Training time so far, that of earlier processes included."""
    loss: float | None = None
    """Of the last step; None before the first."""
    step: int = 0
    """The last step; of a resumed run, also before it does one."""
    _marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=20))
    _refused: bool = False

    def __post_init__(self) -> None:
        self._begun = self._mark() - self.seconds

    def __call__(self, info: StepInfo) -> None:
        self.tokens += info.targets
        self.loss, self.step = info.loss, info.step
        now = self._mark()
        then, before = self._marks[0]
        pace = (self.tokens - before) / (now - then)
        extra: dict[str, float] = {}
        if info.step in self.heldout_steps:
            extra = {"heldout_loss": self.heldout()}
            self._marks.clear()  # the pace is that of training; the time is that of all
            now = self._mark()
        self.seconds = now - self._begun
        self._write(
            info.step, loss=info.loss, lr=info.lr, grad_norm=info.grad_norm, tokens=self.tokens,
            seconds=round(self.seconds, 3), tokens_per_second=round(pace, 1), **extra,
        )  # fmt: skip
        self.bar.update(info.step, loss=info.loss, tokens_per_second=pace)
        if extra:
            say(f"step {info.step}: loss {info.loss:.3f}, held-out {extra['heldout_loss']:.3f}")

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


@torch.no_grad()
def heldout_loss(model: Transformer, objective: Objective, rows: Rows, *, batch: int) -> float:
    """Mean loss in nats over the rows that hold about ``HELDOUT_TOKENS``, always the same ones."""
    numbers = list(range(min(-(-HELDOUT_TOKENS // rows.length), rows.per_epoch)))
    total, count = 0.0, 0
    for cut in range(0, len(numbers), batch):
        examples = [
            objective.example(rows[number], eot=rows.store.border, noise=np.random.default_rng([rows.seed, number, 2]))
            for number in numbers[cut : cut + batch]
        ]
        part: Batch = collate(examples, length=rows.length)
        with torch.compiler.set_stance("force_eager"):  # to compile the forward pass alone would not pay here
            total += float(objective.loss(model, part))
        count += part.count
    return total / max(1, count)
