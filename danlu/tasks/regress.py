"""Regression: a number for a text (stars, a price), or for a pair of texts (similarity).

The model learns numbers of mean 0 and spread 1, whatever those of the file are; its head is scaled back in the end,
so that other tools read the file's own numbers from it.

Axes: E texts of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.data.labelled import REGRESS, SIMILARITY
from danlu.errors import RecipeError
from danlu.log import say
from danlu.metrics.regression import Regression
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.start import Kind
from danlu.nn.transformer import Transformer
from danlu.tasks.answering import answer
from danlu.tasks.chunks import TextTask
from danlu.tasks.feature import Feature
from danlu.tasks.task import Answer, Known
from danlu.tasks.text_reader import TextReader

ROUNDED = 1e-6
"""Share of a number that may be rounding."""
UNSCALED = Known(numbers={"mean": 0.0, "spread": 1.0})
LOOKED_AT = 512
"""Examples by which it is told whether a head that is kept says numbers of the data's scale."""


class Regress(TextTask):
    """A number for each text, by the least squares."""

    form: ClassVar[Form[Any]] = REGRESS
    head: ClassVar[Kind] = "ForSequenceClassification"
    loss: ClassVar[str] = "squares"
    exact: ClassVar[bool] = True
    problem: ClassVar[str | None] = "regression"

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        values = [each.number for each in dataset.splits["train"]]
        if min(values) == max(values):
            raise RecipeError(
                f"finetune.data: all {len(values):,} numbers are {values[0]:g}; there is nothing to learn"
            )
        if base.encoder is None:  # whose head has no bias, which would be the mean
            return UNSCALED
        mean = math.fsum(values) / len(values)
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        return Known(numbers={"mean": mean, "spread": spread or 1.0})

    def outputs(self, known: Known) -> int:
        return 1

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        mean, spread = known.numbers["mean"], known.numbers["spread"]
        golds = [float(IGNORE) if each.number is None else (each.number - mean) / spread for each in examples]
        return self.read(examples, reader, {self.loss: golds})

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        targets_E = self.right(batch, self.loss)
        errors_E = self.scores(model, batch).squeeze(-1) - targets_E
        return {self.loss: (errors_E.square() * (targets_E != IGNORE)).sum()}

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        return list(self.scores(model, batch).cpu())

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        mean, spread = known.numbers["mean"], known.numbers["spread"]
        return [Answer(float(each) * spread + mean) for each in numbers]

    def metric(self, known: Known) -> Regression:
        return Regression()

    @property
    def criterion(self) -> str:
        return "pearson"

    def know_head(self, model: Transformer, examples: Sequence[Any], known: Known, reader: TextReader) -> Known:
        """Where the head that the folder has is further off than the mean, as one of another scale is: by the least
        squares, what its numbers are multiplied by, and what is added; the order that it has learned is kept."""
        if known == UNSCALED:
            return known
        some = examples[:LOOKED_AT]
        answers = answer(self, model, self.features(some, known, reader), some, UNSCALED, reader)
        said, golds = np.array([each.value for each in answers]), np.array([each.number for each in some])
        if np.square(said - golds).mean() <= golds.var() + ROUNDED * np.square(golds).mean():
            return known
        alike = said.std() <= ROUNDED * np.abs(said).max()  # of a constant nothing can be kept
        factor = 0.0 if alike else max(0.0, float(np.cov(said, golds, bias=True)[0, 1] / said.var()))
        added = float(golds.mean() - factor * said.mean())
        say(f"the numbers of the head that is kept are of another scale: {factor:.4g} of them, and {added:+.4g}")
        return replace(known, numbers={**known.numbers, "factor": factor, "added": added})

    @torch.no_grad()
    def take_over(self, model: Transformer, known: Known) -> None:
        """Scale the head to mean 0 and spread 1, so that it begins with the numbers that it has said before.

        In a folder it says numbers as they are (:meth:`finish`), those of another file for what is known here.
        """
        if known != UNSCALED:
            out, spread = model.head.out, known.numbers["spread"]
            factor, added = known.numbers.get("factor", 1.0), known.numbers.get("added", 0.0)
            out.weight.mul_(factor / spread)
            out.bias.mul_(factor).add_(added - known.numbers["mean"]).div_(spread)

    @torch.no_grad()
    def finish(self, model: Transformer, known: Known) -> Known:
        """Scale the head back; its scores are then the file's own numbers."""
        if known != UNSCALED:
            out = model.head.out
            out.weight.mul_(known.numbers["spread"])
            out.bias.mul_(known.numbers["spread"]).add_(known.numbers["mean"])
        return UNSCALED


class Similarity(Regress):
    """How alike two texts are, as a number."""

    form: ClassVar[Form[Any]] = SIMILARITY
