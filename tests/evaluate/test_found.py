"""What --find shows: a picture and a plot with everything in its place, figures, and one line where it cannot."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from danlu import cli
from danlu.evaluate import found
from danlu.pages.chart import LEFT, RIGHT
from danlu.train import find, plan, probe
from danlu.train.range_test import HIGHEST, LOWEST, Curve

SVG = "{http://www.w3.org/2000/svg}"
RECIPE = """\
run_dir: {folder}/run
clean: {{sources: [{{path: {folder}/text, language: en}}]}}
tokenizer: {{use: char}}
pack: {{split: {{use: tail, fraction: 0.2}}}}
pretrain:
  model: {{use: gpt, layers: 1, dim: 32, heads: 2}}
  sequence: 32
  batch: 2
  budget: {{steps: 4}}
  compile: "off"
"""


def valley() -> Curve:
    """Flat at 8, lowest at a factor of 1, then up beyond the picture."""
    factors = [float(factor) for factor in np.geomspace(LOWEST, HIGHEST, 100)]
    heights = [8 - 3 * math.exp(-(math.log10(x) ** 2)) + max(0.0, math.log10(x)) * 50 for x in factors]
    return Curve(factors, heights, diverged=True)


def test_the_picture_has_powers_of_ten_where_they_belong() -> None:
    root = ElementTree.fromstring(found.picture(valley(), 0.1))
    labels = {text.text: float(text.attrib["x"]) for text in root.iter(f"{SVG}text")}
    assert [label for label in ("0.001", "0.01", "0.1", "1", "10", "100") if label not in labels] == []
    width = found.WIDTH - RIGHT - LEFT
    (circle,) = root.iter(f"{SVG}circle")
    assert float(circle.attrib["cx"]) == pytest.approx(labels["0.1"], abs=0.5)
    decade = labels["1"] - labels["0.1"]
    assert decade == pytest.approx(labels["10"] - labels["1"], abs=0.5)
    assert decade == pytest.approx(width / 6, rel=0.05)
    assert "times the rates" in labels


def test_no_suggestion_is_no_dot() -> None:
    root = ElementTree.fromstring(found.picture(valley(), None))
    assert not list(root.iter(f"{SVG}circle"))
    assert "|" not in found.text_plot(valley(), None)


def test_the_plot_of_characters_has_its_valley_above_its_factor() -> None:
    lines = found.text_plot(valley(), 0.1).splitlines()
    *rows, ticks = (line[9:] for line in lines)
    bottom = next(row for row in reversed(rows) if "*" in row)
    low = sum(place for place, mark in enumerate(bottom) if mark == "*") / bottom.count("*")
    assert low == pytest.approx(ticks.index(" 1  ") + 1, abs=4)
    assert {row.index("|") for row in rows if "|" in row} == {ticks.index(" 0.1 ") + 1}
    assert all(len(line) <= 100 for line in lines)
    assert float(lines[0].split()[0]) > float(lines[-2].split()[0])


def test_a_curve_without_points_can_be_shown() -> None:
    empty = Curve([], [], diverged=True)
    ElementTree.fromstring(found.picture(empty, None))
    assert found.text_plot(empty, None)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("All the world's a stage, and all the players.\n" * 20, encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text(RECIPE.format(folder=tmp_path), encoding="utf-8")
    return tmp_path / "tiny.yaml"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything in this process, and shortly."""
    for module in (find, plan):
        monkeypatch.setattr(module, "in_own_process", lambda measure, *arguments: measure(*arguments))
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.0)
    yield


def run(*arguments: str) -> tuple[int, str, str]:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = cli.main(["plan", *arguments])
    return code, out.getvalue(), err.getvalue()


@pytest.mark.usefixtures("here")
def test_the_verb_says_where_it_has_written_and_leaves_the_run_alone(recipe: Path) -> None:
    code, out, err = run(str(recipe), "--find")
    assert (code, err) == (0, "")
    folder = recipe.parent / "run-find"
    assert out.endswith(f"picture      {folder / 'learning_rate.svg'}; the figures are in found.json beside it\n")
    for head in ("text  ", "memory  ", "rate  ", "micro-batch  ", "batch  "):
        assert f"\n{head}" in f"\n{out}", head
    assert sorted(path.name for path in folder.iterdir()) == ["found.json", "learning_rate.svg"]
    assert not (recipe.parent / "run").exists()
    figures: dict[str, Any] = json.loads((folder / "found.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert figures["batch"] == 2 and len(figures["curve"]["losses"]) > 12


def test_out_without_find_is_refused(recipe: Path) -> None:
    code, _, err = run(str(recipe), "--out", "x")
    assert code == 2
    assert err == "danlu: error: --out is where --find writes; without --find nothing is written\n"


@pytest.mark.parametrize("inside", ["run", "run/plan"])
def test_the_run_s_own_folder_is_refused(recipe: Path, inside: str) -> None:
    code, _, err = run(str(recipe), "--find", "--out", str(recipe.parent / inside))
    assert code == 2
    assert err.startswith("danlu: error: --out must be a folder outside that of the run, ") and err.count("\n") == 1
    assert not (recipe.parent / "run").exists()


def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(recipe: Path) -> None:
    code, out, err = run(str(recipe), "--find", "--out", str(recipe / "below"))
    assert (code, out) == (2, "")
    assert err == f"danlu: error: cannot write to {recipe / 'below'}: a part of the path is a file\n"


def test_a_recipe_without_training_is_refused(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().partition("pretrain:")[0])
    code, _, err = run(str(recipe), "--find")
    assert code == 2 and "the recipe has no section 'pretrain'" in err and err.count("\n") == 1
    assert not (recipe.parent / "run-find").exists()
