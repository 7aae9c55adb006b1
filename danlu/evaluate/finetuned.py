"""What the report says of fine-tunings, alone or joint: figures, curves, confusion, slices, findings, worst examples.

All of it comes from the plain files of the stage's folder; what is not there is left out. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.evaluate.browser import worst_examples, written_examples
from danlu.evaluate.contents import Section, Table, facts, figure, interval, many
from danlu.evaluate.curves import Metrics, figure_chart, loss_chart, rate_chart, reward_chart, series_of
from danlu.evaluate.matrix import matrix_chart, most_confused
from danlu.evaluate.page import Picture, in_both_widths
from danlu.evaluate.predictions import Prediction, read_predictions, spelled, titled
from danlu.files import read_json
from danlu.log import duration, read_metrics, short
from danlu.metrics.calibration import Calibration
from danlu.metrics.tally import overall
from danlu.run_folder import RunFolder
from danlu.stage import Figures

SPLITS = ("test", "dev")
"""Test first, which nothing was chosen by."""
BEFORE = "before"
"""Dev by the model that began, where that was measured."""
PARTS = frozenset([*SPLITS, BEFORE])
MATRIX = "confusion"
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


def main_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """Those of all examples together: not each label's own, and none that is the accuracy by another name."""
    accuracy = figures.get("accuracy")
    same = {name for name in figures if name.startswith("micro.")
            and all(figures.get(f"micro.{each}") == accuracy for each in ("precision", "recall", "f1"))}  # fmt: skip
    return {name: value for name, value in figures.items() if not name.startswith("label.") and name not in same}


@dataclass(frozen=True)
class Tuning:
    """A fine-tuning, or one task of a joint one."""

    run: RunFolder
    stage: str
    task: str = ""
    """Of a joint one, by its name there."""

    @property
    def folder(self) -> Path:
        return self.run.stage(self.stage) / self.task

    @property
    def criterion(self) -> str | None:
        """The figure that the best weights were chosen by."""
        found = (scores(self.folder, split) or {} for split in SPLITS)
        return next((each["criterion"] for each in found if "criterion" in each), None)

    @property
    def first(self) -> str:
        """What stands before the names of its figures."""
        return f"{self.task}." if self.task else ""

    def titled(self, title: str) -> str:
        """The title of a section or a picture."""
        return f"{self.task}: {title}" if self.task else title

    def picture(self, name: str) -> str:
        """The name of a picture of its own."""
        return f"{self.task}_{name}" if self.task else name


def tunings(run: RunFolder) -> list[Tuning]:
    """All that a run has, done or half done."""
    found = [Tuning(run, "finetune")] if run.done("finetune") or read_metrics(run.stage("finetune")) else []
    tasks = sorted(path.parent.name for path in run.stage("joint").glob("*/data.json"))
    return found + [Tuning(run, "joint", task) for task in tasks]


def pictures(run: RunFolder) -> dict[str, Picture]:
    """The curves of the trainings, and the confusion matrices."""
    found: dict[str, Picture] = {}
    for each in tunings(run):
        metrics = read_metrics(run.stage(each.stage))
        found |= _curves(each.stage, metrics)
        found |= _own_pictures(each, metrics)
    return found


def _curves(stage: str, metrics: Metrics) -> dict[str, Picture]:
    """Loss, or reward, and learning rate of a training."""
    training = "the joint training" if stage == "joint" else "the fine-tuning"
    loss, rate = f"Loss of {training}", f"Learning rate of {training}, as a share of its peak"
    reward = f"Reward of what the model writes in {training}"
    if series_of(metrics, "reward"):  # of which the loss says nothing: it is of how much answers of a group differ
        found = in_both_widths(f"{stage}_reward", reward, lambda width, height: reward_chart(
            metrics, width=width, height=height, title=reward), wide=300, narrow=240)  # fmt: skip
    else:
        found = in_both_widths(f"{stage}_loss", loss, lambda width, height: loss_chart(
            metrics, width=width, height=height, title=loss, heldout_name="dev"), wide=300, narrow=240)  # fmt: skip
    return found | in_both_widths(f"{stage}_rate", rate, lambda width, height: rate_chart(
        metrics, width=width, height=height, title=rate), wide=150, narrow=140)  # fmt: skip


def _own_pictures(each: Tuning, metrics: Metrics) -> dict[str, Picture]:
    """The curve of the criterion, and the confusion matrix."""
    found: dict[str, Picture] = {}
    if (name := each.criterion) is not None:
        title = each.titled(f"{titled(name)} on dev")
        found |= in_both_widths(each.picture("figure"), title, lambda width, height: figure_chart(
            metrics, f"heldout.{each.first}{name}", width=width, height=height, title=title),
            wide=220, narrow=200)  # fmt: skip
    split, scored = _judged(each.folder)
    matrix = scored.get("confusion")
    if matrix is not None and len(matrix["labels"]) <= MOST_LABELS:
        title, picture = each.titled(f"Confusion on {split}"), each.picture(MATRIX)
        drawn = matrix_chart(matrix["labels"], matrix["counts"], title=title)
        found[picture] = Picture(title, f"report/{picture}.svg", drawn)
    return found


def headline(run: RunFolder) -> list[tuple[str, Any, Any]]:
    """The figures that are looked at first: name, value, and how it is shown."""
    wanted: list[tuple[str, Any, Any]] = []
    found = tunings(run)
    for each in found:
        split, scored = _judged(each.folder)
        if each.criterion is not None:
            words = f"{spelled(each.criterion)} on {split}"
            wanted.append((each.titled(words), scored["figures"].get(each.criterion), figure))
    if found and not run.figures("pretrain"):
        figures = run.figures(found[0].stage)
        for key, words, show in (
            ("parameters", "parameters", short), ("tokens", "tokens read", short),
            ("seconds", "of fine-tuning", duration),
        ):  # fmt: skip
            wanted.append((words, figures.get(key), show))
    return wanted


def summary(run: RunFolder) -> str | None:
    """The fine-tunings in a sentence each; None before one has ended."""
    said = [_in_a_sentence(each) for each in tunings(run) if run.done(each.stage) is not None]
    return " ".join(said) or None


def _in_a_sentence(each: Tuning) -> str:
    done = each.run.done(each.stage) or {}
    settings, figures = done["made_from"].get("settings", {}), done["figures"]
    if each.task:
        settings = settings.get("tasks", {}).get(each.task, {})
    task, name, data = settings.get("task"), each.criterion, read_json(each.folder / "data.json") or {}
    text = f"A model of {short(figures['parameters'])} parameters" if "parameters" in figures else "A model"
    text += f" for the task {spelled(str(task['use'] if isinstance(task, dict) else task))}"
    if train := data.get("examples", {}).get("train"):
        text += f", fine-tuned on {many(train, 'example')}"
    split, scored = _judged(each.folder)
    if name is not None and name in scored.get("figures", {}):
        text += f": {spelled(name)} {figure(scored['figures'][name])}"
        if name in scored["intervals"]:
            text += f" ({interval(scored['intervals'][name])})"
        text += f" on {many(scored['examples'], 'example')} of {split}"
    return f"{text}."


def sections(run: RunFolder, drawn: Mapping[str, Picture]) -> list[Section]:
    """All sections of the fine-tunings; none where there is no such stage."""
    found: list[Section | None] = []
    told: set[str] = set()
    for each in tunings(run):
        found.append(_figures_section(each))
        if each.stage not in told:
            curves = [f"{each.stage}_loss", f"{each.stage}_reward", *(other.picture("figure") for other in tunings(run)
                                              if other.stage == each.stage), f"{each.stage}_rate"]  # fmt: skip
            shown = [name for name in curves if name in drawn]
            found.append(_training_section(run.figures(each.stage), read_metrics(run.stage(each.stage)), shown))
            told.add(each.stage)
        found += [_confusion_section(each, drawn), _worst_section(each), _written_section(each), _data_section(each)]
    return [section for section in found if section is not None]


def _judged(folder: Path) -> tuple[str, dict[str, Any]]:
    """The split that the model is judged by, and its scores; empty before there are any."""
    return next(((split, found) for split in SPLITS if (found := scores(folder, split)) is not None), ("", {}))


def _training_section(figures: Figures, metrics: Metrics, curves: Sequence[str]) -> Section:
    shown = {"step whose weights are the model" if name == "best_step" else name: value
             for name, value in figures.items() if not PARTS.intersection(name.split("."))}  # fmt: skip
    note = (
        "" if figures else f"Not finished: {metrics[-1]['step']:,} steps so far. Run the same command again to go on."
    )
    return Section("Fine-tuning", note=note, pictures=curves, tables=[facts(shown)] if shown else [])


def _figures_section(each: Tuning) -> Section | None:
    folder = each.folder
    there = {split: found for split in SPLITS if (found := scores(folder, split)) is not None}
    if not there:
        return None
    judged = list(there.items())
    if (before := scores(folder, BEFORE)) is not None:
        there[BEFORE] = before
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
        rows.append(
            [f"calibration error, {Calibration().bins} bins", *(cell for each in known for cell in (each, "—"))]
        )
    split, scored = _judged(folder)
    called = {BEFORE: "dev before training"}
    head = ["figure", *(cell for name in there for cell in (called.get(name, name), "95 % interval"))]
    counts = " and ".join(f"{many(found['examples'], 'example')} of {name}" for name, found in judged)
    notes = [f"{counts}; the interval is a bootstrap over examples."]
    if "dev" in there:
        notes.append("The best weights were chosen by dev, so that its figures are a little too good.")
    notes += [f"{name}: {value}." for name, value in scored.get("notes", {}).items()]
    tables = [Table(head, rows), *_reliability(split, scored), *_slices(split, scored), *_labels(split, scored)]
    return Section(each.titled("Figures"), note=" ".join(notes), tables=tables)


def _calibration(folder: Path, split: str) -> float | None:
    """How far confidence and accuracy are apart, where labels are predicted with a confidence."""
    predictions = _predictions(folder, split)
    labels = all(isinstance(each.gold, str) and isinstance(each.said, str) and each.confidence is not None
                 and not each.figures for each in predictions)  # fmt: skip
    if not predictions or not labels:
        return None
    said = [(each.said, each.confidence or 0.0) for each in predictions]
    return overall(Calibration().tally([each.gold for each in predictions], said))["calibration_error"]


def _reliability(split: str, scored: Mapping[str, Any]) -> list[Table]:
    """How often the answers of each bin of confidence are right."""
    bins = scored.get("calibration", {}).get("by_bin", [])
    rows = [
        (f"{each['low']:.2f}–{each['high']:.2f}", f"{each['items']:,}", figure(each["confidence"]),
         figure(each["accuracy"])) for each in bins
    ]  # fmt: skip
    head = ("confidence", "examples", "mean confidence", "accuracy")
    return [Table(head, rows, title=f"{split.capitalize()} by confidence")] if rows else []


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
        (label, *([f"{sizes[label]['items']:,.0f}" if label in sizes else "—"] if sizes else []),
         *(figure(figures[f"label.{label}.{name}"]) for name in ("precision", "recall", "f1")),
         interval(scored["intervals"].get(f"label.{label}.f1")))
        for label in labels[:WEAKEST]
    ]  # fmt: skip
    more = f", the {WEAKEST} weakest of {len(labels)}" if len(labels) > WEAKEST else ""
    head = ("label", *(["examples"] if sizes else []), "precision", "recall", "F1", "95 % interval")
    return [Table(head, rows, title=f"{split.capitalize()} by label{more}")] if rows else []


def _confusion_section(each: Tuning, drawn: Mapping[str, Picture]) -> Section | None:
    matrix = _judged(each.folder)[1].get("confusion")
    if matrix is None:
        return None
    pairs = most_confused(matrix["labels"], matrix["counts"], most=CONFUSED)
    rows = [(gold, said, f"{count:,}") for gold, said, count in pairs]
    tables = [Table(("gold", "predicted", "examples"), rows, texts=2, title="Most often confused")] if rows else []
    note = "A cell is as dark as its share of the gold label's examples; what is right is on the diagonal."
    shown = [each.picture(MATRIX)] if each.picture(MATRIX) in drawn else []
    return Section(each.titled("Confusion"), note=note if shown else "", pictures=shown, tables=tables)


def _worst_section(each: Tuning) -> Section | None:
    parts = {split: found for split in SPLITS if (found := _predictions(each.folder, split))}
    browser = worst_examples(parts) if parts else None
    return None if browser is None else Section(each.titled(browser.title), browser=browser)


def _written_section(each: Tuning) -> Section | None:
    """What the model writes, where figures do not need it."""
    path = each.folder / "dev.samples.jsonl"
    if not path.exists():
        return None
    browser = written_examples(read_predictions(path))
    return Section(each.titled(browser.title), browser=browser)


def _predictions(folder: Path, split: str) -> list[Prediction]:
    path = folder / f"{split}.predictions.jsonl"
    return [each for each in read_predictions(path) if each.gold is not None] if path.exists() else []


def _data_section(each: Tuning) -> Section | None:
    """What was read, and what may be wrong with it."""
    data = read_json(each.folder / "data.json")
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
    said = note if rows else f"{note} No duplicates, leaks or odd labels were found.".strip()
    return Section(each.titled("Examples"), note=said, tables=tables)
