"""Portions hold all files in order, and no more than their size."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from danlu.clean.portions import portions
from danlu.readers.record import LocalFile
from danlu.readers.sources import Source, SourceFile


@given(st.lists(st.integers(0, 12), max_size=9), st.integers(1, 20))
def test_all_files_in_order_and_few_portions(sizes: list[int], most: int) -> None:
    with TemporaryDirectory() as name:
        files, source = [], Source(path=Path(name))
        for number, size in enumerate(sizes):
            path = Path(name, f"{number}.txt")
            path.write_bytes(b"x" * size)
            files.append(SourceFile(path.name, LocalFile(path), source))
        found = portions(files, size=most)
        assert [file for portion in found for file in portion.files] == files
        assert [portion.number for portion in found] == list(range(len(found)))
        assert all(portion.size <= most or len(portion.files) == 1 for portion in found)
        assert all(portion.files for portion in found)
        firsts = [portion.files[0].content.size or 0 for portion in found[1:]]
        assert all(portion.size + first > most for portion, first in zip(found, firsts, strict=False)), "none too small"


def test_a_portion_is_of_one_source(tmp_path: Path) -> None:
    """Which duplicates within sources need, and what is said of each in the lineage."""
    sources = [Source(path=tmp_path), Source(path=tmp_path), Source(path=tmp_path, language="en")]
    files = [SourceFile(str(n), LocalFile(tmp_path), sources[n // 2]) for n in range(6)]
    assert [len(portion.files) for portion in portions(files, size=10**9)] == [2, 2, 2]
    assert [portion.source for portion in portions(files, size=10**9)] == sources
