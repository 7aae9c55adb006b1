"""Drafts appear whole, once, and go with what they were made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.errors import InputError
from danlu.workers.drafts import appearing, check_unchanged, draft_folder, how_many, made_from, missing, throw_away


def make(out: Path, number: int, hash_: str, content: str) -> None:
    with appearing(out, number, hash_) as folder:
        (folder / "content").write_text(content)


def test_a_draft_is_there_when_it_is_whole_and_goes_with_what_it_was_made_of(tmp_path: Path) -> None:
    wanted = {0: ("zero", "a"), 1: ("one", "b")}
    assert missing(tmp_path, wanted) == ["zero", "one"]
    make(tmp_path, 0, "a", "0")
    with pytest.raises(KeyboardInterrupt), appearing(tmp_path, 1, "b"):
        raise KeyboardInterrupt
    beside = tmp_path / "drafts" / ".learned"
    for folder in (beside, tmp_path / "drafts" / "00007"):
        folder.mkdir()
    assert how_many(tmp_path) == 2
    assert missing(tmp_path, wanted, beside=[beside]) == ["one"]
    assert sorted(path.name for path in (tmp_path / "drafts").iterdir()) == [".learned", "00000"]
    assert missing(tmp_path, {0: ("zero", "other")}, beside=[beside]) == ["zero"]
    make(tmp_path, 0, "other", "1")
    assert (draft_folder(tmp_path, 0) / "content").read_text() == "1"
    throw_away(tmp_path)
    assert not list(tmp_path.iterdir()) and made_from(draft_folder(tmp_path, 0)) is None
    throw_away(tmp_path)  # as a run does that was killed after it
    for name in (".drafts", "drafts"):  # killed in it, and drafts were made anew
        (tmp_path / name / "00000").mkdir(parents=True)
    throw_away(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_second_of_two_that_make_one_draft_leaves_it(tmp_path: Path) -> None:
    missing(tmp_path, {0: ("zero", "a")})
    with appearing(tmp_path, 0, "a") as late:
        make(tmp_path, 0, "a", "the first")
        (late / "content").write_text("the second")
    assert (draft_folder(tmp_path, 0) / "content").read_text() == "the first"
    assert how_many(tmp_path) == 1 and not late.exists()


def test_files_that_changed_or_are_gone_are_told() -> None:
    check_unchanged("clean.sources: a.txt", lambda: "a", "a", began="clean")
    with pytest.raises(InputError, match=r"^clean.sources: a.txt, found as clean began, are others there, or have ch"):
        check_unchanged("clean.sources: a.txt", lambda: "b", "a", began="clean")

    def gone() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(InputError, match=r"found as pack began, cannot be read there: No such file or directory \(the"):
        check_unchanged("pack: a.jsonl", gone, "a", began="pack")
