"""Classification: one label for a text, or for a pair of texts (inference, paraphrase, matching).

Axes: E texts of the rows, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.data.labelled import CLASSIFY, PAIR
from danlu.errors import RecipeError, suggestion
from danlu.metrics.classification import Classification
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.start import Kind
from danlu.nn.transformer import Transformer
from danlu.tasks.chunks import TextTask
from danlu.tasks.class_weights import Weights, weights, weights_of
from danlu.tasks.documents import twice
from danlu.tasks.feature import Feature
from danlu.tasks.task import Answer, Known
from danlu.tasks.text_reader import TextReader
from danlu.ticks import ticking
from danlu.train.dropout import drops


class OneLabel(TextTask):
    """One of several labels for each example, whatever is read of it."""

    head: ClassVar[Kind] = "ForSequenceClassification"
    loss: ClassVar[str] = "label"

    class_weights: Weights = "none"
    """balanced: a label counts by how rare it is, all labels together as much as without (King & Zeng 2001); or what
    some labels count, by name, where the others count 1: {rare: 5}."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread evenly over the labels (Szegedy et al. 2016, arXiv:1512.00567)."""
    r_drop: float = Field(default=0.0, ge=0)
    """Weight of a second loss, by which two readings of a text under different dropout have to agree: half of ``alpha``
    in R-Drop (Liang et al. 2021, arXiv:2106.14448). Every text is then read twice a step."""

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        if self.r_drop and not drops(base):
            raise RecipeError("finetune.task.r_drop compares readings under dropout, of which this model has none")
        train = dataset.splits["train"]
        counts = {label: sum(each.label == label for each in train) for label in dataset.labels}
        balanced = {label: len(train) / (len(counts) * max(1, count)) for label, count in counts.items()}
        return Known(dataset.labels, numbers=weights(self.class_weights, dataset.labels, balanced))

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        place_of = {label: place for place, label in enumerate(known.labels)}
        golds = [IGNORE if each.label is None else place_of.get(each.label, IGNORE) for each in examples]
        return self.read(examples, reader, {self.loss: golds})

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        targets_E = self.right(batch, self.loss)
        if not self.r_drop or not model.training:
            return {self.loss: self._losses(self.scores(model, batch), targets_E, known, model.training).sum()}
        first_EL, second_EL = self.scores(model, twice(batch)).chunk(2)
        each_E = sum(self._losses(each, targets_E, known, True) for each in (first_EL, second_EL)) / 2
        return {self.loss: (each_E + self.r_drop * divergences(first_EL, second_EL)).sum()}

    def _losses(self, scores_EL: Tensor, targets_E: Tensor, known: Known, training: bool) -> Tensor:
        """``[E]``."""
        smoothing = self.label_smoothing if training else 0.0
        each_E = F.cross_entropy(scores_EL, targets_E, reduction="none", label_smoothing=smoothing, ignore_index=IGNORE)
        if self.class_weights != "none":
            each_E = each_E * weights_of(known, each_E.device)[targets_E.clamp_min(0)]
        return each_E

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        return list(self.scores(model, batch).softmax(-1).cpu())

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        answers = []
        for shares in (each.tolist() for each in ticking(numbers)):
            best = max(range(len(shares)), key=shares.__getitem__)
            scores = dict(zip(known.labels, shares, strict=True))
            answers.append(Answer(known.labels[best], shares[best], scores))
        return answers


def divergences(first_EL: Tensor, second_EL: Tensor) -> Tensor:
    """``[E]``: of two distributions from the other, in nats, the mean of both ways (Kullback & Leibler 1951)."""
    first, second = first_EL.log_softmax(-1), second_EL.log_softmax(-1)
    return ((first.exp() - second.exp()) * (first - second)).sum(-1) / 2


class Classify(OneLabel):
    """One of several labels for each text."""

    form: ClassVar[Form[Any]] = CLASSIFY

    positive: str | None = None
    """Of two labels the one that is looked for: precision, recall and F1 are its own."""

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        if self.positive is not None and self.positive not in dataset.labels:
            near = suggestion(self.positive, dataset.labels)
            raise RecipeError(f"finetune.task.positive: there is no label {self.positive!r}{near}")
        return super().know(dataset, base)

    def metric(self, known: Known) -> Classification:
        return Classification(labels=known.labels, positive=self.positive)

    @property
    def criterion(self) -> str:
        return "accuracy" if self.class_weights == "none" else "macro.f1"


class Pair(Classify):
    """One of several labels for each pair of texts."""

    form: ClassVar[Form[Any]] = PAIR
