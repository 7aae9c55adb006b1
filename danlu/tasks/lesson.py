"""A task as an objective over its features: whatever trains objectives trains it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor

from danlu.corpus.batches import Batch, Example
from danlu.corpus.reading import Reading
from danlu.corpus.rows import Form, Ints, Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.corpus.together import Together
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import AnyObjective, Sides, Total
from danlu.tasks.feature import FeatureStore
from danlu.tasks.task import Known, Task
from danlu.tokenizers.vocabulary import Vocabulary


class TaskLesson(AnyObjective):
    """A task, and what its data has fixed. Documents are features, which are never cut."""

    sides: ClassVar[Sides] = "encoder"
    reading: ClassVar[Reading] = Together()

    task: Task
    known: Any
    """A :class:`danlu.tasks.task.Known`."""

    def widths(self, body: Ints) -> Widths:
        return Widths(body)

    def longest(self, form: Form) -> int:
        return int(form.room.inputs) + int(form.room.source)

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        """Of each feature, of which a document is its two sides behind each other."""
        assert isinstance(store, FeatureStore)
        numbers = np.searchsorted(store.starts, starts - 1)
        source = [store.features[number].source for number in numbers.tolist()]
        if all(each is None for each in source):
            return Widths(bodies)
        lengths = np.array([0 if each is None else len(each) for each in source])
        return Widths(bodies - lengths, lengths)

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        """The feature that the piece is."""
        assert isinstance(piece.store, FeatureStore)
        return piece.store.features[piece.document].as_example()

    @property
    def compares_readings(self) -> bool:
        return self.task.refers

    @property
    def by_step(self) -> bool:
        """Whether the task reckons with a whole step (:class:`danlu.objectives.protocol.LessonOfSteps`)."""
        return self.task.by_step

    def of_step(self, model: Transformer, micro: Sequence[Batch], total: Total) -> Self:
        """With what the task has reckoned of all micro-batches together."""
        return self.model_copy(update={"known": self.task.of_step(model, micro, self.known, total)})

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        known: Known = self.known
        return self.task.losses(model, batch, known)
