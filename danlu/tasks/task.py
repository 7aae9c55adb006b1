"""What a task is: how its examples become features, what they cost, how a model's numbers become answers.

A task (``classify.py``, …) is settings alone. What is fixed by its data — labels, the spread of numbers — is in
:class:`Known`, which the model's folder keeps, so that whoever has the folder can use it.

Axes: B rows, T tokens, D model width, N documents of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.data.tags import Scheme
from danlu.metrics.tally import Metric
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.start import Kind, Start, begin
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Total
from danlu.recipe import Choice
from danlu.tasks.feature import Feature
from danlu.tasks.text_reader import MOST_TOKENS, Cut, TextReader


@dataclass(frozen=True)
class Known:
    """What the data has fixed; all of it goes into JSON."""

    labels: tuple[str, ...] = ()
    """In the order of the head's scores."""
    scheme: Scheme = "none"
    """What tags are of."""
    metric: str = ""
    """Of several that a task has, the one that suits the data."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """What a task has reckoned, such as the mean of what it predicts."""
    strangers: tuple[str, ...] = ()
    """Tokens that other tasks of the same training have brought, of which this one has learned nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of an example."""

    value: Any
    """As the metric takes it."""
    confidence: float | None = None
    """The model's own probability that it is right; None where it has none."""
    scores: Mapping[str, float] | None = None
    """Of each label."""
    cut: bool = False
    """Whether it is about a part of the example alone, as that is too long."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What a line of predictions says beside."""


class Task(Choice):
    """A choice of task. Subclasses say what is theirs."""

    form: ClassVar[Form[Any]]
    """Of its data."""
    head: ClassVar[Kind | None]
    """The class of ``transformers`` that its models are; None: the language model that the folder holds."""
    loss: ClassVar[str]
    """The name of its loss."""
    together: ClassVar[bool] = False
    """Whether the answer to an example depends on what else is asked."""
    windows: ClassVar[bool] = False
    """Whether all of a long text is read, in several features."""
    rates: ClassVar[tuple[str, ...]] = ()
    """Fields of what is right elsewhere that it reads, for it says how good they are."""
    exact: ClassVar[bool] = False
    """Whether answers are numbers, which bfloat16 would round."""
    problem: ClassVar[str | None] = None
    """The ``problem_type`` by which ``transformers`` reads the head's scores; None: each text has one label."""
    least_is_best: ClassVar[bool] = False
    """Whether the best checkpoint has the least of the criterion, and not the most."""

    by_step: ClassVar[bool] = False
    """Whether a number of the whole step stands in its loss (:meth:`of_step`)."""

    max_tokens: int | None = Field(default=None, ge=4)
    """Tokens of a text that are read, special ones included; by default 512, or what the model sees if that is less;
    where the answer is written behind them, what is left beside ``answer_tokens``."""
    cut: Cut = "head"
    """What is left of a longer text: its head, its tail, or both without the middle."""

    def takes(self, dataset: Dataset[Any], scheme: Scheme) -> Dataset[Any]:
        """The data as the task takes it; mostly as its files have it.

        Args:
            scheme: of the tags that the model learns, or has learned.
        """
        return dataset

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        """What the data fixes; labels and scheme are all that most tasks need.

        Args:
            base: the model that begins, without the task's head.

        Raises:
            RecipeError: that model cannot learn it.
        """
        return Known(dataset.labels, dataset.scheme)

    def most_tokens(self, base: TransformerConfig) -> int:
        """Tokens of a text that are read by a model of this shape; where the recipe does not say, what fits."""
        return self.max_tokens or min(base.max_length, MOST_TOKENS)

    def texts(self, examples: Sequence[Any]) -> Iterator[str]:
        """All that it reads of them and is to write: what a tokenizer of its own is trained on."""
        for each in examples:
            yield from each.texts

    def files(self) -> list[Path]:
        """Files beside the data that it reads; what is in them is part of a run's fingerprint.

        Raises:
            InputError: one is not there.
        """
        return []

    def new_tokens(self, dataset: Dataset[Any]) -> tuple[str, ...]:
        """Tokens that the task needs beside those of the model's tokenizer; most need none.

        Raises:
            RecipeError: the data lacks what they are made from.
        """
        return ()

    def start(self, base: Path, known: Known, *, seed: int) -> Start:
        """The model in the folder ``base`` with the task's head.

        Raises:
            RecipeError: models of its family have no such head.
        """
        count = self.outputs(known)
        names = known.labels if len(known.labels) == count else ()
        return begin(base, self.head, labels=count, names=names, seed=seed)

    def know_head(self, model: Transformer, examples: Sequence[Any], known: Known, reader: TextReader) -> Known:
        """What is known, beside how far the head that the folder has is of another kind than the data."""
        return known

    def take_over(self, model: Transformer, known: Known) -> None:
        """Change the head that the folder has had so that its scores mean what they do in this training."""

    def outputs(self, known: Known) -> int:
        """Scores that the head has."""
        return len(known.labels)

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        """Of all examples, in order; targets where they say what is right."""
        raise NotImplementedError(type(self).__name__)

    @property
    def reads_all(self) -> bool:
        """Whether nothing of a long text is left out."""
        return self.windows

    @property
    def leaves_out(self) -> bool:
        """Whether a text of too many tokens is left out or refused, so that whatever is read is read whole."""
        return False

    @property
    def refers(self) -> bool:
        """Whether it learns from how a model differs from the one that begins, whose numbers features then keep."""
        return False

    def refer(self, features: Sequence[Feature], numbers: Sequence[Tensor]) -> list[Feature]:
        """The features with what the model that begins makes of them, of which ``numbers`` has a tensor each."""
        raise NotImplementedError(type(self).__name__)

    def of_step(self, model: Transformer, micro: Sequence[Batch], known: Known, total: Total) -> Known:
        """``known`` with what holds for one step, such as means over all of its micro-batches.

        See :class:`danlu.objectives.protocol.LessonOfSteps`.
        """
        return known

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        """The SUM of each loss over its scored targets, in nats."""
        raise NotImplementedError(type(self).__name__)

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        """What answers are made from, a tensor a feature, in the order of the batch."""
        raise NotImplementedError(type(self).__name__)

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        """An answer an example, from the numbers of all features."""
        raise NotImplementedError(type(self).__name__)

    def tuned(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> Known:
        """What is known once the model has answered dev, such as the threshold that suits it best."""
        return known

    def metric(self, known: Known) -> Metric[Any, Any]:
        """What compares golds with the values of answers."""
        raise NotImplementedError(type(self).__name__)

    @property
    def criterion(self) -> str:
        """The figure by which the best checkpoint is known."""
        raise NotImplementedError(type(self).__name__)

    @property
    def on_the_way(self) -> int:
        """Examples of dev whose figures are measured on the way; all are in the end."""
        return 4000

    def finish(self, model: Transformer, known: Known) -> Known:
        """Change the trained model so that its scores mean what other tools expect; what is known of it then."""
        return known

    def as_used(self) -> Task:
        """What the trained model is used for: mostly what it has learned."""
        return self

    def equip(self, model: Transformer, folder: Path, reader: TextReader) -> None:
        """Write what else the saved model's folder needs, where others look for it.

        Args:
            reader: of the model that began.
        """
