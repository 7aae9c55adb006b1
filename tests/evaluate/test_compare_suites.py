"""danlu compare of suites of questions: every figure of them by question, against scipy's exact tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from danlu.data.example import Place
from danlu.errors import InputError
from danlu.evaluate.compare import compare_runs
from danlu.evaluate.compared import read_runs
from danlu.files import write_json
from danlu.suites.chosen import Arc
from danlu.suites.figures import Answered, figures, line_of
from danlu.suites.question import Question, Suite
from danlu.suites.request import Request, Score
from danlu.suites.run import Result, write_result
from danlu.suites.written import Lambada

CHOICES = ("a", "or not to be", "话说天下")


def told(folder: Path, name: str, suite: Suite, nats: NDArray[np.float64]) -> None:
    """What ``danlu evaluate`` writes of a model that finds the choices of questions so unlikely."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "figures.json", {})
    answered = [
        Answered(
            Question(Place(Path("q"), n), tuple(Request("c", each) for each in CHOICES[: len(row)]),
                     CHOICES[: len(row)], n % len(row)),
            tuple(Score(-each, greedy=each < 2, cut=False) for each in row),
        )
        for n, row in enumerate(nats.tolist())
    ]  # fmt: skip
    lines = [line_of(each, suite) for each in answered]
    write_result(Result(figures(answered, suite, seed=1), {}, lines), folder, name, about={})


@pytest.mark.parametrize("seed", range(3))
def test_every_figure_of_a_suite_is_tested_by_question(tmp_path: Path, seed: int) -> None:
    """The p-values are those of scipy's exact test over all exchanges of the two models' answers."""
    draws = np.random.default_rng(seed)
    sides = {}
    for name, scale in (("a", 3.0), ("b", 2.0)):
        of_choices, of_words = draws.gamma(2, scale, (12, 3)), draws.gamma(2, scale, (12, 1))
        told(tmp_path / name, "arc", Arc(), of_choices)
        told(tmp_path / name, "lambada", Lambada(), of_words)
        lengths = {"acc": [1, 1, 1], "acc_norm": [1, 12, 4], "acc_bytes": [1, 12, 12]}
        right = {key: (of_choices / np.array(each)).argmin(1) == np.arange(12) % 3 for key, each in lengths.items()}
        sides[name] = {"arc": right, "lambada": {"acc": of_words[:, 0] < 2, "perplexity": of_words[:, 0]}}
    for part in compare_runs(read_runs([tmp_path / "a", tmp_path / "b"])):
        assert part.reasons == {} and [each.name for each in part.figures] == list(sides["a"][part.name])
        for each in part.figures:
            mean: Any = (lambda x: np.exp(np.mean(x))) if each.name == "perplexity" else np.mean
            first, other = (sides[side][part.name][each.name].astype(float) for side in "ab")
            wanted = scipy.stats.permutation_test(
                (first, other), lambda x, y, mean=mean: mean(y) - mean(x), permutation_type="samples", n_resamples=10000
            )
            apart = each.differences[1]
            assert apart is not None and apart.difference == pytest.approx(wanted.statistic, rel=1e-4)
            assert apart.p_randomisation == pytest.approx(wanted.pvalue, abs=0.04)


def test_of_lines_of_earlier_versions_only_what_was_chosen_is_tested(tmp_path: Path) -> None:
    for name in "ab":
        told(tmp_path / name, "arc", Arc(), np.random.default_rng(ord(name)).gamma(2, 3, (12, 3)))
    path = tmp_path / "a" / "arc_items.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        del line["chosen_by"]
    path.write_text("\n".join(map(json.dumps, lines)))
    (arc,) = compare_runs(read_runs([tmp_path / "a", tmp_path / "b"]))
    assert {each.name: each.differences[1] is not None for each in arc.figures} == {
        "acc": True, "acc_norm": False, "acc_bytes": False
    }  # fmt: skip
    path.write_text(json.dumps({**lines[0], "chosen_by": 3}))
    with pytest.raises(InputError, match=r"arc_items\.jsonl is damaged at line 1: chosen_by must be places"):
        read_runs([tmp_path / "a", tmp_path / "b"])
