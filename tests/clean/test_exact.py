"""Equal documents: the first stays, the others name it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from danlu.clean.exact import ExactDuplicate


def repeats(portions: list[list[str]]) -> list[list[int]]:
    with TemporaryDirectory() as name:
        paths = [Path(name, f"{number}.npy") for number in range(len(portions))]
        for path, texts in zip(paths, portions, strict=True):
            np.save(path, ExactDuplicate().sketch(texts))
        return [each.tolist() for each in ExactDuplicate().decide(paths)]


def test_the_first_of_equal_documents_stays() -> None:
    assert repeats([["one", "two", "one"], [], ["One", "one ", "two", "one"]]) == [[-1, -1, 0], [], [-1, -1, 1, 0]]


def test_both_halves_of_a_hash_count(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1, 2], [1, 3], [0, 2], [1, 2]], dtype="<u8"))
    (repeated,) = ExactDuplicate().decide([tmp_path / "a.npy"])
    assert repeated.tolist() == [-1, -1, -1, 0]


@given(st.lists(st.lists(st.text(alphabet="ab三", max_size=2), max_size=6), min_size=1, max_size=4))
def test_it_is_what_a_dictionary_says(portions: list[list[str]]) -> None:
    seen: dict[str, int] = {}
    numbers = iter(range(1000))
    expected = []
    for texts in portions:
        expected.append([])
        for text in texts:
            number = next(numbers)
            first = seen.setdefault(text, number)
            expected[-1].append(-1 if first == number else first)
    assert repeats(portions) == expected
