"""A stack of blocks: embedded tokens in, hidden states out; an encoder, a decoder, or a decoder beside an encoder.

Axes: B batch, T tokens, S positions so far or of the encoder, D model width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from danlu.nn import config
from danlu.nn.attention import Context
from danlu.nn.block import Block
from danlu.nn.cache import KVCache, Memory, Span
from danlu.nn.dropout import dropout
from danlu.nn.entry import Entry
from danlu.nn.experts import forget_routed
from danlu.nn.flex import Flex, make_flexes, serves
from danlu.nn.norm import make_norm
from danlu.nn.positions import (
    Alibi,
    RelativeBias,
    depends_on_length,
    rotary_table,
    table_by_length,
)
from danlu.nn.sight import PADDING, Sight, document_lengths, positions_in_document
from danlu.nn.virtual import Prefix, Row, StandIn, make_virtual

LONGEST_TABLE = 2**17
"""Positions whose rotary table is kept; those behind are worked out when they come."""


def call_block(block: Any, x_BTD: Tensor, context: Context) -> Tensor:
    """One block. A function, for one compilation of it serves all blocks that are alike."""
    out: Tensor = block(x_BTD, context)
    return out


class Stack(nn.Module):
    """Blocks, one on top of the other, and what surrounds them."""

    step: Callable[[Any, Tensor, Context], Tensor]
    """How a block is called for tokens that follow others in a cache: :func:`call_block`, compiled or not."""
    recompute: bool = False
    """Whether the backward pass makes anew what it needs of the blocks (Chen et al. 2016, arXiv:1604.06174)."""

    def __init__(self, stack: config.Stack, dim: int, *, max_length: int) -> None:
        super().__init__()
        self.causal, self.max_length = stack.causal, max_length
        self.layer_drop, self.final_dropout = stack.layer_drop, stack.final_dropout
        self.step = call_block
        self.recorded: list[Tensor] | None = None
        """What goes into each block and what the stack gives, where somebody asked for it (:func:`recording`)."""
        self.mixes = any(layer.attention.linformer for layer in stack.layers)
        kinds = list(dict.fromkeys(layer.attention.rotary for layer in stack.layers if layer.attention.rotary))
        self.rotary = [(kind, _head_dim(stack, kind)) for kind in kinds]
        self.entry = Entry(stack.entry, dim, max_length=max_length)
        self.bias = _make_bias(stack)
        self.blocks = nn.ModuleList(
            Block(
                stack, layer, dim, number=number, max_length=max_length,
                rotary=kinds.index(layer.attention.rotary) if layer.attention.rotary else None,
            )
            for number, layer in enumerate(stack.layers)
        )  # fmt: skip
        self.norm = make_norm(stack.norm if stack.final_norm else None, dim)
        self.prefix: Prefix | None
        self.entry.prompt, self.prefix = make_virtual(stack, dim)
        self.set_rotary()

    def set_rotary(self) -> None:
        """Make the tables of positions, which no checkpoint holds; again for a model that was built on ``meta``."""
        if self.entry.positions is not None:
            self.entry.positions.set_table()
        end = min(self.max_length, LONGEST_TABLE)
        for number, (kind, head_dim) in enumerate(self.rotary):
            for name, table in zip(("cos", "sin"), rotary_table(kind, head_dim, end=end), strict=True):
                self.register_buffer(f"{name}_{number}", table, persistent=False)

    def forward(  # noqa: PLR0913 (what a row is, and what is asked of it)
        self,
        x_BTD: Tensor,
        *,
        segments: Tensor | None,
        types: Tensor | None,
        prefix: Tensor | None,
        memory: Memory | None,
        cache: KVCache | None,
        row: Row | None = None,
        only: Tensor | None = None,
    ) -> Tensor:
        """Hidden states ``[B, T, D]``; ``[B, W, D]`` of ``row``, the rows with virtual tokens, where they come.

        Args:
            only: ``[C]`` places of a single row, in order, one of each document, which are all that is asked for.
        """
        batch, new, _ = x_BTD.shape
        if row is not None:
            segments, new = row.segments, row.places.shape[1]
            prefix = None if prefix is None else row.widened(prefix)
        forget_routed(self.blocks)
        numbers = None if segments is None else segments.int()
        span = Span.whole(numbers, new) if cache is None else cache.span(numbers, batch=batch, new=new)
        if self.mixes and span.own is not None:
            _check_one_document(span.own)
        x_BTD = self.entry(x_BTD, self._positions(span, x_BTD.device), types, row)
        by_flex = cache is None and not isinstance(self.bias, RelativeBias) and serves(self.blocks, x_BTD)  # type: ignore[arg-type]
        sight = self._sight(span, prefix, None if by_flex else self._bias(span, x_BTD), x_BTD.device)
        context = Context(
            sight, self._tables(span), None, span.places, *_look_back(memory, span.own, new, x_BTD.device),
            self._flexes(sight) if by_flex else (),
        )  # fmt: skip
        contexts = self._contexts(context, row)
        if only is not None and self._spares(context, only):
            contexts[-1] = context._replace(only=only)
        if cache is None:
            again = self.recompute and torch.is_grad_enabled()
            if again and sight.bias is not None:  # made here, for a block that made it would make less the second time
                for block in self.blocks:
                    sight.mask(block.attention.pattern)  # type: ignore[union-attr,arg-type]
            for block, own in zip(self.blocks, contexts, strict=True):
                if self.recorded is not None:
                    self.recorded.append(x_BTD)
                if self.layer_drop and self.training and float(torch.rand(())) < self.layer_drop:
                    continue
                x_BTD = checkpoint(block, x_BTD, own, use_reentrant=False) if again else block(x_BTD, own)
        else:
            run = call_block if span.start == 0 else self.step
            for block, layer, own in zip(self.blocks, cache.layers, contexts, strict=True):
                x_BTD = run(block, x_BTD, own._replace(cache=layer))
            cache.used = span.end - cache.virtual
        if only is not None and len(only) < x_BTD.shape[1]:
            x_BTD = x_BTD.index_select(1, only)
        hidden: Tensor = dropout(self.norm(x_BTD), self.final_dropout, self.training)
        if self.recorded is not None:
            self.recorded.append(hidden)
        return hidden

    def row(self, tokens_BT: Tensor, segments_BT: Tensor | None) -> Row | None:
        """The rows with virtual tokens; None where there are none."""
        virtual = self.prefix.tokens if self.prefix is not None else 0
        if self.entry.prompt is not None:
            virtual = len(self.entry.prompt)
        return Row.of(segments_BT, tokens_BT, virtual) if virtual else None

    def _contexts(self, context: Context, row: Row | None) -> list[Context]:
        """One a block."""
        if self.prefix is None or row is None:
            return [context] * len(self.blocks)
        return [context._replace(virtual=StandIn(row, *each)) for each in self.prefix.layers()]

    def _spares(self, context: Context, only: Tensor) -> bool:
        """Whether the last block can leave out all other places; behind causality only the last ones see all."""
        sight, special = context.sight, self.recorded is not None or bool(context.flexes)
        if special or only.device.type != "cpu" or not self.blocks[-1].serves_once(sight):  # type: ignore[operator]
            return False
        ends = np.cumsum([length for run in sight.runs or () for length in run.lengths])
        return len(ends) == len(only) and (not self.causal or ends.tolist() == (only + 1).tolist())

    def _sight(self, span: Span, prefix: Tensor | None, bias: Tensor | None, device: torch.device) -> Sight:
        assert self.causal or span.keys == span.end, "only causality hides the places behind the last token"
        of_all = None if prefix is None else F.pad(prefix, (0, span.keys - prefix.shape[1]))
        return Sight(
            queries=span.end - span.start, keys=span.keys, causal=self.causal, own=span.start == 0, device=device,
            segments=None if span.own is None or span.of_keys is None else (span.own, span.of_keys),
            prefix=None if of_all is None else (of_all[:, span.start : span.end], of_all),
            bias=bias,
            start=None if span.start == 0 or span.places is None else span.places[:1],
        )  # fmt: skip

    def _positions(self, span: Span, device: torch.device) -> Tensor | None:
        """Position numbers ``[B, T]``, counted within each document; None where none are added."""
        if self.entry.positions is None:
            return None
        if span.numbers is None:
            return torch.arange(span.start, span.end, device=device)[None]
        places = positions_in_document(span.numbers).masked_fill(span.numbers == PADDING, 0)
        return places[:, span.start :]

    def _bias(self, span: Span, x_BTD: Tensor) -> Tensor | None:
        if self.bias is None:
            return None
        places = torch.arange(span.keys, device=x_BTD.device)
        bias: Tensor = self.bias(places[span.start : span.end], places)
        # Torch 2.13 reads a bias of float32 wrongly, without a word, where queries are float64.
        return bias.to(torch.promote_types(bias.dtype, x_BTD.dtype))

    def _flexes(self, sight: Sight) -> tuple[Flex, ...]:
        slopes = None
        if self.bias is not None:  # ALiBi's: what it takes off one position away
            places = torch.arange(2, device=sight.device)
            slopes = -self.bias(places[1:], places[:1]).flatten()
        return make_flexes(sight, (block.attention.pattern for block in self.blocks), slopes)  # type: ignore[union-attr,misc]

    def _tables(self, span: Span) -> tuple[tuple[Tensor, Tensor], ...]:
        return tuple(self._table(number, span) for number in range(len(self.rotary)))

    def _table(self, number: int, span: Span) -> tuple[Tensor, Tensor]:
        kind, head_dim = self.rotary[number]
        cos, sin = getattr(self, f"cos_{number}"), getattr(self, f"sin_{number}")
        wide = torch.promote_types(cos.dtype, torch.float32)
        if depends_on_length(kind) and span.numbers is not None:
            lengths_BT = document_lengths(span.numbers)[:, span.start :]
            made = table_by_length(kind, head_dim, lengths_BT, start=span.start, dtype=wide)
        elif depends_on_length(kind) or span.end > len(cos) or cos.dtype == torch.float64:
            # In float64 anew: the table that is kept was rounded, by which places of a row are not quite alike.
            made = rotary_table(kind, head_dim, start=span.start, end=span.end, dtype=wide)
        else:
            return cos[span.start : span.end], sin[span.start : span.end]
        return made[0].to(cos.device), made[1].to(cos.device)


@contextmanager
def recording(stack: Stack) -> Iterator[list[Tensor]]:
    """A list that passes without a cache fill: ``[B, T, D]``, the input of each block, then what the stack gives.

    A list of the model's own, not hooks, which the compiler would have to trace.
    """
    found: list[Tensor] = []
    stack.recorded = found
    try:
        yield found
    finally:
        stack.recorded = None


def _look_back(
    memory: Memory | None, own: Tensor | None, queries: int, device: torch.device
) -> tuple[Tensor | None, Sight | None]:
    """The encoder's output and who sees what of it."""
    if memory is None:
        return None, None
    pair = None if memory.segments is None else (own, memory.segments.int())
    sight = Sight(queries=queries, keys=memory.hidden.shape[1], causal=False, own=False, device=device, segments=pair)
    return memory.hidden, sight


def _check_one_document(segments_BT: Tensor) -> None:
    """Refuse what a Linformer would mix, or find at other places than alone."""
    last_B1 = segments_BT.amax(1, keepdim=True)
    real_BT = segments_BT != PADDING
    if ((segments_BT != last_B1) & real_BT).any():
        raise ValueError("a Linformer mixes all tokens of a row; a row must hold one document")
    if (~real_BT[:, :-1] & real_BT[:, 1:]).any():
        raise ValueError("a Linformer minds where tokens stand; padding must be behind them")


def _head_dim(stack: config.Stack, kind: config.Rotary) -> int:
    return next(layer.attention.head_dim for layer in stack.layers if layer.attention.rotary == kind)


def _make_bias(stack: config.Stack) -> nn.Module | None:
    heads = stack.layers[0].attention.heads
    if isinstance(stack.bias, config.RelativeBias):
        return RelativeBias(stack.bias, heads=heads, causal=stack.causal)
    return Alibi(heads=heads) if isinstance(stack.bias, config.Alibi) else None
