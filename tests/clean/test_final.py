"""Of several choices that would drop a document the first has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from danlu.clean.exact import ExactDuplicate
from danlu.clean.stage import Clean
from danlu.readers.sources import Source
from danlu.recipe import Choice, Recipe
from danlu.runs import Job
from danlu.text.cuts import Lines
from danlu.text.document import read_documents


class SameLength(Choice):
    """Drop every document that is as long as one before it."""

    reason: ClassVar[str] = "same length"

    def sketch(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        return np.array([len(text) for text in texts])

    def decide(self, sketches: Sequence[Path]) -> list[np.ndarray[Any, Any]]:
        lengths = [np.load(path) for path in sketches]
        _, first, place = np.unique(np.concatenate(lengths), return_index=True, return_inverse=True)
        repeats = np.where(first[place] == np.arange(len(place)), -1, first[place])
        return np.split(repeats, np.cumsum([len(each) for each in lengths])[:-1])


def test_the_first_choice_has_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\none\nthree\n")
    source = Source(path=tmp_path / "a.txt", documents=Lines(), language="en")
    stage = Clean(sources=(source,), duplicates=(ExactDuplicate(), SameLength()), workers=1)
    (tmp_path / "out").mkdir()
    figures = stage.run(Job(Recipe("test", tmp_path, 1, {"clean": stage}), {}, tmp_path / "out"))
    assert [document.text for document in read_documents(tmp_path / "out")] == ["one", "three"]
    assert (figures["dropped.exact duplicate"], figures["dropped.same length"]) == (1, 1)
    dropped = [json.loads(line) for line in (tmp_path / "out/dropped.jsonl").read_text().splitlines()]
    assert [(each["id"], each["reason"], each["of"]) for each in dropped] == [
        ("a.txt#0.1", "same length", "a.txt#0.0"),
        ("a.txt#0.2", "exact duplicate", "a.txt#0.0"),
    ]
