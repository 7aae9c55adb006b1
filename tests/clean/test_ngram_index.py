"""What evaluation sets are found by: what counting in dictionaries finds, in memory that does not grow with them."""

from __future__ import annotations

import json
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from danlu.clean import ngram_index
from danlu.clean.evaluation_items import read_items
from danlu.clean.ngram_index import Index, Indexing
from danlu.clean.ngram_windows import Length

LENGTH, SHORTEST = Length(3, 3), Length(2, 2)
TEXTS = st.lists(st.sampled_from("abc"), max_size=7)
SETS = st.lists(st.lists(st.lists(TEXTS, max_size=2), max_size=5), min_size=1, max_size=3)


def by_hand(sets: list[list[list[list[str]]]], common: int, document: list[str]) -> set[tuple[int, int, int]]:
    """Windows of three words and whole texts of two: where they begin and end in words, and the first set of them."""
    found: set[tuple[int, int, int]] = set()
    windows: dict[tuple[str, ...], int] = {}
    whole: defaultdict[tuple[str, ...], set[int]] = defaultdict(set)
    for number, items in enumerate(sets):
        texts = {tuple(text) for item in items for text in item}
        counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
        for text in texts:
            for window in {text[start : start + 3] for start in range(len(text) - 2)}:
                counts[window] += 1
            if len(text) == 2:
                whole[text].add(number)
        for window, count in counts.items():
            if count <= common:
                windows.setdefault(window, number)
    for start in range(len(document)):
        window = tuple(document[start : start + 3])
        if len(window) == 3 and window in windows:
            found.add((start, start + 3, windows[window]))
        found |= {(start, start + 2, number) for number in whole.get(window[:2], ())}
    return found


@settings(max_examples=60, deadline=None)
@example(sets=[[[["a", "b", "c"]]], [[["a", "b", "c"]]]], common=1, document=["a", "b", "c"])
@given(SETS, st.integers(1, 3), st.lists(st.sampled_from("abc"), max_size=12))
def test_what_is_found_is_what_counting_by_hand_finds(
    sets: list[list[list[list[str]]]], common: int, document: list[str]
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngram_index, "FILES", 4)
        with Indexing(Path(folder), LENGTH, SHORTEST) as indexing:
            for number, items in enumerate(sets):
                indexing.add(number, ([" ".join(text) for text in item] for item in items))
            arrays = indexing.arrays(common)
        hits = {
            (hit.start // 2, hit.end // 2 + 1, hit.set)
            for hit in Index(arrays, LENGTH, SHORTEST).hits(" ".join(document))
        }
    assert hits == by_hand(sets, common, document)
    covered = [any(len(text) >= 2 for text in item) for items in sets for item in items]
    assert (indexing.items, indexing.uncovered) == (len(covered), covered.count(False))


def traced(items: Iterator[list[str]], folder: Path) -> int:
    """The most memory that making an index takes."""
    folder.mkdir()
    tracemalloc.start()
    with Indexing(folder, Length(13, 20), Length(8, 12)) as indexing:
        indexing.add(0, items)
        indexing.arrays(10)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_is_less_than_the_rows_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngram_index, "MEMORY", 1 << 19)
    chance = np.random.default_rng(0)

    def items(count: int) -> Iterator[list[str]]:
        return ([" ".join(map(str, chance.integers(0, 10**6, 60)))] for _ in range(count))

    traced(items(1), tmp_path / "tables of letters")
    rows = 2000 * (60 - 13 + 1) * 3 * 8
    # Names of files are interned, and the table of these grows by a megabyte at once, but not in both.
    assert min(traced(items(2000), tmp_path / name) for name in ("much", "again")) < rows
    assert not list(tmp_path.rglob("long"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.txt"])
def test_a_file_of_items_is_read_item_by_item(tmp_path: Path, name: str) -> None:
    path, line = tmp_path / name, json.dumps({"q": "wort " * 20}) if name.endswith("jsonl") else "wort " * 20
    path.write_text(f"{line}\n" * 20_000)
    next(iter(read_items(path, None)))
    tracemalloc.start()
    assert sum(1 for _ in read_items(path, None)) == 20_000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < path.stat().st_size / 10
