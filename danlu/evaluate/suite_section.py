"""What the report says of suites of questions: figures beside chance, by group, and the questions answered wrongly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.evaluate.browser import MOST, Browser, Said, Shown, clipped
from danlu.evaluate.contents import Section, Table, figure, interval, number
from danlu.evaluate.predictions import spelled
from danlu.files import read_json, read_jsonl
from danlu.run_folder import RunFolder
from danlu.suites.figures import SHARES

ITEMS = "_items.jsonl"
"""How the file with a line a question ends."""
FIGURES = (*SHARES, "perplexity", "chance", "majority", "ties", "cut")
"""In the order in which they stand in the table."""
WEAKEST = 20
"""Groups that a table has, where there are more."""


def suites_of(run: RunFolder) -> list[str]:
    """The names of the suites that the run's model was asked."""
    names = (path.name.removesuffix(ITEMS) for path in sorted(run.stage("evaluate").glob(f"*{ITEMS}")))
    return [name for name in names if _read(run, name) is not None]


def suite_section(run: RunFolder) -> Section | None:
    """All suites; None where the model was asked none."""
    names = suites_of(run) if run.figures("evaluate") else []
    if not names:
        return None
    found = {name: _read(run, name) or {} for name in names}
    tables = [_table("suite", {name: each["all"] for name, each in found.items()})]
    for name, each in found.items():
        tables += [_table(kind, groups, title=f"{name} by {kind}") for kind, groups in _groups(each).items()]
    note = (
        "In brackets: 95 % intervals, a bootstrap over questions. Chance is what guessing gives, majority what always "
        "taking the place gives that is right most often; ties are questions in which the right choice is one of "
        "several equally likely ones, the first of which counts."
    )
    return Section("Questions", note=note, tables=tables, browser=_browser(run.stage("evaluate"), names))


def _read(run: RunFolder, name: str) -> dict[str, Any] | None:
    found = read_json(run.stage("evaluate") / f"{name}.json")
    return found if found is not None and isinstance(found.get("all"), dict) else None


def _groups(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures of each group, by the kind of groups."""
    return {
        kind: groups
        for kind, groups in found.items()
        if isinstance(groups, dict) and groups and all(isinstance(each, dict) for each in groups.values())
    }


def _table(what: str, rows: Mapping[str, Mapping[str, Any]], *, title: str = "") -> Table:
    """A line a suite or a group; of many groups the weakest."""
    names = [name for name in FIGURES if any(name in each for each in rows.values())]
    chosen = list(rows)
    if title and len(chosen) > WEAKEST:
        chosen = sorted(chosen, key=lambda name: rows[name].get("acc", math.inf))[:WEAKEST]
        title += f", the {WEAKEST} weakest of {len(rows)}"
    cells = [(name, number(rows[name]["items"]), *(_cell(rows[name], each) for each in names)) for name in chosen]
    return Table((what, "questions", *(spelled(name) for name in names)), cells, title=title)


def _cell(figures: Mapping[str, Any], name: str) -> str:
    value, bounds = figures.get(name), figures.get(f"{name}_95")
    if value is None:
        return "—"
    shown = number(value) if isinstance(value, int) else figure(value)
    return shown if bounds is None else f"{shown} ({interval(bounds)})"


def _browser(folder: Path, names: Sequence[str]) -> Browser | None:
    """The questions that were not answered rightly, the surest answers first; None where there are none."""
    wrong: list[tuple[float, Shown]] = []
    counts, total = [], 0
    for name in names:
        lines = read_jsonl(folder / f"{name}{ITEMS}")
        mine = sorted(_wrong(name, lines), key=lambda each: -each[0])
        counts.append(f"{name}: {len(mine):,} of {len(lines):,} are not right")
        wrong += mine[:MOST]
        total += len(mine)
    if not wrong:
        return None
    wrong.sort(key=lambda each: -each[0])
    more = f"; of each suite the {MOST:,} surest are here" if len(wrong) < total else ""
    filters = ("suite",) if len(names) > 1 else ()
    shown = [
        Shown(each.place, each.texts, each.said, each.kinds if filters else (), (float(place), *each.orders))
        for place, (_, each) in enumerate(wrong)
    ]
    return Browser("Questions", shown, filters, ("surest first", "longest first", "shortest first"),
                   "; ".join(counts) + more + ".")  # fmt: skip


def _wrong(name: str, lines: Sequence[Mapping[str, Any]]) -> Iterator[tuple[float, Shown]]:
    """How sure the model was of what is wrong, and the question."""
    for line in lines:
        if line["right"]:
            continue
        choices, nats, gold = line["choices"], line["log_likelihoods"], line["gold"]
        context = [] if line["context"] in ("", *choices) else [line["context"]]
        if "chosen" in line:
            sure = _share(nats, line["chosen"])
            said = Said("chosen", choices[line["chosen"]], False, f"{sure:.1%} sure")
        else:  # it had to be written: what would have been is not known
            sure = 1.0 - math.exp(min(0.0, nats[0]))
            said = Said("its probability", f"{math.exp(min(0.0, nats[0])):.2g}", False)
        length = float(sum(map(len, (line["context"], *choices))))
        place = f"{name}, line {line['line']}"
        yield sure, Shown(place, clipped(context), (Said("right", choices[gold]), said), (name,), (-length, length))


def _share(log_likelihoods: Sequence[float], chosen: int) -> float:
    """The probability of a choice among all of them."""
    highest = max(log_likelihoods)
    return math.exp(log_likelihoods[chosen] - highest) / sum(math.exp(each - highest) for each in log_likelihoods)
