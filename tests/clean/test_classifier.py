"""The classifier against scikit-learn's logistic regression on the same features, and what falls by it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from danlu.clean.classifier import BITS, PENALTY, Classifier, features, minimise, train
from danlu.errors import InputError
from danlu.text.document import Document

GOOD = ["the", "house", "was", "old", "and", "we", "walked", "there", "with", "friends", "河", "边", "的", "家"]
BAD = ["buy", "cheap", "click", "now", "$$$", "free", "offer", "!!!", "here", "the", "免费", "加微信", "点击"]


def texts(words: list[str], count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(words, k=30)) for _ in range(count)]


def files(folder: Path, good: list[str], bad: list[str]) -> tuple[Path, Path]:
    for name, side in (("good", good), ("bad", bad)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in side))
    return folder / "good.jsonl", folder / "bad.jsonl"


def test_weights_are_those_of_scikit_learn() -> None:
    good, bad = texts([*GOOD, *BAD[:5]], 60, 1), texts([*BAD, *GOOD[:5]], 90, 2)
    all_features = [features(text) for text in (*good, *bad)]
    known = np.unique(np.concatenate(all_features))
    rows = [np.bincount(np.searchsorted(known, each), minlength=len(known)) / len(each) for each in all_features]
    scale = 1 / np.sqrt(np.mean([row @ row for row in rows]))
    X = np.hstack([np.array(rows) * scale, np.ones((150, 1))])  # the bias is penalised too
    weights = [0.5 / 60] * 60 + [0.5 / 90] * 90
    theirs = LogisticRegression(C=1 / PENALTY, fit_intercept=False, tol=1e-10, max_iter=10_000)
    theirs.fit(X, [1] * 60 + [0] * 90, sample_weight=weights)
    ours = train(good, bad)
    assert [ours.good(text) for text in (*good, *bad)] == pytest.approx(theirs.predict_proba(X)[:, 1], abs=1e-3)


def test_a_quadratic_is_least_where_it_is() -> None:
    diagonal, least = np.array([1.0, 10.0, 100.0, 3.0]), np.array([1.0, -2.0, 3.0, 0.5])
    found = minimise(lambda x: (float(diagonal @ (x - least) ** 2) / 2, diagonal * (x - least)), np.zeros(4))
    assert found == pytest.approx(least, abs=1e-6)


def test_steps_that_go_too_far_are_halved() -> None:
    def barrier(x: np.ndarray) -> tuple[float, np.ndarray]:
        """-log(1 - x) - 2 log(1 + x), least at 1/3; there is nothing beyond 1."""
        if abs(x[0]) >= 1:
            return np.inf, np.zeros(1)
        return float(-np.log(1 - x[0]) - 2 * np.log(1 + x[0])), 1 / (1 - x) - 2 / (1 + x)

    assert minimise(barrier, np.array([0.9])) == pytest.approx([1 / 3], abs=1e-5)


def test_features_are_ngrams_of_one_to_four_characters() -> None:
    assert len(features("ab")) == 4 + 3 + 2 + 1  # of " ab "
    assert len(features("")) > 0
    assert features("A  b\n").tolist() == features("a b").tolist()
    assert len(set(features("ab").tolist()) & set(features("abc").tolist())) == 6  # " ", a, b, " a", "ab", " ab"
    places = np.concatenate([features(f"{number} 文{chr(0x4E00 + number)}") for number in range(3000)])
    assert places.min() >= 0 and places.max() < 1 << BITS
    assert len(np.unique(places)) > 10_000  # spread


def test_what_looks_bad_falls_and_the_share_held_out_that_is_right_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = files(tmp_path, texts(GOOD, 300, 1), texts(BAD, 300, 2))
    rule = Classifier(good=good, bad=bad).make()
    said = capsys.readouterr()
    assert "of examples held out it is right on 100.0% of " in said.out + said.err
    assert [rule(Document("a", text)) for text in texts(GOOD, 20, 3)] == [None] * 20
    assert [rule(Document("a", text)) for text in texts(BAD, 20, 4)] == ["classifier: probability of good"] * 20
    assert Classifier(good=good, bad=bad).external_files() == [good, bad]


def test_the_threshold_just_within_and_just_beyond(tmp_path: Path) -> None:
    good, bad = files(tmp_path, texts([*GOOD, *BAD], 60, 1), texts([*BAD, *GOOD[:5]], 60, 2))
    text = texts([*GOOD, *BAD], 1, 5)[0]
    verdicts = [Classifier(good=good, bad=bad, threshold=step / 100).make()(Document("a", text)) for step in (1, 99)]
    assert verdicts == [None, "classifier: probability of good"]


def test_training_twice_gives_the_same(tmp_path: Path) -> None:
    good, bad = texts(GOOD, 60, 1), texts(BAD, 60, 2)
    one, other = train(good, bad), train(good, bad)
    assert one.weights_F.tobytes() == other.weights_F.tobytes()
    assert one.bias == other.bias


def test_other_languages_are_not_judged(tmp_path: Path) -> None:
    good, bad = files(tmp_path, texts(GOOD, 60, 1), texts(BAD, 60, 2))
    rule = Classifier(good=good, bad=bad, language="en").make()
    text = texts(BAD, 1, 3)[0]
    assert rule(Document("a", text, {"language": "zh"})) is None
    assert rule(Document("a", text, {"language": "en"})) is not None


def test_a_long_document_is_judged_by_its_middle(tmp_path: Path) -> None:
    good, bad = files(tmp_path, texts(GOOD, 60, 1), texts(BAD, 60, 2))
    rule = Classifier(good=good, bad=bad, max_characters=200).make()
    spam = " ".join(texts(BAD, 20, 3))
    assert rule(Document("a", spam + " ".join(texts(GOOD, 5, 4)) + spam)) is None


def test_examples_that_will_not_do(tmp_path: Path) -> None:
    good, bad = files(tmp_path, texts(GOOD, 49, 1) * 2, texts(BAD, 60, 2))
    with pytest.raises(InputError, match=r"classifier.good: .* holds 49 different examples; at least 50 are needed"):
        Classifier(good=good, bad=bad).make()
    good, bad = files(tmp_path, [*texts(GOOD, 60, 1), "twice"], [*texts(BAD, 60, 2), "twice"])
    with pytest.raises(InputError, match="classifier: 1 texts are in both"):
        Classifier(good=good, bad=bad).make()
    with pytest.raises(InputError, match="there is no file"):
        Classifier(good=tmp_path / "no.jsonl", bad=bad).make()
