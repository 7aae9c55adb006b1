"""The learning curve: its samples, its one line, and what stands behind it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from danlu import cli
from danlu.data.dataset import Dataset
from danlu.data.example import Place
from danlu.data.labelled import Labelled
from danlu.metrics.tally import overall
from danlu.tasks.chat import Chat
from danlu.tasks.classify import Classify
from danlu.tasks.grpo import GRPO
from danlu.tasks.judges import RewardPart
from danlu.tasks.study_curve import Curve, LearningCurve
from danlu.tasks.study_kind import Outcome, Setting, Variation
from danlu.tasks.task import Known


def examples(labels: str, name: str = "train") -> tuple[Labelled, ...]:
    return tuple(
        Labelled(Place(Path(f"{name}.csv"), number), (f"{name} {number}",), label)
        for number, label in enumerate(labels)
    )


def dataset(labels: str, *, test: str = "abab") -> Dataset[Any]:
    splits = {"train": examples(labels), "dev": examples("ab", "dev"), "test": examples(test, "test")}
    return Dataset(splits, ("a", "b"), "none", {}, ())


@given(st.lists(st.sampled_from("aab"), min_size=60, max_size=200), st.integers(0, 99), st.integers(1, 3))
def test_smaller_parts_are_inside_larger_ones_and_have_their_share_of_each_label(
    labels: list[str], seed: int, seeds: int
) -> None:
    data = dataset("".join(["a", "b", *labels]))
    kind = LearningCurve(shares=(0.1, 0.25, 0.5, 1.0), seeds=seeds)
    variations = kind.variations(data, seed=seed, data_seed=0)
    assert len({each.name for each in variations}) == len(variations) == 4 * seeds
    whole = Counter(each.gold for each in data.splits["train"])
    for each_seed in {each.seed for each in variations}:
        mine = [each for each in variations if each.seed == each_seed]
        before: set[int] = set()
        for share, variation in zip((0.1, 0.25, 0.5, 1.0), mine, strict=True):
            part = variation.dataset.splits["train"]
            numbers = {each.place.number for each in part}
            assert before < numbers
            before = numbers
            for label, count in Counter(each.gold for each in part).items():
                assert share * whole[label] <= count < share * whole[label] + 1
            assert all(variation.dataset.splits[name] == data.splits[name] for name in ("dev", "test"))
        assert mine[-1].dataset.splits["train"] == data.splits["train"]


def test_each_seed_has_parts_of_its_own() -> None:
    first, other, *_ = LearningCurve(seeds=2).variations(dataset("ab" * 100), seed=1, data_seed=0)
    assert first.about["share"] == other.about["share"] and first.seed != other.seed
    assert first.dataset.splits["train"] != other.dataset.splits["train"]


def test_a_part_is_trained_for_as_many_steps_as_the_whole_or_for_as_many_epochs() -> None:
    data = dataset("ab" * 100)
    steps = LearningCurve(shares=(0.1, 0.5, 1.0)).variations(data, seed=1, data_seed=0)
    epochs = LearningCurve(shares=(0.1, 0.5, 1.0), same="epochs").variations(data, seed=1, data_seed=0)
    assert [each.longer * len(each.dataset.splits["train"]) for each in steps] == pytest.approx([200] * 3)
    assert [each.longer for each in epochs] == [1.0] * 3


def outcomes(folder: Path, right: dict[int, list[float]], *, items: int, fixed: bool) -> list[Outcome]:
    """Trainings that are right in such shares of ``items`` test examples: the first ones, or others each time."""
    golds = "ab" * (items // 2)
    data, found, generator = dataset("ab" * 500, test=golds), [], np.random.default_rng(5)
    for size, shares in right.items():
        for number, share in enumerate(shares):
            order = np.arange(items) if fixed else generator.permutation(items)
            wrong = set(order[round(share * items) :].tolist())
            said = ["ba"["ab".index(gold)] if place in wrong else gold for place, gold in enumerate(golds)]
            out = folder / f"{size}-{number}"
            out.mkdir(parents=True)
            figures = overall(Classify().metric(Known(("a", "b"))).tally(list(golds), said))
            for split, answers in (("test", said), ("dev", ["a", "b"])):
                (out / f"{split}.json").write_text(json.dumps({"figures": figures}))
                lines = [json.dumps({"prediction": each}) for each in answers]
                (out / f"{split}.predictions.jsonl").write_text("\n".join(lines) + "\n")
            splits = {**data.splits, "train": data.splits["train"][:size]}
            varied = Dataset(splits, data.labels, "none", {}, ())
            about = {"share": size / 1000, "seed": number}
            found.append(Outcome(Variation(out.name, number, varied, about), out))
    return found


def curve(folder: Path, right: dict[int, list[float]], *, items: int = 2000, fixed: bool = True) -> Curve:
    setting = Setting(Classify(), Known(("a", "b")), 1, folder)
    return Curve.of(outcomes(folder, right, items=items, fixed=fixed), setting)


def test_a_curve_that_rises_says_that_more_data_would_help(tmp_path: Path) -> None:
    rising = {size: [1 - (0.05 + 0.05 * (size / 1000) ** -0.5) + noise for noise in (0.001, -0.001, 0.0)]
              for size in (100, 250, 500, 1000)}  # fmt: skip
    found = curve(tmp_path, rising)
    assert found.verdict == Curve.HELPS and found.split == "test" and found.forecast is not None
    gain = 0.05 * (1 - 2**-0.5)
    assert found.forecast.low < gain < found.forecast.high and found.forecast.gain == pytest.approx(gain, abs=0.004)
    assert found.says.startswith(
        "more data would help: twice the 1,000 examples would change test.accuracy, now 0.9000"
    )


def test_a_curve_that_is_flat_says_that_it_would_not(tmp_path: Path) -> None:
    flat = {size: [0.9, 0.901, 0.899] for size in (100, 250, 500, 1000)}
    assert curve(tmp_path, flat).verdict == Curve.HARDLY


def test_a_curve_that_staggers_says_that_it_cannot_be_told(tmp_path: Path) -> None:
    found = curve(tmp_path, {100: [0.82], 250: [0.78], 500: [0.86], 1000: [0.84]})
    assert found.verdict == Curve.UNKNOWN and "more study.seeds" in found.says
    assert found.forecast is not None and found.forecast.low < 0 < found.forecast.high


def test_few_test_examples_cannot_tell_either(tmp_path: Path) -> None:
    """The figures are those of the curve that rises, but 40 examples might as well have said others."""
    rising = {size: [1 - (0.05 + 0.05 * (size / 1000) ** -0.5)] * 3 for size in (100, 250, 500, 1000)}
    assert curve(tmp_path / "many", rising, items=4000, fixed=False).verdict == Curve.HELPS
    assert curve(tmp_path / "few", rising, items=40, fixed=False).verdict == Curve.UNKNOWN


def test_of_a_loss_less_is_better(tmp_path: Path) -> None:
    """A chat model's: nats a token, of which there is no most."""
    data, found = dataset("ab" * 500, test="ab" * 100), []
    for size in (100, 250, 500, 1000):
        for number, noise in enumerate((0.002, -0.002)):
            nats = 2 + 0.4 * (size / 1000) ** -0.5 + noise
            out = tmp_path / f"{size}-{number}"
            out.mkdir()
            for split, count in (("test", 200), ("dev", 2)):
                (out / f"{split}.json").write_text(json.dumps({"figures": {"loss": nats}}))
                line = json.dumps({"prediction": {"nats": 10 * nats, "tokens": 10}}) + "\n"
                (out / f"{split}.predictions.jsonl").write_text(line * count)
            splits = {**data.splits, "train": data.splits["train"][:size]}
            varied = Variation(out.name, 1, Dataset(splits, ("a", "b"), "none", {}, ()), {"share": 1})
            found.append(Outcome(varied, out))
    curve = Curve.of(found, Setting(Chat(), Known(), 1, tmp_path))
    low, high = curve.doubling
    assert curve.verdict == Curve.HELPS and low < -0.4 * (1 - 2**-0.5) < high < 0
    band = curve.as_plain()["band"]
    assert band[0]["expected"] > band[-1]["expected"] > 2 and all(each["low"] <= each["high"] for each in band)
    assert "by -0.1" in curve.says


def test_of_rewards_there_is_no_most(tmp_path: Path) -> None:
    """A function of the user's may give any numbers: how far they are from what can be reached cannot be told."""
    data, found = dataset("ab" * 500, test="ab" * 100), []
    for size in (100, 250, 500, 1000):
        for number in range(2):
            reward = 5 - 2 * (size / 1000) ** -0.5 + 0.01 * number
            out = tmp_path / f"{size}-{number}"
            out.mkdir()
            for split, count in (("test", 200), ("dev", 2)):
                (out / f"{split}.json").write_text(json.dumps({"figures": {"reward": reward}}))
                said = {"answer": "a", "reward": reward, "tokens": 3, "cut_off": False}
                (out / f"{split}.predictions.jsonl").write_text((json.dumps({"prediction": said}) + "\n") * count)
            splits = {**data.splits, "train": data.splits["train"][:size]}
            varied = Variation(out.name, 1, Dataset(splits, ("a", "b"), "none", {}, ()), {"share": 1})
            found.append(Outcome(varied, out))
    curve = Curve.of(found, Setting(GRPO(reward=(RewardPart(by="r.py:f"),)), Known(), 1, tmp_path))
    assert curve.verdict == Curve.UNKNOWN and "what reward is the most" in curve.says
    assert len(curve.figures) == 8 and "band" not in curve.as_plain()


def test_three_trainings_say_nothing(tmp_path: Path) -> None:
    found = curve(tmp_path, {100: [0.7], 500: [0.8], 1000: [0.85]})
    assert (
        found.forecast is None and found.verdict == Curve.UNKNOWN and "as few as the curve has unknowns" in found.says
    )


def test_from_a_recipe_to_the_line(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["to be", "question", "or not", "time", "a sentence", "once upon", "that is", "话说", "天下", "从前"]
    rows = [f"{one} {other},{'ab'['not' in one or 'not' in other]}" for one in words for other in words]
    (tmp_path / "data.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    finetune = {"model": str(encoder), "data": {"train": str(tmp_path / "data.csv"), "test_share": 0.2}, "batch": 8,
                "precision": "fp32", "budget": {"epochs": 1}, "evaluations": 1}  # fmt: skip
    recipe = {"run_dir": str(tmp_path / "run"), "finetune": finetune, "study": "learning_curve"}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert cli.main(["study", str(tmp_path / "recipe.yaml")]) == 0
    out = tmp_path / "run/study"
    found = json.loads((out / "study.json").read_text("utf-8"))
    sizes = [each["examples"]["train"] for each in found["variations"]]
    assert sizes == [point["examples"] for point in found["curve"]["points"]] and sizes == sorted(sizes)
    assert sizes[-1] == json.loads((out / "share-1-seed-1/data.json").read_text("utf-8"))["examples"]["train"]
    assert found["says"][0] in capsys.readouterr().out and found["curve"]["verdict"] in found["says"][0]
    figures = json.loads((out / "done.json").read_text("utf-8"))["figures"]
    trained = [json.loads((out / each["name"] / "done.json").read_text("utf-8"))["figures"]
               for each in found["variations"]]  # fmt: skip
    assert {each["steps"] for each in trained} == {trained[-1]["steps"]} and trained[0]["epochs"] > 5
    assert figures["doubling"] == found["curve"]["verdict"]
    for share, point in zip((0.1, 0.25, 0.5, 1), found["curve"]["points"], strict=True):
        scored = json.loads((out / f"share-{share}-seed-1/test.json").read_text("utf-8"))["figures"]
        assert scored["accuracy"] == point["figure"]
        assert figures[f"share-{share}.test.accuracy"] == pytest.approx(point["figure"], abs=1e-6)
