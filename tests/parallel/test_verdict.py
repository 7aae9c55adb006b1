"""The first verdict counts, whoever else has one."""

from __future__ import annotations

from typing import Any

import pytest

from danlu.parallel.verdict import Verdict, in_short, pronounce, pronounced


class Kept:
    """As torch's store, of one key."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def check(self, keys: list[str]) -> bool:
        return all(key in self.values for key in keys)

    def get(self, key: str) -> bytes:
        return self.values[key].encode()

    def compare_set(self, key: str, expected: str, wanted: str) -> bytes:
        return self.values.setdefault(key, wanted).encode()


def test_the_first_one_counts() -> None:
    store: Any = Kept()
    assert pronounced(store) is None
    assert pronounce(lambda: store, Verdict(2, "rank 1 hangs"))
    assert not pronounce(lambda: store, Verdict(0, "rank 1 is dead"))
    assert pronounced(store) == Verdict(2, "rank 1 hangs", 3, "")


def test_where_the_store_is_gone_nobody_can_have_been_faster() -> None:
    def gone() -> Any:
        raise RuntimeError("connection refused")

    assert pronounce(gone, Verdict(0, "rank 1 is dead"))


def test_what_is_no_lost_connection_is_an_error() -> None:
    store: Any = Kept()
    problem: Any = set()  # which is no text
    with pytest.raises(TypeError):
        pronounce(lambda: store, Verdict(0, problem))


def test_an_error_in_short() -> None:
    assert in_short(ValueError("wrong\nas the second line says")) == "ValueError: wrong"
    assert in_short(MemoryError()) == "MemoryError"
    assert len(in_short(ValueError("x" * 1000))) == 312
