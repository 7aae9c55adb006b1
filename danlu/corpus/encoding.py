"""Documents to token ids and their marks, many at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from danlu.corpus.mapped import Array
from danlu.corpus.marks import Marker, Marks
from danlu.corpus.split import Part
from danlu.corpus.store import token_dtype
from danlu.errors import InputError
from danlu.text.document import Document
from danlu.tokenizers.tokenizer import Tokenizer

BATCH = 2048
"""Documents tokenised at once."""
BATCH_CHARACTERS = 1 << 21
"""Of those documents, after which no other joins them: what is known of their tokens takes some hundred bytes each. A
longer document is encoded in parts."""
AT_ONCE = 2
"""Batches that are encoded at once, by a process that has all cores."""

Piece = tuple[Part, Document]
Encoded = tuple[Array, Marks | None]
"""Token ids and their marks."""


def encode_ahead(
    tokenizer: Tokenizer, batches: Iterable[list[Piece]], marker: Marker | None
) -> Iterator[tuple[list[Piece], list[Encoded]]]:
    """Each batch and its token ids, in order; the next ones are encoded while the caller works on this one.

    A batch ends when its last text does, and then cores stand still: so two are encoded at once, each on all cores.

    Raises:
        InputError: there are pairs, and no token between them.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting: deque[tuple[list[Piece], Future[list[Encoded]]]] = deque()
        try:
            for batch in batches:
                documents = [document for _, document in batch]
                waiting.append((batch, pool.submit(encode, tokenizer, documents, marker)))
                if len(waiting) > AT_ONCE:
                    first, encoded = waiting.popleft()
                    yield first, encoded.result()
            while waiting:
                first, encoded = waiting.popleft()
                yield first, encoded.result()
        finally:
            for _, encoded in waiting:
                encoded.cancel()


def encode_in_turn(
    tokenizer: Tokenizer, batches: Iterable[list[Piece]], marker: Marker | None
) -> Iterator[tuple[list[Piece], list[Encoded]]]:
    """The same, one batch after the other in this thread: for a process beside others, which has one core.

    Raises:
        InputError: there are pairs, and no token between them.
    """
    for batch in batches:
        yield batch, encode(tokenizer, [document for _, document in batch], marker)


def encode(tokenizer: Tokenizer, documents: list[Document], marker: Marker | None) -> list[Encoded]:
    """The token ids of each document, ``sep_token`` between the sides of a pair, and their marks where there is a
    marker.

    Raises:
        InputError: there are pairs, and no such token.
    """
    sides = [document.sides for document in documents]
    encoded = iter(_encode_texts(tokenizer, [text for each in sides for text in each], marker))
    found: list[Encoded] = []
    for each in sides:
        ids, marks = next(encoded)
        if len(each) > 1:
            more, more_marks = next(encoded)
            ids = np.concatenate([ids, np.array([_separator(tokenizer)], dtype=ids.dtype), more])
            if marks is not None and more_marks is not None:
                marks = np.concatenate([marks, more_marks[:1], more_marks])  # the separator begins what it parts
        found.append((ids, marks))
    return found


def _encode_texts(tokenizer: Tokenizer, texts: list[str], marker: Marker | None) -> list[Encoded]:
    dtype = token_dtype(tokenizer.vocab_size)
    if marker is None:
        return [(ids, None) for ids in tokenizer.encode_arrays(texts, dtype)]
    encoded = zip(texts, tokenizer.encode_with_ends(texts), strict=True)
    return [(np.fromiter(ids, dtype=dtype, count=len(ids)), marker.marks(text, ends)) for text, (ids, ends) in encoded]


def _separator(tokenizer: Tokenizer) -> int:
    sep = tokenizer.special("sep_token")
    if sep is None or sep == tokenizer.eot:
        raise InputError(
            "pack: pairs of texts need a token between them, which the tokenizer lacks: add bert to tokenizer.special"
        )
    return sep


def batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """The pieces in lists of about ``BATCH_CHARACTERS``; no list is empty, or has more than ``BATCH``."""
    batch: list[Piece] = []
    characters = 0
    for part, document in pieces:
        batch.append((part, document))
        characters += len(document.text)
        if characters >= BATCH_CHARACTERS or len(batch) == BATCH:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
