"""Tasks whose loss compares the documents of a whole step with each other, whatever the micro-batches are.

Axes: N documents of the rows, D model width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import total_loss
from danlu.tasks.answering import batches_of
from danlu.tasks.feature import Feature
from danlu.tasks.lesson import TaskLesson
from danlu.tasks.task import Known, Task
from danlu.train.monitor import Measured

GROUPS = 16
"""Groups of features whose loss is measured on the way."""


class StepTask(Task):
    """A task of vectors, which the loss of a step sees all together."""

    def vectors(self, model: Transformer, batch: Batch) -> Tensor:
        """``[N, D]`` in float32: all that the loss sees of a micro-batch."""
        raise NotImplementedError(type(self).__name__)

    def losses_of(self, vectors: Sequence[Tensor], batches: Sequence[Batch], known: Known) -> dict[str, Tensor]:
        """The SUM of each loss over the scored targets of all micro-batches of a step."""
        raise NotImplementedError(type(self).__name__)

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        """Of a micro-batch that is a whole step."""
        return self.losses_of([self.vectors(model, batch)], [batch], known)


class StepLesson(TaskLesson):
    """Such a task as a lesson (a :class:`danlu.objectives.protocol.WholeStep`)."""

    def vectors(self, model: Transformer, batch: Batch) -> Tensor:
        """What the loss sees of a micro-batch."""
        assert isinstance(self.task, StepTask)
        return self.task.vectors(model, batch)

    def losses_of(self, vectors: Sequence[Tensor], batches: Sequence[Batch]) -> dict[str, Tensor]:
        """The sum of each loss over a step."""
        assert isinstance(self.task, StepTask)
        return self.task.losses_of(vectors, batches, self.known)


@dataclass(frozen=True)
class StepHeldout:
    """The loss of features in groups as large as a step, always the same (a :class:`danlu.train.monitor.Measure`)."""

    lesson: StepLesson
    features: Sequence[Feature]
    batch: int
    """Features of a step."""
    seed: int

    @torch.no_grad()
    def measure(self, model: Transformer) -> Measured:
        """The loss, without dropout."""
        sums: dict[str, Tensor] = {}
        counts: Counter[str] = Counter()
        device = next(model.parameters()).device
        model.eval()
        order = np.random.default_rng([self.seed, 10]).permutation(len(self.features))[: GROUPS * self.batch]
        with torch.compiler.set_stance("force_eager"):
            for start in range(0, len(order), self.batch):
                group = [self.features[place] for place in order[start : start + self.batch]]
                batches = [batch.to(device) for _, batch in batches_of(group)]
                vectors = [self.lesson.vectors(model, batch) for batch in batches]
                for name, value in self.lesson.losses_of(vectors, batches).items():
                    sums[name] = sums[name] + value if name in sums else value
                for batch in batches:
                    counts.update(batch.counts)
        model.train()
        means = {name: float(value) / max(1, counts[name]) for name, value in sums.items()}
        return Measured(float(total_loss(self.lesson, sums, counts)), means)
