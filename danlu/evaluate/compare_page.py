"""The page of a comparison, a single file: figures, differences, curves, cost, settings, examples that differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from danlu.differences import changes
from danlu.evaluate.browser import MOST, Browser, Said, Shown, clipped, surety
from danlu.evaluate.compare import Figure, Part
from danlu.evaluate.compared import Run
from danlu.evaluate.contents import Section, Table, figure, interval, many
from danlu.evaluate.curves import overlay_chart, series_of, smoothed
from danlu.evaluate.page import Draw, Picture, in_both_widths, render
from danlu.evaluate.predictions import Prediction, has_right, in_words, spelled, titled
from danlu.files import atomic_write, writing
from danlu.log import duration, short
from danlu.metrics.resampling import Difference
from danlu.pages.chart import Point

CHANCE = 0.05
"""A p-value above which a difference may be chance."""
LABELS = 20
"""Labels that the table has: those whose F1 differs most."""
MOST_CURVES = 8
"""Runs that a picture has room for."""
COSTS = {
    "parameters": short, "steps": "{:,}".format, "tokens": short, "seconds": duration, "tokens_per_second": short,
}  # fmt: skip
"""Figures of a training that are its cost, and how they are shown."""
WORDS = {"tokens": "tokens read", "seconds": "time", "tokens_per_second": "tokens per second"}


def write_page(runs: Sequence[Run], parts: Sequence[Part], page: Path) -> None:
    """Write the page; one that is there is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    pictures = _pictures(runs)
    values: dict[str, object] = {
        "kind": "Danlu comparison",
        "title": " · ".join(run.name for run in runs),
        "date": f"{(day := datetime.now(tz=UTC)).day} {day:%B %Y}",
        "summary": " ".join(filter(None, (verdict(part) for part in parts[:1]))),
        "headline": [],
        "sections": [*_sections(runs, parts, pictures)],
        "pictures": pictures,
        "recipe": "",
    }
    with writing(page.parent):
        atomic_write(page, render("report.html.j2", values, html=True).encode())


def verdict(part: Part) -> str:
    """The criterion of all runs in a sentence or two."""
    found = next((each for each in part.figures if each.name == part.criterion), None)
    if found is None:
        return ""
    names = [*part.names]
    said = [f"{name} {figure(value)}" for name, value in zip(names, found.values, strict=True) if value is not None]
    text = f"{titled(found.name)} on {part.name}: {', '.join(said)}."
    for name, apart, p in zip(names, found.differences, found.p, strict=True):
        if apart is not None and p is not None:
            text += f" {name} against {part.base}: {difference(apart.difference)}, {chance(p)}."
    return text


def difference(value: float) -> str:
    """With its sign: ``+0.031``."""
    return f"{'+' if value >= 0 else '−'}{figure(abs(value))}"


def chance(p: float) -> str:
    """A p-value: ``p = 0.031``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def costs(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """What each run has cost, and how large its model is: a line each, with a cell a run."""
    found = []
    for stage in ("pretrain", "finetune"):
        there = [run.figures(stage) for run in runs]
        before = (
            f"{stage}: " if all(any(stage in run.done for run in runs) for stage in ("pretrain", "finetune")) else ""
        )
        for name, show in COSTS.items():
            if any(_is_number(each.get(name)) for each in there):
                cells = [show(each[name]) if _is_number(each.get(name)) else "—" for each in there]
                found.append((before + WORDS.get(name, name), cells))
        sizes = [run.model_bytes(stage) for run in runs]
        if any(sizes):
            found.append((f"{before}size of the model", [f"{size / 1e6:,.1f} MB" if size else "—" for size in sizes]))
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, float | int)


def settings(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Every setting in which a run differs from the first that is one: its key, with a cell a run."""
    records = [_record(run) for run in runs]
    first = next(record for record in records if record)
    keys = dict.fromkeys(key for record in records if record for key, _, _ in changes("", first, record))
    return [(key, [_setting(record, key) for record in records]) for key in keys]


def _record(run: Run) -> dict[str, Any]:
    """What the stages of a run were made from."""
    record: dict[str, Any] = {}
    for stage, done in run.done.items():
        made_from = done["made_from"]
        record |= {name: made_from[name] for name in ("danlu", "seed") if name in made_from}
        record[stage] = made_from.get("settings", {})
        if "sources" in made_from:
            record[stage] = {**record[stage], "(content of its files)": made_from["sources"][:8]}
    return record


def _setting(record: Mapping[str, Any], key: str) -> str:
    value: Any = record
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if not record:
        return "—"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _pictures(runs: Sequence[Run]) -> dict[str, Picture]:
    found: dict[str, Picture] = {}
    for stage in ("pretrain", "finetune"):
        metrics = {run.name: lines for run in runs[:MOST_CURVES] if (lines := run.metrics(stage))}
        names = dict.fromkeys(name for lines in metrics.values() for line in lines for name in line
                              if name.startswith("heldout.") or name in ("loss", "heldout_loss"))  # fmt: skip
        held = "dev" if stage == "finetune" else "held-out documents"
        titles = {"loss": "Training loss, smoothed", "heldout_loss": f"Loss on {held}"}
        for name in names:
            series = {run: series_of(lines, name) for run, lines in metrics.items()}
            if name == "loss":
                series = {run: smoothed(points) for run, points in series.items()}
            title = titles.get(name, f"{titled(name.removeprefix('heldout.'))} on {held}")
            drawn = _drawn(series, title=f"{title} of {stage}", dots=name != "loss")
            found |= in_both_widths(f"{stage}.{name}", title, drawn, wide=280, narrow=240)
    return found


def _drawn(series: Mapping[str, Sequence[Point]], *, title: str, dots: bool) -> Draw:
    def draw(width: int, height: int) -> str | None:
        return overlay_chart(series, width=width, height=height, title=title, dots=dots)

    return draw


def _sections(runs: Sequence[Run], parts: Sequence[Part], pictures: Mapping[str, Picture]) -> Iterator[Section]:
    for part in parts:
        yield _part_section(part)
    if pictures:
        note = f"Only the first {MOST_CURVES} runs are drawn." if len(runs) > MOST_CURVES else ""
        yield Section("Curves", pictures=list(pictures), note=note)
    names = [run.name for run in runs]
    if rows := costs(runs):
        note = "" if len({_machine(run) for run in runs if run.done}) < 2 else (
            "The runs were trained on different machines, so that their times do not compare.")  # fmt: skip
        yield Section(
            "Cost and size", tables=[Table(["", *names], [[name, *cells] for name, cells in rows])], note=note
        )
    apart = [[key, *cells] for key, cells in settings(runs)]
    if apart:
        yield Section("Settings that differ", tables=[Table(["setting", *names], apart, texts=1 + len(names))])
    else:
        yield Section("Settings that differ", note="None.")
    browser = next((found for part in parts if (found := _apart(part)) is not None), None)
    if browser is not None:
        yield Section(browser.title, browser=browser)


def _machine(run: Run) -> str:
    environment = next((done.get("environment") or {} for stage, done in run.done.items() if stage != "evaluate"), {})
    return json.dumps([environment.get(name) for name in ("processor", "cores", "gpus")])


def _part_section(part: Part) -> Section:
    shown = [each for each in part.figures if not each.name.startswith("label.")]
    rows = [
        [spelled(each.name), *(_cell(value, bounds)
                               for value, bounds in zip(each.values, each.intervals, strict=True))]
        for each in shown
    ]  # fmt: skip
    tables = [Table(["figure", *part.names], rows)]
    compared = sum(any(each.differences[place] is not None for each in shown) for place in range(len(part.names)))
    corrected = compared > 1
    apart = [
        [spelled(each.name), name, difference(found.difference), f"{difference(found.low)} to {difference(found.high)}",
         chance(p).removeprefix("p ").removeprefix("= ")]
        for each in shown
        for name, found, p in zip(part.names, each.differences, each.p, strict=True)
        if found is not None and p is not None
    ]  # fmt: skip
    if apart:
        head = ("figure", "run", f"against {part.base}", "95 % interval", "p, Holm" if corrected else "p")
        tables.append(Table(head, apart, texts=2, title=f"Differences from {part.base}"))
    tables += _agreement_table(part, corrected=corrected)
    tables += _label_table(part)
    return Section(
        part.name.capitalize(),
        tables=tables,
        note=_note(part, [f for each in shown for f in each.differences if f], compared),
    )


def _cell(value: float | None, bounds: Sequence[float] | None) -> str:
    """A figure with its interval."""
    if value is None:
        return "—"
    return figure(value) if bounds is None else f"{figure(value)} ({interval(bounds)})"


def _note(part: Part, differences: Sequence[Difference], compared: int) -> str:
    notes = ["In brackets: 95 % intervals, a bootstrap."]
    if differences:
        notes.append("Differences are of the same examples: approximate randomisation and a paired bootstrap.")
    if compared > 1:
        notes.append(f"p-values are corrected for the {compared} runs that are compared with {part.base} (Holm 1979), "
                     "for each figure by itself.")  # fmt: skip
    if any(found.low > 0 or found.high < 0 for found in differences if found.p_randomisation > CHANCE):
        notes.append("Where an interval leaves 0 out and p is large, the runs differ on few examples: the bootstrap of "
                     "so few is too narrow, and p is what counts.")  # fmt: skip
    for name, why in part.reasons.items():
        notes.append(f"{name} is not tested against {part.base}: {why}.")
    return " ".join(notes)


def _agreement_table(part: Part, *, corrected: bool) -> list[Table]:
    rows = [
        (each.run, *(f"{count:,}" for count in (each.both, each.only_first, each.only_other, each.neither)),
         chance(each.p).removeprefix("p ").removeprefix("= "))
        for each in part.agreements
    ]  # fmt: skip
    p = "p, McNemar, Holm" if corrected else "p, McNemar"
    head = ("run", "both right", f"only {part.base}", "only the run", "neither", p)
    return [Table(head, rows, title=f"Examples that are right, beside {part.base}")] if rows else []


def _label_table(part: Part) -> list[Table]:
    """The labels whose F1 differs most."""

    def spread(each: Figure) -> float:
        known = [value for value in each.values if value is not None]
        return max(known) - min(known) if known else 0.0

    labels = sorted((each for each in part.figures if each.name.startswith("label.")), key=spread, reverse=True)
    rows = [
        [each.name.removeprefix("label.").removesuffix(".f1"),
         *(_cell(value, bounds)
           for value, bounds in zip(each.values, each.intervals, strict=True))]
        for each in labels[:LABELS]
    ]  # fmt: skip
    more = f", the {LABELS} of {len(labels)} that differ most" if len(labels) > LABELS else ""
    return [Table(["label", *part.names], rows, title=f"F1 by label{more}")] if rows else []


def _apart(part: Part) -> Browser | None:
    """The examples that the runs answer differently."""
    there = [(name, found) for name, found in zip(part.names, part.predictions, strict=False) if found is not None]
    if len(there) < 2:
        return None
    labels = all(isinstance(each.gold, str) and not each.figures for each in there[0][1])
    shown = [
        example
        for answers in zip(*(found for _, found in there), strict=True)
        if (example := _answered([name for name, _ in there], answers, labels=labels)) is not None
    ]
    if not shown:
        return None
    shown.sort(key=lambda each: each[0], reverse=True)
    total = len(there[0][1])
    note = f"{len(shown):,} of {many(total, 'example')} of {part.name} have different answers"
    note += f"; these are the {MOST:,} on which the runs are furthest apart." if len(shown) > MOST else "."
    orders = ("furthest apart first", "longest first", "shortest first")
    filters = ("who is right", *(("gold",) if labels else ())) if has_right(there[0][1]) else ()
    examples = [replace(each, orders=(float(place), *each.orders)) for place, (_, each) in enumerate(shown[:MOST])]
    return Browser("Examples that differ", examples, filters, orders, note)


def _answered(
    names: Sequence[str], answers: Sequence[Prediction], *, labels: bool
) -> tuple[tuple[float, float], Shown] | None:
    """How far the runs are apart on an example, and the example with all its answers; None where all are the same."""
    first = answers[0]
    if all(each.said == first.said for each in answers):
        return None
    right = [name for name, each in zip(names, answers, strict=True) if each.right]
    beside = [first.gold, *(each.said for each in answers)]
    said = [Said("gold", in_words(first.gold, beside, first.words))]
    said += [Said(name, in_words(each.said, beside, first.words), each.right, surety(each))
             for name, each in zip(names, answers, strict=True)]  # fmt: skip
    best, worst = min(each.badness for each in answers), max(each.badness for each in answers)
    wrong = max((each.confidence or 0.0 for each in answers if not each.right), default=0.0)
    apart = 0.0 if best == worst else worst - best, wrong if right else wrong - 2
    length = float(sum(map(len, first.texts)))
    kinds = [", ".join(right) or "none", *([first.gold] if labels else [])]
    return apart, Shown(first.place, clipped(first.texts), said, kinds, (-length, length))
