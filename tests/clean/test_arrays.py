"""Arrays in a file: what safetensors reads in it, and no memory for what is only passed on."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from danlu.clean.arrays import Growing, read_about, read_arrays, write_arrays

KINDS = ["?", "<u1", "<u2", "<u4", "<u8", "<i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_safetensors_reads_the_same(tmp_path: Path, count: int) -> None:
    chance = np.random.default_rng(count)
    arrays = {f"of {kind}": chance.integers(0, 2, (count, 3)).astype(kind) for kind in KINDS}
    arrays["big end first"] = chance.integers(0, 1000, count).astype(">i4")
    arrays["every other"] = chance.random((count, 6))[:, ::2]
    write_arrays(tmp_path / "a", arrays, {"about": "这些"})
    for read in (load_file(tmp_path / "a"), read_arrays(tmp_path / "a")):
        assert read.keys() == arrays.keys()
        for name, each in arrays.items():
            np.testing.assert_array_equal(read[name], each)
    assert read_about(tmp_path / "a") == {"about": "这些"}
    assert all(each.flags.aligned for each in read_arrays(tmp_path / "a").values())


def test_what_is_mapped_is_written_without_being_read_into_memory(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "much", np.int64, "w+", shape=(1 << 19,))
    tracemalloc.start()
    write_arrays(tmp_path / "a", {"much": mapped}, {})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "a").stat().st_size > mapped.nbytes > 10 * most


def test_what_grows_is_what_was_added(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    for count in (0, 1, 5):
        pieces = [chance.integers(0, 9, (each, 3)).astype("<u2") for each in range(count)]
        growing = Growing(tmp_path / "a", np.empty((0, 3), "<u2"))
        for piece in pieces:
            growing.add(piece)
        with growing.closed() as array:
            np.testing.assert_array_equal(array, np.concatenate([np.empty((0, 3), "<u2"), *pieces]))
            assert array.shape[1:] == (3,) and array.dtype == np.uint16
        assert not list(tmp_path.iterdir())
