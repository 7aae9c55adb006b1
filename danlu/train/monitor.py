"""What a run measures on the way: metrics and progress after every step, the held-out loss now and then."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from danlu.corpus.batches import Batch, Group, MakeExample, make_batch
from danlu.corpus.reading import Sample
from danlu.log import Metrics, Progress, say
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Lesson, LessonOfSteps, total_loss
from danlu.parallel.joining import here
from danlu.train.gradients import Cuts
from danlu.train.history import History
from danlu.train.loop import StepInfo

HELDOUT_TOKENS = 8192
"""Tokens of the held-out part that are measured on the way; ``evaluate`` measures all of them."""


@dataclass
class Monitor:
    """Writes a line of metrics after every step and shows the progress."""

    metrics: Metrics
    bar: Progress
    heldout: Callable[[], Measured]
    heldout_steps: frozenset[int]
    history: History
    """Which it keeps up to date: the tokens read and the held-out losses."""
    seconds: float = 0.0
    """Training time so far, that of earlier processes included."""
    loss: float | None = None
    """Of the last step that scored something and was taken; None before the first."""
    step: int = 0
    """The last step; of a resumed run, also before it does one."""
    _marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=20))
    _refused: bool = False

    def __post_init__(self) -> None:
        self._begun = self._mark() - self.seconds

    def __call__(self, info: StepInfo) -> None:
        self.history.tokens += info.tokens
        self.step = info.step
        numbers = {"loss": info.loss, "grad_norm": info.grad_norm} if info.targets else {}  # of nothing there is none
        known = {name: value for name, value in numbers.items() if math.isfinite(value)}  # JSON has no others
        if not info.skipped:
            self.loss = known.get("loss", self.loss)
        now = self._mark()
        then, before = self._marks[0]
        pace = (self.tokens - before) / (now - then)
        extra: dict[str, float] = {}
        extra |= {**by_name("loss", info.losses), **info.figures}
        if info.skipped:
            extra["skipped"] = 1
        measured = self.heldout() if info.step in self.heldout_steps else None
        if measured is not None:
            held = {} if measured.loss is None else {"heldout_loss": measured.loss}
            extra |= {**held, **by_name("heldout_loss", measured.losses)}
            extra |= {f"heldout.{name}": value for name, value in measured.figures.items()}
            self.history.heldout.append((info.step, measured.least))
            self._marks.clear()  # the pace is that of training; the time is that of all
            now = self._mark()
        self.seconds = now - self._begun
        self._write(
            info.step, **known, lr=info.lr, tokens=self.tokens,
            seconds=round(self.seconds, 3), tokens_per_second=round(pace, 1), **extra,
        )  # fmt: skip
        looked_at = dict(list(info.figures.items())[:1])
        self.bar.update(info.step, loss=info.loss, **looked_at, tokens_per_second=pace)
        if measured is not None:
            self._tell(info, measured)

    @property
    def tokens(self) -> int:
        """Read so far, padding not counted, those of earlier processes included."""
        return self.history.tokens

    def _mark(self) -> float:
        now = time.perf_counter()
        self._marks.append((now, self.tokens))
        return now

    @staticmethod
    def _tell(info: StepInfo, measured: Measured) -> None:
        held = () if measured.loss is None else (f"held-out {measured.loss:.3f}",)
        told = (f"{name} {value:.3f}" for name, value in measured.figures.items())
        say(", ".join((f"step {info.step}: loss {info.loss:.3f}", *held, *told)))

    def _write(self, step: int, **values: float) -> None:
        """A line of metrics; a disk that refuses is told once and does not end the training."""
        try:
            self.metrics.write(step, **values)
        except OSError as error:
            if not self._refused:
                say(f"could not write metrics at step {step} ({error}); training goes on without them")
            self._refused = True


def by_name(before: str, losses: Mapping[str, float]) -> dict[str, float]:
    """Losses as columns of the metrics; none where there is but that of words, which is the whole."""
    return {} if losses.keys() <= {"words"} else {f"{before}.{name}": value for name, value in losses.items()}


@dataclass(frozen=True, slots=True)
class Measured:
    """A held-out loss."""

    loss: float | None
    """What is minimised; None where that says nothing of held-out text, but the criterion does."""
    losses: dict[str, float] = field(default_factory=dict)
    """Each mean by its name, unweighted."""
    figures: dict[str, float] = field(default_factory=dict)
    """What else is told, by name."""
    criterion: float | None = None
    """What the best checkpoint has the least of; where None, the loss."""

    @property
    def least(self) -> float:
        """What the best checkpoint has the least of."""
        found = self.loss if self.criterion is None else self.criterion
        assert found is not None, "what is measured has a loss, or a criterion"
        return found


class Measure(Protocol):
    """What is measured on the way."""

    def measure(self, model: Transformer) -> Measured:
        """With the model as it is now; in training mode again afterwards."""
        ...


@dataclass(frozen=True)
class Heldout:
    """The held-out rows that are measured on the way, always the same ones with the same noise."""

    lesson: Lesson
    sample: Sample
    example: MakeExample
    batch: int
    """Rows at once; fewer once memory was too short for them."""
    shared: bool = False
    """Whether a pass through the model needs other ranks, so that none may cut by itself."""
    cuts: Cuts = field(default_factory=Cuts)
    """Not those of the training, whose rows may be of other lengths, and whose steps take more memory a row."""

    def loss(self, model: Transformer) -> float:
        """What is minimised in training, in nats, over the rows of the sample; no dropout."""
        return self.measure(model).least

    @torch.no_grad()
    def measure(self, model: Transformer) -> Measured:
        """The loss and all that it is made of.

        Rows that memory does not hold are measured fewer at a time; the sum is the same.

        Raises:
            MemoryError, RuntimeError: single rows are too large.
            DanluError: memory is short where ranks share the model.
        """
        sums: dict[str, Tensor] = {}
        counts: Counter[str] = Counter()
        model.eval()
        lesson, batches = self.lesson, self._batches()
        if isinstance(lesson, LessonOfSteps) and lesson.by_step:  # the sample is as one step
            made = list(batches)
            lesson = lesson.of_step(model, made, lambda own: own)
            batches = (made.pop(0) for _ in range(len(made)))  # of which none is kept longer than it has to be
        for batch in batches:
            while (found := self._where_it_fits(lesson, model, batch)) is None:
                rows = self.cuts.halve([batch])
                say(f"memory is short: held-out rows are measured {rows} at a time; the loss stays the same")
            for name, value in found.items():
                sums[name] = sums[name] + value if name in sums else value
            counts.update(batch.counts)
        model.train()
        means = {name: float(value) / max(1, counts[name]) for name, value in sums.items()}
        return Measured(float(total_loss(self.lesson, sums, counts)), means)

    def _where_it_fits(self, lesson: Lesson, model: Transformer, batch: Batch) -> dict[str, Tensor] | None:
        """The sum of each loss; None where memory is short and there are rows to cut."""
        sums: dict[str, Tensor] = {}
        try:
            for part in self.cuts.of([batch]):
                with torch.compiler.set_stance("force_eager"):  # to compile the forward pass alone would not pay here
                    losses = lesson.losses(model, part.to(next(model.parameters()).device))
                here().tick()
                for name, value in losses.items():
                    sums[name] = sums[name] + value if name in sums else value
        except (MemoryError, RuntimeError) as error:
            self.cuts.check(error, [batch], shared=self.shared)
            return None
        return sums

    def _batches(self) -> Iterator[Batch]:
        rows = self.sample.rows
        for numbers, widths in self.sample.groups:
            for cut in range(0, len(numbers), self.batch):
                group = Group(numbers[cut : cut + self.batch], widths)
                yield make_batch(rows, self.example, group, lambda n: np.random.default_rng([rows.seed, n, 2]))
