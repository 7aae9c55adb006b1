"""danlu compare: fine-tunings, and another tool's predictions; what is said where it cannot be."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import scipy.stats
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from danlu import cli
from danlu.errors import InputError
from danlu.evaluate import compare_page
from danlu.evaluate.compare import Part, compare_runs, holm, in_the_order_of_gold
from danlu.evaluate.compared import read_runs
from danlu.evaluate.predictions import Prediction
from danlu.files import read_json, read_jsonl, write_json
from danlu.metrics.resampling import Difference

WORDS = ("to be", "or not", "that is", "the question", "once upon", "a time", "话说天下", "a sentence", "从前有座山")
NASTY = '<script>alert(1)</script> & "more" to be'
ROWS = [(f"{one} {other} {n}", "good" if (place + n) % 3 else "bad") for n in range(3)
        for place, (one, other) in enumerate(combinations(WORDS, 2))] + [(NASTY, "bad")]  # fmt: skip


@pytest.fixture(scope="module")
def trained(whole_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs ``one`` and ``two``, which differ in their learning rate."""
    folder = tmp_path_factory.mktemp("compare")
    for name, rows in (("train.csv", ROWS[:80]), ("dev.csv", ROWS[80:])):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    for name, rate in (("one", 1e-3), ("two", 5e-3)):
        section = {
            "model": str(whole_encoder), "data": {"train": str(folder / "train.csv"), "dev": str(folder / "dev.csv")},
            "precision": "fp32", "batch": 16, "optimizer": {"lr": rate}, "budget": {"epochs": 2},
        }  # fmt: skip
        recipe = folder / f"{name}.yaml"
        recipe.write_text(yaml.safe_dump({"finetune": section, "run_dir": str(folder / name), "seed": 3}))
        assert cli.main(["run", str(recipe)]) == 0
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A copy to be changed at will."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def lines(run: Path) -> list[dict[str, Any]]:
    return read_jsonl(run / "finetune/dev.predictions.jsonl")


def write(path: Path, found: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in found))
    return path


class Page(HTMLParser):
    """The texts and tags of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_holm_is_the_closed_test(values: list[float]) -> None:
    """Marcus, Peritz & Gabriel 1976: a hypothesis falls with all sets that it is in, each tested by Bonferroni."""
    for place, found in enumerate(holm(values)):
        sets = [chosen for size in range(1, len(values) + 1) for chosen in combinations(range(len(values)), size)]
        closed = max(min(1.0, len(s) * min(values[each] for each in s)) for s in sets if place in s)
        assert found == pytest.approx(closed)
    assert holm([None, 0.01, None, 0.04]) == [None, 0.02, None, 0.04]


def test_two_runs_and_another_tool(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = [line["gold"] for line in lines(runs / "one")]
    theirs = [{"text": line["texts"][0], "prediction": ("good", "bad")[place % 2]}
              for place, line in enumerate(reversed(lines(runs / "one")))]  # fmt: skip
    theirs[0]["prediction"] = "good" if lines(runs / "one")[-1]["prediction"] == "bad" else "bad"  # of the nasty text
    other = write(tmp_path / "other.jsonl", theirs)
    paths = [runs / "one", runs / "two/finetune", other]
    (part,) = compare_runs(read_runs(paths))
    assert part.reasons == {} and part.base == "one" and part.names == ["one", "two", "other.jsonl"]
    answers = {"one": [line["prediction"] for line in lines(runs / "one")],
               "two": [line["prediction"] for line in lines(runs / "two")],
               "other.jsonl": [line["prediction"] for line in reversed(theirs)]}  # fmt: skip
    figures = {each.name: each for each in part.figures}
    for place, said in enumerate(answers.values()):
        assert figures["accuracy"].values[place] == pytest.approx(accuracy_score(gold, said), abs=1e-6)
        macro = f1_score(gold, said, average="macro", zero_division=0)
        assert figures["macro.f1"].values[place] == pytest.approx(macro, abs=1e-6)
    apart = figures["accuracy"].differences[2]
    assert apart is not None and figures["accuracy"].differences[0] is None
    accuracies = [accuracy_score(gold, answers[name]) for name in ("other.jsonl", "one")]
    assert apart.difference == pytest.approx(accuracies[0] - accuracies[1], abs=1e-9)
    _check_mcnemar(part, gold, answers)

    assert cli.main(["compare", *map(str, paths), "--out", str(tmp_path / "page.html")]) == 0
    said_on_screen = capsys.readouterr().out
    assert "dev: accuracy" in said_on_screen and "corrected for 2 runs (Holm)" in said_on_screen
    page = Page(tmp_path / "page.html")
    for wanted in ("finetune.optimizer.lr", "0.001", "0.005", "p, Holm", "McNemar", NASTY, "Accuracy on dev",
                   "size of the model", "corrected for the 2 runs"):  # fmt: skip
        assert wanted in page.text, wanted
    assert [tag for tag, _ in page.tags].count("script") == 1, "its own; that of the text is text"
    outside = set(re.findall(r"https?://[^\s\"'<]+", (tmp_path / "page.html").read_text()))
    assert outside == {"http://www.w3.org/2000/svg"}
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def _check_mcnemar(part: Part, gold: list[str], answers: dict[str, list[str]]) -> None:
    """Against scipy's exact binomial test of those on which one alone is right."""
    expected = []
    for found, name in zip(part.agreements, ("two", "other.jsonl"), strict=True):
        pairs = [(a == g, b == g) for g, a, b in zip(gold, answers["one"], answers[name], strict=True)]
        first, second = pairs.count((True, False)), pairs.count((False, True))
        counts = (found.both, found.only_first, found.only_other, found.neither)
        assert counts == (pairs.count((True, True)), first, second, pairs.count((False, False)))
        expected.append(scipy.stats.binomtest(first, first + second).pvalue if first + second else 1.0)
    assert [each.p for each in part.agreements] == pytest.approx(holm(expected))


def test_the_same_run_twice_does_not_differ(runs: Path) -> None:
    shutil.copytree(runs / "one", runs / "again")
    (part,) = compare_runs(read_runs([runs / "one", runs / "again"]))
    for each in part.figures:
        apart = each.differences[1]
        assert apart is not None and (apart.difference, apart.low, apart.high, each.p[1]) == (0, 0, 0, 1)
    assert [(each.only_first, each.only_other, each.p) for each in part.agreements] == [(0, 0, 1)]


def _other_texts(runs: Path) -> None:
    found = lines(runs / "two")
    found[0]["texts"] = ["another"]
    write(runs / "two/finetune/dev.predictions.jsonl", found)


def _other_figures(runs: Path) -> None:
    scored = read_json(runs / "two/finetune/dev.json") or {}
    scored["figures"]["accuracy"] = 0.123
    write_json(runs / "two/finetune/dev.json", scored)


def _other_metric(runs: Path) -> None:
    said = read_json(runs / "two/finetune/model/danlu.json") or {}
    said["task"] = {**said["task"], "positive": "bad"}
    write_json(runs / "two/finetune/model/danlu.json", said)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_other_texts, "only 28 of its 29 examples are among the 29 of one"),
        (_other_figures, r"two's predictions have accuracy 0\.\d+, its dev.json 0.123"),
        (_other_metric, "it is measured otherwise than one"),
    ],
)
def test_what_cannot_be_paired_is_said_and_has_intervals_alone(
    change: Callable[[Path], None], why: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(runs)
    (part,) = compare_runs(read_runs([runs / "one", runs / "two"]))
    assert re.fullmatch(why, part.reasons["two"])
    assert all(each.differences == [None, None] and each.p == [None, None] for each in part.figures)
    assert all(len(each.intervals[1] or ()) == 2 for each in part.figures if each.name == "accuracy")
    assert not part.agreements
    arguments = ["compare", str(runs / "one"), str(runs / "two"), "--out", str(tmp_path / "page.html")]
    assert cli.main(arguments) == 0
    assert re.search(f"two is not tested against one: {why}", capsys.readouterr().out)
    text = Page(tmp_path / "page.html").text
    assert re.search(f"two is not tested against one: {why}", text) and "Examples that differ" not in text


@pytest.mark.parametrize("content", ['{"figures": {"acc', "[]", "{}", '{"figures": 3, "intervals": {}}', "\xff",
                                     '{"figures": {"accuracy": "high"}, "intervals": {}}',
                                     '{"figures": {}, "intervals": {"accuracy": 1}}'])  # fmt: skip
def test_damaged_scores_are_one_line(content: str, runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (runs / "two/finetune/dev.json").write_text(content, encoding="latin-1")
    for order in (("one", "two"), ("two", "one")):
        arguments = ["compare", *(str(runs / each) for each in order), "--out", str(runs / "page.html")]
        assert cli.main(arguments) == 2
        line = capfd.readouterr().err
        assert "two/finetune/dev.json is damaged: " in line and line.count("\n") == 1


def test_without_the_model_labels_are_compared_all_the_same(runs: Path) -> None:
    for name in ("one", "two"):
        shutil.rmtree(runs / name / "finetune/model")
    (part,) = compare_runs(read_runs([runs / "one", runs / "two"]))
    assert part.reasons == {} and all(each.p[1] is not None for each in part.figures if each.name == "accuracy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one"], "at least two runs"),
        (["one", "one"], "is there twice"),
        (["one", "nowhere"], "there is no run and no file"),
        (["one", "train.csv"], "train.csv is damaged at line 1"),
        (["one", "two", "--out", "page.txt"], "--out must be an .html in a folder that is there; got page.txt"),
        (["one", "other.jsonl"], "none of its 1 examples is the same of"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, runs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    write(runs / "other.jsonl", [{"text": "what no run has", "prediction": "good"}])
    assert cli.main(["compare", *arguments]) == 2
    line = capfd.readouterr().err
    assert message in line and line.count("\n") == 1
    assert not list(runs.glob("*.html"))


def test_a_joint_training_says_what_of_it_may_be_compared(tmp_path: Path) -> None:
    for task in ("news", "names"):
        (tmp_path / "run/joint" / task).mkdir(parents=True)
        write_json(tmp_path / "run/joint" / task / "dev.json", {"figures": {}})
    write_json(tmp_path / "run/joint/done.json", {"made_from": {}, "outputs": {}, "figures": {}})
    with pytest.raises(InputError, match=r"its joint has several tasks, each of which is one: .*joint/names, .*/news$"):
        read_runs([tmp_path / "run", tmp_path])


def test_labels_of_another_tool_may_stand_in_any_order() -> None:
    said = [Prediction("", ("x",), ["a", "b"], answer) for answer in (["b", "a"], ["b"], "b", ["a", "b", "c"])]
    assert [in_the_order_of_gold(each).right for each in said] == [True, False, True, False]


def dumped(page: Path, script: str) -> str:
    """The page as a browser has it, after a script."""
    changed = page.with_name("scripted.html")
    changed.write_text(page.read_text(encoding="utf-8").replace("</body>", f"<script>{script}</script></body>"))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", changed.as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def shown(dom: str) -> Iterator[str]:
    """The first text of each example that is not hidden."""
    for item in re.findall(r'<li class="example"(?:(?!hidden="")[^>])*>(.*?)</li>', dom, flags=re.DOTALL):
        yield re.sub(r"<[^>]*>", " ", item).strip().splitlines()[0]


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_examples_are_sorted_and_filtered_in_the_page(trained: Path) -> None:
    page = trained / "one/report.html"
    all_of_them = list(shown(dumped(page, "")))
    wrong = [line for line in lines(trained / "one") if line["prediction"] != line["gold"]]
    wrong.sort(key=lambda line: -line["confidence"])
    assert len(all_of_them) == len(wrong) > 2
    assert [text.split()[0] for text in all_of_them] == [line["texts"][0].split()[0].replace("<", "&lt;").replace(
        ">", "&gt;") for line in wrong]  # fmt: skip
    change = "dispatchEvent(new Event('change'))"
    gold = wrong[0]["gold"]
    kept = dumped(page, f"const f = document.querySelector('[data-filter]'); f.value = '{gold}'; f.{change};")
    assert len(list(shown(kept))) == sum(line["gold"] == gold for line in wrong)
    turned = dumped(page, f"const o = document.querySelector('[data-order]'); o.value = 1; o.{change};")
    assert list(shown(turned)) == list(reversed(all_of_them))


@pytest.mark.parametrize(("low", "p", "told"), [(0.01, 0.13, True), (-0.01, 0.13, False), (0.01, 0.01, False)])
def test_an_interval_that_says_more_than_the_test_is_explained(low: float, p: float, told: bool) -> None:
    part: Any = SimpleNamespace(base="one", reasons={})
    found = Difference(0.9, 0.95, 0.05, low, 0.1, p, p)
    assert ("the runs differ on few examples" in compare_page._note(part, [found], 1)) is told
