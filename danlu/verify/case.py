"""One model to compare: a class of ``transformers``, the settings of its ``config.json``, and the rows that it reads.

Axes: T tokens of a row, U tokens of what is written to it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

LENGTHS = (23, 9, 30)
"""Tokens of the rows; the second is so short that padding shows."""
REPLY_LENGTHS = (11, 7, 13)
"""Tokens that the decoder reads, where there is an encoder."""
RESERVED = 5
"""Token numbers that rows leave out, for padding and its kin are among them."""


@dataclass(frozen=True, slots=True)
class Case:
    """A model with random weights, small and of odd sizes."""

    family: str
    """The line of the table that it stands in."""
    model: str
    """The class of ``transformers``."""
    settings: Mapping[str, Any]
    """Of its configuration."""
    name: str = "plain"
    """Which switch is turned."""
    bare_names: bool = False
    """Whether the folder names its tensors as the bare model does, as many on the hub do."""
    own_head: bool = False
    """Whether the head has weights of its own although ``transformers`` ties it where the folder holds none."""
    by_length: bool = False
    """Whether the arithmetic hangs on the longest row of a batch, so that only rows by themselves can be compared."""
    lengths: tuple[int, ...] = LENGTHS
    greedy: bool = False
    """Whether tokens are drawn, which takes longer than all else."""

    def __str__(self) -> str:
        return f"{self.family}: {self.model}, {self.name}"

    @property
    def seed(self) -> int:
        """Of its weights and rows; every case has its own, the same in every process."""
        return zlib.crc32(str(self).encode())


@dataclass(frozen=True, slots=True)
class Rows:
    """What a model reads."""

    tokens: list[Tensor]
    """Each ``[T]``."""
    replies: list[Tensor] = field(default_factory=list)
    """Each ``[U]``; what the decoder reads where there is an encoder, else empty."""
    types: list[Tensor] = field(default_factory=list)
    """Each ``[T]``; token types where the model has an embedding for them, else empty."""


def make_rows(case: Case, config: Any) -> Rows:
    """Random rows for a model whose configuration in ``transformers`` is ``config``."""
    generator = torch.Generator().manual_seed(case.seed)

    def draw(length: int) -> Tensor:
        return torch.randint(RESERVED, config.vocab_size, (length,), generator=generator)

    tokens = [draw(length) for length in case.lengths]
    replies = [draw(length) for length in REPLY_LENGTHS] if getattr(config, "is_encoder_decoder", False) else []
    kinds = getattr(config, "type_vocab_size", 1)
    types = [(torch.arange(len(row)) * kinds) // len(row) for row in tokens] if kinds > 1 else []
    return Rows(tokens, replies, types)
