"""From token embeddings to the input of a stack's first block.

Axes: B batch, T tokens, W tokens with the virtual ones, D model width.
"""

from __future__ import annotations

from torch import Tensor, nn

from danlu.nn import config
from danlu.nn.dropout import dropout
from danlu.nn.norm import make_norm
from danlu.nn.positions import AddedPositions
from danlu.nn.virtual import Row


class Entry(nn.Module):
    """Scale, virtual tokens, positions, token types, norm, dropout.

    Args:
        max_length: positions that there are.
    """

    prompt: nn.Parameter | None
    """``[P, D]``: what virtual tokens have in place of scaled embeddings; None where there are none of a prompt."""

    def __init__(self, entry: config.Entry, dim: int, *, max_length: int) -> None:
        super().__init__()
        self.scale, self.dropout = entry.scale, entry.dropout
        self.positions = AddedPositions(entry.positions, length=max_length, dim=dim) if entry.positions else None
        self.types = nn.Embedding(entry.types, dim) if entry.types else None
        self.norm = make_norm(entry.norm, dim)
        self.register_parameter("prompt", None)

    def forward(
        self, x_BTD: Tensor, positions_BW: Tensor | None, types_BT: Tensor | None, row: Row | None = None
    ) -> Tensor:
        """``[B, W, D]``: of the row with its virtual tokens where there is one, else W is T."""
        if self.scale != 1.0:
            x_BTD = x_BTD * self.scale
        x_BWD, types_BW = x_BTD, types_BT
        if row is not None:
            x_BWD = row.widened(x_BTD, self.prompt)
            types_BW = None if types_BT is None else row.widened(types_BT)
        if self.types is not None:
            x_BWD = x_BWD + (self.types.weight[0] if types_BW is None else self.types(types_BW))
        if self.positions is not None:
            assert positions_BW is not None
            x_BWD = x_BWD + self.positions(positions_BW).type_as(x_BWD)
        return dropout(self.norm(x_BWD), self.dropout, self.training)
