"""Causal language modelling: predict each token from those before it in its own document."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from danlu.corpus.batches import IGNORE, Array, Batch, Example
from danlu.nn.transformer import Transformer
from danlu.recipe import Choice


class CausalLM(Choice):
    """Next-token prediction (Radford et al. 2019); packed documents never see each other."""

    def example(self, row: Array, *, eot: int | None, noise: np.random.Generator) -> Example:
        """An end-of-text token begins a document: it is seen by that document only, and predicted by the one before."""
        inputs = {"tokens": row[:-1]}
        if eot is not None:
            inputs["segments"] = np.cumsum(row[:-1] == eot)
        return Example(inputs, row[1:])

    def loss(self, model: Transformer, batch: Batch) -> Tensor:
        hidden = model(batch.inputs["tokens"], segments=batch.inputs.get("segments"))
        total: Tensor = model.head.loss(hidden, batch.targets)
        balance = model.balance_loss(batch.targets != IGNORE)
        return total if balance is None else total + balance * batch.count  # a sum, as all losses are
