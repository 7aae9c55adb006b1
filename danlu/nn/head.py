"""The language-model head: hidden states to logits, and to a loss that never holds more than a part of them.

Axes: N tokens, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn import config
from danlu.nn.dropout import dropout
from danlu.nn.mlp import ACTIVATIONS
from danlu.nn.norm import make_norm

LOGITS_AT_ONCE = 2**24
"""Logits held at once, whatever the batch and the vocabulary: 32 MiB in bfloat16."""
LOGITS_ON_GPU = 2**27
"""The same on a GPU, which small products leave idle: 256 MiB. Their losses are taken at once."""
LOGITS_IN_CACHE = 2**20
"""Logits whose losses are taken at once; their float32 intermediates then stay in the processor's cache."""
BOUNDING_CAP = 30.0
"""Up to here the cap itself is bound enough: exponentials of ``logits - cap`` do not vanish in float32."""


ChunkLoss = Callable[[Tensor, Tensor, float | None, float, float], Tensor]
""":func:`chunk_loss`, compiled or not."""
OfChunk = Callable[[Tensor, Tensor], Tensor]
"""From raw logits and their targets to a summed loss; the logits become its gradient."""


class Transform(nn.Module):
    """A linear layer, an activation, and a norm where there is one; in training with dropout before all that."""

    def __init__(self, settings: config.Dense, dim: int) -> None:
        super().__init__()
        self.activation, self.dropout = settings.activation, settings.dropout
        self.dense = nn.Linear(dim, dim, bias=settings.bias)
        self.norm = make_norm(settings.norm, dim)

    def forward(self, hidden: Tensor) -> Tensor:
        dropped = dropout(hidden, self.dropout, self.training)
        out: Tensor = self.norm(ACTIVATIONS[self.activation](self.dense(dropped)))
        return out


class LanguageModelHead(nn.Module):
    """``softcap(transform(hidden) * scale @ weight.T + bias)``, most of which most models leave out."""

    def __init__(self, settings: config.Head, *, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.softcap, self.scale = settings.softcap, settings.scale
        self.chunk_loss: ChunkLoss = chunk_loss
        self.product: nn.Module | None = None
        """What multiplies by the weight in its place, where it is there in another layout (``nn/packed.py``)."""
        self.transform = Transform(settings.transform, dim) if settings.transform is not None else None
        self.weight = nn.Parameter(torch.empty(vocab_size, dim))
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if settings.bias else None

    def tie(self, embedding: nn.Embedding) -> None:
        """Use the embedding's weight."""
        assert isinstance(embedding.weight, nn.Parameter)
        self.weight = embedding.weight

    def compile_loss(self, *, dynamic: bool | None) -> None:
        """Have ``torch.compile`` make one loop of what becomes of logits."""
        self.chunk_loss = torch.compile(chunk_loss, dynamic=dynamic)

    def without_compilation(self) -> None:
        """Undo :meth:`compile_loss`."""
        self.chunk_loss = chunk_loss

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits ``[…, V]`` of hidden states ``[…, D]``."""
        ready = self._ready(hidden)
        product = F.linear(ready, self.weight, self.bias) if self.product is None else self.product(ready)
        return soft_cap(product, self.softcap)

    def loss(self, hidden: Tensor, targets: Tensor, *, smoothing: float = 0.0, z_loss: float = 0.0) -> Tensor:
        """The SUM of the cross entropies in nats, in float32 at least; negative targets count nothing.

        Args:
            smoothing: the share of each target that is spread evenly over the vocabulary.
            z_loss: the weight of the squared logarithm of the softmax's denominator.
        """

        def of_chunk(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
            return self.chunk_loss(logits_NV, targets_N, self.softcap, smoothing, z_loss)

        return self.sum_of_chunks(hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1), of_chunk)

    def sum_of_chunks(self, hidden_ND: Tensor, targets: Tensor, of_chunk: OfChunk) -> Tensor:
        """The SUM of a loss of logits that are never there all at once.

        Args:
            targets: ``[N, …]`` what ``of_chunk`` compares the logits of a token with.
            of_chunk: from some of the raw logits and their targets the summed loss, in place of the logits its
                gradient with respect to them; the cap has not been applied.
        """
        total: Tensor = LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            self._ready(hidden_ND), self.weight, self.bias, targets, of_chunk, torch.is_grad_enabled()
        )
        return total

    def token_losses(self, hidden_ND: Tensor, targets_N: Tensor, *, temperature: float = 1.0) -> Tensor:
        """``[N]``: the cross entropy of each token in nats, in float32 at least; 0 where the target is negative.

        For losses of which the tokens' are only a part, so that no gradient is known yet where the logits are there:
        they are made anew in the backward pass, chunk by chunk, and are never there all at once.

        Args:
            temperature: what logits, with their cap, are divided by.
        """
        ready, cap = self._ready(hidden_ND), self.softcap
        bias: Tensor | None = self.bias
        if temperature != 1.0:  # ``cap tanh(x / cap) / t`` is ``(cap / t) tanh((x / t) / (cap / t))``
            ready = ready / temperature
            bias = None if bias is None else bias / temperature
            cap = None if cap is None else cap / temperature
        losses_N: Tensor = TokenLosses.apply(  # type: ignore[no-untyped-call]
            ready, self.weight, bias, targets_N, cap
        )
        return losses_N

    def _ready(self, hidden: Tensor) -> Tensor:
        if self.transform is not None:
            hidden = self.transform(hidden)
        return hidden if self.scale == 1.0 else hidden * self.scale


def soft_cap(logits: Tensor, cap: float | None) -> Tensor:
    """Squash logits into (-cap, cap) (Gemma Team 2024, arXiv:2408.00118); None leaves them."""
    return logits if cap is None else cap * torch.tanh(logits / cap)


def rows_at_once(vocab_size: int, *, logits: int = LOGITS_AT_ONCE) -> int:
    """Tokens whose logits are so many together; one where even its own are more."""
    return max(1, logits // vocab_size)


def chunk_loss(
    logits_NV: Tensor, targets_N: Tensor, cap: float | None, smoothing: float = 0.0, z_loss: float = 0.0
) -> Tensor:
    """Summed cross entropy of one chunk of raw logits, which become its gradient with respect to them."""
    scored_N1 = (targets_N >= 0)[:, None]
    index_N1 = targets_N.clamp_min(0)[:, None]
    wide = at_least_float32(logits_NV)
    at_target_N1 = logits_NV.gather(1, index_N1).to(wide)
    found = losses_of_logits(logits_NV.to(wide), at_target_N1, cap, smoothing=smoothing, z_loss=z_loss)
    push_NV = torch.where(is_word(index_N1, logits_NV), found.push_NV - (1.0 - smoothing), found.push_NV)
    logits_NV.copy_(push_NV * found.slope_NV * scored_N1)
    return (found.loss_N1 * scored_N1).sum()


class LossesOfLogits(NamedTuple):
    """What becomes of raw logits: the gradient of a loss is ``(push - (1 - smoothing) at the target) * slope``."""

    loss_N1: Tensor
    """In nats."""
    push_NV: Tensor
    """How strongly each word is pushed down, the target as well: its share, for the greatest part."""
    slope_NV: Tensor
    """The derivative of the cap."""
    push_at_target_N1: Tensor
    slope_at_target_N1: Tensor


def is_word(index_N1: Tensor, logits_NV: Tensor) -> Tensor:
    """``[N, V]``: which of the words it is."""
    words_V = torch.arange(logits_NV.shape[1], dtype=torch.int32, device=logits_NV.device)
    return words_V == index_N1.int()


def losses_of_logits(
    logits_NV: Tensor, at_target_N1: Tensor, cap: float | None, *, smoothing: float, z_loss: float
) -> LossesOfLogits:
    """The cross entropies of raw logits, of which ``at_target_N1`` are those of the targets."""
    capped_N1, slope_at_target_N1 = capped_with_slope(at_target_N1, cap)
    capped, slope = capped_with_slope(logits_NV, cap)
    highest_N1 = cap if cap is not None and cap <= BOUNDING_CAP else capped.amax(-1, keepdim=True)
    weights = torch.exp(capped - highest_N1)
    total_N1 = weights.sum(-1, keepdim=True)
    log_total_N1 = highest_N1 + torch.log(total_N1)
    share_N1 = 1.0 / total_N1
    push, push_N1 = weights * share_N1, torch.exp(capped_N1 - highest_N1) * share_N1
    if z_loss:
        factor_N1 = 1.0 + 2.0 * z_loss * log_total_N1
        push, push_N1 = push * factor_N1, push_N1 * factor_N1
    if smoothing:
        wanted_N1 = (1.0 - smoothing) * capped_N1 + smoothing * capped.mean(-1, keepdim=True)
        elsewhere = smoothing / logits_NV.shape[1]
        push, push_N1 = push - elsewhere, push_N1 - elsewhere
    else:
        wanted_N1 = capped_N1
    loss_N1 = log_total_N1 - wanted_N1
    if z_loss:
        loss_N1 = loss_N1 + z_loss * log_total_N1.square()
    return LossesOfLogits(loss_N1, push, slope, push_N1, slope_at_target_N1)


def at_least_float32(value: Tensor) -> torch.dtype:
    """What sums of such numbers are taken in."""
    return torch.promote_types(value.dtype, torch.float32)


def capped_with_slope(logits: Tensor, cap: float | None) -> tuple[Tensor, Tensor]:
    """Capped logits and their derivative.

    The hyperbolic tangent is written by an exponential, which compiles to code twice as fast.
    """
    if cap is None:
        return logits, torch.ones_like(logits)
    tanh = 1.0 - 2.0 / (torch.exp(logits * (2.0 / cap)) + 1.0)
    return tanh * cap, 1.0 - tanh * tanh


def _few_rows(logits_NV: Tensor, targets: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    if logits_NV.device.type == "cuda":
        return [(logits_NV, targets)]
    rows = rows_at_once(logits_NV.shape[1], logits=LOGITS_IN_CACHE)
    return zip(torch.split(logits_NV, rows), torch.split(targets, rows), strict=True)


def _add_product(total_VD: Tensor | None, logits_NV: Tensor, hidden_ND: Tensor) -> Tensor:
    """``logits.T @ hidden``, added to what other parts gave."""
    if total_VD is None:
        return logits_NV.T @ hidden_ND
    if total_VD.device.type == "cuda" and total_VD.dtype != logits_NV.dtype:
        # There a product of narrow numbers comes out in float32, unrounded, and is added on the way.
        total: Tensor = torch.addmm(total_VD, logits_NV.T, hidden_ND, out_dtype=total_VD.dtype, out=total_VD)
        return total
    if logits_NV.dtype == torch.float16:
        return total_VD.addmm_(logits_NV.T.to(total_VD.dtype), hidden_ND.to(total_VD.dtype))
    return total_VD.add_(logits_NV.T @ hidden_ND)


def _kept_as(weight: Tensor) -> torch.dtype:
    """What the gradient of a sum over all tokens is kept in until it is known what the sum is divided by.

    In float16 it would be infinite from 65,504 on, whatever the scale of the loss, which comes in later.
    """
    return torch.float32 if weight.dtype == torch.float16 else weight.dtype


class LinearCrossEntropy(torch.autograd.Function):
    """Head and cross entropy in one, chunk by chunk (as Liger Kernel, Hsu et al. 2024, arXiv:2410.10989).

    The gradients are made in the forward pass, so that no logits are kept for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets: Tensor,
        of_chunk: OfChunk,
        with_gradients: bool,
    ) -> Tensor:
        count, vocab_size = hidden_ND.shape[0], weight_VD.shape[0]
        on_gpu = hidden_ND.device.type == "cuda"
        rows = rows_at_once(vocab_size, logits=LOGITS_ON_GPU) if on_gpu else rows_at_once(vocab_size)
        wide = at_least_float32(weight_VD)
        grad_hidden = torch.empty_like(hidden_ND)
        frozen = not ctx.needs_input_grad[1]
        # Several parts are added up in float32 at least; one alone needs no sum, a frozen weight no gradient.
        several = (count > rows or count == 0) and not frozen
        kept = _kept_as(weight_VD)
        narrow = kept != weight_VD.dtype and not frozen
        grad_weight = weight_VD.new_zeros(weight_VD.shape, dtype=wide) if several or narrow else None
        grad_bias = None if bias_V is None else torch.zeros_like(bias_V, dtype=wide)
        total = torch.zeros((), dtype=wide, device=hidden_ND.device)
        room = hidden_ND.new_empty(min(rows, count), vocab_size)
        for start in range(0, count, rows):
            part = slice(start, start + rows)
            logits_NV = torch.mm(hidden_ND[part], weight_VD.T, out=room[: hidden_ND[part].shape[0]])
            if bias_V is not None:
                logits_NV += bias_V
            for few, few_targets in _few_rows(logits_NV, targets[part]):
                total += of_chunk(few, few_targets)
            if not with_gradients:
                continue
            torch.mm(logits_NV, weight_VD, out=grad_hidden[part])
            if not frozen:
                grad_weight = _add_product(grad_weight, logits_NV, hidden_ND[part])
            if grad_bias is not None:
                grad_bias += logits_NV.sum(0, dtype=wide)
        if not with_gradients:
            return total
        ctx.save_for_backward(
            grad_hidden,
            None if grad_weight is None else grad_weight.to(kept),
            None if grad_bias is None else grad_bias.to(kept),
        )
        ctx.dtype = weight_VD.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = (None if each is None else (each * grads[0]).to(ctx.dtype) for each in ctx.saved_tensors)
        return hidden, weight, bias, None, None, None


class TokenLosses(torch.autograd.Function):
    """The cross entropy of each token; its logits are there chunk by chunk, in both passes."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_N: Tensor, cap: float | None
    ) -> Tensor:
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, targets_N)
        ctx.cap = cap
        losses = [hidden_ND.new_zeros(0, dtype=at_least_float32(hidden_ND))]
        for part in _chunks(hidden_ND, weight_VD):
            logits_NV = F.linear(hidden_ND[part], weight_VD, bias_V)
            for few, targets in _few_rows(logits_NV, targets_N[part]):
                capped = soft_cap(few.to(at_least_float32(few)), cap)
                losses.append(F.cross_entropy(capped, targets.clamp_min(-1), reduction="none", ignore_index=-1))
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, bias_V, targets_N = ctx.saved_tensors
        wide = at_least_float32(weight_VD)
        grad_hidden = torch.empty_like(hidden_ND)
        grad_weight = torch.zeros_like(weight_VD, dtype=wide) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias_V, dtype=wide) if ctx.needs_input_grad[2] else None
        for part in _chunks(hidden_ND, weight_VD):
            logits_NV = F.linear(hidden_ND[part], weight_VD, bias_V)
            for few, targets in _few_rows(logits_NV, targets_N[part]):
                chunk_loss(few, targets, ctx.cap)
            logits_NV *= grads[0][part, None]  # by now their gradient, of each token's own loss
            torch.mm(logits_NV, weight_VD, out=grad_hidden[part])
            if grad_weight is not None:
                grad_weight = _add_product(grad_weight, logits_NV, hidden_ND[part])
            if grad_bias is not None:
                grad_bias += logits_NV.sum(0, dtype=wide)
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight_VD.dtype),
            None if grad_bias is None else grad_bias.to(weight_VD.dtype),
            None,
            None,
        )


def _chunks(hidden_ND: Tensor, weight_VD: Tensor) -> list[slice]:
    """Tokens whose logits are there at once."""
    at_once = LOGITS_ON_GPU if hidden_ND.device.type == "cuda" else LOGITS_AT_ONCE
    rows = rows_at_once(weight_VD.shape[0], logits=at_once)
    return [slice(start, start + rows) for start in range(0, len(hidden_ND), rows)]
