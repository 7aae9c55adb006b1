"""Words and the texts that they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.example import Place
from danlu.data.form import Cells
from danlu.data.rows import Row
from danlu.data.tagged import TAG
from danlu.data.writing import pieces


@pytest.mark.parametrize(
    ("words", "text"),
    [("Hello , world", "Hello , world"), ("我 爱 北京", "我爱北京"), ("用 iPhone 15 手机 。", "用iPhone 15手机。"),
     ("한국 사람", "한국 사람"), ("ฉัน รัก", "ฉันรัก"), ("東京 タワー", "東京タワー")],
)  # fmt: skip
def test_words_are_joined_as_their_language_writes_them(words: str, text: str) -> None:
    assert "".join(pieces(words.split())) == text


@given(st.lists(st.text(alphabet="ab我。,1", min_size=1), min_size=1))
def test_each_piece_ends_with_its_word(words: list[str]) -> None:
    assert all(piece.strip() == word for piece, word in zip(pieces(words), words, strict=True))


def read(**cells: Any) -> Any:
    return TAG.read(Cells(Row(Place(Path("a.jsonl"), 1), cells), {name: name for name in cells}, gold="tags" in cells))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Angela Merkel visited Berlin, Ohio.", "Angela Merkel visited Berlin , Ohio ."),
        ("Angela Merkel visited the U.S. yesterday .", "Angela Merkel visited the U.S. yesterday ."),  # tokens already
        ("我在北京工作。", "我 在 北 京 工 作 。"),
        ("我在北京， 工作于IBM 3年", "我 在 北 京 ， 工 作 于 IBM 3 年"),
        ("我 在 北京 工作 。", "我 在 北京 工作 。"),
    ],
)
def test_running_text_is_parted_and_kept(text: str, tokens: str) -> None:
    example = read(tokens=text)
    assert example.tokens == tuple(tokens.split())
    assert example.texts == (text,)


def test_the_text_of_entities_by_offset_is_kept() -> None:
    example = read(tokens="Bill  Gates, Seattle", tags=[[0, 11, "PER"]])
    assert example.texts == ("Bill  Gates, Seattle",)
    assert example.pieces == ("Bill", "  Gates", ",", " Seattle")
    assert read(tokens=["北", "京"], tags=["B-X", "I-X"]).texts == ("北京",)
