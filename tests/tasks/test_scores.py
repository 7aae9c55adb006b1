"""The figures of examples alone, by which the worst are found."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.stats

from danlu.metrics.bleu import BLEU
from danlu.metrics.classification import Classification
from danlu.metrics.entities import Entities
from danlu.metrics.meteor import METEOR
from danlu.metrics.regression import Correlation, Regression
from danlu.metrics.rouge import ROUGE
from danlu.metrics.several import Several
from danlu.metrics.tally import Metric, of_each
from danlu.tasks import scores
from danlu.tasks.scores import TOGETHER, in_words, of_itself, score
from danlu.tasks.task import Answer, Known, Task


class Small(Task):
    """A task that is its metric."""

    measured: ClassVar[Metric[Any, Any]]
    chosen: ClassVar[str]

    def metric(self, known: Known) -> Metric[Any, Any]:
        return self.measured

    @property
    def criterion(self) -> str:
        return self.chosen


def alone(metric: Metric[Any, Any], criterion: str, gold: Sequence[Any], said: Sequence[Any], labels: Any = ()) -> Any:
    task = type("Small", (Small,), {"measured": metric, "chosen": criterion, "__annotations__": {}})()
    examples = [SimpleNamespace(gold=each) for each in gold]
    return of_itself(task, examples, [Answer(each) for each in said], Known(tuple(labels)))


def test_of_tags_it_is_the_f1_of_each_text_whatever_is_reckoned_together(monkeypatch: pytest.MonkeyPatch) -> None:
    gold = [["B-A", "O"], ["O", "O"], ["B-B", "I-B"], ["B-A", "B-B"]] * 5
    said = [["B-A", "O"], ["O", "O"], ["B-B", "O"], ["B-A", "O"]] * 5
    expected = [{"micro.f1": each} for each in [1.0, 0.0, 0.0, 0.666667] * 5]  # of no entity at all it is 0
    assert alone(Entities(), "micro.f1", gold, said) == expected
    monkeypatch.setattr(scores, "TOGETHER", 3)
    assert alone(Entities(), "micro.f1", gold, said) == expected
    assert TOGETHER > 3


@pytest.mark.parametrize(("metric", "criterion"), [
    (BLEU(), "bleu"), (ROUGE(), "rougeL.f1"), (METEOR(), "meteor_exact_stem"),
    (Several([ROUGE(), BLEU()]), "bleu"),
], ids=["bleu", "rouge", "meteor", "several"])  # fmt: skip
def test_of_texts_in_two_languages_each_is_measured_as_in_the_whole(
    metric: Metric[Any, Any], criterion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which language the references are in follows from all of them, and not from those that are reckoned together."""
    gold = ["the cat sat on the mat, and nobody came back"] * 6 + ["今天天气很好，我们出去走走。"] * 3
    said = ["the cat sat on a mat, and nobody came back"] * 6 + ["今天天气很好，我们出去。"] * 3
    whole = of_each(metric.tally(gold, said))[criterion]
    chinese = of_each(metric.tally(gold[6:], said[6:]))[criterion]
    assert abs(whole[6] - chinese[0]) > 0.01  # as the Chinese ones alone are measured otherwise
    monkeypatch.setattr(scores, "TOGETHER", 3)
    found = alone(metric, criterion, gold, said)
    assert [each[criterion] for each in found] == pytest.approx(whole.tolist(), abs=1e-6)


def test_of_numbers_it_is_the_error_or_how_far_the_ranks_are_apart() -> None:
    generator = np.random.default_rng(1)
    gold, said = generator.integers(0, 9, 40).astype(float), generator.normal(size=40).round(1)
    found = alone(Regression(), "pearson", gold.tolist(), said.tolist())
    assert [each["mean_absolute_error"] for each in found] == pytest.approx(np.abs(gold - said), abs=1e-6)
    found = alone(Correlation(), "spearman", gold.tolist(), said.tolist())
    ranks = scipy.stats.rankdata(gold) - scipy.stats.rankdata(said)
    assert [each["rank_error"] for each in found] == pytest.approx(np.abs(ranks) / 40, abs=1e-6)


def test_of_labels_right_and_wrong_say_it_all() -> None:
    assert alone(Classification(), "accuracy", ["a", "b"], ["a", "a"], labels="ab") == [{}, {}]


def test_figures_in_a_line() -> None:
    task = type("Small", (Small,), {"measured": Classification(labels=("a", "b")), "chosen": "accuracy"})()
    examples = [SimpleNamespace(gold=each, texts=("t",)) for each in "aaabb"]
    scored = score(task, examples, [Answer(each) for each in "aaaab"], Known(("a", "b")), seed=0)
    low, high = scored["intervals"]["accuracy"]
    assert in_words("test", scored) == (
        f"test, 5 examples: accuracy 0.8000 (95 % between {low:.4f} and {high:.4f}), matthews 0.6124, macro.f1 0.7619; "
        "to say 'a' always would be right in 0.6000"
    )


def test_slices_by_language_add_up_to_the_whole() -> None:
    """Of a file with several languages; of one language alone there are none."""
    texts = [
        "The weather is lovely today and we go out.",
        "今天天气很好，我们出去走走。",
        "She reads a long book every week.",
    ] * 7
    gold = ["a", "b", "a"] * 7
    said = [label if place % 4 else "b" for place, label in enumerate(gold)]
    task = type("Small", (Small,), {"measured": Classification(), "chosen": "accuracy", "__annotations__": {}})()
    examples = [SimpleNamespace(gold=label, texts=(text,)) for label, text in zip(gold, texts, strict=True)]
    scored = score(task, examples, [Answer(each) for each in said], Known(("a", "b")), seed=1)
    found = scored["slices"]["language"]
    assert {name: each["items"] for name, each in found.items()} == {"en": 14, "zh": 7}
    right = sum(each["accuracy"] * each["items"] for each in found.values())
    assert right / 21 == pytest.approx(scored["figures"]["accuracy"])
    english = score(task, examples[::3], [Answer(each) for each in said[::3]], Known(("a", "b")), seed=1)
    assert "language" not in english["slices"]


def test_confidence_stands_beside_accuracy_by_bin() -> None:
    gold, said = ["a"] * 10, ["a"] * 6 + ["b"] * 4
    answers = [Answer(each, confidence=0.7 if place % 2 else 0.95) for place, each in enumerate(said)]
    task = type("Small", (Small,), {"measured": Classification(), "chosen": "accuracy", "__annotations__": {}})()
    examples = [SimpleNamespace(gold=each, texts=("x",)) for each in gold]
    found = score(task, examples, answers, Known(("a", "b")), seed=1)["calibration"]
    assert found["calibration_error"] == pytest.approx(0.5 * abs(0.6 - 0.7) + 0.5 * abs(0.6 - 0.95))
    assert [(each["items"], each["accuracy"]) for each in found["by_bin"]] == [(5, 0.6), (5, 0.6)]
    unsure = score(task, examples, [Answer(each) for each in said], Known(("a", "b")), seed=1)
    assert "calibration" not in unsure
