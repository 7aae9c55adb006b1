"""Suites of questions in the report, from the files that asking them has written."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from danlu.evaluate.contents import heldout_section
from danlu.evaluate.page import render
from danlu.evaluate.suite_section import suite_section, suites_of
from danlu.run_folder import RunFolder
from danlu.suites.pairs import Blimp
from danlu.suites.question import Suite
from danlu.suites.request import Request, Score
from danlu.suites.run import ask, read_questions, write_result
from danlu.suites.written import Lambada

NASTY = "</p><script>alert(1)</script> & 丹炉"


class Told:
    """A model whose log-likelihoods are given, one after the other."""

    foresees = True

    def __init__(self, nats: Sequence[float]) -> None:
        self.nats = list(nats)

    def score(self, requests: Sequence[Request]) -> list[Score]:
        assert len(requests) == len(self.nats)
        return [Score(each, each > -1.0, False) for each in self.nats]


def write(run: RunFolder, name: str, suite: Suite, rows: list[dict[str, str]], nats: Sequence[float]) -> None:
    file = run.path / f"{name}_rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = ask(Told(nats), suite, read_questions(suite, file), seed=1)
    write_result(result, run.stage("evaluate"), name, about={"suite": suite.to_recipe(), "file": str(file)})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A model that was asked four minimal pairs of two phenomena, two of them wrongly, and a word."""
    folder = RunFolder(tmp_path)
    folder.stage("evaluate").mkdir()
    pairs = [{"sentence_good": f"good {number}", "sentence_bad": f"bad {number} {NASTY}", "UID": f"u{number}",
              "linguistics_term": "ellipsis" if number < 3 else "islands"} for number in range(4)]  # fmt: skip
    write(folder, "blimp", Blimp(), pairs, [-1, -2, -5, -4, -9, -5, -1, -3])
    write(folder, "lambada", Lambada(), [{"text": "the end of the story"}], [-2.0])
    figures = {"blimp.acc": 0.5, "lambada.acc": 0.0}
    done = {"figures": figures, "made_from": {}, "outputs": {}}
    (folder.stage("evaluate") / "done.json").write_text(json.dumps(done))
    return folder


def test_figures_stand_beside_chance_and_by_group(run: RunFolder) -> None:
    section = suite_section(run)
    assert section is not None and suites_of(run) == ["blimp", "lambada"]
    whole, phenomena, paradigms = section.tables
    head, rows = list(whole.head), {row[0]: dict(zip(whole.head, row, strict=True)) for row in whole.rows}
    assert head == ["suite", "questions", "acc", "perplexity", "chance", "ties", "cut"]
    assert rows["blimp"]["acc"].startswith("0.500 (") and rows["blimp"]["chance"] == "0.500"
    assert rows["lambada"]["perplexity"] == f"{math.exp(2):.3f}" and rows["lambada"]["chance"] == "—"
    assert [(row[0], row[1], row[2][:5]) for row in phenomena.rows] == [
        ("ellipsis", "3", "0.333"),
        ("islands", "1", "1.000"),
    ]
    assert (phenomena.title, paradigms.title, len(paradigms.rows)) == ("blimp by phenomenon", "blimp by paradigm", 4)


def test_what_was_answered_wrongly_is_there_the_surest_first(run: RunFolder) -> None:
    section = suite_section(run)
    assert section is not None and section.browser is not None
    browser = section.browser
    assert browser.note == "blimp: 2 of 4 are not right; lambada: 1 of 1 are not right."
    shown = [(each.place, [said.text for said in each.said], each.said[1].sure) for each in browser.examples]
    sure = 1 / (1 + math.exp(-4)), 1 / (1 + math.exp(-1))  # of two choices the logistic of what is between them
    assert shown == [
        ("blimp, line 3", ["good 2", f"bad 2 {NASTY}"], f"{sure[0]:.1%} sure"),
        ("lambada, line 1", ["story", "0.14"], ""),
        ("blimp, line 2", ["good 1", f"bad 1 {NASTY}"], f"{sure[1]:.1%} sure"),
    ]
    assert [each.kinds for each in browser.examples] == [("blimp",), ("lambada",), ("blimp",)]
    assert browser.examples[1].texts == ["the end of the"]


def test_the_page_has_it_and_takes_text_for_text(run: RunFolder) -> None:
    values = {"kind": "", "title": "", "date": "", "summary": "", "headline": [], "pictures": {}, "recipe": ""}
    page = render("report.html.j2", {**values, "sections": [suite_section(run)]}, html=True)
    assert page.count("<script>") == 1 and "bad 2 &lt;/p&gt;&lt;script&gt;" in page
    text = render("report.md.j2", {**values, "sections": [suite_section(run)]}, html=False)
    assert "blimp by phenomenon" in text and "| lambada | 1 |" in text


def test_suites_stand_in_no_second_place_and_none_is_no_section(run: RunFolder, tmp_path: Path) -> None:
    assert heldout_section(run, apart=suites_of(run)) is None
    (run.stage("evaluate") / "blimp.json").unlink()
    assert suites_of(run) == ["lambada"]
    (run.stage("evaluate") / "lambada_items.jsonl").unlink()
    assert suite_section(run) is None
