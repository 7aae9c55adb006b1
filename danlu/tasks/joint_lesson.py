"""Several tasks as one objective over their features, each with the head that is its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from danlu.corpus.batches import Batch, Example
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.nn.config import TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.objectives.multitask import Lessons
from danlu.objectives.protocol import AnyObjective, Lesson, Sides, Total
from danlu.tasks.heads import as_for
from danlu.tasks.lesson import TaskLesson
from danlu.tasks.step_task import StepLesson
from danlu.tokenizers.vocabulary import Vocabulary


class JointLesson(AnyObjective):
    """The tasks as one objective over their features."""

    sides: ClassVar[Sides] = "encoder"

    lessons: dict[str, TaskLesson]
    weights: dict[str, float]

    @property
    def compares_readings(self) -> bool:
        return any(lesson.compares_readings for lesson in self.lessons.values())

    def widths(self, body: Ints) -> Widths:
        return Widths(body)

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        return self.lessons[piece.task].example(piece, vocabulary=vocabulary, noise=noise)

    def prepare(self, config: TransformerConfig, *, dtype: torch.dtype, seed: int) -> Lesson:
        each: dict[str, Lesson] = {
            name: OwnVectors(name, lesson) if isinstance(lesson, StepLesson) else OwnHead(name, lesson)
            for name, lesson in self.lessons.items()
        }
        return Lessons(each, self.weights)


@dataclass(frozen=True)
class OwnHead:
    """A task's lesson, with the model as it is for that task."""

    name: str
    lesson: TaskLesson

    @property
    def modules(self) -> None:
        return None

    def weight(self, name: str) -> float:
        return self.lesson.weight(name)

    @property
    def by_step(self) -> bool:
        """Whether the task reckons with a whole step."""
        return self.lesson.by_step

    def of_step(self, model: Transformer, micro: Sequence[Batch], total: Total) -> OwnHead:
        """With what the task reckons of its own part of a step."""
        with as_for(model, self.name):
            return replace(self, lesson=self.lesson.of_step(model, micro, total))

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        with as_for(model, self.name):
            return self.lesson.losses(model, batch)


@dataclass(frozen=True)
class OwnVectors(OwnHead):
    """The same of a task that compares all of its texts of a step (a :class:`danlu.objectives.protocol.WholeStep`)."""

    lesson: StepLesson

    def vectors(self, model: Transformer, batch: Batch) -> Tensor:
        """What the loss sees of a micro-batch."""
        with as_for(model, self.name):
            return self.lesson.vectors(model, batch)

    def losses_of(self, vectors: Sequence[Tensor], batches: Sequence[Batch]) -> dict[str, Tensor]:
        """The sum of each loss over the task's part of a step."""
        return self.lesson.losses_of(vectors, batches)
