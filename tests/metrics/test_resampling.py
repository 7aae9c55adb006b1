"""Bootstrap and tests of two runs against scipy, sacreBLEU's own and the textbook, and that they are repeatable."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu
from sacrebleu.significance import PairedTest
from scipy import stats
from sklearn import metrics

from danlu.errors import InputError
from danlu.metrics import resampling
from danlu.metrics.bleu import BLEU
from danlu.metrics.classification import Classification
from danlu.metrics.entities import Entities
from danlu.metrics.regression import Regression
from danlu.metrics.resampling import compare, intervals, mcnemar


def labels(count: int, *, right: float, seed: int) -> tuple[list[str], list[str]]:
    generator = np.random.default_rng(seed)
    gold = generator.choice(["a", "b", "c"], size=count)
    predicted = np.where(generator.random(count) < right, gold, generator.choice(["a", "b", "c"], size=count))
    return gold.tolist(), predicted.tolist()


def test_the_interval_of_an_accuracy_is_the_binomial_one() -> None:
    gold, predicted = labels(2000, right=0.7, seed=1)
    low, high = intervals(Classification().tally(gold, predicted), seed=3)["accuracy"]
    accuracy = metrics.accuracy_score(gold, predicted)
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / 2000)
    assert (low, high) == pytest.approx((accuracy - half, accuracy + half), abs=0.15 * half)


def test_intervals_are_of_scikit_learns_figures_of_the_same_draws() -> None:
    gold, predicted = labels(60, right=0.5, seed=2)
    found = intervals(Classification().tally(gold, predicted), seed=4, resamples=50)
    generator = np.random.default_rng(4)
    drawn = generator.integers(60, size=(50, 60))
    scores = [
        metrics.f1_score(np.array(gold)[places], np.array(predicted)[places], average="macro", zero_division=0)
        for places in drawn
    ]
    assert found["macro.f1"] == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])))


def test_spearmans_interval_is_that_of_scipys_bootstrap() -> None:
    generator = np.random.default_rng(6)
    gold = generator.normal(size=150)
    predicted = gold + generator.normal(size=150)
    found = intervals(Regression().tally(gold.tolist(), predicted.tolist()), seed=1)["spearman"]
    peer = stats.bootstrap(
        (gold, predicted),
        lambda one, other: stats.spearmanr(one, other)[0],
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found == pytest.approx((peer.low, peer.high), abs=0.02)


def test_the_seed_decides_and_parts_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    gold, predicted = labels(50, right=0.6, seed=3)
    tally = Classification().tally(gold, predicted)
    once = intervals(tally, seed=5)
    assert intervals(tally, seed=5) == once
    assert intervals(tally, seed=6) != once
    monkeypatch.setattr(resampling, "CELLS", 50 * 7)
    assert intervals(tally, seed=5) == once, "how many draws are in memory together changes nothing"


def test_a_rare_labels_interval_is_of_the_draws_that_have_it() -> None:
    gold = ["a"] * 30 + ["rare"]
    found = intervals(Classification().tally(gold, gold), seed=1)
    assert found["label.rare.recall"] == found["macro.f1"] == (1.0, 1.0)


def test_a_single_item_has_no_interval() -> None:
    assert intervals(Classification().tally(["a"], ["a"]), seed=1) == {}
    assert compare(Classification(), ["a"], ["a"], ["b"], seed=1) == {}


def test_two_equal_runs_do_not_differ() -> None:
    gold, predicted = labels(40, right=0.6, seed=4)
    for difference in compare(Classification(), gold, predicted, predicted, seed=1).values():
        assert (difference.difference, difference.low, difference.high) == (0, 0, 0)
        assert difference.p_bootstrap == difference.p_randomisation == 1


def test_a_run_that_is_far_better_differs_and_the_difference_is_its() -> None:
    gold, first = labels(300, right=0.2, seed=5)
    second = labels(300, right=0.9, seed=5)[1]
    found = compare(Classification(), gold, first, second, seed=1)["accuracy"]
    assert found.first == metrics.accuracy_score(gold, first)
    assert found.difference == pytest.approx(metrics.accuracy_score(gold, second) - found.first)
    assert 0 < found.low < found.difference < found.high
    assert found.p_bootstrap == found.p_randomisation == 1 / 1001
    other_way = compare(Classification(), gold, second, first, seed=1)["accuracy"]
    assert (other_way.low, other_way.high) == pytest.approx((-found.high, -found.low))


def test_randomisation_is_the_test_that_scipy_makes_of_the_items_scores() -> None:
    gold, first = labels(80, right=0.5, seed=6)
    second = labels(80, right=0.6, seed=6)[1]
    found = compare(Classification(), gold, first, second, seed=2, resamples=4000)["accuracy"]
    scores = [np.array([one == other for one, other in zip(gold, run, strict=True)], float) for run in (first, second)]
    peer = stats.permutation_test(
        tuple(scores),
        lambda one, other, axis: np.mean(other - one, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=4000,
        rng=np.random.default_rng(1),
    )
    assert 0.02 < peer.pvalue < 0.98
    assert found.p_randomisation == pytest.approx(peer.pvalue, abs=0.03)


def test_bleu_of_two_runs_differs_as_sacrebleu_says() -> None:
    generator = np.random.default_rng(8)
    gold = [" ".join(generator.choice(list("abcdefgh"), size=12)) for _ in range(60)]

    def spoil(rate: float) -> list[str]:
        return [" ".join("x" if generator.random() < rate else word for word in text.split()) for text in gold]

    first, second = spoil(0.2), spoil(0.18)
    found = compare(BLEU(), gold, first, second, seed=1, resamples=2000)["bleu"]
    ours = found.p_bootstrap, found.p_randomisation
    for kind, p_value in zip(("bs", "ar"), ours, strict=True):
        test = PairedTest([("first", first), ("second", second)], {"BLEU": sacrebleu.BLEU()}, [gold], kind, 2000)
        _, scores = test()
        peer = next(result for name, results in scores.items() if name != "System" for result in results[1:])
        assert found.second == pytest.approx(peer.score)
        assert p_value == pytest.approx(peer.p_value, abs=0.05)


def test_entities_of_two_runs_are_compared_sentence_by_sentence() -> None:
    gold = [["B-PER", "I-PER", "O"]] * 20
    first = [["B-PER", "I-PER", "O"]] * 10 + [["O", "O", "O"]] * 10
    found = compare(Entities(), gold, first, gold, seed=1)
    assert found["micro.recall"].difference == 0.5
    assert found["micro.precision"].difference == 0
    assert found["micro.recall"].p_randomisation < 0.01


@pytest.mark.parametrize(
    ("only_first", "only_second", "both"), [(0, 0, 5), (3, 9, 40), (1, 12, 0), (6, 6, 3), (2, 0, 1)]
)
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int, both: int) -> None:
    first = [True] * only_first + [False] * only_second + [True] * both
    second = [False] * only_first + [True] * only_second + [True] * both
    apart = only_first + only_second
    expected = stats.binomtest(only_first, apart).pvalue if apart else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)


def test_mcnemar_of_fifty_thousand_examples() -> None:
    """Each binomial coefficient anew would take hours."""
    first, second = [True] * 25_000 + [False] * 24_800, [False] * 25_000 + [True] * 24_800
    assert mcnemar(first, second) == pytest.approx(stats.binomtest(25_000, 49_800).pvalue)


def test_runs_of_other_items_are_an_error() -> None:
    with pytest.raises(InputError, match=r"^1 predictions for 2 gold answers: item 2 is missing in the predictions$"):
        compare(Classification(), ["a", "b"], ["a", "b", "a"][:2], ["a"], seed=1)
    with pytest.raises(InputError, match=r"^1 predictions for 2"):
        mcnemar([True, False], [True])
