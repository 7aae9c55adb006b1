"""Rows with the keys of earlier rows, whatever the memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.clean.duplicates import Duplicates, Sketched, write_cuts
from danlu.clean.minhash import Clusters
from danlu.clean.repeats import Dealt, Places, Repeats


def found(folder: Path, keys: np.ndarray, places: np.ndarray, memory: int) -> dict[int, int]:
    with Repeats(folder, rows=len(keys), memory=memory, width=keys.shape[1]) as repeats:
        for start in range(0, len(keys), 7):
            repeats.add(keys[start : start + 7], places[start : start + 7])
        copies = list(repeats)
    assert not folder.exists()
    pairs = [(place, first) for each in copies for place, first in zip(each.places, each.firsts, strict=True)]
    for each in copies:
        assert (keys[np.searchsorted(places, each.places)] == each.keys).all()
    assert len(dict(pairs)) == len(pairs)
    return {int(place): int(first) for place, first in pairs}


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("memory", [1, 3000, 10**8])
def test_a_row_is_a_copy_of_the_first_of_its_key(tmp_path: Path, width: int, memory: int) -> None:
    draw = np.random.default_rng(0)
    keys = draw.integers(0, 1 << 63, (400, width), dtype=np.uint64)[draw.integers(0, 400, 1000)]
    keys[draw.random(1000) < 0.4] = keys[0]  # one key has so many rows that its file is larger than memory
    if width == 2:
        keys[500:520, 0] = keys[0, 0]  # half a key is no key
    places = np.arange(1000) * 3
    first: dict[bytes, int] = {}
    truth = {}
    for key, place in zip(keys, places.tolist(), strict=True):
        if first.setdefault(key.tobytes(), place) != place:
            truth[place] = first[key.tobytes()]
    assert found(tmp_path / "rows", keys, places, memory) == truth


def test_files_stay_small_where_keys_are_many(tmp_path: Path) -> None:
    keys = np.random.default_rng(0).integers(0, 1 << 63, 5000, dtype=np.uint64) * np.uint64(2)
    repeats = Repeats(tmp_path / "rows", rows=5000, memory=16 * 8 * 100)
    repeats.add(keys, np.arange(5000))
    assert list(repeats) == []
    sizes = [path.stat().st_size for path in (tmp_path / "rows").iterdir()]
    assert len(sizes) == 50 and max(sizes) < 2 * 16 * 100


def test_dealt_rows_come_back_in_order(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/0").write_bytes(b"left by a run that was killed")
    with Dealt(tmp_path / "rows", files=3, width=1, memory=100) as dealt:
        for start in range(0, 60, 10):
            rows = np.arange(start, start + 10)
            dealt.add(rows[:, None], rows % 2)
        assert dealt.all(0)[:, 0].tolist() == list(range(0, 60, 2))
        assert [len(piece) for piece in dealt.read(1, 20)] == [20, 10]
        assert dealt.all(2).shape == (0, 1)


class Numbered(Sketched):
    @property
    def documents(self) -> int:  # type: ignore[override]
        return int(self.source)


def test_places() -> None:
    places = Places([Numbered(Path(), "3"), Numbered(Path(), "0"), Numbered(Path(), "2")], most=5)
    where = places.of(2, np.array([0, 1]), np.array([4, 0]))
    assert where.tolist() == [3 * 8 + 4, 4 * 8]
    assert places.parts(where).tolist() == [2, 2]
    assert places.parts(places.of(0, np.array([2]))).tolist() == [0]
    assert places.documents(where).tolist() == [3, 4]
    assert places.within(where).tolist() == [4, 0]
    assert Places([], most=1).total == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=20), max_size=4))
def test_clusters(tmp_path_factory: pytest.TempPathFactory, calls: list[list[tuple[int, int]]]) -> None:
    belongs = list(range(30))
    with Clusters(tmp_path_factory.getbasetemp() / "clusters", 30) as clusters:
        for pairs in calls:
            joined = np.array(pairs, np.int64).reshape(-1, 2)
            clusters.join(joined[:, 0], joined[:, 1])
            for one, other in pairs:
                least, most = sorted((belongs[one], belongs[other]))
                belongs = [least if each == most else each for each in belongs]
        assert clusters.firsts(np.arange(30)).tolist() == belongs


def test_the_salt_of_a_source(tmp_path: Path) -> None:
    parts = [Sketched(tmp_path, source) for source in ("a", "a", "b")]
    across, within = ([choice.salt(part) for part in parts] for choice in (Duplicates(), Duplicates(sources="within")))
    assert across == [0, 0, 0]
    assert within[0] == within[1] != within[2]


def test_copies_are_written_in_whole(tmp_path: Path) -> None:
    path = write_cuts(tmp_path, 7, {"document": np.array([1, 2]), "start": 0, "end": -1, "first": np.array([0, 1])})
    assert path.name == "000007.npy"
    assert np.load(path).tolist() == [(1, 0, -1, 0), (2, 0, -1, 1)]
