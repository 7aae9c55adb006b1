"""A mixture of experts in place of an MLP: a router sends every token to a few gated MLPs.

Axes: N tokens, X experts, R experts a token takes, D model width, M width inside an expert.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn import config
from danlu.nn.mlp import ACTIVATIONS, MLP


class Experts(nn.Module):
    """Top-k routing over the softmax of all experts (Shazeer et al. 2017, arXiv:1701.06538; Qwen3-MoE's form).

    ``balance_loss`` is that of the last forward pass in training mode; a step adds it to its loss.
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
        self.balance_loss: Tensor | None = None

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_ND = x_BTD.flatten(0, -2)
        share_NX = F.softmax(self.router(x_ND).float(), dim=-1)
        weight_NR, chosen_NR = share_NX.topk(self.settings.per_token, dim=-1)
        if self.settings.normalise:
            weight_NR = weight_NR / weight_NR.sum(-1, keepdim=True)
        counts = self.training and self.settings.balance
        self.balance_loss = self._balance(share_NX, chosen_NR) * self.settings.balance if counts else None
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

    def _balance(self, share_NX: Tensor, chosen_NR: Tensor) -> Tensor:
        """Experts times the sum over them of (share of routed tokens) x (mean probability): 1 where all are even."""
        count, chosen = self.settings.count, chosen_NR.flatten()
        routed_X = share_NX.new_zeros(count).index_add(0, chosen, share_NX.new_ones(len(chosen))) / len(chosen)
        return count * (routed_X * share_NX.mean(0)).sum()
