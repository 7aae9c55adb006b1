"""Figures as rows of text, with intervals that a page can draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A figure and its interval, to be drawn on the range of its table."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; the first ``texts`` columns are words, the others numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    note: str = ""
    spans: Sequence[Span | None] = ()
    """What is drawn beside each row; nothing where there are none."""
    range: tuple[float, float] = (0.0, 1.0)
    """Where the drawing begins and ends."""
    middle: float | None = None
    """Where nobody is ahead."""


def span(value: float | None, interval: tuple[float, float] | None) -> Span | None:
    """What is drawn of a figure, where it has an interval."""
    return None if value is None or interval is None else Span(value, *interval)


def around(interval: tuple[float, float] | None, *, sign: str = "") -> str:
    """An interval in words; nothing where there is none."""
    return "" if interval is None else f"{interval[0]:{sign}.2f} to {interval[1]:{sign}.2f}"
