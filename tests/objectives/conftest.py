"""A vocabulary with every special token, and pieces of documents."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu.corpus.marks import SENTENCE
from danlu.corpus.rows import Piece
from danlu.corpus.store import TokenStore
from danlu.tokenizers.vocabulary import Vocabulary

sys.path.insert(0, str(Path(__file__).parent))  # for taught.py
from taught import Pair

SIZE = 400
ROLES = {
    "eot": 0,
    "pad": 1,
    "cls": 2,
    "sep": 3,
    "mask": 4,
    "fim_prefix": 5,
    "fim_middle": 6,
    "fim_suffix": 7,
    "start": 8,
}
SENTINELS = tuple(range(120, 20, -1))
"""Downwards, as in T5's own vocabulary."""
FIRST_WORD = 121


@pytest.fixture(scope="session")
def make_vocabulary() -> Callable[..., Vocabulary]:
    """``make_vocabulary(sentinels=100)``: every role, ids from 121 on are text."""

    def make(*, sentinels: int = 100) -> Vocabulary:
        ids = np.arange(SIZE, dtype=np.int64)
        special = np.array([*ROLES.values(), *SENTINELS[::-1]], dtype=np.int64)
        return Vocabulary(SIZE, 0, dict(ROLES), SENTINELS[:sentinels], ids[ids >= FIRST_WORD], special)

    return make


@pytest.fixture(scope="session")
def vocabulary(make_vocabulary: Callable[..., Vocabulary]) -> Vocabulary:
    return make_vocabulary()


@pytest.fixture(scope="session")
def make_piece() -> Callable[..., Piece]:
    """``make_piece(body)``: a document of these tokens, or of so many, all different while there are enough.

    ``sentences`` says where in the body sentences begin, ``closes`` whether it ends, ``seen`` how many were there
    before.
    """

    def make(body: Sequence[int] | int, *, closes: bool = True, seen: int = 0, sentences: Sequence[int] = ()) -> Piece:
        if isinstance(body, int):
            body = [FIRST_WORD + place % (SIZE - FIRST_WORD) for place in range(body)]
        stream = np.array([0, *body, *([0] if closes else [])], dtype=np.int64)
        marks = np.zeros(len(stream), dtype=np.uint8)
        marks[[0, 1, *(1 + place for place in sentences)]] = SENTENCE
        kept: dict[str, Any] = {"marks": marks, "marked": ("sentences",)} if sentences else {}
        return Piece(TokenStore(stream, np.array([0, len(stream) - 1]), [{}], SIZE, 0, **kept), 0, stream, seen)

    return make


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., Pair]:
    def make(kind: str, student: tuple[int, int] = (16, 2), teacher: tuple[int, int] = (32, 4)) -> Pair:
        return Pair(tmp_path, kind, student=student, teacher=teacher)

    return make
