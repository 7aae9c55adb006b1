"""Prompts: what is asked in any form of conversation, and the row beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from danlu.data.asked import ASKED
from danlu.data.chats import Message
from danlu.data.dataset import Data, load
from danlu.errors import InputError

USER = {"role": "user", "content": "a"}
SAID = {"role": "assistant", "content": "b"}
CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({"prompt": "a", "answer": 4}, ["a"]),
    ({"instruction": "a", "input": "b", "output": ""}, ["a\nb"]),
    ({"instruction": "c", "history": [["a", "b"]], "system": "s"}, ["s", "a", "b", "c"]),
    ({"messages": [USER, SAID]}, ["a"]),
    ({"messages": [USER, SAID, {"role": "user", "content": "c"}], "level": 3}, ["a", "b", "c"]),
    ({"messages": [USER, SAID, {"role": "user", "content": "c"}, SAID]}, ["a", "b", "c"]),
    ({"问题": "甲", "答案": "乙"}, ["甲"]),
]


@pytest.mark.parametrize(("row", "wanted"), CASES, ids=lambda value: None)
def test_a_prompt_ends_with_what_was_asked(row: dict[str, Any], wanted: list[str], tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(json.dumps(row) + "\n")
    (found,) = load(Data(train=file, dev=file), ASKED).splits["train"]
    assert [message.content for message in found.prompt] == wanted == list(found.texts)
    assert found.columns == row and found.gold is None
    said = found.answered(Message("assistant", "z"))
    assert [message.content for message in said.messages] == [*wanted, "z"] and said.place == found.place


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"answer": "b"}, "there is no conversation"),
        ({"prompt": ""}, r"line 1: the instruction \(column 'prompt'\) is empty"),
        ({"messages": [SAID]}, "must begin with a user's"),
    ],
)
def test_a_row_without_a_prompt_is_told(row: dict[str, Any], told: str, tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match=told):
        load(Data(train=file, dev=file), ASKED)
