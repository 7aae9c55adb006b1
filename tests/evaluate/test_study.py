"""The report of a study: its tables, and the learning curve."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from danlu.evaluate.report import write_report
from danlu.evaluate.study import curve_chart, study_section
from danlu.files import write_json
from danlu.pages.chart import LEFT, RIGHT
from danlu.recipe import Recipe
from danlu.run_folder import RunFolder

SPREAD = {"mean": 0.9, "std": 0.0125, "least": 0.8875, "greatest": 0.9125, "count": 2}


def variation(name: str, train: int, figure: float) -> dict[str, Any]:
    figures = {"dev.accuracy": 0.5, "test.accuracy": figure, "test.macro.f1": 0.1}
    return {"name": name, "examples": {"train": train, "test": 50}, "figures": figures}


SEEDS = {
    "study": {"use": "seeds", "count": 2}, "criterion": "accuracy", "says": ["test.accuracy of 2 seeds: mean 0.9"],
    "variations": [variation("seed-1", 400, 0.8875), variation("seed-2", 400, 0.9125)],
    "spread": {"test.accuracy": SPREAD, "test.macro.f1": SPREAD},
}  # fmt: skip
BAND = [{"examples": size, "expected": 0.7 + size / 10000, "low": 0.2, "high": 0.99} for size in (100, 200, 400, 800)]
CURVE = {
    **SEEDS, "study": {"use": "learning_curve"}, "says": ["more data would help"],
    "variations": [variation(f"share-{share}", int(400 * share), 0.7 + share / 10) for share in (0.25, 0.5, 1)],
    "spread": {f"{share}": {"test.accuracy": SPREAD, "test.macro.f1": SPREAD} for share in (0.25, 0.5, 1)},
    "curve": {"split": "test", "criterion": "accuracy", "best": 1.0, "band": BAND,
              "points": [{"examples": int(400 * share), "figure": 0.7 + share / 10} for share in (0.25, 0.5, 1)]},
}  # fmt: skip


def run_of(folder: Path, found: dict[str, Any]) -> RunFolder:
    run = RunFolder(folder)
    run.stage("study").mkdir()
    write_json(run.stage("study") / "study.json", found)
    write_json(folder / "env.json", {"danlu": "1", "processor": "", "cores": 1, "packages": {}})
    run.returned("study", {}, {"trainings": 2}, 3.0)
    run.finish("study")
    return run


def test_a_line_a_training_and_the_spread_of_each_figure(tmp_path: Path) -> None:
    section = study_section(run_of(tmp_path, SEEDS), pictures=[])
    assert section is not None and section.note == "test.accuracy of 2 seeds: mean 0.9."
    trainings, spread = section.tables
    assert trainings.head == ("training", "train", "dev.accuracy", "test.accuracy")
    assert trainings.rows[0] == ("seed-1", "400", "0.5000", "0.8875")
    assert [row[0] for row in spread.rows] == ["test.accuracy", "test.macro.f1"]
    assert spread.rows[0][1:] == ("0.9000", "0.0125", "0.8875", "0.9125")
    assert curve_chart(RunFolder(tmp_path), width=720, height=330) is None


def test_of_a_curve_the_spread_of_each_share(tmp_path: Path) -> None:
    section = study_section(run_of(tmp_path, CURVE), pictures=["learning_curve"])
    assert section is not None and section.pictures == ["learning_curve"]
    assert [row[0] for row in section.tables[1].rows] == ["0.25 of train", "0.5 of train", "1 of train"]


def test_a_share_of_one_training_has_no_standard_deviation(tmp_path: Path) -> None:
    alone = {name: {each: {**of, "std": None, "count": 1} for each, of in share.items()}
             for name, share in CURVE["spread"].items()}  # fmt: skip
    section = study_section(run_of(tmp_path, {**CURVE, "spread": alone}), pictures=[])
    assert section is not None and section.tables[1].rows[0][1:3] == ("0.9000", "—")


@pytest.mark.parametrize("width", [720, 344])
def test_the_curve_has_a_dot_a_training_and_goes_to_twice_the_most(tmp_path: Path, width: int) -> None:
    svg = curve_chart(run_of(tmp_path, CURVE), width=width, height=300)
    assert svg is not None
    root = ElementTree.fromstring(svg)
    dots = [float(each.attrib["cx"]) for each in root.iter("{http://www.w3.org/2000/svg}circle")]
    right = width - RIGHT
    wanted = [LEFT + (size - 100) / 700 * (right - LEFT) for size in (100, 200, 400)]
    assert dots == pytest.approx(wanted, abs=0.1)
    lines = [each.attrib["points"] for each in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert len(lines) == 3 and all(line.split()[-1].startswith(f"{right:.1f},") for line in lines)
    assert "examples" in svg and ">800<" in svg
    places = [float(place) for place in re.findall(r'x="([\d.]+)"[^>]*text-anchor="middle"', svg)]
    assert all(later - first > 20 for first, later in zip([LEFT + 40, *places], places, strict=False))


def test_a_curve_of_too_few_trainings_is_drawn_without_a_line(tmp_path: Path) -> None:
    curve = {name: value for name, value in CURVE["curve"].items() if name != "band"}
    svg = curve_chart(run_of(tmp_path, {**CURVE, "curve": curve}), width=720, height=330)
    assert svg is not None and "polyline" not in svg and svg.count("<circle") == 3


def test_the_report_shows_it(tmp_path: Path) -> None:
    recipe = Recipe("r", tmp_path, 1, {})
    page = write_report(run_of(tmp_path, CURVE), recipe).read_text("utf-8")
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "![Learning curve](report/learning_curve.svg)" in text and "more data would help." in text
    assert page.count("test.accuracy by examples of train") >= 2  # a picture for a page, one for a phone
    assert (tmp_path / "report/learning_curve.svg").exists()
