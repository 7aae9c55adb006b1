"""A full disk and too many open files stop the run with one line: no record is rejected for want of them."""

from __future__ import annotations

import io
import os
import resource
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from danlu.errors import DanluError, InputError, OutputError
from danlu.readers import spool
from danlu.readers.reading import read
from danlu.readers.record import LocalFile, Raw, Rejected, Wanted


@contextmanager
def limited(what: int, most: int) -> Iterator[None]:
    """A limit of this process for a ``with``."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


def tar_of(folder: Path, name: str, content: bytes) -> Path:
    path = folder / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return path


def records(path: Path) -> list[Raw | Rejected]:
    return list(read(LocalFile(path), Wanted()))


def parquet() -> bytes:
    file = io.BytesIO()
    texts = [f"{number} " + os.urandom(20_000).hex() for number in range(100)]
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), file)
    return file.getvalue()


def test_no_room_for_a_copy_of_a_member_ends_the_run(tmp_path: Path) -> None:
    path = tar_of(tmp_path, "a.parquet", parquet())
    assert len(records(path)) == 100
    with limited(resource.RLIMIT_FSIZE, 1_000_000), pytest.raises(OutputError) as refused:
        records(path)
    problem = "the file would be larger than the system allows"
    assert str(refused.value) == f"cannot write to {tempfile.gettempdir()}: {problem}"


def test_no_room_for_what_is_read_of_a_member_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MEMORY_BYTES", 1000)
    text = "\n".join(f"line {number}" for number in range(300_000)).encode()
    path = tar_of(tmp_path, "a.txt", text)
    assert len(records(path)) == 1
    with limited(resource.RLIMIT_FSIZE, 1_000_000), pytest.raises(OutputError, match="cannot write to "):
        records(path)


@pytest.mark.parametrize("name", ["a.txt", "a.parquet", "a.arrow"])
def test_too_many_open_files_end_the_run(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    table = pyarrow.table({"text": ["one"]})
    if name == "a.parquet":
        pyarrow.parquet.write_table(table, path)
    elif name == "a.arrow":
        with pyarrow.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    else:
        path.write_text("one")
    assert [record.text for record in records(path) if isinstance(record, Raw)] == ["one"]
    opened = os.open(path, os.O_RDONLY)  # the lowest number that is free
    os.close(opened)
    with limited(resource.RLIMIT_NOFILE, opened), pytest.raises(InputError) as refused:
        records(path)
    assert isinstance(refused.value, DanluError) and str(refused.value).endswith(
        f"{name}: Too many open files (this machine's limit)"
    )


def test_a_file_that_is_gone_is_still_a_rejected_record(tmp_path: Path) -> None:
    [rejected] = records(tmp_path / "gone.txt")
    assert isinstance(rejected, Rejected) and rejected.reason == "cannot be read"
