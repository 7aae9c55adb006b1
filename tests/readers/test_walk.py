"""What is asked of the system for a folder does not grow with its files."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from danlu import catalog
from danlu.readers.sources import Source, find_files


def asked(folder: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    folder.mkdir()
    for each in range(number):
        (folder / f"{each}.txt").touch()
    calls = Counter[str]()

    def counted(name: str, function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            calls[name] += 1
            return function(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os.path, "realpath", counted("realpath", os.path.realpath))
        patch.setattr(Path, "stat", counted("stat", Path.stat))
        patch.setattr(catalog, "load", counted("load", catalog.load))
        assert len(find_files([Source(path=folder)], key="clean.sources").files) == number
    return calls


def test_a_file_costs_no_look_at_the_system_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = asked(tmp_path / "few", 2, monkeypatch)
    assert few["realpath"] > 0 and few["stat"] > 0  # the folder's own
    assert asked(tmp_path / "many", 40, monkeypatch) == few
