"""Attention: queries, keys and values, rotary positions, QK-norm, and the fastest way to what each query sees.

Axes: B batch, T tokens, S all positions so far, D model width, H query heads, G key/value heads, E head width.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from danlu.nn import config
from danlu.nn.blocked import LONGEST, BlockedAttention
from danlu.nn.cache import LayerCache
from danlu.nn.dropout import dropout
from danlu.nn.flex import Flex, find_flex
from danlu.nn.native.attention import NativeAttention, can_attend
from danlu.nn.norm import make_norm
from danlu.nn.patterns import Full, Pattern, Window
from danlu.nn.positions import rotate
from danlu.nn.run_attention import Scoring, as_many_heads, attend_across, attend_in_runs, attend_once
from danlu.nn.runs import Run
from danlu.nn.sight import PADDING, Sight
from danlu.nn.single import single_query
from danlu.nn.sparse import sparse_attention, touches_few
from danlu.nn.virtual import StandIn

FASTEST = [
    SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH,
]  # fmt: skip
"""Torch's kernels for attention without a mask, the fastest on an H100 first; by itself it takes the second."""


class Context(NamedTuple):
    """What all layers of one forward pass share."""

    sight: Sight
    """Who sees whom among the tokens of this stack."""
    rotary: tuple[tuple[Tensor, Tensor], ...] = ()
    """Cosines and sines, a pair for each kind of rotary positions in the stack."""
    cache: LayerCache | None = None
    """Of the layer that is called."""
    places: Tensor | None = None
    """``[T]``: where in the cache the new tokens go."""
    memory: Tensor | None = None
    """The encoder's hidden states."""
    memory_sight: Sight | None = None
    """Who sees what of them."""
    flexes: tuple[Flex, ...] = ()
    """On GPUs, how self-attention goes in layers of each pattern; none where it goes as on processors."""
    virtual: StandIn | None = None
    """Keys and values that virtual tokens have in the layer that is called."""
    only: Tensor | None = None
    """``[C]``: places of the row that the layer is asked for, one of each document; all where None."""


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017), grouped-query where ``kv_heads < heads`` (Ainslie et al. 2023).

    Args:
        rotary: which of the context's rotary tables is this layer's.
        max_length: the longest row; a Linformer projects so many positions.
    """

    def __init__(
        self,
        settings: config.Attention,
        dim: int,
        *,
        rotary: int | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__()
        self.rotary = rotary
        self.head_dim, self.pattern, self.dropout = (
            settings.head_dim,
            _one_of_its_kind(settings.pattern),
            settings.dropout,
        )
        self.out_dropout = settings.out_dropout
        self.scale = settings.scale if settings.scale is not None else settings.head_dim**-0.5
        queries, keys = settings.heads * settings.head_dim, settings.kv_heads * settings.head_dim
        self.query = nn.Linear(dim, queries, bias=settings.bias)
        self.key = nn.Linear(dim, keys, bias=settings.bias)
        self.value = nn.Linear(dim, keys, bias=settings.bias)
        self.out = nn.Linear(queries, dim, bias=settings.out_bias)
        self.widths = (queries, keys, keys)
        self.joint: nn.Module | None = None
        """All three of them in one product, where that is faster (``nn/packed.py``)."""
        self.native = False
        """Whether trainings that are not compiled go through C++ (``train/kernels.py``); what only reads does not."""
        self.norm_q, self.norm_k = (make_norm(settings.qk_norm, settings.head_dim) for _ in "qk")
        self.places: nn.Parameter | None = None
        if settings.linformer is not None:
            assert max_length is not None
            self.places = nn.Parameter(torch.empty(settings.linformer, max_length))

    def forward(self, x_BTD: Tensor, context: Context) -> Tensor:
        """Self-attention."""
        if context.only is not None:
            return self._once(x_BTD, context.only, context)
        q_BTF, k_BTF, v_BTF = self.projected(x_BTD)
        q_BHTE, k_BGTE = self.norm_q(self._heads(q_BTF)), self.norm_k(self._heads(k_BTF))
        v_BGTE = self._heads(v_BTF)
        if context.virtual is not None:
            k_BGTE, v_BGTE = context.virtual.put(k_BGTE, v_BGTE)
        if self.rotary is not None:
            cos_TF, sin_TF = context.rotary[self.rotary]
            q_BHTE, k_BGTE = rotate(q_BHTE, cos_TF, sin_TF), rotate(k_BGTE, cos_TF, sin_TF)
        if context.cache is not None:
            assert context.places is not None
            all_so_far = context.cache.extend(context.places, k_BGTE, v_BGTE)
            if not context.sight.own:
                k_BGTE, v_BGTE = all_so_far
        if self.places is not None:
            return self._join(self._linformer(q_BHTE, k_BGTE, v_BGTE, context.sight))
        if (flex := find_flex(context.flexes, self.pattern)) is not None:
            return self._join(flex.attend(q_BHTE, k_BGTE, v_BGTE, self.scale))
        return self._join(self._attend(q_BHTE, k_BGTE, v_BGTE, context.sight))

    def across(self, x_BTD: Tensor, context: Context) -> Tensor:
        """Attention to the encoder's output, whose keys and values a cache keeps."""
        assert context.memory is not None and context.memory_sight is not None
        cache = context.cache
        kept = cache.cross if cache is not None else None
        if kept is None:
            kept = (self.norm_k(self._heads(self.key(context.memory))), self._heads(self.value(context.memory)))
            if cache is not None:
                cache.cross = kept
        q_BHTE = self.norm_q(self._heads(self.query(x_BTD)))
        return self._join(self._attend(q_BHTE, *kept, context.memory_sight))

    def _once(self, x_BTD: Tensor, only: Tensor, context: Context) -> Tensor:
        """``[1, C, D]``: of one token of each document, which sees all of its document."""
        runs = self.runs_of(context.sight)
        assert runs is not None
        if self.joint is None:
            q_BCF, k_BTF, v_BTF = self.query(x_BTD.index_select(1, only)), self.key(x_BTD), self.value(x_BTD)
        else:
            q_BTF, k_BTF, v_BTF = self.projected(x_BTD)
            q_BCF = q_BTF.index_select(1, only)
        q_BHCE, k_BGTE = self.norm_q(self._heads(q_BCF)), self.norm_k(self._heads(k_BTF))
        if self.rotary is not None:
            cos_TF, sin_TF = context.rotary[self.rotary]
            q_BHCE = rotate(q_BHCE, cos_TF.index_select(-2, only), sin_TF.index_select(-2, only))
            k_BGTE = rotate(k_BGTE, cos_TF, sin_TF)
        v_BGTE = self._heads(v_BTF)
        if self._goes_natively(q_BHCE):
            segments = context.sight.segments
            assert segments is not None
            of_queries_BC = segments[1].index_select(1, only)
            return self._join(self._natively(q_BHCE, k_BGTE, v_BGTE, (of_queries_BC, segments[1]), causal=False))
        dropout = self.dropout if self.training else 0.0
        return self._join(attend_once(q_BHCE, k_BGTE, v_BGTE, runs, scale=self.scale, dropout=dropout))

    def runs_of(self, sight: Sight) -> tuple[Run, ...] | None:
        """The documents of a row, where each attends by itself and sees all of itself, but for causality."""
        if not (sight.own and sight.plain) or torch.compiler.is_compiling() or sight.runs is None:
            return None
        longest = max(run.longest for run in sight.runs)
        return sight.runs if _sees_all(self.pattern, longest, sight.causal) else None

    def projected(self, x_BTD: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, ``[B, T, heads * E]`` each, without norms and rotary positions."""
        if self.joint is None:
            return self.query(x_BTD), self.key(x_BTD), self.value(x_BTD)
        return self.joint(x_BTD).split(self.widths, -1)  # type: ignore[no-any-return]

    def _heads(self, x_BTF: Tensor) -> Tensor:
        batch, length, width = x_BTF.shape
        return x_BTF.view(batch, length, width // self.head_dim, self.head_dim).transpose(1, 2)

    def _join(self, x_BHTE: Tensor) -> Tensor:
        out: Tensor = self.out(x_BHTE.transpose(1, 2).flatten(2))
        return dropout(out, self.out_dropout, self.training)

    def _attend(self, q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor, sight: Sight) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        segments = None if sight.segments is None else sight.segments[1]
        if sight.whole and not dropout and isinstance(self.pattern, Full) and _compiled_for_cpu(q_BHTE, sight.bias):
            k, v = as_many_heads(q_BHTE, k_BGSE, v_BGSE)
            given = (q_BHTE, k, v, sight.segments, sight.bias, sight.causal, self.scale)
            native = can_attend(q_BHTE, sight.bias)
            out: Tensor = NativeAttention.apply(*given) if native else BlockedAttention.apply(*given)  # type: ignore[no-untyped-call]
            return out
        if (runs := self.runs_of(sight)) is not None:
            if sight.bias_of_runs is None and self._goes_natively(q_BHTE):
                return self._natively(q_BHTE, k_BGSE, v_BGSE, sight.segments, causal=sight.causal)
            scoring = Scoring(sight.causal, self.scale, dropout, sight.bias_of_runs)
            return attend_in_runs(q_BHTE, k_BGSE, v_BGSE, runs, scoring)
        if not torch.compiler.is_compiling() and (pairs := sight.pairs) is not None:
            return attend_across(q_BHTE, k_BGSE, v_BGSE, pairs, Scoring(False, self.scale, dropout))
        if sight.own and sight.plain and not dropout:
            by_blocks = not isinstance(self.pattern, Full) and (segments is None or not self.pattern.by_place)
            if by_blocks and touches_few(
                self.pattern, length=q_BHTE.shape[2], causal=sight.causal, device=q_BHTE.device
            ):
                k, v = as_many_heads(q_BHTE, k_BGSE, v_BGSE)
                return sparse_attention(
                    q_BHTE, k, v, pattern=self.pattern, causal=sight.causal, scale=self.scale, segments=segments
                )
        if q_BHTE.shape[2] == 1 and not dropout and _compiled_for_cpu(q_BHTE):
            return single_query(q_BHTE, k_BGSE, v_BGSE, sight.mask(self.pattern), self.scale)
        causal = sight.is_causal_only(self.pattern) and q_BHTE.shape[2] > 1
        mask = None if causal else sight.mask(self.pattern)
        with _fastest_kernel(q_BHTE) if mask is None else nullcontext():
            return F.scaled_dot_product_attention(
                q_BHTE, k_BGSE, v_BGSE, attn_mask=mask, is_causal=causal, dropout_p=dropout, scale=self.scale,
                enable_gqa=q_BHTE.shape[1] != k_BGSE.shape[1],
            )  # fmt: skip

    def _goes_natively(self, q_BHTE: Tensor) -> bool:
        return self.native and self.training and can_attend(q_BHTE, None)

    def _natively(
        self,
        q_BHTE: Tensor,
        k_BGSE: Tensor,
        v_BGSE: Tensor,
        segments: tuple[Tensor | None, Tensor] | None,
        *,
        causal: bool,
    ) -> Tensor:
        k, v = as_many_heads(q_BHTE, k_BGSE, v_BGSE)
        out: Tensor = NativeAttention.apply(q_BHTE, k, v, segments, None, causal, self.scale, self.dropout)  # type: ignore[no-untyped-call]
        return out

    def _linformer(self, q_BHTE: Tensor, k_BGTE: Tensor, v_BGTE: Tensor, sight: Sight) -> Tensor:
        """Keys and values mixed over positions into a fixed number of places; padding is left out of the mixture."""
        assert self.places is not None
        length = k_BGTE.shape[2]
        if sight.segments is not None:
            real = (sight.segments[1] != PADDING)[:, None, :, None].to(k_BGTE.dtype)
            k_BGTE, v_BGTE = k_BGTE * real, v_BGTE * real
        mix_PT = self.places[:, :length]
        return F.scaled_dot_product_attention(
            q_BHTE, mix_PT @ k_BGTE, mix_PT @ v_BGTE, dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale, enable_gqa=q_BHTE.shape[1] != k_BGTE.shape[1],
        )  # fmt: skip


@functools.lru_cache(maxsize=256)
def _one_of_its_kind(pattern: Pattern) -> Pattern:
    """The same object for equal patterns: the compiler tells layers apart by it, and stops after a few."""
    return pattern


def _sees_all(pattern: Pattern, length: int, causal: bool) -> bool:
    """Whether in so short a document the pattern leaves nothing out."""
    if isinstance(pattern, Window):
        return pattern.before >= length - 1 and (causal or pattern.after >= length - 1)
    return isinstance(pattern, Full)


def _compiled_for_cpu(q_BHTE: Tensor, bias: Tensor | None = None) -> bool:
    short = q_BHTE.shape[2] <= LONGEST or can_attend(q_BHTE, bias)
    return torch.compiler.is_compiling() and q_BHTE.device.type == "cpu" and short


def _fastest_kernel(q_BHTE: Tensor) -> AbstractContextManager[Any]:
    """Which kernel attention without a mask takes: cuDNN's in trainings on GPUs, which makes a plan for each shape.

    Elsewhere torch's choice, for texts that grow have a new shape with every token.
    """
    if torch.compiler.is_compiling() and q_BHTE.device.type == "cuda" and torch.is_grad_enabled():
        return sdpa_kernel(FASTEST, set_priority=True)
    return nullcontext()
