"""The manifest of a folder: every change of what is named there is found, and what comes from elsewhere too."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from danlu.train.manifest import find_change, seal


def complete(names: Collection[str]) -> bool:
    return "a.txt" in names


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    (tmp_path / "inside").mkdir()
    for name, text in (("a.txt", "some"), ("inside/b.txt", "more")):
        (tmp_path / name).write_text(text)
    seal(tmp_path)
    return tmp_path


def test_what_is_as_it_was_has_no_change(sealed: Path) -> None:
    assert find_change(sealed, complete=complete, looked_for=["inside/c.txt"]) is None
    (sealed / "notes.txt").write_text("of somebody who has looked at it")
    assert find_change(sealed, complete=complete, looked_for=["inside/c.txt"]) is None


@pytest.mark.parametrize("name", ["a.txt", "inside/b.txt"])
def test_each_file_counts(name: str, sealed: Path) -> None:
    (sealed / name).write_text("none")
    assert find_change(sealed, complete=complete) == f"{name} is not what was written"
    (sealed / name).unlink()
    assert find_change(sealed, complete=complete) == f"{name} is missing"
    (sealed / name).mkdir()
    assert find_change(sealed, complete=complete) == f"{name} is missing"


def test_a_file_that_would_be_read_and_is_none_of_them_is_a_change(sealed: Path) -> None:
    (sealed / "inside" / "c.txt").write_text("from elsewhere")
    assert find_change(sealed, complete=complete, looked_for=["inside/c.txt"]) == "inside/c.txt is none of its files"


def test_so_is_a_manifest_that_is_none(sealed: Path) -> None:
    wrong = "manifest.json is missing or damaged"
    assert find_change(sealed, complete=lambda names: "c.txt" in names) == wrong
    (sealed / "manifest.json").write_text("[]\n")
    assert find_change(sealed, complete=complete) == wrong
    (sealed / "manifest.json").unlink()
    assert find_change(sealed, complete=complete) == wrong
    (sealed / "manifest.json").mkdir()
    assert find_change(sealed, complete=complete) == wrong
    assert find_change(sealed / "nowhere", complete=complete) == wrong
