"""Lines of JSON, and hashes of inputs: what was written comes back, whatever marks it holds; damage is one line."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from danlu.errors import InputError, OutputError
from danlu.files import hash_input, read_jsonl, writing


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    objects = [{"text": f"a{mark}b"} for mark in ("\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\r\n", "\n")]
    lines = [json.dumps(each, ensure_ascii=False) for each in objects]
    for end in ("", "\n"):
        (tmp_path / "a.jsonl").write_bytes("\n".join(lines).encode() + end.encode())
        assert read_jsonl(tmp_path / "a.jsonl") == objects


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    assert read_jsonl(tmp_path / "a.jsonl") == []


@pytest.mark.parametrize("bad", [b'{"a": 1', b'"a"', b"", b'{"a": "\xff"}'])
def test_a_line_that_is_no_object_is_named(bad: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n' + bad + b"\n")
    with pytest.raises(InputError, match=r"a\.jsonl is damaged at line 2: ") as caught:
        read_jsonl(tmp_path / "a.jsonl")
    assert "\n" not in str(caught.value)


def test_an_input_that_cannot_be_read_is_named_with_its_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^clean: .*a\.txt cannot be read: No such file or directory$"):
        hash_input(tmp_path / "a.txt", of="clean")
    (tmp_path / "a.txt").write_bytes(b"a")
    assert hash_input(tmp_path / "a.txt", of="clean") == hashlib.sha256(b"a").hexdigest()

    def fails(path: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # of an open file: it has no name

    monkeypatch.setattr("danlu.files.hash_file", fails)
    with pytest.raises(InputError, match=r"a\.txt cannot be read: Input/output error$"):
        hash_input(tmp_path / "a.txt", of="clean")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_refusal_that_a_library_keeps_only_the_words_of_is_known(number: int, tmp_path: Path) -> None:
    """As safetensors does."""
    problem = f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})"
    with pytest.raises(OutputError, match=f"^cannot write to {tmp_path}: [a-z -]+$"), writing(tmp_path):
        raise ValueError(problem)
    with pytest.raises(ValueError, match=r"^the shape is wrong$"), writing(tmp_path):
        raise ValueError("the shape is wrong")
