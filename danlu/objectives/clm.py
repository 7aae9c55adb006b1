"""Causal language modelling: predict each token from those before it in its own document."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from danlu.corpus.batches import Array, Batch, Example
from danlu.nn.transformer import Transformer
from danlu.recipe import Choice


class CausalLM(Choice):
    """Next-token prediction (Radford et al. 2019); packed documents never see each other."""

    def example(self, row: Array, *, eot: int, noise: np.random.Generator) -> Example:
        """An end-of-text token begins a document: it is seen by that document only, and predicted by the one before."""
        tokens = row[:-1]
        return Example({"tokens": tokens, "segments": np.cumsum(tokens == eot)}, row[1:])

    def loss(self, model: Transformer, batch: Batch) -> Tensor:
        segments = batch.inputs["segments"]
        one_document = bool((segments == segments[:, :1]).all())
        hidden = model(batch.inputs["tokens"], segments=None if one_document else segments)
        total: Tensor = model.head.loss(hidden, batch.targets)
        return total
