"""Rubrics, and what is wrong with them in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.errors import RecipeError
from danlu.rate.rubric import read_rubric

GOOD = """
criteria:
  - {name: fluency, question: "Fluent?", scale: {worst: "no", best: "yes"}}
  - {name: 切题, question: 切题吗？, scale: {lowest: 0, worst: 否, highest: 10, best: 是}}
"""


def test_a_rubric(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(GOOD, encoding="utf-8")
    fluency, relevance = read_rubric(tmp_path / "r.yaml").criteria
    assert (fluency.name, list(fluency.scale.steps())) == ("fluency", [1, 2, 3, 4, 5])
    assert (relevance.scale.best, len(relevance.scale.steps())) == ("是", 11)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('question: "Fluent?"', "qestion: x", "r.yaml: criteria.0.qestion: unknown key; did you mean 'question'"),
        ("name: 切题", "name: fluency", "the name 'fluency' is there twice"),
        ("lowest: 0", "lowest: 10", "from 10 to 10 must be 2 to 11 steps"),
        ("highest: 10", "highest: 11", "from 0 to 11 must be 2 to 11 steps"),
        ("highest: 10", "highest: ten", "criteria.1.scale.highest must be a whole number; got 'ten'"),
        (', best: "yes"', "", "criteria.0.scale.best is required"),
        ("criteria:", "criterions:", "unknown key.*did you mean 'criteria'"),
        (GOOD, "criteria: []", "criteria must be a list of at least 1"),
    ],
)
def test_what_is_wrong_with_it(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    (tmp_path / "r.yaml").write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(RecipeError, match=complaint):
        read_rubric(tmp_path / "r.yaml")


def test_no_rubric_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no rubric at"):
        read_rubric(tmp_path / "none.yaml")
