"""Sources are counted by file where there are few, by folder where there are many files, else as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.clean.source_parts import MOST, SourcePart, source_parts
from danlu.readers.record import LocalFile
from danlu.readers.sources import Source, SourceFile

ONE, TWO = Source(path=Path("one")), Source(path=Path("two"))


def files(source: Source, *names: str) -> list[SourceFile]:
    return [SourceFile(name, LocalFile(Path(name)), source) for name in names]


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["a.txt"], {"": 1}),
        (["x/a.txt", "b.txt"], {"x/a.txt": 1, "b.txt": 1}),
        ([f"{folder}/{n}.txt" for folder in "xyx" for n in range(MOST)], {"x/": 2 * MOST, "y/": MOST}),
        ([*(f"x/{n}.txt" for n in range(MOST)), "a.txt"], {"x/": MOST, "./": 1}),
        ([f"{n}.txt" for n in range(MOST + 1)], {"": MOST + 1}),
        ([f"{n}/a.txt" for n in range(MOST + 1)], {"": MOST + 1}),
    ],
)
def test_parts_of_a_source(names: list[str], parts: dict[str, int]) -> None:
    found, numbers = source_parts([*files(ONE, *names), *files(TWO, "a.txt")])
    assert found == [*(SourcePart("one", name, count) for name, count in parts.items()), SourcePart("two", "", 1)]
    assert [found[number].name for number in numbers[:-1]].count("x/") == parts.get("x/", 0)
    assert numbers[-1] == len(parts) and sorted(set(numbers)) == list(range(len(found)))
