"""Which positions a query may see: patterns of sparse attention, each with its definition and the blocks it touches.

A pattern is a pure function of positions. ``sees`` is the definition; ``block_table`` names, for each block of
queries, the blocks of keys that hold anything it sees, so that the cost grows with their number and
not with the square of the length (``nn/sparse.py``).

Axes: Q queries, K keys; N blocks of queries that touch few blocks of keys, W the most that one of them touches,
M blocks of queries that touch many, C positions in a block. Positions are whole numbers from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Pattern(Protocol):
    """What ``Attention.pattern`` in ``nn/config.py`` holds."""

    by_place: ClassVar[bool]
    """Whether it minds where in its document a position is, and not only how far from another."""

    def __hash__(self) -> int: ...

    def sees(self, query: Tensor, key: Tensor) -> Tensor | None:
        """Whether each query position ``[Q, 1]`` sees each key position ``[1, K]``; None where all do."""
        ...


@dataclass(frozen=True, slots=True)
class Full:
    """Everything."""

    by_place: ClassVar[bool] = False

    def sees(self, query: Tensor, key: Tensor) -> Tensor | None:
        return None


FULL = Full()


@dataclass(frozen=True, slots=True)
class Window:
    """The ``before`` positions before a query and the ``after`` positions behind it, and itself.

    Longformer's sliding window (Beltagy et al. 2020, arXiv:2004.05150); Mistral's with ``after`` 0.
    """

    by_place: ClassVar[bool] = False

    before: int
    after: int = 0

    def sees(self, query: Tensor, key: Tensor) -> Tensor | None:
        return (key >= query - self.before) & (key <= query + self.after)


@dataclass(frozen=True, slots=True)
class Strided:
    """The last ``stride`` positions and every ``stride``-th one (Child et al. 2019, arXiv:1904.10509, section 4.3)."""

    by_place: ClassVar[bool] = False

    stride: int

    def sees(self, query: Tensor, key: Tensor) -> Tensor | None:
        distance = (query - key).abs()
        return (distance < self.stride) | (distance % self.stride == 0)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A query's own block of ``stride`` positions, and the last ``summary`` positions of every block (ibid.)."""

    by_place: ClassVar[bool] = True

    stride: int
    summary: int = 1

    def sees(self, query: Tensor, key: Tensor) -> Tensor | None:
        own = query // self.stride == key // self.stride
        return own | (key % self.stride >= self.stride - self.summary)


@dataclass(frozen=True, slots=True)
class Own:
    """A query's own block of ``stride`` positions."""

    by_place: ClassVar[bool] = True

    stride: int

    def sees(self, query: Tensor, key: Tensor) -> Tensor | None:
        return query // self.stride == key // self.stride


@dataclass(frozen=True, slots=True)
class BigBird:
    """Blocks of ``block`` positions: the ``neighbours`` on each side, the first ``leading`` ones, ``random`` drawn.

    Leading blocks see everything and are seen by everything (Zaheer et al. 2020, arXiv:2007.14062,
    section 2, "ITC"). Unlike there, blocks are drawn from the query's own and those before it, so that a longer row
    changes nothing for its beginning; one that is seen anyway may be drawn. With ``random`` 0 and one leading block it
    is Longformer's window with a global start.
    """

    by_place: ClassVar[bool] = True

    block: int = 64
    neighbours: int = 1
    leading: int = 1
    random: int = 3
    seed: int = 0

    def sees(self, query: Tensor, key: Tensor) -> Tensor | None:
        q, k = query // self.block, key // self.block
        seen = ((q - k).abs() <= self.neighbours) | (k < self.leading) | (q < self.leading)
        for number in range(self.random):
            seen = seen | (k == self._drawn(q, number))
        return seen

    def _drawn(self, q: Tensor, number: int) -> Tensor:
        """A block before ``q`` or itself, the same however long the row is: a hash of ``(seed, number, q)``."""
        mixed = (q + 1) * 2654435761 + number * 40503 + self.seed * 97
        mixed = (mixed ^ (mixed >> 15)) * 2246822519 % 2**32
        return (mixed ^ (mixed >> 13)) % (q + 1)


class BlockTable(NamedTuple):
    """Which blocks of keys each block of queries touches; the few that touch more than half of all stand apart."""

    few: Tensor
    """``[N]`` numbers of blocks of queries."""
    keys: Tensor
    """``[N, W]`` numbers of the blocks of keys that they touch, padded by 0."""
    seen: Tensor
    """``[N, W, C, C]`` who sees whom inside; all false where ``keys`` is padded."""
    many: Tensor
    """``[M]`` numbers of the other blocks of queries."""
    seen_by_many: Tensor
    """``[M, C, K]``, K all positions up to the end of the last block."""

    @property
    def blocks(self) -> int:
        """Pairs of blocks that cost something."""
        return self.keys.numel() + len(self.many) * (len(self.few) + len(self.many))


def block_table(pattern: Pattern, *, length: int, block: int, causal: bool) -> BlockTable:
    """The blocks of a row of ``length`` positions; a query behind its end sees what the last one sees."""
    blocks = -(-length // block)
    keys = torch.arange(blocks * block)[None, :]
    few, touched, seen_by_few, many, seen_by_many = [], [], [], [], []
    for number in range(blocks):
        queries = torch.arange(number * block, (number + 1) * block)[:, None].clamp_max(length - 1)
        seen = (keys <= queries if causal else keys < length).expand(block, -1)
        by_pattern = pattern.sees(queries, keys)
        seen = seen if by_pattern is None else seen & by_pattern
        by_block = seen.view(block, blocks, block).transpose(0, 1)
        places = by_block.any(2).any(1).nonzero().flatten()
        if 2 * len(places) > blocks:
            many.append(number)
            seen_by_many.append(seen)
        else:
            few.append(number)
            touched.append(places)
            seen_by_few.append(by_block[places])
    most = max(map(len, touched), default=0)
    return BlockTable(
        torch.tensor(few, dtype=torch.long),
        _stacked([F.pad(places, (0, most - len(places))) for places in touched], (most,), torch.long),
        _stacked(
            [F.pad(seen, (0, 0, 0, 0, 0, most - len(seen))) for seen in seen_by_few], (most, block, block), torch.bool
        ),
        torch.tensor(many, dtype=torch.long),
        _stacked(seen_by_many, (block, blocks * block), torch.bool),
    )


def _stacked(parts: list[Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.stack(parts) if parts else torch.empty(0, *shape, dtype=dtype)
