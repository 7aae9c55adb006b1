"""Counts are exact in a table that is too small, and a long text is cut into the words of the whole."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from danlu.tokenizers.bpe import WORDS
from danlu.tokenizers.word_counts import WordCounts, parts

WORDS_AND_MARKS = ["word ", "天下，", "x\n", "不,"]
IDS = np.arange(256, dtype=np.int32)[::-1].copy()
CUT = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")


def read(counts: WordCounts) -> tuple[Counter[bytes], int]:
    """The words of more than one byte with their counts, and how many rows there are."""
    words, found, rows = counts.symbols(IDS), Counter[bytes](), 0
    assert words.symbols[0] == words.symbols[-1] == -1
    place = 1
    for row in bytes(255 - max(id, 0) for id in words.symbols.tolist()).split(b"\xff")[1:-1]:
        group = int(np.searchsorted(words.bounds, place, side="right")) - 1
        found[row] += int(words.weights[group])
        place, rows = place + len(row) + 1, rows + 1
    return found, rows


@given(st.lists(st.lists(st.one_of(st.text("ab天", max_size=3), st.text(st.characters(exclude_categories=["Cs"]))))))
def test_no_occurrence_is_lost(batches: list[list[str]]) -> None:
    for most in (1, 4, 1000):
        counts = WordCounts(most_words=most)
        for batch in batches:
            counts.add(batch)
        expected = Counter(word.encode() for batch in batches for word in batch if len(word.encode()) > 1)
        found, rows = read(counts)
        assert found == expected
        assert rows == len(expected) or most < 1000


def test_the_table_keeps_the_frequent_words_and_stays_small() -> None:
    counts = WordCounts(most_words=100)
    for number in range(5000):
        counts.add([f"w{number}", "often", "often"])
        assert len(counts._table) <= 101
    found, rows = read(counts)
    assert found[b"often"] == 10_000
    assert rows == 5001


@given(
    st.lists(st.one_of(st.text(" \n'sé7，", max_size=3), st.sampled_from(WORDS_AND_MARKS))),
    st.integers(1, 9),
)
def test_parts_have_the_words_of_the_whole(pieces: list[str], size: int) -> None:
    text = "".join(pieces).encode(errors="ignore").decode()
    cut = list(parts(text, size=size))
    assert "".join(cut) == text
    words = [word for part in cut for word, _ in CUT.pre_tokenize_str(part)]
    whole = [word for word, _ in CUT.pre_tokenize_str(text)]
    if all(left[-1] in "dx下不" and right[0] in " \n，," for left, right in pairwise(cut)):
        assert words == whole


def test_a_long_run_is_cut_and_parts_stay_small() -> None:
    text = "天" * 1000
    assert [len(part) for part in parts(text, size=100)] == [200] * 4 + [200]
    text = "天地玄黄，宇宙洪荒。" * 1000
    assert {text.find(part) % 10 for part in parts(text, size=100)} <= {0, 4, 9}
    assert max(map(len, parts(text, size=100))) <= 210


@pytest.mark.parametrize("text", ["", "a", "no cut"])
def test_a_short_text_is_one_part(text: str) -> None:
    assert list(parts(text)) == [text]
