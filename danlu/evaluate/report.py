"""The report of a run: ``report.md`` with its pictures in ``report/``, and ``report.html``, a single file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from danlu.errors import InputError
from danlu.evaluate import contents, finetuned
from danlu.evaluate.contents import Section
from danlu.evaluate.curves import Metrics, loss_chart, rate_chart
from danlu.evaluate.page import Picture, in_both_widths, render
from danlu.evaluate.study import curve_chart, study_section
from danlu.evaluate.suite_section import suite_section, suites_of
from danlu.files import atomic_write
from danlu.log import duration, read_metrics, short
from danlu.pages import chart
from danlu.recipe import Recipe
from danlu.run_folder import RunFolder

PICTURES = ("loss", "learning_rate")
"""Those of the pretraining."""
LANGUAGES = {
    "ar": "Arabic", "de": "German", "en": "English", "es": "Spanish", "fr": "French", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "lzh": "Classical Chinese", "pt": "Portuguese", "ru": "Russian", "zh": "Chinese",
}  # fmt: skip
"""Names of languages in the summary; another one goes by its code."""


def write_report(run: RunFolder, recipe: Recipe) -> Path:
    """Write the report of whatever the run folder holds so far; returns the path of ``report.html``.

    Raises:
        InputError: there is no run in the folder.
    """
    if not (run.path / "env.json").exists():
        raise InputError(f"there is no run in {run.path} to report on; run 'danlu run' first")
    metrics = read_metrics(run.stage("pretrain"))
    pictures = _pictures(metrics) | finetuned.pictures(run) | _study_pictures(run)
    sections = _sections(run, recipe, metrics, pictures)
    values: dict[str, object] = {
        "kind": "Danlu report",
        "title": recipe.name,
        "date": _date(run, recipe),
        "summary": summary(run),
        "headline": headline(run),
        "sections": sections,
        "pictures": pictures,
        "recipe": recipe.to_yaml(),
    }
    (run.path / "report").mkdir(exist_ok=True)
    for picture in pictures.values():
        atomic_write(run.path / picture.file, chart.standalone(picture.wide).encode())
    atomic_write(run.path / "report.md", render("report.md.j2", values, html=False).encode())
    page = run.path / "report.html"
    atomic_write(page, render("report.html.j2", values, html=True).encode())
    return page


def summary(run: RunFolder) -> str:
    """The run in one sentence, as far as it has got."""
    pretrain, evaluate, clean = run.figures("pretrain"), run.figures("evaluate"), run.figures("clean")
    if not pretrain:
        return finetuned.summary(run) or "A run whose training has not finished."
    languages = [name.split(".")[1] for name in clean if name.startswith("language.") and name.endswith(".documents")]
    text = f"A model of {short(pretrain['parameters'])} parameters"
    if "seconds" in pretrain:
        text += f", trained for {_spoken(pretrain['seconds'])} on {short(pretrain['tokens'])} tokens"
    named = [LANGUAGES.get(language, language) for language in languages if language != "und"]
    if named:
        text += f" of {_listed(named)}"
    if "all.bits_per_byte" in evaluate:
        text += f", foresees held-out documents at {evaluate['all.bits_per_byte']:.3f} bits per byte"
    return " ".join([f"{text}.", *filter(None, [finetuned.summary(run)])])


def headline(run: RunFolder) -> list[tuple[str, str]]:
    """The few figures that are looked at first: value and name."""
    pretrain, evaluate = run.figures("pretrain"), run.figures("evaluate")
    wanted: list[tuple[str, Any, Callable[[Any], str]]] = [
        *finetuned.headline(run),
        ("held-out bits per byte", evaluate.get("all.bits_per_byte"), "{:.3f}".format),
        ("held-out nats per token", evaluate.get("all.nats_per_token"), "{:.3f}".format),
        ("held-out loss", evaluate.get("all.loss"), "{:.3f}".format),
        ("parameters", pretrain.get("parameters"), short),
        ("tokens seen", pretrain.get("tokens"), short),
        ("of training", pretrain.get("seconds"), duration),
    ]
    return [(show(value), name) for name, value, show in wanted if value is not None]


def _sections(run: RunFolder, recipe: Recipe, metrics: Metrics, pictures: dict[str, Picture]) -> list[Section]:
    last = metrics[-1] if metrics else None
    sections: Iterable[Section | None] = (
        contents.training_section(run, pictures=[name for name in PICTURES if name in pictures], last=last),
        *finetuned.sections(run, pictures),
        study_section(run, pictures=list(_study_pictures(run))),
        contents.heldout_section(run, apart=suites_of(run)),
        contents.objective_section(run),
        contents.forgetting_section(run),
        suite_section(run),
        contents.samples_section(run),
        contents.data_section(run),
        contents.tokenizer_section(run),
        contents.model_section(run),
        contents.machine_section(run, list(recipe.sections)),
    )
    return [section for section in sections if section is not None]


def _pictures(metrics: Metrics) -> dict[str, Picture]:
    return {
        **in_both_widths("loss", "Loss, nats per token",
                         lambda width, height: loss_chart(metrics, width=width, height=height), wide=330, narrow=260),
        **in_both_widths("learning_rate", "Learning rate, as a share of its peak",
                         lambda width, height: rate_chart(metrics, width=width, height=height), wide=150, narrow=140),
    }  # fmt: skip


def _study_pictures(run: RunFolder) -> dict[str, Picture]:
    def draw(width: int, height: int) -> str | None:
        return curve_chart(run, width=width, height=height)

    return in_both_widths("learning_curve", "Learning curve", draw, wide=330, narrow=260)


def _date(run: RunFolder, recipe: Recipe) -> str:
    """The day on which the last stage ended, in UTC; before one has, the day of the last command."""
    ends = [run.stage(stage) / "done.json" for stage in recipe.sections if run.done(stage)]
    last = max(path.stat().st_mtime for path in ends or [run.path / "env.json"])
    day = datetime.fromtimestamp(last, tz=UTC)
    return f"{day.day} {day:%B %Y}"


def _spoken(seconds: float) -> str:
    """``45 seconds``, ``3 minutes``, ``5.2 hours``."""
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} seconds"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
