"""The hooks of a run: metrics and progress, the held-out loss on the way, checkpoints, a stop request."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from danlu.corpus.batches import Batch, collate
from danlu.corpus.rows import Rows
from danlu.errors import Interrupted
from danlu.log import MetricsLog, Progress, say
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective
from danlu.train.checkpoint import TrainingState, save_checkpoint
from danlu.train.loop import StepInfo
from danlu.train.setup import Training
from danlu.train.signals import StopRequest

HELDOUT_ROWS = 32
"""Rows of the held-out part that are measured on the way; ``evaluate`` measures all of them."""


@dataclass
class Monitor:
    """Writes a line of metrics after every step and shows the progress."""

    metrics: MetricsLog
    bar: Progress
    heldout: Callable[[], float]
    heldout_steps: frozenset[int]
    seconds: float = 0.0
    """Training time before this process took over."""
    _marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=20))
    _tokens: int = 0

    def start(self, *, tokens: int) -> None:
        """Begin to count, ``tokens`` of them done already."""
        self._tokens = tokens
        self._begun = time.perf_counter()
        self._marks.append((self._begun, tokens))

    def __call__(self, info: StepInfo) -> None:
        now = time.perf_counter()
        self._tokens += info.targets
        self._marks.append((now, self._tokens))
        (then, before), span = self._marks[0], now - self._marks[0][0]
        pace = (self._tokens - before) / span
        extra = {"heldout_loss": self.heldout()} if info.step in self.heldout_steps else {}
        self.metrics.write(
            info.step, loss=info.loss, lr=info.lr, grad_norm=info.grad_norm, tokens=self._tokens,
            seconds=round(self.seconds + now - self._begun, 3), tokens_per_second=round(pace, 1), **extra,
        )  # fmt: skip
        self.bar.update(info.step, loss=info.loss, tokens_per_second=pace)
        if extra:
            say(f"step {info.step}: loss {info.loss:.3f}, held-out {extra['heldout_loss']:.3f}")
            self._marks.clear()
            self._marks.append((time.perf_counter(), self._tokens))


@torch.no_grad()
def heldout_loss(model: Transformer, objective: Objective, rows: Rows, *, batch: int) -> float:
    """Mean loss in nats over at most ``HELDOUT_ROWS`` rows, always the same ones."""
    numbers = list(range(min(HELDOUT_ROWS, rows.per_epoch)))
    total, count = 0.0, 0
    for cut in range(0, len(numbers), batch):
        examples = [
            objective.example(rows[number], eot=rows.store.eot, noise=np.random.default_rng([rows.seed, number]))
            for number in numbers[cut : cut + batch]
        ]
        part: Batch = collate(examples, length=rows.length)
        total += float(objective.loss(model, part))
        count += part.count
    return total / max(1, count)


@dataclass
class Saver:
    """Saves every so often, and when asked to stop."""

    folder: Path
    training: Training
    stop: StopRequest
    steps: int | None
    """Save after every so many steps …"""
    minutes: float | None
    """… or minutes."""
    failed: bool = False
    _last: float = field(default_factory=time.perf_counter)

    def __call__(self, info: StepInfo) -> None:
        by_steps = self.steps is not None and info.step % self.steps == 0
        by_time = self.minutes is not None and time.perf_counter() - self._last > self.minutes * 60
        if by_steps or by_time or self.stop:
            self.save(info.step)
        if self.stop:
            raise Interrupted(
                f"stopped after step {info.step} as asked; the work is saved, run the same command to go on",
                signal=self.stop.signal,
            )

    def save(self, step: int) -> None:
        """Save; a disk that refuses is told and does not end the training."""
        training = self.training
        state = TrainingState(step, training.masters.state(), training.optimizer.state_dict())
        try:
            save_checkpoint(self.folder, state, training.model.config)
            self.failed = False
        except OSError as error:
            if self.stop:
                raise
            self.failed = True
            say(f"could not save a checkpoint at step {step} ({error}); training goes on")
        self._last = time.perf_counter()
