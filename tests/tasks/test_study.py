"""The stage study: several fine-tunings of one recipe, each in its folder, and their figures together."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from killed_run import command, kill_at
from safetensors.torch import load_file

from danlu import cli
from danlu.errors import RecipeError
from danlu.tasks.study_kind import in_words, spread, spread_figures

GOOD = ["to be is the question", "话说天下大势 to be", "once upon a time to be", "be there a sentence", "to be to be"]
BAD = ["or not that", "not the question or not", "从前有座山 not", "that was not a time", "not once not a sentence"]
ROWS = [(f"{text} {extra}", label) for extra in ("", "a", "be", "was", "to") for label, texts in
        (("good", GOOD), ("bad", BAD)) for text in texts]  # fmt: skip
COMMON = {"compile": "off", "precision": "fp32", "batch": 8, "optimizer": {"lr": 3e-3}, "budget": {"epochs": 2}}


def table(path: Path, rows: Sequence[Sequence[Any]] = ROWS, header: Sequence[str] = ("text", "label")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def recipe(encoder: Path, tmp_path: Path) -> Callable[..., Path]:
    """``recipe(study, task=…, …)``: the path of one that varies the fine-tuning of the small BERT."""
    table(tmp_path / "train.csv")

    def write(study: Any, **settings: Any) -> Path:
        data = {"train": str(tmp_path / "train.csv"), **settings.pop("data", {})}
        section = {"model": str(encoder), "task": "classify", "data": data, **COMMON, **settings}
        path = tmp_path / "recipe.yaml"
        run = {"run_dir": str(tmp_path / "run"), "seed": 3}
        path.write_text(yaml.safe_dump({"finetune": section, "study": study, **run}))
        return path

    return write


def test_seeds_differ_and_their_figures_are_those_of_numpy(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe({"use": "seeds", "count": 3}, optimizer={"lr": 1e-3}, data={"test_share": 0.2})
    assert cli.main(["study", str(path)]) == 0
    said = capsys.readouterr().out
    out = tmp_path / "run/study"
    found = read(out / "study.json")
    assert [each["name"] for each in found["variations"]] == ["seed-3", "seed-4", "seed-5"]
    values = [read(out / each["name"] / "test.json")["figures"]["accuracy"] for each in found["variations"]]
    spread = found["spread"]["test.accuracy"]
    assert spread == pytest.approx({
        "mean": np.mean(values), "std": np.std(values, ddof=1), "least": min(values), "greatest": max(values),
        "count": 3,
    })  # fmt: skip
    assert f"test.accuracy of 3 seeds: mean {np.mean(values):.4f}" in said
    figures = read(out / "done.json")["figures"]
    assert figures["trainings"] == 3 and figures["test.accuracy.std"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    heads = [load_file(out / f"seed-{seed}/model/model.safetensors")["classifier.weight"] for seed in (3, 4, 5)]
    assert not any((first == later).all() for first, later in itertools.pairwise(heads))
    texts = [[line["texts"] for line in lines(out / f"seed-{seed}/test.predictions.jsonl")] for seed in (3, 4, 5)]
    assert texts[0] == texts[1] == texts[2]


def test_one_training_says_nothing_of_a_spread() -> None:
    found = spread([0.5])
    assert (found.mean, found.std, found.least, found.greatest, found.count) == (0.5, None, 0.5, 0.5, 1)
    assert in_words("dev.accuracy", found, "seeds") == "dev.accuracy of one of the seeds: 0.5000"
    assert spread_figures({"dev.accuracy": found}, "accuracy") == {
        "dev.accuracy.mean": 0.5, "dev.accuracy.least": 0.5, "dev.accuracy.greatest": 0.5
    }  # fmt: skip


def test_the_first_seed_is_what_finetune_makes(recipe: Callable[..., Path], tmp_path: Path) -> None:
    """The study needs no training before it, and takes nothing from one."""
    path = recipe({"use": "seeds", "count": 2}, budget={"steps": 4}, evaluations=2)
    assert cli.main(["study", str(path)]) == 0
    assert not (tmp_path / "run/finetune").exists()
    assert not list(tmp_path.glob("run/study/*/checkpoints")) and not list(tmp_path.glob("run/study/*/best"))
    assert cli.main(["finetune", str(path)]) == 0
    for file in ("model/model.safetensors", "model/danlu.json", "dev.json", "dev.predictions.jsonl", "data.json"):
        assert (tmp_path / "run/finetune" / file).read_bytes() == (tmp_path / "run/study/seed-3" / file).read_bytes(), (
            file
        )
    assert cli.main(["study", str(path)]) == 0
    assert not (tmp_path / "run/previous").exists()  # unchanged, skipped


def test_a_killed_study_goes_on_to_the_same_bytes(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed in its second training, it leaves the first as it is and goes on in the second."""
    path = recipe({"use": "folds", "k": 2}, budget={"steps": 10}, evaluations=3, save={"steps": 3})
    assert cli.main(["study", str(path), f"run_dir={tmp_path / 'whole'}"]) == 0
    capsys.readouterr()
    out = tmp_path / "run/study"
    kill_at(command("study", path), out / "fold-2/metrics.jsonl", lines=6)
    assert not (out / "done.json").exists() and list((out / "fold-2/checkpoints").glob("step-*"))
    first = (out / "fold-1/done.json").stat().st_mtime_ns
    assert cli.main(["study", str(path)]) == 0
    said = capsys.readouterr().out
    assert "fold-1, 1 of 2: unchanged, skipped" in said and "going on after step" in said
    assert (out / "fold-1/done.json").stat().st_mtime_ns == first
    timed = {"done.json", "metrics.jsonl", "plan.json"}  # what the clock has a say in
    files = {
        path.relative_to(folder): path.read_bytes()
        for folder in (tmp_path / "whole/study",)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in timed and "tensorboard" not in path.parts
    }
    assert {Path("study.json"), Path("fold-2/model/model.safetensors"), Path("pooled.predictions.jsonl")} <= set(files)
    for file, content in files.items():
        assert (out / file).read_bytes() == content, file


def test_a_half_done_study_whose_settings_have_changed_is_refused(
    recipe: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from danlu.tasks.finetune import Finetune

    learn, calls = Finetune.learn, []

    def dies(self: Finetune, *arguments: Any, **named: Any) -> Any:
        calls.append(named["seed"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return learn(self, *arguments, **named)

    monkeypatch.setattr(Finetune, "learn", dies)
    path = recipe({"use": "seeds", "count": 2}, budget={"steps": 2})
    assert cli.main(["study", str(path)]) == 130
    capfd.readouterr()
    assert cli.main(["study", str(path), "finetune.batch=4"]) == 2
    line = capfd.readouterr().err
    assert "study is half done (1 of its trainings done)" in line and "study.finetune.batch: 8 -> 4" in line
    assert cli.main(["study", str(path), "finetune.save.steps=1"]) == 0  # which changes nothing in the result
    assert calls == [3, 4, 4]
    assert cli.main(["study", str(path), "study.count=3"]) == 0
    assert calls == [3, 4, 4, 5]  # what the former study has done is taken over
    assert (tmp_path / "run/previous/study-1/seed-3/done.json").exists()
    assert len(read(tmp_path / "run/study/study.json")["variations"]) == 3


def test_a_study_that_is_refused_leaves_no_trace(
    recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from danlu.tasks.finetune import Finetune

    def refused(self: Finetune, *arguments: Any, **named: Any) -> Any:
        raise RecipeError("finetune.batch must be otherwise")

    path = recipe({"use": "seeds", "count": 2}, budget={"steps": 1})
    with monkeypatch.context() as patched:
        patched.setattr(Finetune, "learn", refused)
        assert cli.main(["study", str(path)]) == 2
    assert not (tmp_path / "run/study").exists()
    assert cli.main(["study", str(path)]) == 0
    done = (tmp_path / "run/study/seed-4/done.json").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(Finetune, "learn", refused)
        assert cli.main(["study", str(path), "finetune.batch=4"]) == 2
    assert (tmp_path / "run/study/seed-4/done.json").read_bytes() == done  # nothing was set aside


def test_a_change_of_the_fine_tuning_runs_a_study_again(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe({"use": "seeds", "count": 2}, budget={"steps": 1})
    assert cli.main(["study", str(path)]) == 0
    capsys.readouterr()
    assert cli.main(["study", str(path), "finetune.batch=4"]) == 0
    assert "study: study.finetune.batch (4, was 8) changed" in capsys.readouterr().out
    table(tmp_path / "train.csv", [*ROWS, ("to be or a", "good")])
    assert cli.main(["study", str(path), "finetune.batch=4"]) == 0
    assert "the files that it reads changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"use": "seeds", "count": 1}, "study.count must be at least 2; got 1"),
        ({"use": "seed"}, "study.use: unknown study 'seed'; did you mean 'seeds'?"),
        ({"use": "folds", "k": 1}, "study.k must be at least 2; got 1"),
        (
            {"use": "folds", "k": 26},
            "study.k must be at most 25, the different texts in train and dev with the rarest label, 'bad'",
        ),
        ({"use": "learning_curve", "shares": [0.1, 0.5, 1.5]}, "study.shares.2 must be at most 1.0; got 1.5"),
        ({"use": "learning_curve", "shares": [0, 0.5, 1]}, "study.shares.0 must be"),
        ({"use": "learning_curve", "shares": [0.5, 1]}, "study.shares: must be at least 3"),
        ({"use": "learning_curve", "shares": [0.5, 0.2, 1]}, "study.shares: must rise; got 0.5, 0.2, 1"),
        ({"use": "learning_curve", "shares": [0.01, 0.02, 1]}, "study.shares 0.01 and 0.02 of train are both 2"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_nothing_is_trained(
    study: Any, message: str, recipe: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["study", str(recipe(study))]) == 2
    line = capfd.readouterr().err
    assert line.startswith("danlu: error: ") and line.count("\n") == 1
    assert message in line
    assert not list(tmp_path.glob("run/study/*/begun.json"))


def test_a_study_needs_the_section_that_it_varies(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.yaml").write_text("study: seeds\n")
    assert cli.main(["study", str(tmp_path / "recipe.yaml")]) == 2
    assert "the recipe has no section 'finetune' (it has: study)" in capfd.readouterr().err
