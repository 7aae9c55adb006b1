"""Which files are read, in which order, under which names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from danlu.clean.stage import Clean
from danlu.errors import InputError, RecipeError
from danlu.readers.sources import Found, Source, find_files
from danlu.recipe import build
from danlu.text.cuts import Blocks, Whole


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
    return folder


def find(*paths: Path) -> Found:
    return find_files([Source(path=path) for path in paths], key="clean.sources")


def names(found: Found) -> list[str]:
    return [file.name for file in found.files]


def test_a_path_alone_is_a_source() -> None:
    clean = build(Clean, {"sources": ["a", {"path": "b", "language": "zh", "documents": "blocks"}]}, key="clean")
    assert clean.sources == (
        Source(path=Path("a"), language=None, text_field="text", documents=Whole()),
        Source(path=Path("b"), language="zh", documents=Blocks(characters=4000)),
    )
    assert build(Clean, {"sources": "a"}, key="clean").sources == (Source(path=Path("a")),)


@pytest.mark.parametrize(
    ("sources", "line"),
    [
        ([], "clean.sources must be a list of at least 1; got []"),
        ([3], "clean.sources.0.path must be a path; got 3"),
        ([{"pth": "a"}], "clean.sources.0.pth: unknown key; did you mean 'path'?"),
        ([{"path": "a", "language": "English"}], "clean.sources.0.language: must be a language code such as en or zh"),
        (
            ["a", {"path": "a", "documents": "block"}],
            "clean.sources.1.documents.use: unknown documents 'block'; did you",
        ),
        (
            [{"path": "a", "documents": {"use": "blocks", "characters": 0}}],
            "documents.characters must be at least 1; got 0",
        ),
    ],
)
def test_a_wrong_source_is_told_by_its_key(sources: list[object], line: str) -> None:
    with pytest.raises(RecipeError) as error:
        build(Clean, {"sources": sources}, key="clean")
    assert line in str(error.value)


def test_files_come_sorted_and_others_are_ignored_by_name(tmp_path: Path) -> None:
    fill(tmp_path, "b.txt", "a.TXT", "z/1.jsonl", "c/d/2.txt", "README", "c/x.pngx", ".git/config.txt", ".x.txt")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    found = find(tmp_path)
    assert names(found) == ["a.TXT", "b.txt", "c/d/2.txt", "z/1.jsonl"]
    assert sorted(found.ignored) == [".git", ".x.txt", "README", "c/x.pngx", "gone.txt"]
    assert [file.path for file in found.files] == [tmp_path / name for name in names(found)]


def test_what_is_left_out_is_told_with_why(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt", "b.PHP", "c.php", "d.doc", "noending", ".e.txt")
    (tmp_path / "gone.txt").symlink_to("nowhere")
    (tmp_path / "itself.txt").symlink_to("itself.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    found = find(tmp_path)
    assert names(found) == ["a.txt"]
    assert found.told() == (
        "1 hidden (such as .e.txt); 4 of kinds that no reader takes (.php 2, .doc 1, no ending 1); "
        "3 that are no files or lead nowhere (such as gone.txt)"
    )


def test_what_a_run_writes_is_no_source_of_it(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt", "runs/x/recipe.yaml", "runs/x/.lock", "runs/x/env.json", "runs/x/clean/documents-0.jsonl")
    found = find(tmp_path)
    assert names(found) == ["a.txt"] and found.ignored == ["runs/x"]
    assert names(find(tmp_path / "**/*.json*", tmp_path)) == ["a.txt"]
    assert names(find(tmp_path / "runs/x/clean")) == ["documents-0.jsonl"], "where one asks for it"


@pytest.mark.parametrize("pattern", ["c/*", "c/**", "c/**/*", "c/*/*/*", "c/run*/clean/*.jsonl"])
def test_a_run_that_a_pattern_meets_is_left_out_and_told(tmp_path: Path, pattern: str) -> None:
    fill(tmp_path, *(f"c/run1/{name}" for name in ("recipe.yaml", ".lock", "env.json", "clean/documents-0.jsonl")))
    found = find(tmp_path / pattern)
    assert names(found) == []
    assert found.told() == "1 folders of runs (such as run1)"


@pytest.mark.parametrize("pattern", ["c/run1/*/*.jsonl", "c/run1/clean/*", "c/run1/**/*.jsonl"])
def test_a_run_that_a_pattern_names_is_read(tmp_path: Path, pattern: str) -> None:
    fill(tmp_path, *(f"c/run1/{name}" for name in ("recipe.yaml", ".lock", "clean/documents-0.jsonl")))
    found = find(tmp_path / pattern)
    assert [file.name.rpartition("/")[2] for file in found.files] == ["documents-0.jsonl"]
    assert found.ignored == []


def test_a_file_that_is_named_like_a_member_of_an_archive_keeps_apart(tmp_path: Path) -> None:
    fill(tmp_path, "a.zip", "a.zip!/b.txt", "c.zip!/b.txt")
    assert names(find(tmp_path)) == ["a.zip", "0:a.zip!/b.txt", "c.zip!/b.txt"]


def test_an_archive_whose_member_is_named_like_a_file_keeps_apart(tmp_path: Path) -> None:
    fill(tmp_path, "one/a.zip!/b.txt", "two/a.zip", "two/b.zip")
    assert names(find(tmp_path / "one", tmp_path / "two")) == ["a.zip!/b.txt", "1:a.zip", "b.zip"]


def test_a_file_is_a_source_too_and_is_read_once(tmp_path: Path) -> None:
    fill(tmp_path, "en/a.txt", "b.txt")
    assert names(find(tmp_path / "en/a.txt")) == ["a.txt"]
    found = find(tmp_path / "en", tmp_path, tmp_path / "b.txt")
    assert names(found) == ["a.txt", "b.txt"]
    assert [file.source.path for file in found.files] == [tmp_path / "en", tmp_path]


def test_files_of_one_name_in_two_sources_keep_apart(tmp_path: Path) -> None:
    fill(tmp_path, "one/a.txt", "two/a.txt")
    assert names(find(tmp_path / "one", tmp_path / "two")) == ["a.txt", "1:a.txt"]


def test_a_name_that_is_not_utf8_is_made_printable(tmp_path: Path) -> None:
    fill(tmp_path, os.fsdecode(b"caf\xe9/a\xff.txt"), "caf\\xe9/a\\xff.txt", "caf\u00e9.txt", os.fsdecode(b"\xe9.png"))
    found = find(tmp_path)
    assert sorted(names(found)) == sorted(["caf\\xe9/a\\xff.txt", "0:caf\\xe9/a\\xff.txt", "café.txt"])
    assert found.ignored == ["\\xe9.png"]
    assert all(file.path.is_file() for file in found.files), "the path itself stays as it is"


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    fill(tmp_path, "data/a.txt", "elsewhere/b.txt")
    (tmp_path / "data/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/circle").symlink_to(tmp_path / "data")
    assert names(find(tmp_path / "data")) == ["a.txt", "link/b.txt"]


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "corpora/a.txt", "corpora/b.exe")
    with pytest.raises(InputError) as error:
        find(tmp_path / "corpora", tmp_path / "corpra")
    assert str(error.value) == (
        f"clean.sources.1: no file or folder '{tmp_path}/corpra'; did you mean '{tmp_path}/corpora'?"
    )
    with pytest.raises(InputError, match=r"^clean\.sources\.0: no file or folder '.*/x/y/z'$"):
        find(tmp_path / "x/y/z")
    with pytest.raises(InputError, match=r"cannot tell how to read '.*b\.exe' by its ending \(choices: \.txt, "):
        find(tmp_path / "corpora/b.exe")


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.txt")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # permissions do not bind root, who may run the tests
    with pytest.raises(InputError, match=r"clean\.sources\.0: cannot read .*a\.txt: permission denied"):
        find(tmp_path)


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refused)
    with pytest.raises(InputError, match=r"clean\.sources\.0: cannot read the folder .*: Permission denied"):
        find(tmp_path)


def test_a_pattern_is_a_source(tmp_path: Path) -> None:
    fill(tmp_path, "a/b.txt", "a/c/d.txt", "a/c/e.md", "a/.x/f.txt")
    assert names(find(tmp_path / "**/*.txt")) == ["a/b.txt", "a/c/d.txt"]
    assert names(find(tmp_path / "a/[a-c]")) == ["c/d.txt", "c/e.md"]
    with pytest.raises(InputError, match=r"clean\.sources\.0: no file or folder matches '.*\*\.csv'"):
        find(tmp_path / "*.csv")


def test_settings_that_concern_no_file_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt")
    with pytest.raises(InputError, match=r"clean\.sources\.0\.markdown: no file in .* is of a kind that it concerns"):
        find_files([Source(path=tmp_path, markdown="plain")], key="clean.sources")
    assert find_files([Source(path=tmp_path, encoding="gb18030")], key="clean.sources").files
    with pytest.raises(RecipeError, match=r"encoding: must be an encoding .* got 'gb18031'; did you mean 'gb18030'"):
        build(Clean, {"sources": {"path": "a", "encoding": "gb18031"}}, key="clean")
