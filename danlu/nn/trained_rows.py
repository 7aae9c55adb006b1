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
    """The weight of ``base`` as it is, but for the rows of ``tokens``, which are a parameter of their own.

    Args:
        tokens: ids, each above the one before.
    """

    tokens: Tensor

    def __init__(self, base: nn.Embedding, tokens: Sequence[int]) -> None:
        super().__init__(base.num_embeddings, base.embedding_dim, _weight=base.weight.detach())
        self.weight = base.weight
        self.register_buffer("tokens", torch.tensor(tokens, device=base.weight.device), persistent=False)
        self.rows = nn.Parameter(base.weight.detach()[self.tokens].clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """``[…, D]``."""
        place = torch.searchsorted(self.tokens, tokens.to(self.tokens.dtype).contiguous())
        place = place.clamp(max=len(self.tokens) - 1)
        # Torch adds up the gradient of this look-up in the same order each time, which is not so of every other.
        own = F.embedding(place, self.rows)
        return torch.where((self.tokens[place] == tokens)[..., None], own, super().forward(tokens))


class Replaced(nn.Embedding):
    """An embedding that holds other rows for ``tokens`` than its model came with; they do not learn.

    A head that is tied to it reads them too.
    """

    tokens: Tensor

    @torch.no_grad()
    def __init__(self, base: nn.Embedding, tokens: Sequence[int], rows_ND: Tensor) -> None:
        super().__init__(base.num_embeddings, base.embedding_dim, _weight=base.weight.detach())
        self.weight = base.weight
        self.register_buffer("tokens", torch.tensor(tokens, device=base.weight.device), persistent=False)
        self.weight[self.tokens] = rows_ND.to(self.weight)

    @property
    def rows(self) -> Tensor:
        """``[N, D]``."""
        return self.weight[self.tokens]


def train_rows(model: Transformer, tokens: Sequence[int]) -> None:
    """Have the rows of these tokens learn, whose ids rise, where the embedding as a whole does not."""
    if not tokens or model.embedding.weight.requires_grad:
        return
    assert list(tokens) == sorted(set(tokens)), "ids rise"
    assert not model.config.tied, "a tied head would read the rows as they were"
    model.embedding = PartlyTrained(model.embedding, tokens)


def replace_rows(model: Transformer, tokens: Sequence[int], rows_ND: Tensor) -> None:
    """Give a frozen embedding these rows, of tokens whose ids rise; they learn where no head is tied to them."""
    if model.config.tied:
        model.embedding = Replaced(model.embedding, tokens, rows_ND)
        return
    train_rows(model, tokens)
    assert isinstance(model.embedding, PartlyTrained)
    with torch.no_grad():
        model.embedding.rows.copy_(rows_ND)


def own_rows(model: Transformer) -> tuple[list[int], Tensor] | None:
    """Ids of the tokens that have rows of their own, and those ``[N, D]``; None where there are none."""
    own = model.embedding
    return (own.tokens.tolist(), own.rows.detach()) if isinstance(own, PartlyTrained | Replaced) else None


@torch.no_grad()
def put_back(model: Transformer) -> None:
    """Have the embedding be a plain one again that holds what its rows have learned."""
    own = model.embedding
    if isinstance(own, PartlyTrained):
        own.weight[own.tokens] = own.rows
    if isinstance(own, PartlyTrained | Replaced):
        model.embedding = nn.Embedding(own.num_embeddings, own.embedding_dim, _weight=own.weight.detach())
        model.embedding.weight = own.weight
