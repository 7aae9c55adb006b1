"""Each pattern against its definition in plain Python; the table of blocks against the whole mask."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from danlu.nn.patterns import BigBird, Fixed, Full, Pattern, Strided, Window, block_table

LENGTH = 40
Sees = Callable[[int, int], bool]


def window(before: int, after: int) -> Sees:
    """Longformer, section 3.1: positions within a distance."""
    return lambda i, j: j in range(i - before, i + after + 1)


def strided(stride: int) -> Sees:
    """Sparse Transformer: ``A1 = {t, …, i}`` with ``t = max(0, i - l)``, ``A2 = {j: (i - j) mod l = 0}``."""

    def sees(i: int, j: int) -> bool:
        late, early = max(i, j), min(i, j)
        return early in range(max(0, late - stride), late + 1) or (late - early) % stride == 0

    return sees


def fixed(stride: int, summary: int) -> Sees:
    """Ibid.: ``A1 = {j: floor(j / l) = floor(i / l)}``, ``A2 = {j: j mod l in {l - c, …, l - 1}}``."""
    return lambda i, j: j // stride == i // stride or j % stride in range(stride - summary, stride)


def blocked_window(block: int, neighbours: int, leading: int) -> Sees:
    """BigBird-ITC without its random blocks (appendix D of the paper)."""

    def sees(i: int, j: int) -> bool:
        q, k = i // block, j // block
        return q - neighbours <= k <= q + neighbours or q < leading or k < leading

    return sees


DEFINED: list[tuple[Pattern, Sees]] = [
    (Window(5), window(5, 0)),
    (Window(0), window(0, 0)),
    (Window(3, 7), window(3, 7)),
    (Strided(1), lambda i, j: True),
    (Strided(7), strided(7)),
    (Fixed(8), fixed(8, 1)),
    (Fixed(6, 2), fixed(6, 2)),
    (BigBird(block=5, neighbours=1, leading=1, random=0), blocked_window(5, 1, 1)),
    (BigBird(block=3, neighbours=0, leading=0, random=0), blocked_window(3, 0, 0)),
    (BigBird(block=4, neighbours=2, leading=2, random=0), blocked_window(4, 2, 2)),
]


def mask_of(pattern: Pattern, length: int, *, causal: bool = False) -> Tensor:
    positions = torch.arange(length)
    query, key = positions[:, None], positions[None, :]
    seen = pattern.sees(query, key)
    seen = torch.ones(length, length, dtype=torch.bool) if seen is None else seen
    return seen & (key <= query) if causal else seen


@pytest.mark.parametrize(("pattern", "sees"), DEFINED, ids=lambda each: str(each) if isinstance(each, tuple) else "")
def test_sees_what_the_paper_says(pattern: Pattern, sees: Sees) -> None:
    expected = [[sees(i, j) for j in range(LENGTH)] for i in range(LENGTH)]
    assert mask_of(pattern, LENGTH).tolist() == expected


def test_full_is_everything() -> None:
    assert Full().sees(torch.zeros(3, 1), torch.zeros(1, 3)) is None


def test_a_part_of_the_positions_sees_the_same() -> None:
    """As when a cache holds the earlier ones: queries 30 to 39 of 40 keys."""
    for pattern in (Window(5), Strided(7), Fixed(8), BigBird(block=4)):
        positions = torch.arange(LENGTH)
        part = pattern.sees(positions[30:, None], positions[None, :])
        assert part is not None
        assert part.equal(mask_of(pattern, LENGTH)[30:])


def random_blocks(pattern: BigBird, length: int) -> list[set[int]]:
    """For each block of queries, the blocks of keys that it sees, with neither neighbours nor leading blocks."""
    seen = mask_of(pattern, length)[:: pattern.block, :: pattern.block]
    return [set(row.nonzero().flatten().tolist()) - {number} for number, row in enumerate(seen)]


def test_random_blocks_are_the_same_whatever_the_length() -> None:
    pattern = BigBird(block=4, neighbours=0, leading=0, random=3, seed=5)
    longest = random_blocks(pattern, 400)
    for length in (4, 36, 200):
        assert random_blocks(pattern, length) == longest[: length // 4]


def test_random_blocks_are_before_the_query_and_spread_evenly() -> None:
    pattern = BigBird(block=2, neighbours=0, leading=0, random=3)
    drawn = random_blocks(pattern, 1200)
    assert all(max(blocks, default=0) <= number for number, blocks in enumerate(drawn))
    late = list(enumerate(drawn))[200:]
    assert 2.9 < sum(len(blocks) for _, blocks in late) / len(late) <= 3  # hardly ever two of one number
    places = torch.tensor([block / number for number, blocks in late for block in blocks])
    assert torch.histc(places, bins=5, min=0, max=1).div(len(places)).sub(0.2).abs().max() < 0.04


def test_another_seed_draws_other_blocks() -> None:
    first, second = (random_blocks(BigBird(block=2, neighbours=0, leading=0, seed=seed), 400) for seed in (0, 1))
    assert sum(a == b for a, b in zip(first[50:], second[50:], strict=True)) < 5


PATTERNS = st.one_of(
    st.just(Full()),
    st.builds(Window, st.integers(0, 60), st.integers(0, 60)),
    st.builds(Strided, st.integers(1, 30)),
    st.integers(1, 30).flatmap(lambda stride: st.builds(Fixed, st.just(stride), st.integers(1, stride))),
    st.builds(
        BigBird, st.integers(1, 20), st.integers(0, 3), st.integers(0, 2), st.integers(0, 3), seed=st.integers(0, 99)
    ),
)


@given(pattern=PATTERNS, length=st.integers(1, 130), block=st.integers(1, 16), causal=st.booleans())
def test_the_table_of_blocks_is_the_mask(pattern: Pattern, length: int, block: int, causal: bool) -> None:
    table = block_table(pattern, length=length, block=block, causal=causal)
    blocks = -(-length // block)
    rebuilt = torch.zeros(blocks * block, blocks * block, dtype=torch.bool)
    for place, number in enumerate(table.few.tolist()):
        for key, seen in zip(table.keys[place].tolist(), table.seen[place], strict=True):
            rebuilt[number * block : (number + 1) * block, key * block : (key + 1) * block] |= seen
    for place, number in enumerate(table.many.tolist()):
        rebuilt[number * block : (number + 1) * block] = table.seen_by_many[place]
    assert rebuilt[:length, :length].equal(mask_of(pattern, length, causal=causal))
    assert not rebuilt[:, length:].any()
    assert rebuilt.any(1).all()  # the queries behind the end see something too
    assert sorted([*table.few.tolist(), *table.many.tolist()]) == list(range(blocks))
    assert table.blocks == table.keys.numel() + len(table.many) * blocks


@pytest.mark.parametrize(
    ("pattern", "causal"), [(Window(100), True), (Window(50, 50), False), (BigBird(64), False), (BigBird(64), True)]
)
def test_the_table_grows_with_the_length(pattern: Pattern, causal: bool) -> None:
    """And not with its square: of BigBird's leading blocks, which see everything, there are a fixed number."""
    short, long = (block_table(pattern, length=64 * n, block=64, causal=causal).blocks for n in (40, 80))
    assert long < 2.1 * short
