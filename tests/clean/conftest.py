"""Duplicates of texts that are in parts."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu.clean.duplicates import DuplicatesChoice, Sketched, read_cuts, write_sketch

sys.path.insert(0, str(Path(__file__).parent))  # for cleaning.py

Cuts = list[tuple[int, int, int, int]]
Decide = Callable[..., Cuts]


@pytest.fixture
def decide(tmp_path: Path) -> Decide:
    """What a choice decides about texts in parts: (number of the document over all parts, start, end, first)."""
    runs = itertools.count()

    def decide(choice: DuplicatesChoice, *parts: Sequence[str], sources: Sequence[str] = (), batch: int = 3) -> Cuts:
        folder = tmp_path / f"run-{next(runs)}"
        (folder / "out").mkdir(parents=True)
        sketched = []
        for number, texts in enumerate(parts):
            path = folder / f"{number}.safetensors"
            write_sketch(path, choice, (texts[start : start + batch] for start in range(0, len(texts), batch)))
            sketched.append(Sketched(path, sources[number] if sources else ""))
        files = choice.decide(sketched, folder / "out")
        assert sorted((folder / "out").iterdir()) == files, "nothing else is left behind"
        return numbered(parts, [read_cuts(file) for file in files])

    return decide


def numbered(parts: Sequence[Sequence[str]], cuts: Sequence[Any]) -> Cuts:
    starts = np.cumsum([0, *map(len, parts)])
    return [
        (int(document + start), int(begin), int(end), int(first))
        for start, part in zip(starts, cuts, strict=False)
        for document, begin, end, first in part.tolist()
    ]
