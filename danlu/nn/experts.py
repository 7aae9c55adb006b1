"""A mixture of experts in place of an MLP: a router sends every token to a few gated MLPs.

Axes: N tokens, X experts, R experts a token takes, D model width, M width inside an expert.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn import config
from danlu.nn.mlp import ACTIVATIONS, MLP


class Experts(nn.Module):
    """Top-k routing over the softmax of all experts (Shazeer et al. 2017, arXiv:1701.06538; Qwen3-MoE's form).

    ``routed`` is what the last forward pass in training mode did, for :func:`balance_loss`.
    """

    def __init__(self, settings: config.Experts, dim: int) -> None:
        super().__init__()
        self.settings = settings
        self.router = nn.Linear(dim, settings.count, bias=False)
        self.up = nn.Parameter(torch.empty(settings.count, 2 * settings.hidden, dim))
        self.down = nn.Parameter(torch.empty(settings.count, dim, settings.hidden))
        self.shared = (
            MLP(config.MLP(settings.shared, settings.activation, gated=True), dim) if settings.shared else None
        )
        self.routed: tuple[Tensor, Tensor] | None = None
        """Each token's probabilities ``[N, X]``, and the experts ``[N, R]`` that it took."""

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_ND = x_BTD.flatten(0, -2)
        share_NX = F.softmax(_exact(self.router(x_ND)), dim=-1)
        weight_NR, chosen_NR = share_NX.topk(self.settings.per_token, dim=-1)
        if self.settings.normalise:
            weight_NR = weight_NR / weight_NR.sum(-1, keepdim=True)
        counts = self.training and self.settings.balance
        self.routed = (share_NX, chosen_NR) if counts else None
        out_ND = self._mix(x_ND, weight_NR.to(x_ND.dtype), chosen_NR)
        if self.shared is not None:
            out_ND = out_ND + self.shared(x_ND)
        out_BTD: Tensor = out_ND.view_as(x_BTD)
        return out_BTD

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # the number of an expert's tokens is another each time
    def _mix(self, x_ND: Tensor, weight_NR: Tensor, chosen_NR: Tensor) -> Tensor:
        """Expert by expert, its own tokens only."""
        out_ND = torch.zeros_like(x_ND)
        activate = ACTIVATIONS[self.settings.activation]
        for expert in torch.bincount(chosen_NR.flatten()).nonzero().flatten().tolist():
            token, place = (chosen_NR == expert).nonzero(as_tuple=True)
            gate, value = F.linear(x_ND[token], self.up[expert]).chunk(2, dim=-1)
            made = F.linear(activate(gate) * value, self.down[expert])
            out_ND = out_ND.index_add(0, token, made * weight_NR[token, place, None])
        return out_ND


def _exact(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def forget_routed(blocks: Iterable[nn.Module]) -> None:
    """Have the experts of the blocks forget the last pass: one that is dropped in the next routes nothing."""
    for block in blocks:
        if isinstance(block.mlp, Experts):
            block.mlp.routed = None


def balance_loss(layers: Iterable[Experts], real_N: Tensor | None = None) -> Tensor | None:
    """The weighted load-balancing loss of the last forward pass in training; None where nothing was routed.

    Experts times the sum over them of (how often a token took it) x (its mean probability), from Switch
    Transformer (Fedus et al. 2022, arXiv:2101.03961, eq. 4 to 6). Two things are as in ``transformers``:
    layers of the same settings are taken together, as if their tokens were those of one layer, where the
    paper adds up a loss for each; and how often an expert is taken adds up to R, where the paper has one
    expert a token. So it is ``balance`` x R where all are even.

    Args:
        real_N: booleans, the same for all layers: which tokens are no padding; all where None.
    """
    alike: dict[config.Experts, list[tuple[Tensor, Tensor]]] = {}
    for layer in layers:
        if layer.routed is not None:
            alike.setdefault(layer.settings, []).append(layer.routed)
    losses = [_balance(settings, routed, real_N) * settings.balance for settings, routed in alike.items()]
    return torch.stack(losses).sum() if losses else None


def _balance(settings: config.Experts, routed: Sequence[tuple[Tensor, Tensor]], real_N: Tensor | None) -> Tensor:
    """1 x R where all experts are taken equally often."""
    count = settings.count
    taken_X = share_X = routed[0][0].new_zeros(count)
    for share_NX, chosen_NR in routed:
        weight_N1 = share_NX.new_ones(len(share_NX), 1) if real_N is None else real_N[:, None].to(share_NX.dtype)
        weight_NR = weight_N1.expand_as(chosen_NR)
        taken_X = taken_X.index_add(0, chosen_NR.flatten(), weight_NR.flatten())
        share_X = share_X + (share_NX * weight_N1).sum(0)
    tokens = (taken_X.sum() / settings.per_token).clamp_min(1)  # where there are none, nothing is out of balance
    return count * (taken_X / tokens * (share_X / tokens)).sum()
