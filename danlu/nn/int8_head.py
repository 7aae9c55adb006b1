"""A language model's head whose three products are of 8-bit integers in training.

The gradient of logits has two parts. The target is pulled up by one large number: that part is not rounded, for it is
one row of the weight a token. All other words are pushed down by their shares, thousands of small numbers. To the
nearest of 255 numbers most of those would be 0, and words that are hardly ever right would never be pushed down. So
each is rounded up as often as it is far on the way to the next number (stochastic rounding, Gupta et al. 2015,
arXiv:1502.02551), and is right in the mean. What decides is a hash of the exact sum that the logit was made of and of
its place.

Each share is rounded once, by rows, and serves two products: weights are rounded by columns for the one, hidden states,
each times the scale of its row, for the other; both to the nearest. So that no row vanishes there beside another, the
scales of rows differ by a factor of 64 at most, which costs those of small shares some more noise.

Axes: N tokens, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from danlu.nn.head import LOGITS_IN_CACHE, LanguageModelHead, rows_at_once
from danlu.nn.int8 import rounded, rounded_by_columns
from danlu.nn.narrow_loss import NarrowLoss, Sums, narrow_chunk_loss
from danlu.nn.native.losses import has_losses, native_chunk_loss


class Loops(NamedTuple):
    """What goes over all numbers between the products; each is one loop where it is compiled."""

    by_rows: Callable[[Tensor], tuple[Tensor, Tensor]] = rounded
    by_columns: Callable[[Tensor], tuple[Tensor, Tensor]] = rounded_by_columns
    of_chunk: Callable[..., NarrowLoss] = narrow_chunk_loss


class Int8LanguageModelHead(LanguageModelHead):
    """With products in int8 in :meth:`loss`, where gradients are wanted; ``forward``, ``token_losses`` and
    ``sum_of_chunks`` are as they were."""

    loops = Loops()

    def compile_loss(self, *, dynamic: bool | None) -> None:
        super().compile_loss(dynamic=dynamic)
        self.loops = Loops(
            by_rows=torch.compile(rounded, dynamic=dynamic),
            by_columns=torch.compile(rounded_by_columns, dynamic=dynamic),
            of_chunk=native_chunk_loss if has_losses(self.bias) else torch.compile(narrow_chunk_loss, dynamic=dynamic),
        )

    def without_compilation(self) -> None:
        super().without_compilation()
        self.loops = Loops()

    def loss(self, hidden: Tensor, targets: Tensor, *, smoothing: float = 0.0, z_loss: float = 0.0) -> Tensor:
        """As :meth:`LanguageModelHead.loss`."""
        if not torch.is_grad_enabled():
            return super().loss(hidden, targets, smoothing=smoothing, z_loss=z_loss)
        settings = (self.softcap, smoothing, z_loss)
        ready_ND = self._ready(hidden.reshape(-1, hidden.shape[-1]))
        total: Tensor = Int8CrossEntropy.apply(  # type: ignore[no-untyped-call]
            ready_ND, self.weight, self.bias, targets.reshape(-1), self.loops, settings
        )
        return total


class Int8CrossEntropy(torch.autograd.Function):
    """Head and cross entropy in one, chunk by chunk, as :class:`danlu.nn.head.LinearCrossEntropy`."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        loops: Loops,
        settings: tuple[float | None, float, float],
    ) -> Tensor:
        rows = rows_at_once(weight_VD.shape[0])
        parts = [slice(start, start + rows) for start in range(0, len(hidden_ND), rows)]
        weight_by_rows, (w8_VD, w_scale_1D) = loops.by_rows(weight_VD), loops.by_columns(weight_VD)
        total = torch.zeros(())
        grad_hidden = torch.empty_like(hidden_ND)
        grad_weight = None
        grad_bias = None if bias_V is None else torch.zeros(bias_V.shape)
        for part in parts:
            found, push_NV = _of_part(part, hidden_ND[part], weight_by_rows, bias_V, targets_N[part], loops, settings)
            total += found.total
            index_N = targets_N[part].clamp_min(0)
            pushed_ND = torch._int_mm(push_NV, w8_VD) * (found.scale_N1 * w_scale_1D)
            grad_hidden[part] = pushed_ND.addcmul_(found.pull_N1, weight_VD[index_N].float())
            if grad_bias is not None and found.bias_V is not None:
                grad_bias += found.bias_V.index_add_(0, index_N, found.pull_N1[:, 0])
            if ctx.needs_input_grad[1]:
                h8_ND, h_scale_1D = loops.by_columns(hidden_ND[part] * found.scale_N1)
                pushed_VD = torch._int_mm(push_NV.t(), h8_ND) * h_scale_1D
                pushed_VD.index_add_(0, index_N, hidden_ND[part] * found.pull_N1)
                grad_weight = pushed_VD if grad_weight is None else grad_weight.add_(pushed_VD)
        if grad_weight is None and ctx.needs_input_grad[1]:
            grad_weight = torch.zeros(weight_VD.shape)
        ctx.save_for_backward(
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight_VD.dtype),
            None if grad_bias is None else grad_bias.to(weight_VD.dtype),
        )
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = (None if each is None else each * grads[0] for each in ctx.saved_tensors)
        return hidden, weight, bias, None, None, None


def _of_part(
    part: slice,
    hidden_ND: Tensor,
    weight: tuple[Tensor, Tensor],
    bias_V: Tensor | None,
    targets_N: Tensor,
    loops: Loops,
    settings: tuple[float | None, float, float],
) -> tuple[NarrowLoss, Tensor]:
    """The loss of some tokens and, in int8, how strongly they push; sums are there for as many as the cache holds."""
    w8_VD, w_scale_V1 = weight
    count, vocab_size = len(hidden_ND), len(w8_VD)
    rows = rows_at_once(vocab_size, logits=LOGITS_IN_CACHE)
    h8_ND, h_scale_N1 = loops.by_rows(hidden_ND)
    room = torch.empty(min(rows, count), vocab_size, dtype=torch.int32)
    push_NV = torch.empty(count, vocab_size, dtype=torch.int8)
    found = []
    for start in range(0, count, rows):
        few = slice(start, min(start + rows, count))
        sums_NV = torch._int_mm(h8_ND[few], w8_VD.t(), out=room[: few.stop - start])
        sums = Sums(
            sums_NV, h_scale_N1[few], w_scale_V1.t(), bias_V, torch.tensor(part.start + start, dtype=torch.int32)
        )
        found.append(loops.of_chunk(sums, targets_N[few], push_NV[few], *settings))
    return _joined(found), push_NV


def _joined(found: list[NarrowLoss]) -> NarrowLoss:
    biases = [each.bias_V for each in found if each.bias_V is not None]
    return NarrowLoss(
        total=torch.stack([each.total for each in found]).sum(),
        scale_N1=torch.cat([each.scale_N1 for each in found]),
        pull_N1=torch.cat([each.pull_N1 for each in found]),
        bias_V=torch.stack(biases).sum(0) if biases else None,
    )
