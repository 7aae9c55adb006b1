"""A block: attention, attention to the encoder's output where there is one, and an MLP, each added to the stream.

Axes: B batch, T tokens, D model width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from danlu.nn import config
from danlu.nn.attention import Attention, Context
from danlu.nn.dropout import dropout
from danlu.nn.experts import Experts
from danlu.nn.mlp import MLP
from danlu.nn.norm import make_norm
from danlu.nn.sight import Sight


class Block(nn.Module):
    """Norm before each part (``pre``), or after it is added to the stream (``post``)."""

    def __init__(
        self, stack: config.Stack, layer: config.Layer, dim: int, *, number: int, rotary: int | None, max_length: int
    ) -> None:
        super().__init__()
        self.post = stack.place == "post"
        self.dropout = stack.dropout
        share = stack.drop_path * number / max(1, len(stack.layers) - 1)
        self.drops_rows = share > 0
        # A tensor, so that one compilation serves all layers; on the processor even where the model is built on meta.
        self.rows_kept = torch.tensor(1.0 - share, device="cpu")
        self.norm_attention = make_norm(stack.norm if layer.first_norm else None, dim)
        self.attention = Attention(layer.attention, dim, rotary=rotary, max_length=max_length)
        self.cross: Attention | None = None
        if layer.cross is not None:
            self.norm_cross = make_norm(stack.norm, dim)
            self.cross = Attention(layer.cross, dim)
        self.norm_mlp = make_norm(stack.norm, dim)
        experts = isinstance(layer.mlp, config.Experts)
        self.mlp = Experts(layer.mlp, dim) if experts else MLP(layer.mlp, dim)  # type: ignore[arg-type]

    def forward(self, x_BTD: Tensor, context: Context) -> Tensor:
        stream_BTD = x_BTD if context.only is None else x_BTD.index_select(1, context.only)
        if self.post:
            x_BTD = self.norm_attention(stream_BTD + self._dropped(self.attention(x_BTD, context)))
            if self.cross is not None:
                x_BTD = self.norm_cross(x_BTD + self._dropped(self.cross.across(x_BTD, context)))
            x_BTD = self.norm_mlp(x_BTD + self._dropped(self.mlp(x_BTD)))
            return x_BTD
        x_BTD = stream_BTD + self._dropped(self.attention(self.norm_attention(x_BTD), context))
        if self.cross is not None:
            x_BTD = x_BTD + self._dropped(self.cross.across(self.norm_cross(x_BTD), context))
        x_BTD = x_BTD + self._dropped(self.mlp(self.norm_mlp(x_BTD)))
        return x_BTD

    def serves_once(self, sight: Sight) -> bool:
        """Whether it can be worked out for one token of each document alone (``Context.only``)."""
        plain = self.cross is None and not isinstance(self.mlp, Experts) and self._compiled_call_impl is None
        return plain and self.attention.places is None and self.attention.runs_of(sight) is not None

    def projected(self, x_BTD: Tensor) -> tuple[Tensor, ...]:
        """The queries, keys and values of self-attention that the block makes of its input."""
        return self.attention.projected(x_BTD if self.post else self.norm_attention(x_BTD))

    def _dropped(self, part_BTD: Tensor) -> Tensor:
        """Dropout of single numbers, and of whole rows (stochastic depth)."""
        if not self.training:
            return part_BTD
        part_BTD = dropout(part_BTD, self.dropout)
        if self.drops_rows:
            kept_B11 = torch.rand(part_BTD.shape[0], 1, 1, device=part_BTD.device) < self.rows_kept
            part_BTD = part_BTD * (kept_B11 / self.rows_kept).to(part_BTD.dtype)
        return part_BTD
