"""Ranks that wait at the meeting are told of one that does not come, at little cost while none is told of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from danlu.parallel.absence import heed
from danlu.parallel.verdict import KEY
from danlu.parallel.world import World

KEYS = [f"name/{rank}" for rank in range(4)]


class Known:
    """A store, and which keys it was asked for."""

    def __init__(self, **values: str) -> None:
        self.values = {key.replace("_", "/"): value for key, value in values.items()}
        self.asked: list[str] = []

    def check(self, keys: list[str]) -> bool:
        self.asked += keys
        return all(key in self.values for key in keys)

    def get(self, key: str) -> str:
        return self.values[key]

    def set(self, key: str, value: str) -> None:
        self.values[key] = value


def world(rank: int) -> World:
    return World(rank, len(KEYS), rank, "localhost", 29500)


def test_while_all_is_well_one_key_is_asked_for() -> None:
    """Each rank looks twenty times a second: to ask for every other one would be millions of questions of many."""
    store: Any = Known()
    heed(store, world(0), KEYS)
    assert store.asked == [KEY]


def test_rank_0_shows_why_and_waits_for_those_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    why = {"by": 3, "problem": "there is no file a.yaml", "code": 2, "absent": "rank 3 (host b, process 7)"}
    store: Any = Known(verdict=json.dumps(why), name_0="", name_2="", left_2="", left_3="")
    with pytest.raises(SystemExit) as left:
        heed(store, world(0), KEYS)
    assert left.value.code == 2 and "left/0" in store.values
    assert capsys.readouterr().err == "danlu: error: on rank 3 (host b, process 7): there is no file a.yaml\n"
    assert store.asked[-2:] == ["left/0", "left/2"]


def test_others_leave_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    store: Any = Known(verdict=json.dumps({"by": 3, "problem": "no", "code": 2, "absent": "rank 3"}))
    with pytest.raises(SystemExit):
        heed(store, world(1), KEYS)
    assert capsys.readouterr().err == "" and store.values["left/1"] == ""
