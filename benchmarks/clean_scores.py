"""How many planted copies fell in ``clean.py``, and how much of what fell as a copy is one.

Only what the rules leave can fall as a copy. A family of which n documents are left should lose n - 1 of them; one that
loses all of them has lost one wrongly. Nothing is measured where documents are neither kept nor said to have fallen.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import NotMeasuredError

LIGHT = 0.03
"""Copies of which no more than this share of the words differs."""


@dataclass(frozen=True)
class Scores:
    """Of one side and language."""

    documents: int
    ruled: int
    """Left by the rules."""
    fallen: int
    """As copies."""
    recall: float
    """Not a number where there are no copies."""
    light_recall: float
    """Of families in which no copy differs by more than ``LIGHT``."""
    precision: float
    """Not a number where nothing has fallen."""


def danlu_scores(out: Path, key: Sequence[Mapping[str, Any]]) -> Scores:
    """Of a folder that ``danlu clean`` wrote; what fell has to name a document of its own family."""
    family = {entry["id"]: entry["family"] for entry in key}
    dropped = list(_lines(out / "dropped.jsonl"))
    copies = [entry for entry in dropped if entry["reason"] == "near duplicate"]
    by_rules = {entry["id"] for entry in dropped if entry["reason"] != "near duplicate"}
    ruled = [entry["id"] for entry in key if entry["id"] not in by_rules]
    kept = {document["id"] for path in sorted(out.glob("documents-*.jsonl")) for document in _lines(path)}
    fallen = {entry["id"] for entry in copies}
    if fallen & kept or fallen | kept != {*ruled}:
        raise NotMeasuredError(
            f"{out}: of {len(ruled):,} documents that the rules leave {len(kept):,} are kept and {len(fallen):,} copies"
        )
    wrong = [family[entry["id"]] for entry in copies if family[entry["id"]] != family[entry["of"]]]
    gone = {family[each] for each in ruled} - {family[each] for each in kept} - {*wrong}
    return _scores(key, ruled, kept, len(wrong) + len(gone))


def peer_scores(out: Path, key: Sequence[Mapping[str, Any]]) -> Scores:
    """Of the folders ``ruled`` and ``kept``; a family of which nothing is kept lost one document wrongly."""
    family = {entry["id"]: entry["family"] for entry in key}
    ruled, kept = (
        [document["id"] for path in sorted((out / name).glob("*.jsonl")) for document in _lines(path)]
        for name in ("ruled", "kept")
    )
    if not {*kept} <= {*ruled}:
        raise NotMeasuredError(f"{out}: documents are kept that the rules do not leave")
    wrong = len({family[each] for each in ruled} - {family[each] for each in kept})
    return _scores(key, ruled, set(kept), wrong)


def _scores(key: Sequence[Mapping[str, Any]], ruled: Sequence[str], kept: set[str], wrong: int) -> Scores:
    family = {entry["id"]: entry["family"] for entry in key}
    rates: dict[int, float] = defaultdict(float)
    for entry in key:
        rates[entry["family"]] = max(rates[entry["family"]], entry["rate"])
    left = Counter(family[each] for each in ruled)
    stayed = Counter(family[each] for each in kept)
    several = [each for each, count in left.items() if count > 1]
    light = [each for each in several if rates[each] <= LIGHT]
    fallen = len(ruled) - len(kept)
    return Scores(
        documents=len(key),
        ruled=len(ruled),
        fallen=fallen,
        recall=_recall(several, left, stayed),
        light_recall=_recall(light, left, stayed),
        precision=1 - wrong / fallen if fallen else math.nan,
    )


def _recall(families: Iterable[int], left: Counter[int], stayed: Counter[int]) -> float:
    wanted = missed = 0
    for each in families:
        wanted += left[each] - 1
        missed += max(0, stayed[each] - 1)
    return 1 - missed / wanted if wanted else math.nan


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    with path.open("rb") as file:
        yield from map(json.loads, file)
