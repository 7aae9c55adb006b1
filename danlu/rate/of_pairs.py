"""The results of pairs: win rates, pair by pair, strengths, and whether raters favour a side.

Axes: N ratings, P prompts, M models, S sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from danlu.metrics.resampling import intervals
from danlu.metrics.tally import overall
from danlu.rate.agreement import grouped
from danlu.rate.preferences import WinRate, elo, linked, strengths, win_rate
from danlu.rate.store import Rating, Store
from danlu.rate.study import PREFERENCE, Item
from danlu.rate.table import Span, Table

POINTS = {"first": 1.0, "both good": 0.5, "both bad": 0.5, "second": 0.0}
"""What a choice is worth to the first model."""
SIDES = ("first", "second")
"""The choices that are no ties."""
SURE = 0.99
"""How sure it has to be that raters favour a side before a report says so."""


def of_pairs(store: Store, ratings: Sequence[Rating]) -> tuple[list[Table], list[str]]:
    """Tables, and what to keep in mind."""
    models = store.study.material.models
    pairs = [(store.items[rating.number], str(rating.marks[PREFERENCE])) for rating in ratings]
    tables = [_win_rates(models, pairs)]
    if len(models) > 2:
        tables.append(_pair_by_pair(models, pairs))
    tables.append(_strengths(store, pairs))
    return tables, [each for each in (_side(ratings, pairs), _apart(models, pairs)) if each]


def _apart(models: Sequence[str], pairs: Sequence[tuple[Item, str]]) -> str:
    """Which models no chain of ratings links, in words: only the added draws say how they stand to each other."""
    parts = linked(len(models), {(item.first, item.second or 0) for item, _ in pairs})
    if len(parts) < 2:
        return ""
    named = " | ".join(", ".join(models[each] for each in part) for part in parts)
    return f"No ratings link these with each other, so that their strengths and Elo do not compare: {named}."


def _side(ratings: Sequence[Rating], pairs: Sequence[tuple[Item, str]]) -> str:
    """Whether raters prefer what stands on one side, in words; nothing where that may be chance."""
    decided = [(r, item, choice) for r, (item, choice) in zip(ratings, pairs, strict=True) if choice in SIDES]
    if not decided:
        return "Nobody has preferred an answer yet: all ratings are ties."
    on_a = [float(choice == ("second" if r.swapped else "first")) for r, _, choice in decided]
    found = win_rate(on_a, [item.prompt for _, item, _ in decided], level=SURE)
    if found.low <= 0.5 <= found.high:
        return ""
    shown = f"{found.rate:.0%} of what was preferred stood on side A ({_share(found)}, {SURE:.0%} interval)"
    return f"{shown}: raters favour a side. Sides are drawn evenly, so that no model gains by it."


def _win_rates(models: Sequence[str], pairs: Sequence[tuple[Item, str]]) -> Table:
    rows: list[list[str]] = []
    spans: list[Span | None] = []
    for model, name in enumerate(models):
        own = [(item, choice) for item, choice in pairs if model in (item.first, item.second)]
        if not own:
            rows.append([name, "0", "", "", "", "", "", ""])
            spans.append(None)
            continue
        points = [POINTS[choice] if model == item.first else 1 - POINTS[choice] for item, choice in own]
        found = win_rate(points, [item.prompt for item, _ in own])
        ties = Counter(choice for _, choice in own)
        counts = [found.wins, ties["both good"], ties["both bad"], found.losses]
        rows.append([name, str(len(own)), *map(str, counts), f"{found.rate:.1%}", _share(found)])
        spans.append(Span(found.rate, found.low, found.high))
    note = (
        "A tie, both good or both bad, counts as half a win. Intervals of 95 %: Wilson's, for as many ratings as they "
        "are worth when prompts are drawn whole."
    )
    head = ["model", "ratings", "better", "both good", "both bad", "worse", "win rate", "interval"]
    return Table("Win rates", head, rows, note=note, spans=spans, middle=0.5)


def _pair_by_pair(models: Sequence[str], pairs: Sequence[tuple[Item, str]]) -> Table:
    rows: list[list[str]] = []
    spans: list[Span | None] = []
    for first, second in combinations(range(len(models)), 2):
        own = [(item, choice) for item, choice in pairs if (item.first, item.second) == (first, second)]
        if not own:
            rows.append([models[first], models[second], "0", "", "", "", "", ""])
            spans.append(None)
            continue
        found = win_rate([POINTS[choice] for _, choice in own], [item.prompt for item, _ in own])
        counts = [len(own), found.wins, found.ties, found.losses]
        rows.append([models[first], models[second], *map(str, counts), f"{found.rate:.1%}", _share(found)])
        spans.append(Span(found.rate, found.low, found.high))
    head = ["model", "against", "ratings", "better", "ties", "worse", "win rate", "interval"]
    return Table("Pair by pair", head, rows, texts=2, spans=spans, middle=0.5)


def _strengths(store: Store, pairs: Sequence[tuple[Item, str]]) -> Table:
    models = store.study.material.models
    wins_NMM = np.zeros((len(pairs), len(models), len(models)))
    for row, (item, choice) in enumerate(pairs):
        assert item.second is not None
        wins_NMM[row, item.first, item.second] = POINTS[choice]
        wins_NMM[row, item.second, item.first] = 1 - POINTS[choice]
    sums_PS = grouped(wins_NMM.reshape(len(pairs), -1), [item.prompt for item, _ in pairs])
    tally = strengths(sums_PS.reshape(-1, len(models), len(models)), models)
    found, around = overall(tally), intervals(tally, seed=store.study.seed)
    rows = []
    rated = {models[each] for item, _ in pairs for each in (item.first, item.second or 0)}
    for name in sorted(models, key=lambda each: (each not in rated, -found[each])):
        if name not in rated:
            rows.append([name, "", "", "", ""])
            continue
        low, high = around.get(name, (np.nan, np.nan))
        inside = ["", ""] if np.isnan(low) else [f"{low:+.2f} to {high:+.2f}", f"{elo(low):.0f} to {elo(high):.0f}"]
        rows.append([name, f"{found[name]:+.2f}", inside[0], f"{elo(found[name]):.0f}", inside[1]])
    note = (
        "Bradley and Terry's strengths, in logarithms of odds; Elo: 400 points are odds of ten to one, 1000 is a model "
        "of strength 0. Ties are half a win for both. Each model is also given one draw against a model of strength 0, "
        "so that one that never lost has a strength too. Intervals of 95 %: bootstrap of prompts."
    )
    return Table("Strengths", ["model", "strength", "interval", "Elo", "interval"], rows, note=note)


def _share(found: WinRate) -> str:
    return f"{found.low:.1%} to {found.high:.1%}"
