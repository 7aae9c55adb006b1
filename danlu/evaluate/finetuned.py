"""What the report says of a fine-tuning: figures with intervals, curves, confusion, slices, findings, worst examples.

All of it comes from the plain files of the stage's folder; what is not there is left out. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.evaluate.browser import worst_examples
from danlu.evaluate.contents import Section, Table, facts, figure, interval, many
from danlu.evaluate.curves import Metrics, figure_chart, loss_chart, rate_chart
from danlu.evaluate.matrix import matrix_chart, most_confused
from danlu.evaluate.page import Picture, in_both_widths
from danlu.evaluate.predictions import Prediction, read_predictions
from danlu.files import read_json
from danlu.log import duration, read_metrics, short
from danlu.metrics.calibration import Calibration
from danlu.metrics.tally import overall
from danlu.runs import Figures, RunFolder

STAGE = "finetune"
SPLITS = ("test", "dev")
"""Test first, which nothing was chosen by."""
MATRIX = "confusion"
CURVES = ("finetune_loss", "finetune_figure", "finetune_rate")
WEAKEST = 20
"""Labels that the table has, where there are more."""
CONFUSED = 12
"""Pairs of labels that the table has."""
MOST_LABELS = 150
"""Labels of a confusion matrix that can be seen."""
SLICED = 4
"""Figures of a slice."""


def scores(folder: Path, split: str) -> dict[str, Any] | None:
    """``test.json``; None where there is none."""
    return read_json(folder / f"{split}.json")


def criterion(folder: Path) -> str | None:
    """The figure that the best weights were chosen by."""
    return next((found["criterion"] for split in SPLITS if "criterion" in (found := scores(folder, split) or {})), None)


def main_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """Those of all examples together: not each label's own, and none that is the accuracy by another name."""
    accuracy = figures.get("accuracy")
    same = {name for name in figures if name.startswith("micro.")
            and all(figures.get(f"micro.{each}") == accuracy for each in ("precision", "recall", "f1"))}  # fmt: skip
    return {name: value for name, value in figures.items() if not name.startswith("label.") and name not in same}


def pictures(run: RunFolder) -> dict[str, Picture]:
    """The curves of the training, and the confusion matrices."""
    folder = run.stage(STAGE)
    metrics, name = read_metrics(folder), criterion(folder)
    loss, curve = "Loss of the fine-tuning", f"{spelled(name or '').capitalize()} on dev"
    rate = "Learning rate of the fine-tuning, as a share of its peak"
    found = in_both_widths(CURVES[0], loss, lambda width, height: loss_chart(
        metrics, width=width, height=height, title=loss, heldout_name="dev"), wide=300, narrow=240)  # fmt: skip
    if name is not None:
        found |= in_both_widths(CURVES[1], curve, lambda width, height: figure_chart(
            metrics, f"heldout.{name}", width=width, height=height, title=curve), wide=220, narrow=200)  # fmt: skip
    found |= in_both_widths(CURVES[2], rate, lambda width, height: rate_chart(
        metrics, width=width, height=height, title=rate), wide=150, narrow=140)  # fmt: skip
    split, scored = _judged(folder)
    matrix = scored.get("confusion")
    if matrix is not None and len(matrix["labels"]) <= MOST_LABELS:
        title = f"Confusion on {split}"
        found[MATRIX] = Picture(title, f"report/{MATRIX}.svg",
                                matrix_chart(matrix["labels"], matrix["counts"], title=title))  # fmt: skip
    return found


def headline(run: RunFolder) -> list[tuple[str, Any, Any]]:
    """The figures that are looked at first: name, value, and how it is shown."""
    folder, figures = run.stage(STAGE), run.figures(STAGE)
    wanted: list[tuple[str, Any, Any]] = []
    name = criterion(folder)
    for split in SPLITS:
        if name is not None and f"{split}.{name}" in figures:
            wanted.append((f"{spelled(name)} on {split}", figures[f"{split}.{name}"], figure))
    for key, words, show in (
        ("parameters", "parameters", short), ("tokens", "tokens read", short), ("seconds", "of fine-tuning", duration),
    ):  # fmt: skip
        if not run.figures("pretrain"):
            wanted.append((words, figures.get(key), show))
    return wanted


def summary(run: RunFolder) -> str | None:
    """The fine-tuning in one sentence; None before it has ended."""
    done, folder = run.done(STAGE), run.stage(STAGE)
    if done is None:
        return None
    task, figures = done["made_from"].get("settings", {}).get("task"), done["figures"]
    name, data = criterion(folder), read_json(folder / "data.json") or {}
    text = f"A model of {short(figures['parameters'])} parameters" if "parameters" in figures else "A model"
    text += f" for the task {spelled(str(task['use'] if isinstance(task, dict) else task))}"
    if train := data.get("examples", {}).get("train"):
        text += f", fine-tuned on {many(train, 'example')}"
    split, scored = _judged(folder)
    if name is not None and name in scored.get("figures", {}):
        text += f": {spelled(name)} {figure(scored['figures'][name])}"
        if name in scored["intervals"]:
            text += f" ({interval(scored['intervals'][name])})"
        text += f" on {many(scored['examples'], 'example')} of {split}"
    return f"{text}."


def sections(run: RunFolder, drawn: Mapping[str, Picture]) -> list[Section]:
    """All sections of the fine-tuning; none where there is no such stage."""
    folder, figures = run.stage(STAGE), run.figures(STAGE)
    metrics = read_metrics(folder)
    if not figures and not metrics:
        return []
    found = (
        _figures_section(folder),
        _training_section(figures, metrics, [name for name in CURVES if name in drawn]),
        _confusion_section(folder, drawn),
        _worst_section(folder),
        _data_section(folder),
    )
    return [section for section in found if section is not None]


def spelled(name: str) -> str:
    """A figure or a task in words: ``macro.f1`` is macro F1."""
    return name.replace("f1", "F1").replace(".", " ").replace("_", " ")


def _judged(folder: Path) -> tuple[str, dict[str, Any]]:
    """The split that the model is judged by, and its scores; empty before there are any."""
    return next(((split, found) for split in SPLITS if (found := scores(folder, split)) is not None), ("", {}))


def _training_section(figures: Figures, metrics: Metrics, curves: Sequence[str]) -> Section:
    shown = {"step whose weights are the model" if name == "best_step" else name: value
             for name, value in figures.items() if name.partition(".")[0] not in SPLITS}  # fmt: skip
    note = (
        "" if figures else f"Not finished: {metrics[-1]['step']:,} steps so far. Run the same command again to go on."
    )
    return Section("Fine-tuning", note=note, pictures=curves, tables=[facts(shown)] if shown else [])


def _figures_section(folder: Path) -> Section | None:
    there = {split: found for split in SPLITS if (found := scores(folder, split)) is not None}
    if not there:
        return None
    sure = {split: _calibration(folder, split) for split in there}
    rows: list[list[str]] = []
    for name in dict.fromkeys(name for scored in there.values() for name in main_figures(scored["figures"])):
        cells = [spelled(name)]
        for scored in there.values():
            value: float | None = scored["figures"].get(name)
            cells += ["—" if value is None else figure(value), interval(scored["intervals"].get(name))]
        rows.append(cells)
    if any(value is not None for value in sure.values()):
        known = ["—" if value is None else figure(value) for value in sure.values()]
        rows.append(["calibration error", *(cell for each in known for cell in (each, "—"))])
    split, scored = _judged(folder)
    head = ["figure", *(cell for name in there for cell in (name, "95 % interval"))]
    counts = " and ".join(f"{many(found['examples'], 'example')} of {name}" for name, found in there.items())
    notes = [f"{counts}; the interval is a bootstrap over examples."]
    if "dev" in there:
        notes.append("The best weights were chosen by dev, so that its figures are a little too good.")
    notes += [f"{name}: {value}." for name, value in scored.get("notes", {}).items()]
    tables = [Table(head, rows), *_slices(split, scored), *_labels(split, scored)]
    return Section("Figures", note=" ".join(notes), tables=tables)


def _calibration(folder: Path, split: str) -> float | None:
    """How far confidence and accuracy are apart, where labels are predicted with a confidence."""
    predictions = _predictions(folder, split)
    labels = all(isinstance(each.gold, str) and isinstance(each.said, str) and each.confidence is not None
                 and not each.figures for each in predictions)  # fmt: skip
    if not predictions or not labels:
        return None
    said = [(each.said, each.confidence or 0.0) for each in predictions]
    return overall(Calibration().tally([each.gold for each in predictions], said))["calibration_error"]


def _slices(split: str, scored: Mapping[str, Any]) -> list[Table]:
    """Of each column but the label: the main figures of the examples with each value."""
    tables = []
    for column, slices in scored.get("slices", {}).items():
        if column == "label" or len(slices) < 2:
            continue
        first: str = scored.get("criterion", "")
        names = [name for name in main_figures(scored["figures"]) if name != first]
        names = [*([first] if first in scored["figures"] else []), *names][:SLICED]
        rows = [
            (_band(value), f"{figures['items']:,.0f}",
             *(figure(figures[name]) if name in figures else "—" for name in names))
            for value, figures in slices.items()
        ]  # fmt: skip
        tables.append(
            Table((column, "examples", *map(spelled, names)), rows, title=f"{split.capitalize()} by {column}")
        )
    return tables


def _band(value: str) -> str:
    """``1: 3..11`` is the band from 3 to 11."""
    return value.partition(": ")[2].replace("..", "–") or value


def _labels(split: str, scored: Mapping[str, Any]) -> list[Table]:
    """Each label's own figures, the weakest first."""
    figures, sizes = scored["figures"], scored.get("slices", {}).get("label", {})
    labels = [
        name[len("label.") : -len(".f1")] for name in figures if name.startswith("label.") and name.endswith(".f1")
    ]
    labels.sort(key=lambda label: figures[f"label.{label}.f1"])
    rows = [
        (label, f"{sizes[label]['items']:,.0f}" if label in sizes else "—",
         *(figure(figures[f"label.{label}.{name}"]) for name in ("precision", "recall", "f1")),
         interval(scored["intervals"].get(f"label.{label}.f1")))
        for label in labels[:WEAKEST]
    ]  # fmt: skip
    more = f", the {WEAKEST} weakest of {len(labels)}" if len(labels) > WEAKEST else ""
    head = ("label", "examples", "precision", "recall", "F1", "95 % interval")
    return [Table(head, rows, title=f"{split.capitalize()} by label{more}")] if rows else []


def _confusion_section(folder: Path, drawn: Mapping[str, Picture]) -> Section | None:
    matrix = _judged(folder)[1].get("confusion")
    if matrix is None:
        return None
    pairs = most_confused(matrix["labels"], matrix["counts"], most=CONFUSED)
    rows = [(gold, said, f"{count:,}") for gold, said, count in pairs]
    tables = [Table(("gold", "predicted", "examples"), rows, texts=2, title="Most often confused")] if rows else []
    note = "A cell is as dark as its share of the gold label's examples; what is right is on the diagonal."
    shown = [MATRIX] if MATRIX in drawn else []
    return Section("Confusion", note=note if shown else "", pictures=shown, tables=tables)


def _worst_section(folder: Path) -> Section | None:
    parts = {split: found for split in SPLITS if (found := _predictions(folder, split))}
    browser = worst_examples(parts) if parts else None
    return None if browser is None else Section(browser.title, browser=browser)


def _predictions(folder: Path, split: str) -> list[Prediction]:
    path = folder / f"{split}.predictions.jsonl"
    return [each for each in read_predictions(path) if each.gold is not None] if path.exists() else []


def _data_section(folder: Path) -> Section | None:
    """What was read, and what may be wrong with it."""
    data = read_json(folder / "data.json")
    if data is None:
        return None
    rows = [
        (" → ".join(each["splits"]), each["what"], "; ".join(each["examples"])) for each in data.get("findings", [])
    ]
    counts = [(split, f"{count:,}") for split, count in data.get("examples", {}).items()]
    tables = [Table(("part", "examples"), counts)]
    if rows:
        tables.append(Table(("in", "what was found", "such as"), rows, texts=3, title="What may be wrong with it"))
    note = " ".join(f"{line.rstrip('.')}." for line in data.get("said", []))
    return Section("Examples", note=note if rows else f"{note} No duplicates, leaks or odd labels were found.".strip(),
                   tables=tables)  # fmt: skip
