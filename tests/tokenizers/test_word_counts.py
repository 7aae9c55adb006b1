"""Counts are exact in a table that is too small, and a long text is cut into the words of the whole."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from danlu.tokenizers import word_counts
from danlu.tokenizers.bpe import WORDS
from danlu.tokenizers.word_counts import CODE_POINTS, WordCounts, parts

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


letter_words = st.lists(st.lists(st.text("ab天é\U00017000", max_size=4)))


@settings(max_examples=40)
@given(letter_words, st.sets(st.sampled_from("ab天é\U00017000")))
def test_words_as_letters(batches: list[list[str]], left_out: set[str]) -> None:
    first, within = np.arange(CODE_POINTS, dtype=np.int32), np.arange(CODE_POINTS, dtype=np.int32) + CODE_POINTS
    for letter in left_out:
        first[ord(letter)] = within[ord(letter)] = -1
    words = Counter(word for batch in batches for word in batch)
    for most, part in ((2, 1), (1000, 1 << 18)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(word_counts, "PART", part)
            counts = WordCounts(most_words=most)
            for batch in batches:
                counts.add(batch)
            begun, gone_on = counts.letters()
            counted = counts.symbols_of_letters(first, within)
        sums: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for word, count in words.items():
            for place, letter in enumerate(word):
                sums[place > 0][letter] += count
        assert (begun, gone_on) == sums
        found, place = Counter[str](), 1
        for row in " ".join(map(str, counted.symbols.tolist())).split("-1")[1:-1]:
            ids = list(map(int, row.split()))
            group = int(np.searchsorted(counted.bounds, place, side="right")) - 1
            spelled = "".join(f"+{chr(id - CODE_POINTS)}" if id >= CODE_POINTS else chr(id) for id in ids)
            found[spelled] += int(counted.weights[group])
            place += len(ids) + 1
        expected = Counter[str]()
        for word, count in words.items():
            if len(word.encode()) > 1:
                kept = [
                    f"+{letter}" if place else letter for place, letter in enumerate(word) if letter not in left_out
                ]
                expected["".join(kept)] += count
        assert found == expected


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
