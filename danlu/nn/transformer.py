"""The Transformer: tokens in, hidden states out; its head turns hidden states into logits.

A decoder, an encoder, or both; the encoder's output is a :class:`Memory` that the decoder attends to.

Axes: B batch, T tokens, S positions so far or of the encoder, D model width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from danlu.nn import config
from danlu.nn.attention import Attention, Context
from danlu.nn.block import Block
from danlu.nn.cache import KVCache, Memory, Span
from danlu.nn.config import TransformerConfig
from danlu.nn.dropout import dropout
from danlu.nn.experts import Experts, balance_loss, forget_routed
from danlu.nn.flex import Flex, make_flexes, serves
from danlu.nn.label_head import make_head
from danlu.nn.norm import make_norm
from danlu.nn.patterns import Full
from danlu.nn.positions import (
    AddedPositions,
    Alibi,
    RelativeBias,
    depends_on_length,
    rotary_table,
    sinusoidal_table,
    table_by_length,
)
from danlu.nn.sight import PADDING, Sight, document_lengths, longest_document, positions_in_document

LONGEST_TABLE = 2**17
"""Positions whose rotary table is kept; those behind are worked out when they come."""


WRITING = ("attention.out.weight", "cross.out.weight", ".down.weight", ".down")
"""Ends of the names of matrices that write to the stream."""


class Entry(nn.Module):
    """From token embeddings to the first block's input: scale, positions, token types, norm, dropout."""

    def __init__(self, entry: config.Entry, dim: int, *, max_length: int) -> None:
        super().__init__()
        self.scale, self.dropout = entry.scale, entry.dropout
        self.positions = AddedPositions(entry.positions, length=max_length, dim=dim) if entry.positions else None
        self.types = nn.Embedding(entry.types, dim) if entry.types else None
        self.norm = make_norm(entry.norm, dim)

    def forward(self, x_BTD: Tensor, positions_BT: Tensor | None, types_BT: Tensor | None) -> Tensor:
        if self.scale != 1.0:
            x_BTD = x_BTD * self.scale
        if self.types is not None:
            x_BTD = x_BTD + (self.types.weight[0] if types_BT is None else self.types(types_BT))
        if self.positions is not None:
            assert positions_BT is not None
            x_BTD = x_BTD + self.positions(positions_BT).type_as(x_BTD)
        x_BTD = self.norm(x_BTD)
        return dropout(x_BTD, self.dropout, self.training)


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
        self.set_rotary()

    def set_rotary(self) -> None:
        """Make the tables of positions, which no checkpoint holds; again for a model that was built on ``meta``."""
        if self.entry.positions is not None:
            self.entry.positions.set_table()
        end = min(self.max_length, LONGEST_TABLE)
        for number, (kind, head_dim) in enumerate(self.rotary):
            for name, table in zip(("cos", "sin"), rotary_table(kind, head_dim, end=end), strict=True):
                self.register_buffer(f"{name}_{number}", table, persistent=False)

    def forward(
        self,
        x_BTD: Tensor,
        *,
        segments: Tensor | None,
        types: Tensor | None,
        prefix: Tensor | None,
        memory: Memory | None,
        cache: KVCache | None,
    ) -> Tensor:
        batch, new, _ = x_BTD.shape
        forget_routed(self.blocks)
        numbers = None if segments is None else segments.int()
        span = Span.whole(numbers, new) if cache is None else cache.span(numbers, batch=batch, new=new)
        if self.mixes and span.own is not None:
            _check_one_document(span.own)
        x_BTD = self.entry(x_BTD, self._positions(span, x_BTD.device), types)
        by_flex = cache is None and not isinstance(self.bias, RelativeBias) and serves(self.blocks, x_BTD)  # type: ignore[arg-type]
        sight = self._sight(span, prefix, x_BTD.device)
        if self.bias is not None and not by_flex:
            sight.add_bias(self.bias, span.start, x_BTD.dtype, by_documents=self._by_documents)
        context = Context(
            sight, self._tables(span), None, span.places, *_look_back(memory, span.own, new, x_BTD.device),
            self._flexes(sight) if by_flex else (),
        )  # fmt: skip
        if cache is None:
            again = self.recompute and torch.is_grad_enabled()
            if again and sight.bias is not None:  # made here, for a block that made it would make less the second time
                for block in self.blocks:
                    sight.mask(block.attention.pattern)  # type: ignore[union-attr,arg-type]
            for block in self.blocks:
                if self.recorded is not None:
                    self.recorded.append(x_BTD)
                if self.layer_drop and self.training and float(torch.rand(())) < self.layer_drop:
                    continue
                x_BTD = checkpoint(block, x_BTD, context, use_reentrant=False) if again else block(x_BTD, context)
        else:
            run = call_block if span.start == 0 else self.step
            for block, layer in zip(self.blocks, cache.layers, strict=True):
                x_BTD = run(block, x_BTD, context._replace(cache=layer))
            cache.used = span.end
        hidden: Tensor = dropout(self.norm(x_BTD), self.final_dropout, self.training)
        if self.recorded is not None:
            self.recorded.append(hidden)
        return hidden

    def _sight(self, span: Span, prefix: Tensor | None, device: torch.device) -> Sight:
        assert self.causal or span.keys == span.end, "only causality hides the places behind the last token"
        of_all = None if prefix is None else F.pad(prefix, (0, span.keys - prefix.shape[1]))
        return Sight(
            queries=span.end - span.start, keys=span.keys, causal=self.causal, own=span.start == 0, device=device,
            segments=None if span.own is None or span.of_keys is None else (span.own, span.of_keys),
            prefix=None if of_all is None else (of_all[:, span.start : span.end], of_all),
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

    @property
    def _by_documents(self) -> bool:
        """Whether attention looks at each document by itself where it may: as all it sees, and not compiled."""
        return not torch.compiler.is_compiling() and all(
            block._compiled_call_impl is None and isinstance(block.attention.pattern, Full)  # type: ignore[union-attr]
            for block in self.blocks
        )

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


class Transformer(nn.Module):
    """Built from ``config``; ``head`` may be replaced per task."""

    head: Any

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.encoder, self.decoder = (
            Stack(stack, config.dim, max_length=config.max_length) if stack is not None else None
            for stack in (config.encoder, config.decoder)
        )
        self.head = make_head(config.head, dim=config.dim, vocab_size=config.vocab_size)
        if config.tied:
            self.head.tie(self.embedding)

    @property
    def stacks(self) -> list[Stack]:
        return [stack for stack in (self.encoder, self.decoder) if stack is not None]

    @property
    def stack(self) -> Stack:
        """The one whose hidden states the head reads: the decoder where there is one."""
        return self.stacks[-1]

    @property
    def blocks(self) -> list[Block]:
        """All blocks, the encoder's first."""
        return [block for stack in self.stacks for block in stack.blocks]  # type: ignore[misc]

    def set_rotary(self) -> None:
        """Make the rotary tables again, for a model that was built on ``meta``."""
        for stack in self.stacks:
            stack.set_rotary()

    def encode(self, tokens_BS: Tensor, *, segments: Tensor | None = None, types: Tensor | None = None) -> Memory:
        """What the decoder attends to. Padding has the document number ``PADDING`` in ``segments``."""
        assert self.encoder is not None, "the model has no encoder"
        self._check_length(tokens_BS.shape[1], segments)
        hidden = self.encoder(
            self.embedding(tokens_BS), segments=segments, types=types, prefix=None, memory=None, cache=None
        )
        return Memory(hidden, segments)

    def forward(
        self,
        tokens_BT: Tensor,
        *,
        segments: Tensor | None = None,
        types: Tensor | None = None,
        prefix: Tensor | None = None,
        memory: Memory | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Hidden states ``[B, T, D]``, fit for ``self.head``: the decoder's, or the encoder's where there is none.

        Args:
            tokens_BT: token ids.
            segments: ``[B, T]`` document numbers; tokens of different documents never see each other, and
                positions count within a document. Padding is the document ``PADDING``.
            types: ``[B, T]`` token types; all 0 where None.
            prefix: ``[B, S]`` booleans; tokens of the prefix see each other both ways.
            memory: the encoder's output, for a decoder that attends to one.
            cache: keys and values of earlier tokens; the new ones are added to it.

        Raises:
            ValueError: a document of more tokens than ``config.max_length``.
        """
        used = cache.used if cache is not None else 0
        self._check_length(tokens_BT.shape[1] + used, None if used else segments)
        if self.decoder is None:
            return self.encode(tokens_BT, segments=segments, types=types).hidden
        hidden: Tensor = self.decoder(
            self.embedding(tokens_BT), segments=segments, types=types, prefix=prefix, memory=memory, cache=cache
        )
        return hidden

    def balance_loss(self, real_BT: Tensor | None = None) -> Tensor | None:
        """The load-balancing loss of the last forward pass in training; None without experts.

        Args:
            real_BT: booleans: which tokens of that pass are no padding; all where None.
        """
        assert len(self.stacks) == 1 or real_BT is None, "the two sides have tokens of their own"
        experts = [block.mlp for block in self.blocks if isinstance(block.mlp, Experts)]
        return balance_loss(experts, None if real_BT is None else real_BT.flatten())

    def _check_length(self, length: int, segments: Tensor | None) -> None:
        """Of the documents, where a row is longer than one may be."""
        if length > self.config.max_length and segments is not None:
            length = longest_document(segments.int())
        if length > self.config.max_length:
            raise ValueError(f"the model sees at most {self.config.max_length} tokens; got {length}")

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw all weights from ``seed``: matrices N(0, 1/fan-in); what writes to the stream, and an untied head, 0.

        Zero output projections make every block the identity at the start (Zhang et al. 2019,
        arXiv:1901.09321; so do nanochat and modded-nanogpt). An embedding is N(0, 0.02²), but N(0, 1) where a norm
        follows it or T5's biases stand for positions, unless it is also the weight of a head that does not scale what
        it reads. Learned positions begin as sines of that size (Vaswani et al. 2017, arXiv:1706.03762): that near
        places are alike need not be learned first. Queries whose scores are not divided by the root of a head's
        width, as T5's, are drawn so much smaller (Raffel et al. 2020, arXiv:1910.10683).
        """
        generator = torch.Generator().manual_seed(seed)
        smaller = self._smaller_queries()
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif weight.ndim == 1:
                weight.fill_(1.0)
            elif name == "embedding.weight":
                weight.normal_(0.0, self._embedding_spread(), generator=generator)
            elif name.endswith("entry.positions.weight"):
                weight.copy_(sinusoidal_table(*weight.shape) * (0.02 * math.sqrt(2)))
            elif ".entry." in name or name.endswith("bias.weight"):
                weight.normal_(0.0, 0.02, generator=generator)
            elif name == self.config.words_weight or name.endswith(WRITING):
                weight.zero_()
            else:
                spread = weight.shape[-1] ** -0.5 * smaller.get(name, 1.0)
                weight.normal_(0.0, spread, generator=generator)

    def _embedding_spread(self) -> float:
        stack, words = self.config.stack, self.config.words
        if words is not None and words.tied:
            return 1.0 if words.scale != 1.0 else 0.02
        normed = stack.entry.norm is not None and stack.entry.positions is None
        return 1.0 if normed or isinstance(stack.bias, config.RelativeBias) else 0.02

    def _smaller_queries(self) -> dict[str, float]:
        """By the name of a matrix of queries."""
        return {
            f"{name}.query.weight": module.head_dim**-0.5 / module.scale
            for name, module in self.named_modules()
            if isinstance(module, Attention) and module.scale > module.head_dim**-0.5
        }


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
