"""NorMuon: Muon whose updates are evened out neuron by neuron (Li et al. 2025, arXiv:2510.05491).

The rows of an orthogonal matrix differ in length; the running mean of their squares, as in Adam but
one number a row, brings neurons that are updated more than others back to the mean. The size of a
whole update is Muon's here, where the paper makes it ``0.2 sqrt(RC)``.

Axes: N matrices of one shape, R rows, C columns.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from danlu.optim.muon import Muon, MuonOptimizer
from danlu.optim.protocol import Decay, NamedParameters


class NorMuon(Muon):
    """Muon's settings, and one more."""

    neuron_beta: Decay = Field(default=0.95)
    """The share of a neuron's mean squared update that one step leaves as it was."""

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        return NorMuonOptimizer(self.groups(parameters), self)


class NorMuonOptimizer(MuonOptimizer):
    """The norm of each matrix's whole update stays as Muon has it."""

    settings: NorMuon

    def _shaped(self, updates_NRC: Tensor, weights: list[Tensor]) -> Tensor:
        beta = self.settings.neuron_beta
        square_NR1 = updates_NRC.square().mean(2, keepdim=True)
        kept = [self._buffer(weight, "neurons", weight[..., :1]) for weight in weights]
        torch._foreach_lerp_(kept, list(square_NR1.view(len(weights), *kept[0].shape).unbind()), 1 - beta)
        scale_NR1 = torch.stack(kept).view_as(square_NR1).clamp_min(1e-10).rsqrt()
        before, after = square_NR1.sum(1, keepdim=True), (square_NR1 * scale_NR1.square()).sum(1, keepdim=True)
        return updates_NRC * (scale_NR1 * (before / after.clamp_min(1e-12)).sqrt())
