"""Sources are listed once a run, and anew in the next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from danlu.clean.stage import Clean
from danlu.readers import listing
from danlu.readers.sources import Found, Source
from danlu.recipe import Recipe, build
from danlu.runs import run_stages


def test_a_run_lists_its_sources_once_and_the_next_one_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text"
    text.mkdir()
    (text / "a.txt").write_text("one text")
    calls: list[str] = []
    find = listing.find_files

    def counted(sources: Sequence[Source], *, key: str) -> Found:
        calls.append(key)
        return find(sources, key=key)

    monkeypatch.setattr(listing, "find_files", counted)
    clean = build(Clean, {"sources": [str(text)], "workers": 1}, key="clean")
    recipe = Recipe("one", tmp_path / "run", 1, {"clean": clean})
    assert run_stages(recipe, ["clean"], print).figures("clean")["files"] == 1
    assert len(calls) == 1
    (text / "b.txt").write_text("another text")
    assert run_stages(recipe, ["clean"], print).figures("clean")["files"] == 2
    assert len(calls) == 2
