"""Tokenizers of several sizes, and which one to take: what a larger one saves on text that it was not made from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

from pydantic import ValidationError

from danlu.errors import RecipeError
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.measure import Cost
from danlu.tokenizers.stage import Trainer
from danlu.tokenizers.tokenizer import Tokenizer


class Sized(Trainer, Protocol):
    """A kind of tokenizer that has a size."""

    vocab_size: int


def tokenizers_of(trainer: Sized, texts: Iterable[str], sizes: Sequence[int]) -> Iterator[tuple[int, Tokenizer]]:
    """One a size, rising; BPE is trained once, at the largest, and cut: the same as if trained at each.

    Args:
        texts: are gone through once for each training.

    Raises:
        RecipeError: a size is too small or too large for this kind.
    """
    made = {size: _with_size(trainer, size) for size in sizes}  # all of them are checked before one is trained
    if isinstance(trainer, BPE):
        largest = made[max(sizes)].train(texts)
        for size in sizes:
            if size <= largest.vocab_size:
                yield size, cut(largest, size)
        if max(sizes) > largest.vocab_size:  # there were not so many pairs
            yield largest.vocab_size, largest
        return
    for size in sizes:
        tokenizer = made[size].train(texts)
        yield tokenizer.vocab_size, tokenizer
        if tokenizer.vocab_size < size:
            return


def cut(tokenizer: Tokenizer, size: int) -> Tokenizer:
    """The BPE tokenizer with its first ``size`` tokens, and the merges up to the one that makes the last of them."""
    state = json.loads(tokenizer.to_json())
    vocabulary: dict[str, int] = state["model"]["vocab"]
    merges = []
    for left, right in state["model"]["merges"]:
        made = vocabulary[left + right]
        if made >= size:
            break
        merges.append([left, right])
        if made == size - 1:  # training ends here, before other ways to make what is there
            break
    kept = {token: id for token, id in vocabulary.items() if id < size}
    state["model"] |= {"vocab": kept, "merges": merges}
    return tokenizer.rebuilt(json.dumps(state))


def saving(costs: Mapping[int, int], size: int, larger: int) -> float:
    """Share of the tokens that a doubling of the vocabulary saves between two sizes.

    Args:
        costs: tokens of the same text, by size.
    """
    return float(1 - (costs[larger] / max(1, costs[size])) ** (1 / math.log2(larger / size)))


def recommended(costs: Mapping[int, int], *, least: float) -> int:
    """The smallest size whose doubling would save less than ``least`` of the tokens; else the largest measured."""
    sizes = sorted(costs)
    pairs = pairwise(sizes)
    return next((size for size, larger in pairs if saving(costs, size, larger) < least), sizes[-1])


def total(costs: Iterable[Cost]) -> int:
    """Tokens of all languages."""
    return sum(cost.tokens for cost in costs)


def _with_size(trainer: Sized, size: int) -> Any:
    fields: dict[str, Any] = {name: getattr(trainer, name) for name in type(trainer).model_fields}  # type: ignore[attr-defined]
    try:
        return type(trainer)(**{**fields, "vocab_size": size})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise RecipeError(f"--sizes: {size:,} is no size for this tokenizer: {reason}") from None
