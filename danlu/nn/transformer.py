"""The Transformer: tokens in, hidden states out; its head turns hidden states into logits.

A decoder, an encoder, or both; the encoder's output is a :class:`Memory` that the decoder attends to.

Axes: B batch, T tokens, S positions so far or of the encoder, D model width, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from danlu.nn import config
from danlu.nn.attention import Attention
from danlu.nn.block import Block
from danlu.nn.cache import KVCache, Memory
from danlu.nn.config import TransformerConfig
from danlu.nn.experts import Experts, balance_loss
from danlu.nn.label_head import make_head
from danlu.nn.positions import sinusoidal_table
from danlu.nn.sight import longest_document
from danlu.nn.stack import Stack
from danlu.nn.virtual import reads_virtual

WRITING = ("attention.out.weight", "cross.out.weight", ".down.weight", ".down")
"""Ends of the names of matrices that write to the stream."""


class Transformer(nn.Module):
    """Built from ``config``; ``head`` may be replaced per task."""

    head: Any

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.encoder, self.decoder = (
            Stack(stack, config.dim, max_length=config.places) if stack is not None else None
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
        row = self.encoder.row(tokens_BS, segments)
        hidden = self.encoder(
            self.embedding(tokens_BS), segments=segments, types=types, prefix=None, memory=None, cache=None, row=row
        )
        return Memory(hidden, segments if row is None else row.segments)

    def forward(
        self,
        tokens_BT: Tensor,
        *,
        segments: Tensor | None = None,
        types: Tensor | None = None,
        prefix: Tensor | None = None,
        memory: Memory | None = None,
        cache: KVCache | None = None,
        only: Tensor | None = None,
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
            only: ``[C]`` places of a single row, in order, one of each document; their ``[1, C, D]`` is all that comes,
                and the last block does without the other places where it can.

        Raises:
            ValueError: a document of more tokens than ``config.max_length``.
        """
        used = cache.used if cache is not None else 0
        self._check_length(tokens_BT.shape[1] + used, None if used else segments)
        row = None if used else self.stack.row(tokens_BT, segments)
        hidden: Tensor = self.stack(
            self.embedding(tokens_BT), segments=segments, types=types, prefix=prefix, memory=memory, cache=cache,
            row=row, only=only if row is None else None,
        )  # fmt: skip
        if row is None:
            return hidden
        narrowed = row.narrowed(hidden, first=reads_virtual(self.config))
        return narrowed if only is None else narrowed.index_select(1, only)

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
