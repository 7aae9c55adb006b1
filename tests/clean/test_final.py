"""Of several choices that would drop a document the first has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from danlu.clean.duplicates import WHOLE, Sketch, Sketched, write_cuts
from danlu.clean.exact import Exact
from danlu.clean.lines import Lines
from danlu.clean.stage import Clean
from danlu.readers.sources import Source
from danlu.recipe import Choice, Recipe
from danlu.stage import Job
from danlu.text.cuts import Lines as EachLine
from danlu.text.document import read_documents


class SameLength(Choice):
    """Drop every document that is as long as one before it."""

    reason: ClassVar[str] = "same length"

    def sketch(self, texts: Sequence[str]) -> Sketch:
        return {"length": np.array([len(text) for text in texts], dtype=np.int64)}

    def decide(self, parts: Sequence[Sketched], out: Path) -> list[Path]:
        lengths = [part.load()["length"] for part in parts]
        _, first, place = np.unique(np.concatenate(lengths), return_index=True, return_inverse=True)
        firsts = np.split(first[place], np.cumsum([len(each) for each in lengths])[:-1])
        files, start = [], 0
        for number, each in enumerate(firsts):
            (fallen,) = np.nonzero(each != np.arange(start, start + len(each)))
            columns = {"document": fallen, "start": 0, "end": WHOLE, "first": each[fallen]}
            files.append(write_cuts(out, number, columns))
            start += len(each)
        return files


def test_the_first_choice_has_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\none\nthree\n")
    source = Source(path=tmp_path / "a.txt", documents=EachLine(), language="en")
    stage = Clean(sources=(source,), duplicates=(Exact(), SameLength()), workers=1)
    (tmp_path / "out").mkdir()
    figures = stage.run(Job(Recipe("test", tmp_path, 1, {"clean": stage}), {}, tmp_path / "out"))
    assert [document.text for document in read_documents(tmp_path / "out")] == ["one", "three"]
    assert (figures["dropped.exact duplicate"], figures["dropped.same length"]) == (1, 1)
    dropped = [json.loads(line) for line in (tmp_path / "out/dropped.jsonl").read_text().splitlines()]
    assert [(each["id"], each["reason"], each["of"]) for each in dropped] == [
        ("a.txt#1.0", "same length", "a.txt#0.0"),
        ("a.txt#2.0", "exact duplicate", "a.txt#0.0"),
    ]


def test_lines_are_cut_and_counted(tmp_path: Path) -> None:
    """Pairs are left alone; a document of which nothing is left falls, and names the one that had it all."""
    footer = "All rights reserved by the authors of this page."
    texts = [f"one\n{footer}\nend", f"two\n{footer}\n三", footer]
    lines = [{"text": text, "other": "side"} for text in texts]
    for name in ("texts", "pairs"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    sources = (
        Source(path=tmp_path / "texts.jsonl", language="en"),
        Source(path=tmp_path / "pairs.jsonl", language="en", target_field="other"),
    )
    stage = Clean(sources=sources, duplicates=(Lines(),), workers=1)
    (tmp_path / "out").mkdir()
    figures = stage.run(Job(Recipe("test", tmp_path, 1, {"clean": stage}), {}, tmp_path / "out"))
    kept = [document.text for document in read_documents(tmp_path / "out")]
    assert kept == [texts[0], "two\n三", *(f"{text}\nside" for text in texts)]
    assert figures["characters"] == sum(map(len, kept)) and figures["bytes"] == sum(len(text.encode()) for text in kept)
    (dropped,) = [json.loads(line) for line in (tmp_path / "out/dropped.jsonl").read_text().splitlines()]
    place = sum(len(line) for line in (tmp_path / "texts.jsonl").read_bytes().splitlines(keepends=True)[:2])
    assert dropped == {"id": "texts.jsonl#2", "offset": place, "reason": "repeated lines", "of": "texts.jsonl#0"}
