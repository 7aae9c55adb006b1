"""A frozen embedding of which some rows learn, as those of tokens that are new to a model must.

Axes: N rows that learn, D model width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn.transformer import Transformer

ROWS = "embedding.rows"
"""What the parameter is called in a model."""


class PartlyTrained(nn.Embedding):
    """The weight of ``base`` as it is, but for ``count`` rows from ``first`` on, which are a parameter of their own."""

    def __init__(self, base: nn.Embedding, first: int, count: int) -> None:
        super().__init__(base.num_embeddings, base.embedding_dim, _weight=base.weight.detach())
        self.weight, self.first = base.weight, first
        self.rows = nn.Parameter(base.weight.detach()[first : first + count].clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """``[…, D]``."""
        place, last = tokens - self.first, len(self.rows) - 1
        # Torch adds up the gradient of this look-up in the same order each time, which is not so of every other.
        own = F.embedding(place.clamp(0, last), self.rows)
        return torch.where(((place >= 0) & (place <= last))[..., None], own, super().forward(tokens))


def train_rows(model: Transformer, tokens: Sequence[int]) -> None:
    """Have the rows of these tokens learn, whose ids follow each other, where the embedding as a whole does not."""
    if not tokens or model.embedding.weight.requires_grad:
        return
    assert list(tokens) == list(range(tokens[0], tokens[0] + len(tokens))), "ids of new tokens follow each other"
    assert not model.config.tied, "a tied head would read the rows as they were"
    model.embedding = PartlyTrained(model.embedding, tokens[0], len(tokens))


def trained_tokens(model: Transformer) -> list[int]:
    """Ids of the tokens whose rows learn alone."""
    own = model.embedding
    return list(range(own.first, own.first + len(own.rows))) if isinstance(own, PartlyTrained) else []


@torch.no_grad()
def put_back(model: Transformer) -> None:
    """Have the embedding be a plain one again that holds what its rows have learned."""
    own = model.embedding
    if isinstance(own, PartlyTrained):
        own.weight[own.first : own.first + len(own.rows)] = own.rows
        model.embedding = nn.Embedding(own.num_embeddings, own.embedding_dim, _weight=own.weight.detach())
        model.embedding.weight = own.weight
