"""Whether all ranks read the same text in the same way: of what one reads otherwise no loss would tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256

from danlu.corpus.batches import StepBatches
from danlu.corpus.store import TokenStore
from danlu.errors import InputError
from danlu.parallel.joining import Ranks
from danlu.tokenizers.vocabulary import Vocabulary

STEPS = 4
"""So many of the first steps are looked at, and so many ``ROWS`` of each."""
ROWS = 4
DOCUMENTS = 64
"""So many of the store's are looked at, evenly spread: what is known of them, and where they lie."""


def check_text(ranks: Ranks, vocabulary: Vocabulary, store: TokenStore) -> None:
    """Refuse to train where a rank has another tokenizer or other documents than rank 0. All ranks call it.

    Of the documents some are looked at: what finds another file need not find a bit of one that differs.

    Raises:
        InputError: and which rank.
    """
    if ranks.size > 1:
        _check(ranks, "has another tokenizer than", _hash(_ids(vocabulary)))
        _check(ranks, "reads other documents than", _hash(_documents(store)))


def check_rows(ranks: Ranks, batches: StepBatches) -> None:
    """Refuse to train where a rank makes other rows of the first steps than rank 0. All ranks call it.

    They hang on the tokens, on files of the objective's and on the libraries that it uses.

    Raises:
        InputError: and which rank.
    """
    if ranks.size > 1:
        _check(ranks, "makes other rows of the same documents than", _hash(_rows(batches)))


def _check(ranks: Ranks, otherwise: str, hashed: str) -> None:
    first, *others = ranks.all(hashed)
    for rank, other in enumerate(others, 1):
        if other != first:
            who = f"rank {rank}" if ranks.watch is None else ranks.watch.names[rank]
            raise InputError(f"{who} {otherwise} rank 0: all ranks need the same files and libraries")


def _ids(vocabulary: Vocabulary) -> Iterator[bytes]:
    yield repr((vocabulary.tokens, vocabulary.size, vocabulary.eot, sorted(vocabulary.roles.items()))).encode()
    yield repr((vocabulary.before, vocabulary.after, vocabulary.sentinels)).encode()
    yield vocabulary.ordinary.tobytes()
    yield vocabulary.special.tobytes()


def _documents(store: TokenStore) -> Iterator[bytes]:
    count = len(store.documents)
    yield repr((count, len(store.tokens), store.vocab_size, store.eot)).encode()
    for place in range(min(count, DOCUMENTS)):
        number = place * count // min(count, DOCUMENTS)
        ends = [int(each) for each in store.starts[number : number + 2]]
        yield json.dumps([store.document(number), ends], sort_keys=True, default=str).encode()


def _rows(batches: StepBatches) -> Iterator[bytes]:
    for step in range(STEPS):
        for group in batches.groups(step)[:1]:
            batch = batches.make(group._replace(numbers=group.numbers[:ROWS]))
            yield repr((batch.task, batch.counts, batch.tokens)).encode()
            for part in (batch.inputs, batch.targets, batch.source):
                for name, value in sorted(part.items()):
                    yield f"{name} {tuple(value.shape)}".encode()
                    yield value.contiguous().numpy().tobytes()


def _hash(parts: Iterator[bytes]) -> str:
    found = sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()
