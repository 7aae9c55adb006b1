"""Files of C++ are compiled once, anew where anything that they include has changed, and errors are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from danlu.nn.native import building

HEADER = "inline int number() { return %d; }\n"
SOURCE = '#include "number.hpp"\nextern "C" int tell() { return number() * TIMES; }\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of the package's; what is loaded is forgotten before and after."""
    monkeypatch.setattr(building, "FOLDER", tmp_path)
    (tmp_path / "number.hpp").write_text(HEADER % 3)
    (tmp_path / "tell.cpp").write_text(SOURCE)
    return tmp_path


def loaded(**numbers: int) -> int:
    """What a fresh process would be told."""
    building.load.cache_clear()
    found: int = building.load("tell.cpp", **numbers).tell()
    return found


def test_what_is_defined_and_what_is_included_stand_in_the_library(folder: Path) -> None:
    assert loaded(TIMES=2) == 6
    assert loaded(TIMES=5) == 15
    (folder / "number.hpp").write_text(HEADER % 4)
    assert loaded(TIMES=2) == 8


def test_in_one_process_a_file_is_read_once(folder: Path) -> None:
    building.load.cache_clear()
    first = building.load("tell.cpp", TIMES=2)
    (folder / "tell.cpp").unlink()
    assert building.load("tell.cpp", TIMES=2) is first
    building.load.cache_clear()


def test_an_error_of_the_compiler_is_told(folder: Path) -> None:
    (folder / "tell.cpp").write_text("this is no C++")
    with pytest.raises(RuntimeError, match="error"):
        loaded(TIMES=2)


def test_where_it_cannot_be_compiled_that_is_told_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    building.can_load.cache_clear()
    assert building.can_load("tell.cpp", TIMES=2)
    (folder / "tell.cpp").write_text("this is no C++")
    building.load.cache_clear()
    building.can_load.cache_clear()
    assert [building.can_load("tell.cpp", TIMES=2) for _ in range(2)] == [False, False]
    (line,) = capsys.readouterr().out.splitlines()
    assert re.match(r"tell\.cpp is not used, for it cannot be compiled or loaded: .*error: ", line)
    building.can_load.cache_clear()


def test_a_folder_whose_libraries_cannot_be_loaded_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(name: str, **numbers: int) -> None:
        raise OSError("tell.so: failed to map segment from shared object")

    monkeypatch.setattr(building, "load", load)
    building.can_load.cache_clear()
    assert not building.can_load("tell.cpp", TIMES=2)
    assert capsys.readouterr().out.endswith(
        "cannot be compiled or loaded: tell.so: failed to map segment from shared object\n"
    )
    building.can_load.cache_clear()


def test_without_a_compiler_nothing_is_tried(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(building, "cpp_compiler", lambda: None)
    monkeypatch.setattr(building, "load", lambda *_, **__: pytest.fail("tried"))
    building.can_load.cache_clear()
    assert not building.can_load("tell.cpp", TIMES=2)
    assert not capsys.readouterr().out
    building.can_load.cache_clear()


def test_the_package_has_the_files_that_are_included() -> None:
    """Each once, however many ask for it."""
    for file in building.FOLDER.glob("*.cpp"):
        whole = building._whole(file.name)
        assert '#include "' not in whole
        assert whole.count("class Room") == 1
