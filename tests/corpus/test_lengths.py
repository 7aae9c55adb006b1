"""Documents in the order of their lengths: against sorting them in numpy, and files that cannot be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.lengths import Lengths, write_lengths

NAMES = ("order", "lengths", "counts")


def starts_of(lengths: list[int]) -> np.ndarray:
    return np.cumsum([0, *(length + 1 for length in lengths)])


@given(st.lists(st.integers(0, 9), max_size=60))
def test_documents_are_sorted_by_length_in_blocks(lengths: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.corpus.lengths.AT_ONCE", 7)
        found = Lengths.of(starts_of(lengths))
    assert found.order.tolist() == np.argsort(lengths, kind="stable").tolist()
    assert found.lengths.tolist() == sorted(set(lengths))
    assert dict(zip(found.lengths.tolist(), found.counts.tolist(), strict=True)) == Counter(lengths)
    assert found.fits(len(lengths)) and not found.fits(len(lengths) + 1)


@given(lengths=st.lists(st.integers(0, 300), max_size=40))
def test_the_files_say_what_sorting_says(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    folder = tmp_path_factory.mktemp("lengths")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.corpus.lengths.AT_ONCE", 7)
        write_lengths(folder, starts_of(lengths))
    read, alike = Lengths.open(folder), Lengths.of(starts_of(lengths))
    assert [getattr(read, name).tolist() for name in NAMES] == [getattr(alike, name).tolist() for name in NAMES]
    assert (folder / "by_length.bin").stat().st_size == 8 * len(lengths)
    assert np.fromfile(folder / "lengths.bin", dtype="<i8").tolist() == [
        number for pair in sorted(Counter(lengths).items()) for number in pair
    ]


def test_the_order_stays_on_the_disk(tmp_path: Path) -> None:
    write_lengths(tmp_path, starts_of([3, 1, 2]))
    found = Lengths.open(tmp_path)
    assert isinstance(found.order.base, np.memmap) and not found.order.flags.writeable


@pytest.mark.parametrize(
    ("order", "lengths", "counts"),
    [
        (5, [1, 3, 9], [2, 1, 3]),
        (6, [1, 3, 9], [2, 1, 2]),
        (6, [1, 3, 3], [2, 1, 3]),
        (6, [3, 1, 9], [2, 1, 3]),
        (6, [-1, 3, 9], [2, 1, 3]),
        (6, [1, 3, 9], [2, 2, 3]),
        (6, [1, 3, 9], [3, 0, 3]),
        (6, [1, 3, 9], [4, -1, 3]),
        (6, [1, 3], [2, 3]),
    ],
)
def test_tables_that_cannot_be_are_told(order: int, lengths: list[int], counts: list[int]) -> None:
    assert Lengths(np.arange(6), np.array([0, 3, 9]), np.array([2, 1, 3])).fits(6)
    assert not Lengths(np.arange(order), np.array(lengths), np.array(counts)).fits(6)


def test_a_file_that_is_missing_or_cut_is_refused(tmp_path: Path) -> None:
    write_lengths(tmp_path, starts_of([3, 1, 2, 2]))
    for name, cut in (("by_length.bin", 1), ("lengths.bin", 8)):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-cut])
        with pytest.raises(ValueError, match="size"):
            Lengths.open(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(FileNotFoundError):
            Lengths.open(tmp_path)
        (tmp_path / name).write_bytes(whole)
