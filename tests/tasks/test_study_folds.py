"""Cross-validation: what a fold is, what decides nothing, and the pooled answers."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score

from danlu import cli
from danlu.data.dataset import Dataset, load
from danlu.data.example import Place
from danlu.data.labelled import Labelled, MultiLabelled, Scored
from danlu.errors import RecipeError
from danlu.metrics.tally import overall
from danlu.recipe import load_recipe
from danlu.tasks.finetune import Finetune
from danlu.tasks.model_folder import Trained
from danlu.tasks.study_folds import HELD_OUT, Folds
from danlu.tasks.study_kind import Outcome
from danlu.tasks.study_suspects import Wrong, likely_wrong

PLACE = Path("data.csv")


def dataset(labels: list[str], *, dev: int, texts: list[str] | None = None) -> Dataset[Any]:
    """Examples with these labels, the last of them in dev, and two in test."""
    named = texts or [f"text {number}" for number in range(len(labels))]
    examples = tuple(
        Labelled(Place(PLACE, number), (text,), label)
        for number, (text, label) in enumerate(zip(named, labels, strict=True))
    )
    test = tuple(Labelled(Place(Path("test.csv"), number), (f"other {number}",), "a") for number in range(2))
    splits = {"train": examples[:-dev], "dev": examples[-dev:], "test": test}
    return Dataset(splits, tuple(sorted(set(labels))), "none", {}, ())


@given(st.lists(st.sampled_from("abc"), min_size=60, max_size=120), st.integers(2, 6), st.integers(0, 9))
def test_folds_partition_train_and_dev_and_nothing_is_in_two_parts(labels: list[str], k: int, seed: int) -> None:
    data = dataset([*"abc" * 6, *labels], dev=10)
    variations = Folds(k=k).variations(data, seed=1, data_seed=seed)
    everything = {each.place.number for name in ("train", "dev") for each in data.splits[name]}
    held_out = [[each.place.number for each in v.dataset.splits[HELD_OUT]] for v in variations]
    assert sorted(number for fold in held_out for number in fold) == sorted(everything)
    shares = Counter(each.gold for name in ("train", "dev") for each in data.splits[name])
    for variation in variations:
        parts = {
            name: {each.place.number for each in part}
            for name, part in variation.dataset.splits.items()
            if name != "test"
        }
        assert set.union(*parts.values()) == everything and sum(map(len, parts.values())) == len(everything)
        assert variation.dataset.splits["test"] == data.splits["test"]
        fold = Counter(each.gold for each in variation.dataset.splits[HELD_OUT])
        for label, count in shares.items():
            assert abs(fold[label] - count / k) <= 1
        assert len(parts["dev"]) == pytest.approx(len(everything) * (k - 1) / k * 10 / len(everything), abs=2)


def test_what_is_about_one_text_stays_in_one_fold() -> None:
    texts = [f"Text {number // 3}!" if number % 2 else f"text {number // 3}" for number in range(60)]
    data = dataset([*"ab" * 30], dev=9, texts=texts)
    for variation in Folds(k=4).variations(data, seed=1, data_seed=0):
        seen = {name: {each.texts[0].lower().strip("!") for each in variation.dataset.splits[name]}
                for name in ("train", "dev", HELD_OUT)}  # fmt: skip
        assert not seen["train"] & seen[HELD_OUT] and not seen["dev"] & seen[HELD_OUT]
        assert not seen["train"] & seen["dev"]


def test_every_fold_needs_every_label() -> None:
    labels, texts = [*"a" * 20, *"b" * 5], [*(f"text {n}" for n in range(20)), "B", "b", "b!", "other", "third"]
    data = dataset(labels, dev=2, texts=texts)
    assert len(Folds(k=3).variations(data, seed=1, data_seed=0)) == 3
    with pytest.raises(RecipeError, match=r"study\.k must be at most 3, the different texts .* 'b', .*; got 4"):
        Folds(k=4).variations(data, seed=1, data_seed=0)


WORDS = ["to be", "question", "or not", "time", "a sentence", "once upon", "that is", "话说", "天下", "从前"]
ROWS = [(f"{first} {later}", "ab"[(one + other) % 2])
        for one, first in enumerate(WORDS) for other, later in enumerate(WORDS[:6])]  # fmt: skip


@pytest.fixture
def recipe(encoder: Path, tmp_path: Path) -> Path:
    """Of two folds of ``ROWS``."""
    with (tmp_path / "data.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *ROWS])
    finetune = {"model": str(encoder), "data": str(tmp_path / "data.csv"), "batch": 8, "precision": "fp32",
                "budget": {"steps": 9}, "evaluations": 3, "optimizer": {"lr": 3e-3}}  # fmt: skip
    whole = {"seed": 5, "run_dir": str(tmp_path / "run"), "study": {"use": "folds", "k": 2}, "finetune": finetune}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(whole))
    return tmp_path / "recipe.yaml"


def test_a_fold_that_is_held_out_decides_nothing(recipe: Path, encoder: Path, tmp_path: Path) -> None:
    """With all its labels wrong the trained model is the same, byte for byte, and only its figures are others."""
    settings = load_recipe(recipe).section("finetune")
    assert isinstance(settings, Finetune)
    data = Folds(k=2).variations(load(settings.data, settings.task.form), seed=5, data_seed=0)[0].dataset
    held_out = {each.place for each in data.splits[HELD_OUT]}
    wrong = {
        name: tuple(
            replace(each, label="ba"["ab".index(each.label)]) if each.place in held_out else each for each in part
        )
        for name, part in data.splits.items()
    }
    right, other = (
        (settings.learn(encoder, replace(data, splits=splits), out, seed=5), out)
        for out, splits in ((tmp_path / "right", data.splits), (tmp_path / "wrong", wrong))
        if out.mkdir() is None
    )
    for file in ("model/model.safetensors", "model/danlu.json", "dev.json"):
        assert (right[1] / file).read_bytes() == (other[1] / file).read_bytes()
    assert right[0]["fold.accuracy"] == pytest.approx(1 - other[0]["fold.accuracy"], abs=1e-6)
    assert right[0]["best_step"] == other[0]["best_step"]


def test_every_example_is_answered_once_by_a_model_that_has_not_seen_it(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["study", str(recipe)]) == 0
    out = tmp_path / "run/study"
    answers = [json.loads(line) for line in (out / "pooled.predictions.jsonl").read_text("utf-8").splitlines()]
    assert sorted(line["line"] for line in answers) == list(range(2, len(ROWS) + 2))
    pooled = json.loads((out / "study.json").read_text("utf-8"))["pooled"]
    value = pooled["figures"]["accuracy"]
    assert value == pytest.approx(accuracy_score([a["gold"] for a in answers], [a["prediction"] for a in answers]))
    low, high = pooled["intervals"]["accuracy"]
    assert low <= value <= high and pooled["examples"] == len(answers)
    said = capsys.readouterr().out
    suspected = [json.loads(line) for line in (out / "suspects.jsonl").read_text("utf-8").splitlines()]
    assert all(line["gold"] != line["instead"] for line in suspected) and "to models that have not seen" in said
    assert f"each by a model that has not seen it: {value:.4f}, 95 % interval {low:.4f} to {high:.4f}" in said
    for fold in (1, 2):
        new = tmp_path / f"fold-{fold}.csv"
        mine = [line for line in answers if line["fold"] == fold]
        with new.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text",), *((line["texts"][0],) for line in mine)])
        to = tmp_path / f"fold-{fold}.jsonl"
        model = str(out / f"fold-{fold}/model")
        assert cli.main(["predict", model, str(new), "--out", str(to), "--dtype", "float32"]) == 0
        again = [json.loads(line)["prediction"] for line in to.read_text("utf-8").splitlines()]
        assert again == [line["prediction"] for line in mine]


def test_the_table_has_the_folds_and_not_what_they_were_chosen_by(recipe: Path, tmp_path: Path) -> None:
    assert cli.main(["study", str(recipe)]) == 0
    out = tmp_path / "run/study"
    folds = [json.loads((out / f"fold-{k}/{HELD_OUT}.json").read_text("utf-8"))["figures"] for k in (1, 2)]
    found = json.loads((out / "study.json").read_text("utf-8"))
    for name in ("accuracy", "macro.f1"):
        values = [each[name] for each in folds]
        assert found["spread"][f"fold.{name}"]["mean"] == pytest.approx(np.mean(values))
        assert found["spread"][f"fold.{name}"]["std"] == pytest.approx(np.std(values, ddof=1))
        assert [row["figures"][f"fold.{name}"] for row in found["variations"]] == values
    assert not [name for name in found["spread"] if name.startswith("dev.")]
    assert not [name for name in json.loads((out / "done.json").read_text("utf-8"))["figures"] if "dev" in name]


def test_planted_label_errors_are_found(tmp_path: Path) -> None:
    """Answers that are right of the texts, of which every ninth has the label of another."""
    random = np.random.default_rng(1)
    truth = ["abc"[number % 3] for number in range(90)]
    labels = ["abc"["abc".index(label) - (number % 9 == 0)] for number, label in enumerate(truth)]
    examples = dataset(labels, dev=1).splits["train"]
    lines: list[dict[str, Any]] = []
    for example, right in zip(examples, truth, strict=False):
        sure = 0.9 if example.label != right else random.uniform(0.5, 0.9)
        scores = {right: sure} | {other: (1 - sure) / 2 for other in "abc" if other != right}
        lines.append({"line": example.place.number, "gold": example.label, "scores": scores})
    found = likely_wrong(examples, lines, "a.jsonl")
    assert found is not None
    assert {line["line"] for line in found.lines if line["instead"] == truth[line["line"]]} == set(range(0, 89, 9))
    assert found.lines[0]["margin"] == max(line["margin"] for line in found.lines)
    assert found.said.startswith("10 of 89 labels look wrong") and "(the surest first in a.jsonl): 'text " in found.said
    assert likely_wrong(examples, [{**line, "scores": None} for line in lines], "a.jsonl") is None


def test_planted_errors_in_several_labels_are_found() -> None:
    """Every tenth text lacks a label that it should have, or has one too many."""
    random, examples, lines = np.random.default_rng(1), [], []
    planted: dict[int, tuple[str, str]] = {}
    for number in range(100):
        truth = tuple(label for place, label in enumerate("ab") if number >> place & 1)
        scores = {label: random.uniform(0.7, 0.9) if label in truth else random.uniform(0.1, 0.3) for label in "ab"}
        gold = truth
        if number % 10 == 0:
            planted[number] = ("without" if "a" not in truth else "with", "a")
            gold = tuple(sorted({*truth} ^ {"a"}))
            scores["a"] = 0.95 if "a" in truth else 0.05
        examples.append(MultiLabelled(Place(Path("a"), number), (f"text {number}",), gold))
        lines.append({"line": number, "gold": list(gold), "prediction": list(truth), "scores": scores})
    found = likely_wrong(examples, lines, "a.jsonl")
    assert found is not None
    first = {
        line["line"]: next((key, line[key]) for key in ("with", "without") if key in line) for line in found.lines[:10]
    }
    assert first == planted and found.said.startswith(f"{len(found.lines)} of 200 labels look wrong")


def test_models_that_are_no_better_than_chance_suspect_nothing() -> None:
    """Cohen's kappa of scikit-learn is near 0 there, and not where the rarer label is found now and then."""
    random = np.random.default_rng(3)
    labels = ["a" if random.random() < 0.8 else "b" for _ in range(200)]
    examples = dataset(labels, dev=1).splits["train"]
    labels = [each.label for each in examples]

    def found(said: Sequence[str]) -> Wrong | None:
        lines = [
            {"line": each.place.number, "gold": each.label, "scores": {label: 0.7, "ab"["ba".index(label)]: 0.3}}
            for each, label in zip(examples, said, strict=True)
        ]
        return likely_wrong(examples, lines, "a.jsonl")

    shuffled = [str(label) for label in random.permutation(labels)]
    assert abs(cohen_kappa_score(labels, shuffled)) < 0.1
    for useless in (shuffled, ["a"] * len(labels)):
        nothing = found(useless)
        assert nothing is not None and nothing.lines == [] and nothing.said.endswith("no better than chance")
    some = ["b" if label == "b" and place % 2 else "a" for place, label in enumerate(labels)]
    assert cohen_kappa_score(labels, some) > 0.4
    of_use = found(some)
    assert of_use is not None and "chance" not in of_use.said


def test_numbers_and_several_labels_are_suspected_by_models_of_use_alone() -> None:
    random, numbers, several, said, tags = np.random.default_rng(5), [], [], [], []
    for number in range(100):
        place = Place(Path("a"), number)
        numbers.append(Scored(place, (f"text {number}",), 40.0 if number == 7 else float(number % 5)))
        several.append(MultiLabelled(place, (f"text {number}",), ("a",) if number % 2 else ("b",)))
        said.append({"line": number, "prediction": random.normal()})
        scores = {label: random.uniform() for label in "ab"}
        tags.append({"line": number, "prediction": [each for each in scores if scores[each] > 0.5], "scores": scores})
    for examples, lines in ((numbers, said), (several, tags)):
        found = likely_wrong(examples, lines, "a.jsonl")
        assert found is not None and found.lines == [] and found.said.endswith("no better than chance")


@pytest.mark.parametrize("cosines", [False, True])
def test_planted_errors_in_numbers_are_found(cosines: bool) -> None:
    random, examples, lines = np.random.default_rng(1), [], []
    for number in range(100):
        truth = float(number % 5)
        gold = 4.0 - truth if number in (5, 34) else truth  # 0 for 4, and the other way round
        examples.append(Scored(Place(Path("a"), number), (f"text {number}",), gold))
        said = truth + random.normal(0, 0.3)
        lines.append({"line": number, "gold": gold, "prediction": said / 8 + 0.4 if cosines else said})
    found = likely_wrong(examples, lines, "a.jsonl")
    assert found is not None and [line["line"] for line in found.lines] in ([5, 34], [34, 5])
    assert "2 of 100 numbers look wrong" in found.said and "(a, line 5) is 4, likelier" in found.said
    right = [{**line, "prediction": each.number} for line, each in zip(lines, examples, strict=True)]
    assert likely_wrong(examples, right, "a.jsonl") == Wrong(
        [], "no number looks wrong to models that have not seen its text"
    )


CONLL = "\n".join(f"be O\nParis{number} B-LOC\ntime O\n" for number in range(12))
TASKS = {
    "multi_label": ("data.jsonl", "\n".join(
        json.dumps({"text": f"to be {number}", "labels": ["a", "b"][: number % 3]}) for number in range(24))),
    "regress": ("data.csv", "\n".join(["text,score", *(f"to be {number},{number / 3}" for number in range(24))])),
    "tag": ("data.conll", CONLL),
}  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_what_the_files_of_the_folds_hold_gives_the_figures_of_any_task(
    task: str, recipe: Path, tmp_path: Path
) -> None:
    """Of answers that have been through JSON the figures are those of the answers themselves."""
    name, text = TASKS[task]
    (tmp_path / name).write_text(text, encoding="utf-8")
    given = (f"finetune.data={tmp_path / name}", f"finetune.task={task}", "finetune.budget.steps=1",
             "finetune.data.dev_share=0.25")  # fmt: skip
    assert cli.main(["study", str(recipe), *given]) == 0
    settings = load_recipe(recipe, given).section("finetune")
    assert isinstance(settings, Finetune)
    data = load(settings.data, settings.task.form)
    out = tmp_path / "run/study"
    for variation in Folds(k=2).variations(data, seed=5, data_seed=0):
        outcome = Outcome(variation, out / variation.name)
        values = [line["prediction"] for line in outcome.lines(HELD_OUT)]
        golds = [each.gold for each in variation.dataset.splits[HELD_OUT]]
        known = Trained.load(outcome.folder / "model").known
        assert overall(settings.task.metric(known).tally(golds, values)) == outcome.scored[HELD_OUT]["figures"]
    pooled = json.loads((out / "study.json").read_text("utf-8"))["pooled"]
    assert pooled["examples"] == len(data.splits["train"]) + len(data.splits["dev"])
    assert settings.task.criterion in pooled["figures"]


def test_texts_that_are_nearly_those_of_another_fold_are_told(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are no duplicates, and folds part them; the figures are then too good."""
    long = "once upon a time there was a sentence that said what to be and what not to be number"
    rows = [
        ("text", "label"),
        *((f"{long} {place}{end}", "ab"[place % 2]) for place in range(12) for end in ("", " a")),
    ]
    with (tmp_path / "data.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    assert cli.main(["study", str(recipe), "finetune.budget.steps=1"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("study: fold-1: ")]
    assert said and all("fold" in line.removeprefix("study: fold-1: ") for line in said)
