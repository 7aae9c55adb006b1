"""Drafts of portions that cannot be cut, such as one packed file: memory does not grow with them."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from cleaning import clean, digests

from danlu.clean import drafts, final
from danlu.clean.portions import portions
from danlu.clean.stage import Clean
from danlu.recipe import build
from danlu.workers.processes import Workers

KINDS = ["exact", "minhash", "lines", {"use": "substrings", "characters": 40}]


def packed(path: Path, documents: int) -> Path:
    chance = np.random.default_rng(0)
    words = [f"word{number}" for number in range(500)]
    with gzip.open(path, "wt", compresslevel=1) as file:
        for _ in range(documents):
            text = " ".join(words[each] for each in chance.integers(0, 500, 30))
            file.write(json.dumps({"text": text, "id": "x"}) + "\n")
    return path


def test_memory_does_not_grow_with_a_packed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "TOGETHER", 32)
    peaks = []
    for number, documents in enumerate((100, 400, 3200, 3200)):
        source = packed(tmp_path / f"{number}.jsonl.gz", documents)
        section = {"sources": [{"path": str(source), "language": "en"}], "duplicates": KINDS, "workers": 1}
        stage, out = build(Clean, section, key="clean"), tmp_path / str(number)
        out.mkdir()
        tracemalloc.start()
        with Workers("clean", 1) as workers:
            stage._draft(portions(stage.find().files, size=1000), out, workers)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        (draft,) = (out / "drafts").glob("[0-9]*")
        assert not list(draft.glob(".*"))
    assert min(peaks[2:]) < 1.5 * peaks[1]


def test_how_many_are_looked_at_together_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = packed(tmp_path / "a.jsonl.gz", 60)
    with gzip.open(source, "at") as file:
        for text in ("中文在这里。" * 9, "word1 word2", *["once more the same text, which falls"] * 5, "的" * 400):
            file.write(json.dumps({"text": text}) + "\n")
    clean(tmp_path / "whole", sources=str(source), duplicates=KINDS, workers=1)
    monkeypatch.setattr(drafts, "TOGETHER", 3)
    monkeypatch.setattr(final, "AT_ONCE", 7)
    clean(tmp_path / "pieces", sources=str(source), duplicates=KINDS, workers=1)
    assert digests(tmp_path / "pieces") == digests(tmp_path / "whole")
    assert len((tmp_path / "whole/examples_kept.jsonl").read_text().splitlines()) > 3
