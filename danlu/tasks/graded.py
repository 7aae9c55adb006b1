"""Embeddings of pairs with a grade: the more alike two texts are, the greater the cosine of their vectors.

Axes: N documents of the rows, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.data.labelled import SIMILARITY
from danlu.errors import RecipeError
from danlu.metrics.regression import Correlation
from danlu.nn.config import TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.tasks.feature import Feature
from danlu.tasks.task import Answer, Known
from danlu.tasks.text_reader import TextReader
from danlu.tasks.vectors import VectorTask, first_of_documents


class EmbedPairs(VectorTask):
    """Cosines that are in the order of the grades of pairs, or equal to them."""

    form: ClassVar[Form[Any]] = SIMILARITY
    loss: ClassVar[str] = "pairs"

    objective: Literal["cosent", "cosine"] = "cosent"
    """cosent: of two pairs of a step the one of the higher grade has the greater cosine, a soft ranking (Su 2022;
    Huang et al. 2024, arXiv:2409.08732); cosine: cosines are the grades from 0 to 1, by the least squares (Reimers &
    Gurevych 2019, arXiv:1908.10084)."""

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        super().know(dataset, base)
        grades = [each.number for each in dataset.splits["train"]]
        if min(grades) == max(grades):
            raise RecipeError(f"finetune.data: all pairs have the grade {grades[0]:g}; there is nothing to learn")
        return Known(numbers={"low": min(grades), "high": max(grades)})

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        """Both texts as documents; the grade, 0 to 1 in training, stands at the first token."""
        low, high = known.numbers["low"], known.numbers["high"]
        read = reader.read([(text,) for each in examples for text in each.texts])
        features = []
        for number, (example, first, second) in enumerate(zip(examples, read[::2], read[1::2], strict=True)):
            targets = np.full(len(first.tokens) + len(second.tokens), IGNORE, dtype=np.float32)
            if example.number is not None:
                targets[0] = (example.number - low) / (high - low)
            types = np.concatenate([first.types, second.types]) if reader.types else None
            sizes = (len(first.tokens), len(second.tokens))
            tokens = np.concatenate([first.tokens, second.tokens])
            features.append(Feature(number, tokens, {self.loss: targets}, types, sizes, cut=first.cut or second.cut))
        return features

    def losses_of(self, vectors: Sequence[Tensor], batches: Sequence[Batch], known: Known) -> dict[str, Tensor]:
        grades_P = first_of_documents(batches, self.loss)[::2]
        scored_P = grades_P != IGNORE
        parts = self.lengths(torch.cat(list(vectors)))
        total = parts[0].new_zeros(())
        for units in parts:
            cosines_P = (units[::2] * units[1::2]).sum(-1)[scored_P]
            total = total + self._loss(cosines_P, grades_P[scored_P])
        return {self.loss: total / len(parts)}

    def _loss(self, cosines_P: Tensor, grades_P: Tensor) -> Tensor:
        if self.objective == "cosine":
            return F.mse_loss(cosines_P, grades_P.to(cosines_P.dtype), reduction="sum")
        scores_P = cosines_P / self.temperature
        wrong_PP = scores_P[:, None] - scores_P[None]
        wrong = wrong_PP[grades_P[:, None] < grades_P[None]]
        # One number of a whole step; the loop divides by its pairs.
        return torch.cat([wrong.new_zeros(1), wrong]).logsumexp(0) * len(cosines_P)

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        """The cosine of each pair."""
        units_ND = F.normalize(self.vectors(model, batch), dim=-1)
        return list((units_ND[::2] * units_ND[1::2]).sum(-1).cpu())

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        return [Answer(float(each)) for each in numbers]

    def metric(self, known: Known) -> Correlation:
        return Correlation()

    @property
    def criterion(self) -> str:
        return "spearman"
