"""What the ratings of a study say: tables of figures with intervals, what to keep in mind, the most disputed items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from danlu.errors import InputError
from danlu.rate.agreement import Level
from danlu.rate.of_pairs import of_pairs
from danlu.rate.of_raters import Disputed, agreement, disputed, raters
from danlu.rate.of_scores import of_scores
from danlu.rate.store import Rating, Store
from danlu.rate.table import Table

FEW_PROMPTS = 20
"""Below it a bootstrap of prompts draws too few different samples to be trusted."""


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that a report has."""

    summary: str
    tables: Sequence[Table]
    cautions: Sequence[str]
    disputed: Sequence[Disputed]


def results(store: Store) -> Results:
    """Work out the results of a study so far.

    Raises:
        InputError: nothing has been rated yet.
    """
    ratings = store.ratings()
    if not ratings:
        raise InputError(f"{store.path} holds no rating yet; 'danlu rate --out {store.path}' opens the page for it")
    if store.study.rubric is None:
        tables, cautions = of_pairs(store, ratings)
        levels: tuple[Level, ...] = ("nominal",)
    else:
        tables, cautions = of_scores(store, ratings), []
        levels = ("ordinal", "interval")
    agreed, more = agreement(store, ratings, levels)
    cautions = [*_too_little(store, ratings), *cautions, *more]
    return Results(
        _summary(store, ratings), [*tables, *agreed, raters(store, ratings)], cautions, disputed(store, ratings)
    )


def _too_little(store: Store, ratings: Sequence[Rating]) -> list[str]:
    prompts = len({store.items[rating.number].prompt for rating in ratings})
    wanted = len(store.items) * store.study.raters
    cautions = []
    if len(ratings) < wanted:
        cautions.append(f"{len(ratings):,} of {wanted:,} ratings are in: the figures are those of an unfinished study.")
    if prompts == 1:
        cautions.append("One prompt: nothing can be said of others, and a bootstrap has no interval.")
    elif prompts < FEW_PROMPTS:
        cautions.append(f"Only {prompts} prompts: bootstrap intervals are too narrow with so few.")
    return cautions


def _summary(store: Store, ratings: Sequence[Rating]) -> str:
    raters = len({rating.rater for rating in ratings})
    material = store.study.material
    how = "in pairs" if store.study.rubric is None else "by scores"
    counts = [
        _count(len(ratings), "rating"), _count(raters, "rater"), _count(len(material.models), "model"),
        _count(len(material.prompts), "prompt"),
    ]  # fmt: skip
    return f"{counts[0]} by {counts[1]} of {counts[2]} on {counts[3]}, {how}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
