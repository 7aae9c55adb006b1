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
from danlu.errors import Interrupted, OutputError
from danlu.log import MetricsLog, Progress, say
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective
from danlu.train.checkpoint import TrainingState, save_checkpoint
from danlu.train.divergence import check_finite
from danlu.train.loop import StepInfo
from danlu.train.settings import SaveInterval
from danlu.train.setup import Training
from danlu.train.signals import StopRequest

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


@dataclass
class Saver:
    """Saves every so often, and when asked to stop."""

    folder: Path
    training: Training
    monitor: Monitor
    stop: StopRequest
    interval: SaveInterval
    tokenizer: Path
    saved: int | None = None
    """The last step that is on the disk."""
    _last: float = field(default_factory=time.perf_counter)

    def __call__(self, info: StepInfo) -> None:
        asked, steps, minutes = self.stop.signal, self.interval.steps, self.interval.minutes
        by_steps = steps is not None and info.step % steps == 0
        by_time = minutes is not None and time.perf_counter() - self._last > minutes * 60
        if by_steps or by_time or asked:
            try:
                self._save(info.step)
            except OutputError as error:
                if asked:
                    raise
                say(f"could not save a checkpoint at step {info.step} ({error}); training goes on")
        if asked:
            raise self._interrupted(info.step, asked)

    def finish(self, step: int) -> None:
        """Save the last step of all.

        Raises:
            OutputError: it could not be saved.
            Interrupted: the process was asked to stop meanwhile.
        """
        if self.saved != step:
            try:
                self._save(step)
            except OutputError as error:
                problem = f"the last checkpoint could not be saved ({error}); make room and run again"
                raise OutputError(problem) from error
        if self.stop:
            raise self._interrupted(step, self.stop.signal)

    def _save(self, step: int) -> None:
        training = self.training
        weights = training.masters.state()
        check_finite(weights.values(), step=step)
        state = TrainingState(step, self.monitor.tokens, weights, training.optimizer.state_dict())
        try:
            save_checkpoint(self.folder, state, training.model.config, tokenizer=self.tokenizer)
            self.saved = step
        finally:
            self._last = time.perf_counter()

    def _interrupted(self, step: int, number: int) -> Interrupted:
        return Interrupted(
            f"stopped after step {step} as asked; the work is saved, run the same command to go on", signal=number
        )
