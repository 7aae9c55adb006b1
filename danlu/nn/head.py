"""The language-model head: hidden states to logits, and to a loss without ever holding all logits.

Axes: N tokens, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn.config import TransformerConfig

CHUNK_TOKENS = 512
"""Logits held at once; peak memory is ``CHUNK_TOKENS * V`` whatever the batch."""


ChunkLoss = Callable[[Tensor, Tensor, float | None], tuple[Tensor, Tensor, Tensor]]
""":func:`chunk_loss`, compiled or not."""


class LanguageModelHead(nn.Module):
    """``softcap(hidden @ weight.T)``."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.softcap = config.softcap
        self.chunk_loss: ChunkLoss = chunk_loss
        self.weight = nn.Parameter(torch.empty(config.vocab_size, config.dim))

    def tie(self, embedding: nn.Embedding) -> None:
        """Use the embedding's weight (Press & Wolf 2017, arXiv:1608.05859)."""
        assert isinstance(embedding.weight, nn.Parameter)
        self.weight = embedding.weight

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits ``[…, V]`` of hidden states ``[…, D]``."""
        return soft_cap(F.linear(hidden, self.weight), self.softcap)

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """The SUM of the cross entropies in nats, float32; negative targets count nothing."""
        flat = hidden.reshape(-1, hidden.shape[-1])
        total: Tensor = LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            flat, self.weight, targets.reshape(-1), self.softcap, self.chunk_loss
        )
        return total


def soft_cap(logits: Tensor, cap: float | None) -> Tensor:
    """Squash logits into (-cap, cap) (Gemma Team 2024, arXiv:2408.00118); None leaves them."""
    return logits if cap is None else cap * torch.tanh(logits / cap)


def chunk_loss(logits_NV: Tensor, targets_N: Tensor, cap: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Summed cross entropy of one chunk, and its gradient with respect to the raw logits, in two factors.

    The gradient is ``scale_N1 * gradient_NV``: to divide each row by the sum of its exponentials would take
    another pass over all logits; the rows of hidden states that it is multiplied by are far shorter.
    """
    index_N1 = targets_N.clamp_min(0)[:, None]
    capped, slope, highest = _capped(logits_NV.float(), cap)
    weights = torch.exp(capped - highest)
    total_N1 = weights.sum(-1, keepdim=True)
    scored_N1 = (targets_N >= 0)[:, None].float()
    loss_N1 = highest + torch.log(total_N1) - capped.gather(1, index_N1)
    gradient = (weights * slope).to(logits_NV.dtype)
    at_target = slope.gather(1, index_N1) * (weights.gather(1, index_N1) - total_N1)
    gradient = gradient.scatter(1, index_N1, at_target.to(logits_NV.dtype))
    return (loss_N1 * scored_N1).sum(), gradient, scored_N1 / total_N1


def _capped(logits_NV: Tensor, cap: float | None) -> tuple[Tensor, Tensor, Tensor | float]:
    """Capped logits, their derivative, and a bound above them that keeps exponentials finite.

    The hyperbolic tangent is written by an exponential, which compiles to code twice as fast.
    """
    if cap is None:
        return logits_NV, torch.ones_like(logits_NV), logits_NV.amax(-1, keepdim=True)
    tanh = 1.0 - 2.0 / (torch.exp(logits_NV * (2.0 / cap)) + 1.0)
    return tanh * cap, 1.0 - tanh * tanh, cap


class LinearCrossEntropy(torch.autograd.Function):
    """Head and cross entropy in one, chunk by chunk (as Liger Kernel, Hsu et al. 2024, arXiv:2410.10989).

    The gradients are made in the forward pass, while a chunk's logits are still in the cache.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, cap: float | None, chunk_loss: ChunkLoss
    ) -> Tensor:
        needs_gradient = hidden_ND.requires_grad or weight_VD.requires_grad
        grad_hidden = torch.empty_like(hidden_ND)
        grad_weight = torch.zeros(weight_VD.shape, dtype=torch.float32, device=weight_VD.device)
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        room = hidden_ND.new_empty(min(CHUNK_TOKENS, hidden_ND.shape[0]), weight_VD.shape[0])
        for start in range(0, hidden_ND.shape[0], CHUNK_TOKENS):
            part = slice(start, start + CHUNK_TOKENS)
            logits_NV = torch.mm(hidden_ND[part], weight_VD.T, out=room[: hidden_ND[part].shape[0]])
            loss, gradient_NV, scale_N1 = chunk_loss(logits_NV, targets_N[part], cap)
            total += loss
            if needs_gradient:
                torch.mul(gradient_NV @ weight_VD, scale_N1, out=grad_hidden[part])
                scaled_ND = (hidden_ND[part] * scale_N1).to(hidden_ND.dtype)
                if grad_weight.dtype == gradient_NV.dtype:
                    grad_weight.addmm_(gradient_NV.T, scaled_ND)
                else:
                    grad_weight += gradient_NV.T @ scaled_ND
        ctx.save_for_backward(grad_hidden, grad_weight.to(weight_VD.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grads[0], grad_weight * grads[0], None, None, None
