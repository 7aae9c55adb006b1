"""What every metric of tasks promises: any choice of items is scored as if it were all, whatever the metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from danlu.errors import InputError
from danlu.metrics.bleu import BLEU, ChrF
from danlu.metrics.calibration import Calibration
from danlu.metrics.classification import Classification, MultiLabel
from danlu.metrics.entities import Entities
from danlu.metrics.extraction import CMRC, SQuAD
from danlu.metrics.keywords import Keywords
from danlu.metrics.regression import Regression
from danlu.metrics.resampling import compare, intervals
from danlu.metrics.rouge import ROUGE
from danlu.metrics.segmentation import Words
from danlu.metrics.tally import Metric, of_each, overall, slices

NOISE = np.random.default_rng(11)
ITEMS = 30
LABELS, TAGS, UNITS = ["a", "b", "正"], ["O", "B-PER", "I-PER", "B-LOC"], ["the ", "cat ", "dogs ", "今天", "好", "，"]


def draw(choices: list[str], size: int) -> list[str]:
    return [choices[place] for place in NOISE.integers(len(choices), size=size)]


def texts() -> list[str]:
    return ["".join(draw(UNITS, size)) for size in NOISE.integers(1, 9, size=ITEMS)]


def cut(text: str) -> list[str]:
    ends = sorted({*NOISE.integers(1, len(text) + 1, size=3).tolist(), len(text)})
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


SETS = [draw(LABELS, size) for size in NOISE.integers(3, size=2 * ITEMS)]
SEQUENCES = [draw(TAGS, size) for size in NOISE.integers(9, size=ITEMS)]
TEXTS, ANSWERS = texts(), texts()
METRICS: dict[str, tuple[Metric[Any, Any], list[Any], list[Any]]] = {
    "classification": (Classification(positive="a"), draw(LABELS, ITEMS), draw(LABELS, ITEMS)),
    "many labels": (MultiLabel(), SETS[:ITEMS], SETS[ITEMS:]),
    "keywords": (Keywords(), [words or ["a"] for words in SETS[:ITEMS]], SETS[ITEMS:]),
    "regression": (Regression(), NOISE.integers(5, size=ITEMS).tolist(), NOISE.normal(size=ITEMS).tolist()),
    "calibration": (
        Calibration(bins=4),
        draw(LABELS, ITEMS),
        list(zip(draw(LABELS, ITEMS), NOISE.random(ITEMS).tolist(), strict=True)),
    ),
    "entities": (Entities(), SEQUENCES, [draw(TAGS, len(tags)) for tags in SEQUENCES]),
    "strict entities": (Entities(strict=True), SEQUENCES, [draw(TAGS, len(tags)) for tags in SEQUENCES]),
    "words": (Words(), [cut(text) for text in TEXTS], [cut(text) for text in TEXTS]),
    "squad": (SQuAD(), [[text] if len(text) > 4 else [] for text in TEXTS], ANSWERS),
    "squad 1.1": (SQuAD(version="1.1"), [[text, "cat"] for text in TEXTS], ANSWERS),
    "cmrc": (CMRC(), [[text] for text in TEXTS], ANSWERS),
    "bleu": (BLEU(language="zh"), TEXTS, ANSWERS),
    "chrf": (ChrF(), TEXTS, ANSWERS),
    "rouge": (ROUGE(language="zh"), TEXTS, ANSWERS),
    "rouge of stems": (ROUGE(units="stems"), TEXTS, ANSWERS),
}
every_metric = pytest.mark.parametrize("name", METRICS)


@every_metric
def test_a_choice_of_items_is_scored_as_if_it_were_all(name: str) -> None:
    metric, gold, predicted = METRICS[name]
    times = np.random.default_rng(1).integers(3, size=ITEMS)
    places = [place for place, count in enumerate(times) for _ in range(count)]
    chosen = metric.tally(gold, predicted).figures(times[None].astype(float))
    alone = overall(metric.tally([gold[place] for place in places], [predicted[place] for place in places]))
    assert {key: values[0] for key, values in chosen.items() if not np.isnan(values[0])} == pytest.approx(alone)


@every_metric
def test_the_order_of_the_items_does_not_matter(name: str) -> None:
    metric, gold, predicted = METRICS[name]
    order = np.random.default_rng(2).permutation(ITEMS)
    shuffled = metric.tally([gold[place] for place in order], [predicted[place] for place in order])
    assert overall(shuffled) == pytest.approx(overall(metric.tally(gold, predicted)))


@every_metric
def test_slices_intervals_and_comparisons_are_there(name: str) -> None:
    metric, gold, predicted = METRICS[name]
    tally = metric.tally(gold, predicted)
    figures = overall(tally)
    assert figures
    assert all(isinstance(value, float) and np.isfinite(value) for value in figures.values())
    column = ["even", "odd"] * (ITEMS // 2)
    halves = slices(tally, column)
    assert halves["odd"] == pytest.approx({"items": ITEMS // 2, **overall(metric.tally(gold[1::2], predicted[1::2]))})
    found = intervals(tally, seed=1, resamples=200)
    assert found.keys() == figures.keys()
    assert all(low <= high for low, high in found.values())
    assert of_each(tally).keys() == figures.keys()
    moved = compare(metric, gold, predicted, predicted, seed=1, resamples=20)
    assert moved.keys() == figures.keys()
    assert all(each.p_bootstrap == each.p_randomisation == 1 and each.difference == 0 for each in moved.values())


@every_metric
def test_gold_is_a_perfect_prediction(name: str) -> None:
    metric, gold, _ = METRICS[name]
    answers = list(gold)
    if name == "calibration":
        answers = [(label, 1.0) for label in gold]
    elif name in ("squad", "squad 1.1", "cmrc"):
        answers = [texts[0] if texts else "" for texts in gold]
    figures = overall(metric.tally(gold, answers))
    if name in ("squad 1.1", "cmrc", "rouge", "rouge of stems"):  # of nothing but marks F1 is 0
        figures = {key: value for key, value in figures.items() if key == "exact_match"}
    best = 100 if name in ("bleu", "chrf") else 1
    errors = {key for key in figures if "error" in key}
    assert all(figures[key] == pytest.approx(0 if key in errors else best) for key in figures)


@every_metric
def test_a_missing_prediction_is_one_line(name: str) -> None:
    metric, gold, predicted = METRICS[name]
    with pytest.raises(InputError, match=rf"^29 predictions for {ITEMS} gold answers: item 30 is missing"):
        metric.tally(gold, predicted[:-1])
    with pytest.raises(InputError, match=r"^there is no item to score$"):
        metric.tally([], [])


@every_metric
def test_a_recipe_can_name_it(name: str) -> None:
    metric: Any = METRICS[name][0]
    settings = yaml.safe_load(yaml.safe_dump(metric.to_recipe()))
    settings.pop("use")
    assert type(metric)(**settings) == metric
