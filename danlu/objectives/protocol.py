"""What an objective is: how a piece of text becomes inputs and targets, and what a batch of them costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from danlu.corpus.batches import Batch, Example
from danlu.corpus.marks import BITS, Unit
from danlu.corpus.reading import Packed, Reading
from danlu.corpus.rows import Form, Ints, Piece, Widths, longest_body
from danlu.corpus.store import TokenStore
from danlu.errors import RecipeError
from danlu.nn.config import TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.recipe import Choice
from danlu.tokenizers.vocabulary import Vocabulary

Sides = Literal["decoder", "encoder", "both"]
SPECIAL_OF = {"mask": "bert", "cls": "bert", "sep": "bert", "pad": "bert", "fim_prefix": "fim", "fim_middle": "fim",
              "fim_suffix": "fim", "sentinels": "t5"}  # fmt: skip
"""Which set of ``tokenizer.special`` has a token of this role."""


Total = Callable[[Mapping[str, float]], Mapping[str, float]]
"""Name by name what all processes have together, of what this one has."""


class Lesson(Protocol):
    """What a batch costs: an objective, together with what it needs beside its settings."""

    @property
    def modules(self) -> nn.Module | None:
        """What is trained along with the model and kept in checkpoints, but is no part of the model."""
        ...

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        """The SUM of each loss over its scored targets, in nats; the loop divides by the counts of the whole step."""
        ...

    def weight(self, name: str) -> float:
        """What the mean of this loss is multiplied by in the sum that is minimised."""
        ...


@runtime_checkable
class LessonOfSteps(Protocol):
    """A lesson in whose loss may stand a number of the whole step, through which no gradient goes."""

    @property
    def by_step(self) -> bool:
        """Whether one does; else :meth:`of_step` gives the same lesson, and need not be asked."""
        ...

    def of_step(self, model: Transformer, micro: Sequence[Batch], total: Total) -> Lesson:
        """The lesson of one step, asked for before any of its losses.

        Args:
            micro: all micro-batches of the step; of several processes, this one's.
            total: adds up what they all have; each calls it equally often.
        """
        ...


class Experience(NamedTuple):
    """What a step learns from, where the model itself has made it."""

    micro: Sequence[Batch]
    """Micro-batches."""
    figures: Mapping[str, float]
    """What they are like, by name."""


@runtime_checkable
class LessonOfOwnText(Protocol):
    """A lesson about what the model writes, which follows from its weights and the number of the step alone."""

    def experience(self, model: Transformer, batches: Callable[[int], Sequence[Batch]], step: int) -> Experience:
        """What ``step`` learns from, asked for once before anything else of it.

        Args:
            batches: of any number, what the model may begin from.
        """
        ...

    def rehearsal(self) -> Lesson:
        """The same for steps that are only timed, of which nothing is kept."""
        ...


@runtime_checkable
class WholeStep(Protocol):
    """A lesson whose loss sees the documents of a whole step together, as vectors ``[N, D]`` in float32."""

    def vectors(self, model: Transformer, batch: Batch) -> Tensor:
        """All that the loss sees of a micro-batch."""
        ...

    def losses_of(self, vectors: Sequence[Tensor], batches: Sequence[Batch]) -> dict[str, Tensor]:
        """The SUM of each loss over the scored targets of the step, from what it sees of each micro-batch."""
        ...


@runtime_checkable
class LessonOfTasks(Protocol):
    """A lesson of several tasks, of which some may see a whole step together."""

    def divide(self, micro: Sequence[Batch]) -> Sequence[tuple[Lesson | WholeStep, Sequence[Batch]]]:
        """Which lesson learns from which of a step's micro-batches, so that each is learned from once."""
        ...


class AnyObjective(Choice):
    """A choice of what is learned, whatever it is made of."""

    sides: ClassVar[Sides]
    """Of the models that can learn it."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Roles of special tokens, and ``sentinels``, without which it cannot be."""
    reading: ClassVar[Reading] = Packed()
    """How it reads documents unless ``pretrain.rows`` says otherwise."""

    def read_by(self, rows: Reading | None) -> Reading:
        """How documents become rows, where ``pretrain.rows`` is ``rows``."""
        return self.reading if rows is None else rows

    def external_files(self) -> list[Path]:
        """Files outside the run folder that it reads.

        Raises:
            InputError: there are none where they should be.
        """
        return []

    def prepare(self, config: TransformerConfig, *, dtype: torch.dtype, seed: int) -> Lesson:
        """The lesson for a model of this shape, computing in ``dtype``; what is random in it follows from ``seed``."""
        return self

    @property
    def modules(self) -> nn.Module | None:
        """None: most objectives have nothing of their own to train."""
        return None

    @property
    def alike(self) -> bool:
        """Whether what it learns from any example goes through the same weights."""
        return True

    @property
    def compares_readings(self) -> bool:
        """Whether its loss compares what a model says in training with what it, or the one that began, said when it
        only read: both by one arithmetic, or they would differ where nothing was learned."""
        return False

    @property
    def marks(self) -> tuple[Unit, ...]:
        """Which of ``pack.marks`` it reads."""
        return ()

    def room(self, sequence: int) -> Widths:
        """Places of a row, where ``pretrain.sequence`` is ``sequence``."""
        return Widths(sequence)

    def longest(self, form: Form) -> int:
        """The most tokens of a document that a row of ``form``, its own, may have room for; longer ones are cut."""
        return longest_body(form)

    def widths(self, body: Ints) -> Widths:
        """Places that the examples of so many tokens take at most, end-of-text not counted; 0 where there can be none.

        Exactly so many where the text alone decides it: then rows are packed without a gap.
        """
        raise NotImplementedError(type(self).__name__)

    @property
    def by_length(self) -> bool:
        """Whether ``widths`` says all, or of pairs the lengths of both sides; not where :meth:`measure` is its own."""
        return type(self).measure is AnyObjective.measure

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        """``widths`` of these pieces, where what stands in them says more than how long they are."""
        return self.widths(bodies)

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        """Inputs and targets; what is random in them comes from ``noise``, which is the row's own."""
        raise NotImplementedError(type(self).__name__)

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        """The SUM of each loss over its scored targets, in nats; the loop divides by the counts of the whole step."""
        raise NotImplementedError(type(self).__name__)

    def weight(self, name: str) -> float:
        """What the mean of this loss is multiplied by in the sum that is minimised."""
        return 1.0

    def config(self, config: TransformerConfig) -> TransformerConfig:
        """The model's shape, with the heads that are learned.

        Raises:
            RecipeError: a model of this shape cannot learn it.
        """
        need_sides(config, self.sides)
        return config

    def check(self, vocabulary: Vocabulary, store: TokenStore) -> None:
        """Refuse a tokenizer or a store that lacks what is needed.

        Raises:
            RecipeError: with the setting that would add it.
        """
        lacking = [role for role in self.needs if not _has(vocabulary, role)]
        if lacking:
            there = [role for role in SPECIAL_OF if role != "pad" and _has(vocabulary, role)]  # padding is T5's too
            sets = ", ".join(dict.fromkeys(SPECIAL_OF[role] for role in [*there, *lacking]))
            raise RecipeError(
                f"pretrain.objective needs the special tokens {', '.join(lacking)}, which the tokenizer lacks: "
                f"set tokenizer.special to [{sets}]"
            )
        need_marks(store, self.marks)


def need_sides(config: TransformerConfig, sides: Sides) -> None:
    """Refuse a model that has others.

    Raises:
        RecipeError: in words.
    """
    has = "both" if config.encoder and config.decoder else "encoder" if config.encoder else "decoder"
    if has != sides:
        kinds = {"decoder": "a decoder", "encoder": "an encoder", "both": "an encoder and a decoder"}
        raise RecipeError(f"objective: this one needs a model with {kinds[sides]}; got {kinds[has]}")


def need_marks(store: TokenStore, units: tuple[Unit, ...]) -> None:
    """Refuse a store that does not know where ``units`` begin.

    Raises:
        RecipeError: with the setting that would add it.
    """
    unmarked = [unit for unit in units if unit not in store.marked]
    if unmarked:
        raise RecipeError(
            f"pretrain.objective needs to know where {', '.join(unmarked)} begin: "
            f"set pack.marks to [{', '.join(unit for unit in BITS if unit in {*store.marked, *unmarked})}]"
        )


def _has(vocabulary: Vocabulary, role: str) -> bool:
    return bool(vocabulary.sentinels) if role == "sentinels" else role in vocabulary.roles


class Objective(AnyObjective):
    """An objective that predicts tokens. Subclasses write ``example`` and ``losses``, and say what they need."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread evenly over the vocabulary (Szegedy et al. 2016, arXiv:1512.00567)."""
    z_loss: float = Field(default=0.0, ge=0)
    """Weight of the squared logarithm of the softmax's denominator, which keeps logits small (Chowdhery et al. 2022,
    arXiv:2204.02311; 1e-4 there)."""


@dataclass(frozen=True)
class Shape:
    """The room of an objective's rows and the widths of its examples (a :class:`danlu.corpus.rows.Form`)."""

    objective: AnyObjective
    sequence: int

    @property
    def room(self) -> Widths:
        return self.objective.room(self.sequence)

    @property
    def longest(self) -> int:
        return self.objective.longest(self)

    @property
    def by_length(self) -> bool:
        return self.objective.by_length

    def widths(self, body: Ints) -> Widths:
        return self.objective.widths(body)

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        return self.objective.measure(store, starts, bodies)


def total_loss(lesson: Lesson, sums: dict[str, Tensor], counts: dict[str, int]) -> Tensor:
    """The number that is minimised: each sum over the count of its targets, weighted.

    Where a step has no target of a loss, its sum is 0 and so is its part.
    """
    return add(lesson.weight(name) * value / max(1, counts.get(name, 0)) for name, value in sums.items())


def add(parts: Iterable[Tensor]) -> Tensor:
    """The sum of one tensor or more."""
    first, *others = parts
    for other in others:
        first = first + other
    return first
