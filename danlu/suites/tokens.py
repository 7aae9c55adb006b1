"""Contexts and continuations as tokens, cut apart as EleutherAI's ``lm-evaluation-harness`` does.

A context is tokenised together with its continuation, for a tokenizer may cut otherwise at the end of a text: what the
context alone gives, counted in tokens, is the context, the rest is scored. Spaces that end a context belong to the
continuation. Before an empty context stands the token that begins a text, or else the one that ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from danlu.errors import InputError, shown
from danlu.suites.request import Request
from danlu.tokenizers.tokenizer import Tokenizer

Encode = Callable[[list[str]], list[list[int]]]
"""From texts to their tokens."""


class Pair(NamedTuple):
    """The tokens of a request; neither side is empty."""

    context: list[int]
    continuation: list[int]


class Window(NamedTuple):
    """What goes through a decoder at once; the last tokens that it foresees are those that count."""

    inputs: list[int]
    targets: list[int]


def prefix_of(tokenizer: Tokenizer) -> int:
    """The token that stands for an empty context."""
    return tokenizer.eot if tokenizer.bos is None else tokenizer.bos


def whole_pairs(tokenizer: Tokenizer, requests: Sequence[Request]) -> list[Pair]:
    """For a decoder: contexts and continuations tokenised together, behind what the tokenizer puts before a text.

    Raises:
        InputError: a continuation has no token of its own.
    """
    before, _ = tokenizer.template()
    prefix = prefix_of(tokenizer)
    moved = [_with_spaces(request) for request in requests]
    contexts = _encoded(tokenizer, [context for context, _ in moved])
    wholes = _encoded(tokenizer, [context + continuation for context, continuation in moved])
    pairs = []
    for request, (context, continuation) in zip(requests, moved, strict=True):
        whole = wholes[context + continuation]
        if request.context:
            taken = len(contexts[context])
            head, tail = [*before, *contexts[context]] or [prefix], whole[taken:]
        else:
            head, tail = [prefix], whole
        pairs.append(_checked(Pair(head, tail), request))
    return pairs


def parted_pairs(tokenizer: Tokenizer, requests: Sequence[Request], *, after: Sequence[int]) -> list[Pair]:
    """For a model with an encoder: contexts for it, framed as its texts are, and continuations for its decoder.

    Args:
        after: what ends a text that the encoder reads.

    Raises:
        InputError: a continuation has no token.
    """
    before, _ = tokenizer.template()
    prefix = prefix_of(tokenizer)
    moved = [_with_spaces(request) for request in requests]
    texts = _encoded(tokenizer, [text for pair in moved for text in pair])
    return [
        _checked(
            Pair([*before, *texts[context], *after] if request.context else [prefix], texts[continuation]), request
        )
        for request, (context, continuation) in zip(requests, moved, strict=True)
    ]


def windows(pair: Pair, most: int) -> list[Window]:
    """What a decoder that sees ``most`` tokens reads to foresee the continuation.

    The context is cut from the left until both fit. A continuation that is longer alone goes through in several
    windows, each token once, as for a whole text: the first begins with the context's last token, the others see
    as much of what goes before as they can.
    """
    context, continuation = pair
    if len(continuation) <= most:
        inputs = [*context, *continuation][-(most + 1) : -1]
        return [Window(inputs, continuation)]
    whole = [context[-1], *continuation]
    found = []
    for start in range(0, len(continuation), most):
        end = min(start + most, len(continuation))
        found.append(Window(whole[end - most : end] if start else whole[:end], continuation[start:end]))
    return found


def _with_spaces(request: Request) -> tuple[str, str]:
    """The spaces that end the context at the beginning of the continuation."""
    context = request.context.rstrip()
    return context, request.context[len(context) :] + request.continuation


def _encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, list[int]]:
    """Each text once: the choices of a question share theirs."""
    different = list(dict.fromkeys(texts))
    return dict(zip(different, tokenizer.encode_batch(different), strict=True))


def _checked(pair: Pair, request: Request) -> Pair:
    if not pair.continuation:
        raise InputError(
            f"the continuation {shown(request.continuation)!r} of {shown(request.context[-40:])!r} has no token of its "
            "own: the tokenizer joins it with what stands before"
        )
    return pair
