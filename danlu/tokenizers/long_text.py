"""Where a long text can be cut so that its parts, encoded one by one, give the tokens of the whole.

The tokenizers library keeps several hundred bytes for each token of a text until its last one is known: a text of 200
MB would take more memory than most machines have. A model of tokens works on one word (pre-token) at a time, so that
a cut between two words changes nothing, where the words on both sides are those of the text without it; nor does one
between two characters that stand side by side in no token. That is tried here on the characters around a cut, and
nothing is supposed of normaliser and words but that they look no further than ``REACH`` characters around them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import tokenizers
from tokenizers import models

PART = 1 << 18
"""Characters from one cut to the next, at least."""
AT_ONCE = 8 * PART
"""Characters of a long text that are encoded at once, on all cores."""
REACH = 192
"""Characters on each side of a cut in which the words have to be the same with it and without."""
_TRIES = 64
"""Places that are tried after each ``PART`` before the text goes on uncut for as long again."""

_PLACE = re.compile(r"(?<=\S)(?=\s)|(?<=\w)(?=[。！？；，、])|(?<=[。！？；，、])(?=\w)")
"""Before white space, or beside a mark that ends a part of a Chinese sentence."""


T = TypeVar("T")


def in_parts(
    inner: tokenizers.Tokenizer, texts: list[str], encode: Callable[[list[str]], list[T]]
) -> Iterator[list[T]]:
    """What ``encode`` gives for the parts of each text; it is called for some ``AT_ONCE`` characters at a time.

    Texts of ordinary length are one part each and are encoded together.
    """
    waiting: list[str] = []
    for text in texts:
        if len(text) <= AT_ONCE:
            waiting.append(text)
            continue
        yield from ([one] for one in encode(waiting))
        waiting = []
        cut = parts(inner, text)
        few = [cut[place : place + AT_ONCE // PART] for place in range(0, len(cut), AT_ONCE // PART)]
        yield [one for group in few for one in encode(group)]
    yield from ([one] for one in encode(waiting))


def parts(inner: tokenizers.Tokenizer, text: str) -> list[str]:
    """``text`` in parts of about ``PART`` characters, whose tokens joined are those of ``text``.

    Where no place to cut is found, as in a text of one word, a part is as long as it has to be.
    """
    ends = [*_cuts(inner, text), len(text)]
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _cuts(inner: tokenizers.Tokenizer, text: str) -> Iterator[int]:
    joined = _joined_pairs(inner)
    start = PART
    while start + REACH < len(text):
        places = _PLACE.finditer(text, start, len(text) - REACH)
        tried = (match.start() for match, _ in zip(places, range(_TRIES), strict=False))
        cut = next((place for place in tried if _is_border(inner, text, place, joined)), None)
        if cut is not None:
            yield cut
        start = (start if cut is None else cut) + PART


def _joined_pairs(inner: tokenizers.Tokenizer) -> frozenset[str] | None:
    """All pairs of characters that stand side by side in a token; None where a model takes a word as a whole.

    BPE and Unigram part a word into tokens of their vocabulary, so that a token ends between any other two.
    """
    if not isinstance(inner.model, models.BPE | models.Unigram):
        return None
    tokens = inner.get_vocab(with_added_tokens=True)
    return frozenset(token[place : place + 2] for token in tokens for place in range(len(token) - 1))


def _is_border(inner: tokenizers.Tokenizer, text: str, cut: int, joined: frozenset[str] | None) -> bool:
    """Whether tokens end at ``cut``, wherever near it one begins to read and to whatever point one reads on."""
    behind = text[cut : cut + REACH]
    left = [text[max(cut - reach, 0) : cut] for reach in (REACH, REACH // 2, REACH // 4, REACH // 8, 3, 2, 1)]
    right = [text[cut : cut + reach] for reach in (REACH // 2, REACH // 8, 2, 1)]
    sides = [*((before, behind) for before in left), *((left[0], after) for after in right)]
    return all(_parts(inner, before, after, joined) for before, after in sides)


def _parts(inner: tokenizers.Tokenizer, before: str, after: str, joined: frozenset[str] | None) -> bool:
    """Whether a word, or else a token in any case, ends between the two, whose tokens are those of both together."""
    first, second = _words(inner, before), _words(inner, after)
    apart = inner.pre_tokenizer is not None and first + second == _words(inner, before + after)
    if not apart and (joined is None or not first or not second or first[-1][-1:] + second[0][:1] in joined):
        return False
    encoded = inner.encode_batch_fast([before, after, before + after], add_special_tokens=False)
    left, right, both = (encoding.ids for encoding in encoded)
    return bool(left + right == both)


def _words(inner: tokenizers.Tokenizer, text: str) -> list[str]:
    normal = inner.normalizer.normalize_str(text) if inner.normalizer is not None else text
    return [word for word, _ in inner.pre_tokenizer.pre_tokenize_str(normal)] if inner.pre_tokenizer else [normal]
