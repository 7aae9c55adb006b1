"""Attention on processors that multiply bfloat16 (``attention.cpp``), as operators that torch can trace.

Axes: B batch, H heads, T queries, S keys, E head width.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from danlu.machine import processor_flags
from danlu.nn.dropout import dropped_of
from danlu.nn.native.building import load, place
from danlu.nn.sight import PADDING

HERE = "avx512_bf16" in processor_flags() and "amx_bf16" not in processor_flags()
"""Whether this processor has what the file is written in. Torch's products use AMX, which the file does not."""
FILE = "attention.cpp"
WIDTHS = (32, 64, 96, 128, 160, 192, 224, 256)
"""Of a head."""

library = torch.library.Library("danlu", "FRAGMENT")  # type: ignore[no-untyped-call]
SCHEMA = (
    "Tensor q, Tensor k, Tensor v, Tensor? of_queries, Tensor? of_keys, Tensor? bias, bool causal, float scale,"
    " int dropped, Tensor? seed"
)
"""What both passes are given. ``dropped`` of 65,536 weights, those that follow from the ``seed``, ``[1]``."""
library.define(f"attend({SCHEMA}) -> (Tensor, Tensor)")  # type: ignore[no-untyped-call]
library.define(  # type: ignore[no-untyped-call]
    f"attend_backward({SCHEMA}, Tensor out, Tensor log, Tensor grad, bool learns_bias)"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)


class _View(ctypes.Structure):
    """A tensor ``[B, H, rows, E]`` without gaps in the last axis."""

    _fields_ = [("data", ctypes.c_void_p), *((name, ctypes.c_int64) for name in ("batch", "head", "row"))]

    @classmethod
    def of(cls, x: Tensor) -> _View:
        return cls(x.data_ptr(), *x.stride()[:3])


class _Job(ctypes.Structure):
    """What both passes are told."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in "BHTS"),
        *((name, ctypes.c_void_p) for name in ("of_queries", "of_keys", "bias")),
        ("scale", ctypes.c_float), ("causal", ctypes.c_int32), ("padding", ctypes.c_int32),
        ("seed", ctypes.c_uint64), ("dropped", ctypes.c_uint32),
    ]  # fmt: skip


def can_attend(q: Tensor, bias: Tensor | None) -> bool:
    """Whether :class:`NativeAttention` is for this processor, these queries and this bias."""
    of_all_rows = bias is None or (bias.dtype == torch.bfloat16 and bias.shape[:2] == (1, q.shape[1]))
    return of_all_rows and can_attend_with(q.shape[3], q.dtype, q.device)


def can_attend_with(width: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether it is for this processor, heads of this width, and queries of this type that are there."""
    return HERE and width in WIDTHS and dtype == torch.bfloat16 and device.type == "cpu"


class NativeAttention(torch.autograd.Function):
    """As :class:`danlu.nn.blocked.BlockedAttention`, in bfloat16, for rows of any length, and with dropout.

    ``dropout`` is the share of the weights that are dropped, in steps of 2^-16; which ones follows from a seed that is
    drawn from torch's generator.
    """

    @staticmethod
    def forward(  # noqa: PLR0913 (what autograd hands over)
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        segments: tuple[Tensor, Tensor] | None,
        bias: Tensor | None,
        causal: bool,
        scale: float,
        dropout: float = 0.0,
    ) -> Tensor:
        of_queries, of_keys = (None, None) if segments is None else (each.int() for each in segments)
        ctx.settings = (causal, scale, dropped_of(dropout))
        seed = torch.empty(1, dtype=torch.int64).random_(-(2**63), None) if dropout else None
        out, log = torch.ops.danlu.attend(q, k, v, of_queries, of_keys, bias, *ctx.settings, seed)
        ctx.save_for_backward(q, k, v, of_queries, of_keys, bias, seed, out, log)
        ctx.learns_bias = bias is not None and ctx.needs_input_grad[4]
        return out  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *given, seed, out, log = ctx.saved_tensors
        grad_q, grad_k, grad_v, grad_bias = torch.ops.danlu.attend_backward(
            *given, *ctx.settings, seed, out, log, grads[0], ctx.learns_bias
        )
        return grad_q, grad_k, grad_v, None, grad_bias if ctx.learns_bias else None, None, None, None


@torch.library.impl(library, "attend", "CPU")
def _attend(  # noqa: PLR0913 (what the operator is defined with, in all four)
    q: Tensor, k: Tensor, v: Tensor, of_queries: Tensor | None, of_keys: Tensor | None, bias: Tensor | None,
    causal: bool, scale: float, dropped: int, seed: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    q, k, v = (_in_pairs(each) for each in (q, k, v))
    out, log = _fake_attend(q, k, v, of_queries, of_keys, bias, causal, scale, dropped, seed)
    held = [None if each is None else each.contiguous() for each in (of_queries, of_keys, bias)]
    load(FILE, HEAD=q.shape[3]).attend(
        _job(q, k, held, causal, scale, dropped, seed), *(_View.of(each) for each in (q, k, v, out)), place(log)
    )
    return out, log


@torch.library.impl(library, "attend_backward", "CPU")
def _attend_backward(  # noqa: PLR0913
    q: Tensor, k: Tensor, v: Tensor, of_queries: Tensor | None, of_keys: Tensor | None, bias: Tensor | None,
    causal: bool, scale: float, dropped: int, seed: Tensor | None, out: Tensor, log: Tensor, grad: Tensor,
    learns_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    q, k, v, out, grad = (_in_pairs(each) for each in (q, k, v, out, grad))
    log = log.contiguous()
    held = [None if each is None else each.contiguous() for each in (of_queries, of_keys, bias)]
    grads = [_like(each) for each in (q, k, v)]
    grad_bias = torch.zeros(_shape_of_gradient(bias, learns_bias))
    load(FILE, HEAD=q.shape[3]).attend_backward(
        _job(q, k, held, causal, scale, dropped, seed), *(_View.of(each) for each in (q, k, v, out, grad)), place(log),
        *(_View.of(each) for each in grads), place(grad_bias if learns_bias else None),
    )  # fmt: skip
    return grads[0], grads[1], grads[2], grad_bias.to(q.dtype)


@torch.library.register_fake("danlu::attend", lib=library)  # type: ignore[untyped-decorator]
def _fake_attend(  # noqa: PLR0913
    q: Tensor, k: Tensor, v: Tensor, of_queries: Tensor | None, of_keys: Tensor | None, bias: Tensor | None,
    causal: bool, scale: float, dropped: int, seed: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return _like(q), q.new_empty(q.shape[:3], dtype=torch.float32)


@torch.library.register_fake("danlu::attend_backward", lib=library)  # type: ignore[untyped-decorator]
def _fake_attend_backward(  # noqa: PLR0913
    q: Tensor, k: Tensor, v: Tensor, of_queries: Tensor | None, of_keys: Tensor | None, bias: Tensor | None,
    causal: bool, scale: float, dropped: int, seed: Tensor | None, out: Tensor, log: Tensor, grad: Tensor,
    learns_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return _like(q), _like(k), _like(v), q.new_empty(_shape_of_gradient(bias, learns_bias))


def _shape_of_gradient(bias: Tensor | None, learns: bool) -> tuple[int, ...]:
    """An operator has to give a tensor where none is wanted, too."""
    return tuple(bias.shape) if bias is not None and learns else (0,)


def _like(x: Tensor) -> Tensor:
    """Room for such a tensor, token by token: what follows wants the heads of a token beside each other."""
    batch, heads, rows, width = x.shape
    return x.new_empty(batch, rows, heads, width).transpose(1, 2)


def _in_pairs(x: Tensor) -> Tensor:
    return x if x.stride(3) == 1 and x.stride(2) % 2 == 0 else x.contiguous()


def _job(
    q: Tensor, k: Tensor, held: list[Tensor | None], causal: bool, scale: float, dropped: int, seed: Tensor | None
) -> _Job:
    """``held``: documents of queries and of keys, and the bias, which have to live as long as the call."""
    batch, heads, queries, _ = q.shape
    assert seed is not None or not dropped
    number = 0 if seed is None else int(seed) % 2**64
    places = (place(each) for each in held)
    return _Job(batch, heads, queries, k.shape[2], *places, scale, causal, PADDING, number, dropped)
