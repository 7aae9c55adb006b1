"""Several objectives over one model: each row is of one task, and each task has its loss and its weight."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Self, TypeVar

import numpy as np
import torch
from pydantic import Field, SkipValidation, model_validator
from torch import Tensor, nn

from danlu.corpus.batches import Batch, Example
from danlu.corpus.mixture import NOT_MIXED, STEPS_OF_THEIR_OWN, Mixture, Part
from danlu.corpus.parts import Selection
from danlu.corpus.reading import Reading
from danlu.corpus.rows import Form, Piece
from danlu.corpus.store import TokenStore
from danlu.errors import RecipeError
from danlu.nn.config import TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.objectives.distil import Distil
from danlu.objectives.pairs import Pairs
from danlu.objectives.protocol import AnyObjective, Lesson, LessonOfSteps, Shape, Total, WholeStep
from danlu.recipe import OneOf, Settings
from danlu.tokenizers.vocabulary import Vocabulary

T = TypeVar("T")
NAME = re.compile(r"[\w-]+")


class Task(Settings):
    """One of several objectives, and what it reads."""

    objective: Annotated[SkipValidation[AnyObjective], OneOf("objective")]
    """What is learned."""
    weight: float = Field(default=1.0, gt=0)
    """What the mean loss of its targets is multiplied by in the sum that is minimised."""
    share: float | None = Field(default=None, ge=0)
    """Its part of the rows, against those of the others; where no task has one, the number of their rows decides. With
    0 nothing is learned from it, so that all of it may be held out, and its held-out loss is told beside that of the
    others: what may be forgotten."""
    documents: Selection = Selection()
    """Which documents it reads; all by default, as other tasks may too."""
    rows: Annotated[SkipValidation[Reading] | None, OneOf("rows")] = None
    """How they become rows; by default as ``pretrain.rows`` says, or as the objective reads them best."""


def check_mixed(shares: Mapping[str, float | None], temperature: float) -> None:
    """Refuse names and shares of tasks that make no mixture.

    Raises:
        ValueError: in words, for a validator.
    """
    for name in shares:
        if not NAME.fullmatch(name):
            raise ValueError(f"a task's name must be of letters, digits, _ and -; got {name!r}")
    given = [share is not None for share in shares.values()]
    if any(given) and not all(given):
        lacking = next(name for name, share in shares.items() if share is None)
        raise ValueError(f"tasks.{lacking} must have a share, as others have one, or none may")
    if any(given) and temperature != 1.0:
        raise ValueError("temperature has no effect where tasks have shares; leave it out")


class Multitask(AnyObjective):
    """Multi-task learning (Caruana 1997) with one shared model, tasks mixed row by row (Raffel et al. 2020).

    A step's loss is the sum of each task's mean, weighted: the weight says how much a task counts in a step, the
    share how much of its text is read. Losses are named ``task.loss``.
    """

    tasks: dict[str, Task] = Field(min_length=1)
    """The tasks by names of your own."""
    temperature: float = Field(default=1.0, gt=0)
    """Where no task has a share, shares are as the tasks' numbers of rows to the power of 1 / temperature: 1 reads all
    equally often, a high one gives all the same share."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        check_mixed({name: task.share for name, task in self.tasks.items()}, self.temperature)
        if all(task.share == 0 for task in self.tasks.values()):
            raise ValueError("tasks: one of them must have a share above 0, for else there is nothing to learn")
        for name, task in self.tasks.items():
            if isinstance(task.objective, Multitask):
                raise ValueError(f"tasks.{name}.objective must be a single one; name its tasks here")
            if isinstance(task.rows, STEPS_OF_THEIR_OWN):
                raise ValueError(f"tasks.{name}.rows: {NOT_MIXED}")
        return self

    def read_by(self, rows: Reading | None) -> Reading:
        """A mixture of what the tasks read.

        Raises:
            RecipeError: rows are bucketed or quarters, which make steps of their own.
        """
        if isinstance(rows, STEPS_OF_THEIR_OWN):
            raise RecipeError(f"rows: {NOT_MIXED}")
        parts = tuple(
            Part(name, task.documents, task.objective.read_by(task.rows or rows), _form(task.objective), task.share)
            for name, task in self.tasks.items()
        )
        return Mixture(parts, self.temperature)

    @property
    def alike(self) -> bool:
        """Not where some tasks learn of pairs of texts, too, with a head beside that of words."""
        each = [task.objective for task in self.tasks.values() if task.share != 0]
        return len({isinstance(one.of if isinstance(one, Distil) else one, Pairs) for one in each}) == 1

    def external_files(self) -> list[Path]:
        return [path for task in self.tasks.values() for path in task.objective.external_files()]

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        """That of the piece's task."""
        return self.tasks[piece.task].objective.example(piece, vocabulary=vocabulary, noise=noise)

    def config(self, config: TransformerConfig) -> TransformerConfig:
        """With the heads of all tasks."""
        for name, task in self.tasks.items():
            config = _told_of(name, partial(task.objective.config, config))
        for name, task in self.tasks.items():
            if task.objective.config(config) != config:
                raise RecipeError(f"objective.tasks.{name} needs another head than the tasks behind it")
        return config

    def check(self, vocabulary: Vocabulary, store: TokenStore) -> None:
        for name, task in self.tasks.items():
            _told_of(name, partial(task.objective.check, vocabulary, store))

    def prepare(self, config: TransformerConfig, *, dtype: torch.dtype, seed: int) -> Lesson:
        lessons = {name: task.objective.prepare(config, dtype=dtype, seed=seed) for name, task in self.tasks.items()}
        # What is not learned is no part of the loss either, by which the best weights are chosen.
        return Lessons(lessons, {name: 0.0 if task.share == 0 else task.weight for name, task in self.tasks.items()})


@dataclass(frozen=True)
class Lessons:
    """The lessons of all tasks (a :class:`danlu.objectives.protocol.LessonOfTasks`)."""

    of_tasks: Mapping[str, Lesson]
    weights: Mapping[str, float]

    @property
    def modules(self) -> nn.Module | None:
        """Those of the tasks that have some, by the task's name."""
        found = {name: lesson.modules for name, lesson in self.of_tasks.items() if lesson.modules is not None}
        return nn.ModuleDict(found) if found else None

    def weight(self, name: str) -> float:
        task, _, loss = name.partition(".")
        return self.weights[task] * self.of_tasks[task].weight(loss)

    @property
    def by_step(self) -> bool:
        """Whether a task reckons with a whole step (:class:`danlu.objectives.protocol.LessonOfSteps`)."""
        return any(isinstance(lesson, LessonOfSteps) and lesson.by_step for lesson in self.of_tasks.values())

    def of_step(self, model: Transformer, micro: Sequence[Batch], total: Total) -> Lessons:
        """With what each task reckons of its own part of a step."""
        own = {
            task: lesson.of_step(model, [_alone(batch) for batch in micro if batch.task == task], total)
            for task, lesson in self.of_tasks.items()
            if isinstance(lesson, LessonOfSteps) and lesson.by_step
        }
        return replace(self, of_tasks={**self.of_tasks, **own})

    def divide(self, micro: Sequence[Batch]) -> list[tuple[Lesson | WholeStep, Sequence[Batch]]]:
        """One for each task whose loss sees a whole step, of what the step has of it, and one for all others."""
        whole = {task: lesson for task, lesson in self.of_tasks.items() if isinstance(lesson, WholeStep)}
        others = [batch for batch in micro if batch.task not in whole]
        found: list[tuple[Lesson | WholeStep, Sequence[Batch]]] = [(self, others)]
        for task, lesson in whole.items():
            found.append((WholeTask(task, lesson), [batch for batch in micro if batch.task == task]))
        return [(lesson, batches) for lesson, batches in found if batches]

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        """Those of the batch's task, named ``task.loss`` as its counts are."""
        losses = self.of_tasks[batch.task].losses(model, _alone(batch))
        return {f"{batch.task}.{name}": value for name, value in losses.items()}


@dataclass(frozen=True)
class WholeTask:
    """One of several tasks, whose loss sees a whole step of it (a :class:`danlu.objectives.protocol.WholeStep`)."""

    task: str
    lesson: WholeStep

    def vectors(self, model: Transformer, batch: Batch) -> Tensor:
        """What the loss sees of a micro-batch."""
        return self.lesson.vectors(model, _alone(batch))

    def losses_of(self, vectors: Sequence[Tensor], batches: Sequence[Batch]) -> dict[str, Tensor]:
        """The sum of each loss over the step, named ``task.loss``."""
        losses = self.lesson.losses_of(vectors, [_alone(batch) for batch in batches])
        return {f"{self.task}.{name}": value for name, value in losses.items()}


def _alone(batch: Batch) -> Batch:
    """The same as its task alone would have it."""
    own = {name.removeprefix(f"{batch.task}."): count for name, count in batch.counts.items()}
    return replace(batch, task="", counts=own)


def _form(objective: AnyObjective) -> Callable[[Form], Form]:
    """The form of a task's rows, from that of the whole, which says how long a row is."""

    def of_task(whole: Form) -> Form:
        assert isinstance(whole, Shape)
        return Shape(objective, whole.sequence)

    return of_task


def _told_of(task: str, do: Callable[[], T]) -> T:
    """What ``do`` gives; an error says which task it is of."""
    try:
        return do()
    except RecipeError as error:
        raise RecipeError(f"task {task}: {error}") from None
