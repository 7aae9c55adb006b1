"""The column of the places of records: what documents say, in a store as in one that is gathered of drafts."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.column import KEPT
from danlu.corpus.offsets import FILE, NOWHERE, OffsetsWriter, offsets_in
from danlu.corpus.store import TokenStore, check_store
from danlu.corpus.store_writer import StoreWriter
from danlu.text.document import Document


def written(told: list[str | None]) -> tuple[bool, list[int]]:
    """Whether there is a file, and what it says."""
    with TemporaryDirectory() as name:
        writer = OffsetsWriter(Path(name))
        for each in told:
            writer.add(Document("a#0", "text", {} if each is None else {"offset": each}))
        writer.close()
        return (Path(name) / FILE).exists(), offsets_in(Path(name), len(told)).tolist()


@given(st.lists(st.none() | st.integers(0, 10**17), max_size=30))
def test_what_goes_in_comes_out(offsets: list[int | None]) -> None:
    told = [None if each is None else str(each) for each in offsets]
    there = any(each is not None for each in offsets)
    assert written(told) == (there, [NOWHERE if each is None else each for each in offsets])


@pytest.mark.parametrize("told", ["", "-1", "1.5", "many", "٣", "9" * 40, "0x10", " 7"])
def test_a_field_that_is_no_place_is_none(told: str) -> None:
    assert written([told, "7"]) == (True, [NOWHERE, 7])


def test_many_are_written_a_block_at_a_time() -> None:
    count = 2 * KEPT + 3
    assert written([str(number) for number in range(count)])[1] == list(range(count))


def test_a_store_verifies_it(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, vocab_size=50, eot=0) as writer:
        for number in range(3):
            writer.add(Document(f"a#{number}", "text", {"offset": str(7 * number)}), np.array([1, 2]))
    assert offsets_in(tmp_path, 3).tolist() == [0, 7, 14] and check_store(tmp_path).bytes > 0
    (tmp_path / FILE).write_bytes(b"\1" + (tmp_path / FILE).read_bytes()[1:])
    with pytest.raises(Exception, match=r"offsets.bin is damaged: bytes 0 to 23 are not what was written"):
        TokenStore.open(tmp_path)
