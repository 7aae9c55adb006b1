"""Multi-label classification: any number of labels for a text, none too.

Axes: E texts of the rows, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.data.labelled import MULTI_LABEL
from danlu.errors import InputError
from danlu.metrics.classification import MultiLabel as Sets
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.start import Kind
from danlu.nn.transformer import Transformer
from danlu.tasks.chunks import TextTask
from danlu.tasks.class_weights import Weights, weights, weights_of
from danlu.tasks.feature import Feature
from danlu.tasks.task import Answer, Known
from danlu.tasks.text_reader import TextReader
from danlu.ticks import ticking

BITS = 32
"""Labels whose bits are in one number."""


class MultiLabel(TextTask):
    """A yes or no of each label for each text, by the mean binary cross entropy of all labels."""

    form: ClassVar[Form[Any]] = MULTI_LABEL
    head: ClassVar[Kind] = "ForSequenceClassification"
    loss: ClassVar[str] = "labels"
    problem: ClassVar[str | None] = "multi_label_classification"

    class_weights: Weights = "none"
    """What the texts that have a label count against those that have it not, as the pos_weight of torch's
    BCEWithLogitsLoss; balanced: for each label as many times as those are more than these in train, so that both sides
    count alike; or by name, where the others count 1: {rare: 5}."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability from which on a label is given."""

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        if not dataset.labels:
            train = dataset.splits["train"][0].place.file
            raise InputError(f"{train}: no row has a label; columns.labels is {dataset.columns.get('labels')!r}")
        examples = dataset.splits["train"]
        counts = {label: sum(label in each.labels for each in examples) for label in dataset.labels}
        # Of a label that all texts have, or none, neither side may count nothing.
        balanced = {label: max(1, len(examples) - count) / max(1, count) for label, count in counts.items()}
        return Known(dataset.labels, numbers=weights(self.class_weights, dataset.labels, balanced))

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        """What is right stands at the first tokens, a bit a label, so many of them in a number."""
        golds: dict[str, list[int | float]] = {}
        for start in range(0, len(known.labels), BITS):
            bit_of = {label: 1 << bit for bit, label in enumerate(known.labels[start : start + BITS])}
            golds[_name(start)] = [
                IGNORE if each.gold is None else sum(bit_of.get(label, 0) for label in each.gold) for each in examples
            ]
        return self.read(examples, reader, golds)

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        scores_EL = self.scores(model, batch)
        total, counts_L = scores_EL.new_zeros(()), weights_of(known, scores_EL.device)
        for start in range(0, len(known.labels), BITS):
            bits_E = self.right(batch, _name(start))
            part_EL = scores_EL[:, start : start + BITS]
            gold_EL = (bits_E[:, None] >> torch.arange(part_EL.shape[1], device=bits_E.device)) & 1
            each_EL = F.binary_cross_entropy_with_logits(
                part_EL, gold_EL.to(part_EL.dtype), reduction="none", pos_weight=counts_L[start : start + BITS]
            )
            total = total + (each_EL.sum(1) * (bits_E != IGNORE)).sum()
        return {self.loss: total / len(known.labels)}

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        return list(self.scores(model, batch).sigmoid().cpu())

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        answers = []
        for shares in (each.tolist() for each in ticking(numbers)):
            given = tuple(label for label, share in zip(known.labels, shares, strict=True) if share >= self.threshold)
            right = float(np.prod([max(share, 1 - share) for share in shares]))
            answers.append(Answer(given, right, dict(zip(known.labels, shares, strict=True))))
        return answers

    def metric(self, known: Known) -> Sets:
        return Sets(labels=known.labels)

    @property
    def criterion(self) -> str:
        return "micro.f1" if self.class_weights == "none" else "macro.f1"


def _name(start: int) -> str:
    """Of the targets whose bits are the labels from ``start`` on; the first is that of the loss, which counts texts."""
    return "labels" if start == 0 else f"labels_{start}"
