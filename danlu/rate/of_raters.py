"""How far raters agree, over all and two by two, what each has done, and the items that divide them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from danlu.metrics.resampling import intervals
from danlu.metrics.tally import overall
from danlu.rate.agreement import Level, alpha, kappa
from danlu.rate.store import Rating, Store
from danlu.rate.study import CHOICES, PREFERENCE, Item
from danlu.rate.table import Table, around, span

FEW_ITEMS = 10
"""Below it agreement is no more than a hint."""
RELIABLE, TENTATIVE = 0.8, 0.667
"""Krippendorff's alpha of data to rely on, and to draw tentative conclusions from (Krippendorff 2004, p. 241)."""
MOST_DISPUTED = 10


@dataclass(frozen=True, slots=True)
class Disputed:
    """An item that raters said different things of."""

    prompt: str
    answers: Sequence[tuple[str, str]]
    """Model and text."""
    said: Sequence[str]


def agreement(store: Store, ratings: Sequence[Rating], levels: Sequence[Level]) -> tuple[list[Table], list[str]]:
    if len({rating.rater for rating in ratings}) < 2:
        return [], ["One rater: how far raters agree is not defined."]
    by_item: dict[int, list[Rating]] = {}
    for rating in ratings:
        by_item.setdefault(rating.number, []).append(rating)
    shared = [number for number, own in by_item.items() if len(own) > 1]
    if not shared:
        return [], ["No item has been rated by two people yet: how far they agree is not defined."]
    cautions = []
    if len(shared) < FEW_ITEMS:
        cautions.append(f"Only {len(shared)} items have several ratings: agreement is no more than a hint.")
    rows, spans = [], []
    for criterion in store.study.criteria:
        units = [[_number(rating, criterion) for rating in by_item[number]] for number in shared]
        for level in levels:
            tally = alpha(units, level, groups=[store.items[number].prompt for number in shared])
            found = {} if tally is None else overall(tally)
            inside_of = {} if tally is None else intervals(tally, seed=store.study.seed)
            value = found.get("alpha")
            inside = around(inside_of.get("alpha")) if value is not None else ""
            shown = "not defined: all the same" if value is None else f"{value:.3f}"
            rows.append([f"{criterion}, {level}", str(len(units)), str(sum(map(len, units))), shown, inside])
            spans.append(span(value, inside_of.get("alpha")))
            if value is not None and value < TENTATIVE and level in ("nominal", "interval"):
                cautions.append(
                    f"Raters agree little on {criterion} (alpha {value:.2f}): {RELIABLE} is called reliable, below "
                    f"{TENTATIVE} even tentative conclusions are doubtful (Krippendorff 2004)."
                )
    head = ["Krippendorff's alpha", "items", "ratings", "alpha", "interval"]
    note = "0 is what chance gives, 1 is perfect. Intervals of 95 %: bootstrap of prompts."
    table = Table("Agreement", head, rows, note=note, spans=spans)
    return [table, *_kappas(store, by_item)], cautions


def _kappas(store: Store, by_item: dict[int, list[Rating]]) -> list[Table]:
    names = sorted({rating.rater for own in by_item.values() for rating in own})
    said = {(rating.rater, number): rating for number, own in by_item.items() for rating in own}
    pairs = store.study.rubric is None
    rows = []
    for first, second in combinations(names, 2):
        common = [number for number in by_item if (first, number) in said and (second, number) in said]
        for criterion in store.study.criteria if common else ():
            ours, theirs = ([_number(said[name, number], criterion) for number in common] for name in (first, second))
            found = kappa(ours, theirs, weights="none" if pairs else "quadratic")
            same = sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(common)
            shown = "not defined: all the same" if found is None else f"{found:.3f}"
            rows.append([first, second, criterion, str(len(common)), f"{same:.0%}", shown])
    note = "" if pairs else "Weighted by the squared distance of the scores."
    head = ["rater", "rater", "criterion", "items", "the same", "Cohen's kappa"]
    return [Table("Rater by rater", head, rows, texts=3, note=note)]


def _number(rating: Rating, criterion: str) -> float:
    """Scores are numbers; the choices of a pair have places in a list, which is enough where none is nearer."""
    mark = rating.marks[criterion]
    return float(CHOICES.index(mark)) if isinstance(mark, str) else float(mark)


def raters(store: Store, ratings: Sequence[Rating]) -> Table:
    rows = []
    for name in dict.fromkeys(rating.rater for rating in ratings):
        own = [rating for rating in ratings if rating.rater == name]
        seconds = median(rating.seconds for rating in own)
        said = [str(rating.marks[PREFERENCE]) for rating in own] if store.study.rubric is None else []
        ties = f"{sum(choice.startswith('both') for choice in said) / len(said):.0%}" if said else ""
        rows.append([name, str(len(own)), f"{seconds:.0f}", *([ties] if said else [])])
    head = ["rater", "ratings", "seconds, median", *(["ties"] if store.study.rubric is None else [])]
    return Table("Raters", head, rows)


def disputed(store: Store, ratings: Sequence[Rating]) -> list[Disputed]:
    """The items of the largest mean distance between two ratings; only those with any."""
    by_item: dict[int, list[Rating]] = {}
    for rating in ratings:
        by_item.setdefault(rating.number, []).append(rating)
    apart = {number: _distance(store, own) for number, own in by_item.items() if len(own) > 1}
    worst = sorted((number for number in apart if apart[number] > 0), key=lambda number: (-apart[number], number))
    found = []
    material = store.study.material
    for number in worst[:MOST_DISPUTED]:
        item = store.items[number]
        models = [item.first] if item.second is None else [item.first, item.second]
        answers = [(material.models[model], material.answers[item.prompt][model]) for model in models]
        said = [f"{r.rater}: {_said(store, item, r)}" for r in by_item[number]]
        found.append(Disputed(material.prompts[item.prompt], answers, said))
    return found


def _distance(store: Store, own: Sequence[Rating]) -> float:
    """The mean over pairs of raters and criteria: 1 for another choice, or the distance as a share of the scale."""
    rubric = store.study.rubric
    widths = [1] if rubric is None else [each.scale.highest - each.scale.lowest for each in rubric.criteria]
    parts = []
    for one, other in combinations(own, 2):
        for criterion, width in zip(store.study.criteria, widths, strict=True):
            a, b = _number(one, criterion), _number(other, criterion)
            parts.append(float(a != b) if rubric is None else abs(a - b) / width)
    return sum(parts) / len(parts)


def _said(store: Store, item: Item, rating: Rating) -> str:
    if item.second is None:
        return ", ".join(f"{criterion} {rating.marks[criterion]}" for criterion in store.study.criteria)
    models = store.study.material.models
    named = {"first": models[item.first], "second": models[item.second]}
    choice = str(rating.marks[PREFERENCE])
    return named.get(choice, choice)
