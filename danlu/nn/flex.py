"""Attention of whole rows on GPUs: FlexAttention, told which blocks of keys each block of queries sees anything of.

FlexAttention (Dong et al. 2024, arXiv:2412.05496; ``torch.nn.attention.flex_attention``) makes a kernel of a rule for
single pairs, and leaves out blocks of which a table says that they hold nothing. The table is made once for all
layers of one pattern, before the first of them and outside of what is compiled. It is worked out from blocks and not
from pairs: memory and time grow with the square of the number of blocks. A block that might hold something counts as
one that does, since the rule is asked for every pair of it anyway.

Axes: B batch, T tokens, N blocks of queries, M blocks of keys, H heads, G key/value heads, E head width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from danlu.nn.patterns import FULL, Full, Pattern
from danlu.nn.sight import PADDING, Sight, positions_in_document

if TYPE_CHECKING:
    from danlu.nn.block import Block

BLOCK = 128
"""Tokens in a block: torch's own choice."""
NARROWEST = 16
"""Numbers of the narrowest head that the kernels multiply."""

Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Whether, in a row and a head, a query position sees a key position; all four are single numbers."""
Score = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""Another score for a score and what a rule is given."""


class Flex(NamedTuple):
    """How the layers of one pattern attend in one forward pass."""

    pattern: Pattern
    blocks: BlockMask
    score: Score | None

    def attend(self, q_BHTE: Tensor, k_BGTE: Tensor, v_BGTE: Tensor, scale: float) -> Tensor:
        """``[B, H, T, E]``; where a token is padding, what other padding of its row gives."""
        out: Tensor = flex_attention(
            q_BHTE, k_BGTE, v_BGTE, score_mod=self.score, block_mask=self.blocks, scale=scale,
            enable_gqa=q_BHTE.shape[1] != k_BGTE.shape[1],
        )  # fmt: skip
        return out


def find_flex(flexes: Iterable[Flex], pattern: Pattern) -> Flex | None:
    """That of the pattern, which is one object for all layers that have it; None where there is none."""
    for flex in flexes:
        if flex.pattern is pattern:
            return flex
    return None


def serves(blocks: Sequence[Block], x_BTD: Tensor) -> bool:
    """Whether self-attention of whole rows can go this way in all these blocks."""
    if not has_kernels(blocks, x_BTD.device):
        return False
    attentions = [block.attention for block in blocks]
    return all(
        each.places is None and each.head_dim >= NARROWEST and not (each.dropout and each.training)
        for each in attentions
    )


def has_kernels(blocks: Sequence[Block], device: torch.device) -> bool:
    """Whether there will be kernels: without the compiler all scores would be written out, as with a mask.

    Held-out losses are measured without it and without gradients, whatever the blocks are (``train/monitor.py``).
    """
    compiled = all(block._compiled_call_impl is not None for block in blocks)
    return device.type == "cuda" and compiled and torch.is_grad_enabled()


def make_flexes(sight: Sight, patterns: Iterable[Pattern], slopes_H: Tensor | None = None) -> tuple[Flex, ...]:
    """One for each pattern, but for those where torch's kernels need no mask.

    Args:
        sight: of queries and keys that are the same tokens, without a bias.
        slopes_H: what ALiBi takes off a score for each position between query and key.
    """
    assert sight.own and sight.queries == sight.keys and sight.bias is None
    score = None if slopes_H is None else _farther_is_less(slopes_H)
    plain = sight.segments is None and sight.prefix is None and score is None
    return tuple(
        Flex(pattern, _blocks(sight, pattern), score)
        for pattern in dict.fromkeys(patterns)
        if not (plain and isinstance(pattern, Full))
    )


def _farther_is_less(slopes_H: Tensor) -> Score:
    def score(given: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return given - slopes_H[head] * (query - key).abs()

    return score


def _rule(sight: Sight, pattern: Pattern, places_BT: Tensor | None) -> Rule:
    """What :meth:`Sight.visible` says, for one pair; padding sees padding, so that no row of weights is empty."""
    causal = sight.causal
    documents_BT = None if sight.segments is None else sight.segments[1]
    prefix_BT = None if sight.prefix is None or not causal else sight.prefix[1]

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = key <= query if causal else key >= 0
        if places_BT is not None:
            by_pattern = pattern.sees(places_BT[batch, query], places_BT[batch, key])
        elif pattern.by_place:  # which may multiply by more than the kernels' 32 bits hold
            by_pattern = pattern.sees(query.long(), key.long())
        else:
            by_pattern = pattern.sees(query, key)
        if by_pattern is not None:
            seen = seen & by_pattern
        if prefix_BT is not None:
            seen = seen | (prefix_BT[batch, query] & prefix_BT[batch, key])
        if documents_BT is not None:
            seen = seen & (documents_BT[batch, query] == documents_BT[batch, key])
        return seen

    return sees


def _blocks(sight: Sight, pattern: Pattern) -> BlockMask:
    """The rule of a pattern, and the blocks that it has to be asked about."""
    length, device = sight.keys, sight.device
    places_BT = None
    if pattern.by_place and sight.segments is not None:
        # Where a document begins, its pattern begins anew: what of a block it leaves out, only the rule knows.
        places_BT = positions_in_document(sight.segments[1])
        some_NM, _ = _seen_of_blocks(FULL, length, sight.causal, device)
        all_NM = torch.zeros_like(some_NM)
    else:
        some_NM, all_NM = _seen_of_blocks(pattern, length, sight.causal, device)
    some_BNM, all_BNM = some_NM[None], all_NM[None]
    if sight.prefix is not None and sight.causal:
        inside_BN = _by_block(sight.prefix[1]).any(2)
        some_BNM = some_BNM | (inside_BN[:, :, None] & inside_BN[:, None, :])
    if sight.segments is not None:
        together_BNM, same_BNM = _documents_of_blocks(sight.segments[1])
        some_BNM, all_BNM = some_BNM & together_BNM, all_BNM & same_BNM
    all_BNM = all_BNM.expand_as(some_BNM)  # the kernels find their way in both tables by the shape of the first
    partly, wholly = (_in_order(dense_BNM[:, None]) for dense_BNM in (some_BNM & ~all_BNM, all_BNM))
    return BlockMask.from_kv_blocks(
        *partly, *wholly, BLOCK_SIZE=BLOCK, mask_mod=_rule(sight, pattern, places_BT), seq_lengths=(length, length)
    )


@functools.lru_cache(maxsize=32)
def _seen_of_blocks(pattern: Pattern, length: int, causal: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """``[N, M]`` twice: of which blocks of keys a block of queries sees anything, and of which everything."""
    count = -(-length // BLOCK)
    some, everything = [], []
    with torch.inference_mode(False):  # what is made in inference mode could not be trained with later
        keys = torch.arange(count * BLOCK, device=device)[None, :]
        for number in range(count):
            queries = torch.arange(number * BLOCK, (number + 1) * BLOCK, device=device)[:, None]
            seen = (keys < length) & (queries < length)
            if causal:
                seen = seen & (keys <= queries)
            by_pattern = pattern.sees(queries, keys)
            if by_pattern is not None:
                seen = seen & by_pattern
            by_block = seen.view(BLOCK, count, BLOCK)
            some.append(by_block.any(2).any(0))
            everything.append(by_block.all(2).all(0))
        return torch.stack(some), torch.stack(everything)


def _documents_of_blocks(segments_BT: Tensor) -> tuple[Tensor, Tensor]:
    """``[B, N, M]`` twice: whether two blocks may have a document in common, and whether both are of one alone."""
    # Behind all others, where padding stands: numbers that rise along the row tell blocks apart by their extremes.
    last = torch.iinfo(segments_BT.dtype).max
    numbers_BNC = _by_block(segments_BT.masked_fill(segments_BT == PADDING, last))
    low_BN, high_BN = numbers_BNC.amin(2), numbers_BNC.amax(2)
    together = (low_BN[:, :, None] <= high_BN[:, None, :]) & (low_BN[:, None, :] <= high_BN[:, :, None])
    alone_BN = low_BN == high_BN
    same = alone_BN[:, :, None] & alone_BN[:, None, :] & together
    return together, same


def _by_block(x_BT: Tensor) -> Tensor:
    """``[B, N, BLOCK]``; the last one is filled with the last position."""
    spare = -x_BT.shape[1] % BLOCK
    return torch.unflatten(torch.cat([x_BT, x_BT[:, -1:].expand(-1, spare)], dim=1), 1, (-1, BLOCK))


def _in_order(dense_B1NM: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of keys there are for each block of queries, and their numbers, before those of the others."""
    order = dense_B1NM.byte().argsort(dim=-1, descending=True, stable=True)
    return dense_B1NM.sum(-1, dtype=torch.int32), order.int()
