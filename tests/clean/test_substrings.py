"""Repeated runs of characters, beside brute force."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from danlu.clean import windows
from danlu.clean.duplicates import CUT, apply, by_document
from danlu.clean.exact import Exact
from danlu.clean.lines import Lines
from danlu.clean.minhash import MinHash
from danlu.clean.substrings import Substrings, notes_on_order
from danlu.clean.windows import anchors, codes, window_hashes

Cuts = list[tuple[int, int, int, int]]
Decide = Callable[..., Cuts]


def brute_force(texts: Sequence[str], length: int) -> Cuts:
    """Every run of ``length`` characters that has been there before without overlapping; joined where they touch."""
    first: dict[str, tuple[int, int]] = {}
    cuts: Cuts = []
    for number, text in enumerate(texts):
        for start in range(len(text) - length + 1):
            document, place = first.setdefault(text[start : start + length], (number, start))
            if (document, place) == (number, start) or (document == number and start - place < length):
                continue
            if cuts and cuts[-1][0] == number and start <= cuts[-1][2]:
                cuts[-1] = (number, cuts[-1][1], start + length, cuts[-1][3])
            else:
                cuts.append((number, start, start + length, document))
    return cuts


TEXTS = st.lists(st.text("ab中\U0001f600", max_size=40), max_size=6)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, st.integers(4, 9), st.integers(0, 6), st.booleans())
@example(["a" * 30, "ab" * 15], 4, 1, False)
@example(["abcdefgh中文", "-abcdefgh中文"], 5, 0, True)
def test_as_brute_force_finds_them(decide: Decide, texts: list[str], length: int, cut: int, little: bool) -> None:
    choice = Substrings(characters=length)
    if little:
        choice = choice.model_copy(update={"memory": 2000})
    cuts = decide(choice, texts[:cut], texts[cut:])
    assert cuts == brute_force(texts, length)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("ab中", max_size=12), max_size=8), st.integers(4, 6), st.integers(0, 6), st.booleans())
@example(["abcd", "abcdefgh", "efgh"], 4, 1, False)
@example(["-abcdabcd"], 4, 0, False)
def test_what_is_dropped_has_a_run_of_one_that_stays(
    decide: Decide, texts: list[str], length: int, cut: int, little: bool
) -> None:
    """In order: a document falls just where one before it stays that has a run of it; never for a run of its own."""
    choice = Substrings(characters=length, then="drop")
    if little:
        choice = choice.model_copy(update={"memory": 2000})
    runs = [{text[start : start + length] for start in range(len(text) - length + 1)} for text in texts]
    stays: list[int] = []
    for number in range(len(texts)):
        if not any(runs[number] & runs[first] for first in stays):
            stays.append(number)
    dropped = decide(choice, texts[:cut], texts[cut:])
    assert [document for document, *_ in dropped] == [number for number in range(len(texts)) if number not in stays]
    assert all(first in stays and runs[document] & runs[first] for document, _, _, first in dropped)
    assert all(end == -1 for _, _, end, _ in dropped)


def test_a_chain_too_long_to_be_followed_falls(decide: Decide, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{number:04}{number + 1:04}" for number in range(1000, 1006)]
    choice = Substrings(characters=4, then="drop")
    assert [document for document, *_ in decide(choice, texts)] == [1, 3, 5]
    monkeypatch.setattr("danlu.clean.substrings._ROUNDS", 2)
    assert [document for document, *_ in decide(choice, texts)] == [1, 3, 4, 5]


def test_who_drops_for_a_passage_behind_near_copies_is_told() -> None:
    drop = Substrings(then="drop")
    (note,) = notes_on_order([Lines(), Exact(), MinHash(), drop])
    assert note.startswith("clean: duplicates.3 drops documents for a passage after copies were dropped (near dup")
    assert not list(notes_on_order([drop, MinHash(), Substrings()])) and not list(notes_on_order([Exact(), drop]))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, st.integers(4, 9))
def test_what_is_cut_stays_elsewhere(decide: Decide, texts: list[str], length: int) -> None:
    """Every character that goes stands at an earlier place, with those around it; the chain ends at one that stays."""
    cuts = decide(Substrings(characters=length), texts)
    gone = {(document, place) for document, start, end, _ in cuts for place in range(start, end)}
    assert all(end - start >= length for _, start, end, _ in cuts)
    first: dict[str, tuple[int, int]] = {}
    image = {}
    for number, text in enumerate(texts):
        for start in range(len(text) - length + 1):
            document, place = first.setdefault(text[start : start + length], (number, start))
            if (document, place + length) <= (number, start):
                for offset in range(length):
                    image.setdefault((number, start + offset), (document, place + offset))
    for here in gone:
        there = here
        while there in gone:
            assert image[there] < there
            there = image[there]
        assert texts[there[0]][there[1]] == texts[here[0]][here[1]]


def test_pieces_of_long_texts(decide: Decide, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts longer than what is worked on at once, with a copy of just enough characters and one of too few."""
    monkeypatch.setattr(windows, "BLOCK", 64)
    monkeypatch.setattr("danlu.clean.substrings.BLOCK", 64)
    draw = random.Random(0)
    pieces = ["".join(draw.choices("abcdefgh一二三四", k=1000)) for _ in range(4)]
    texts = [
        pieces[0] + pieces[1],
        pieces[2] + "|" + pieces[0][500:600] + "|" + pieces[1][300:399] + "|" + pieces[2],
        pieces[3] + "-" * 250,
    ]
    expected = [(1, 1001, 1101, 0), (1, 1202, 2202, 1), (2, 1100, 1250, 2)]
    assert decide(Substrings(characters=100), texts) == expected == brute_force(texts, 100)
    cuts = by_document(np.array(expected, CUT))
    assert apply(texts[1], cuts[1]) == f"{pieces[2]}||{pieces[1][300:399]}|"
    assert apply(texts[2], cuts[2]) == pieces[3] + "-" * 100


def test_a_text_without_repeats_is_untouched(decide: Decide) -> None:
    draw = random.Random(0)
    assert decide(Substrings(), ["".join(draw.choices("abc", k=2000)) for _ in range(5)]) == []


def test_windows_have_equal_hashes_where_they_are_equal() -> None:
    draw = random.Random(0)
    text = "".join(draw.choices("ab", k=3000))
    for width in (1, 2, 3, 7, 8, 13):
        hashes = window_hashes(codes(text), width)
        runs = [text[start : start + width] for start in range(len(text) - width + 1)]
        assert len(hashes) == len(runs)
        assert len(set(zip(runs, hashes.tolist(), strict=True))) == len(set(runs)) == len(set(hashes.tolist()))


@pytest.mark.parametrize("block", [10, 64, 1 << 16])
def test_anchors_are_the_least_of_some_window(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "BLOCK", block)
    draw = random.Random(0)
    text = "".join(draw.choices("ab", k=500)) + "-" * 100
    width, window = 6, 15
    hashes = window_hashes(codes(text), width).tolist()
    least = [min(hashes[start : start + window]) for start in range(len(hashes) - window + 1)]
    truth = [
        place
        for place, each in enumerate(hashes)
        if each in least[max(0, place - window + 1) : min(place, len(least) - 1) + 1]
    ]
    places, keys = anchors(codes(text), width, window)
    assert places.tolist() == truth
    assert keys.tolist() == [hashes[place] for place in truth]
    assert len(places) < len(hashes) / 2
    assert len(anchors(codes("short"), 6, 15)[0]) == 0
