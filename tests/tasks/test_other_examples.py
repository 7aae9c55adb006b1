"""A checkpoint of a fine-tuning with the same settings on other examples, copied in, is not gone on from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from danlu.cli import main
from danlu.files import read_json
from danlu.tasks.compared import with_reference
from danlu.tasks.feature import Feature, fingerprint
from danlu.train.loop import StepInfo
from danlu.train.setup import Training

RECIPES = {
    "finetune": "finetune:\n  data: {{train: {file}, dev: {file}}}\n  task: classify\n",
    "joint": "joint:\n  tasks:\n    one: {{data: {{train: {file}, dev: {file}}}, task: classify}}\n"
    "    other: {{data: {{train: {file}, dev: {file}}}, task: classify}}\n",
}


class Killed(BaseException):
    """No handler of ours may catch it."""


def written(folder: Path, stage: str, encoder: Path) -> Path:
    recipe = folder / f"{stage}.yaml"
    recipe.write_text(
        RECIPES[stage].format(file=folder / "a.csv")
        + f"  model: {encoder}\n  budget: {{steps: 12}}\n  batch: 8\n  precision: fp32\n  evaluations: 1\n"
        "  save: {steps: 4}\n"
    )
    return recipe


def killed(tmp_path: Path, recipe: Path, run: str, label: str, step: int) -> Path:
    """The folder of checkpoints of a training on texts of which ``label`` is every second's label."""
    rows = "".join(f"to be {number},{'no' if number % 2 else label}\n" for number in range(12))
    (tmp_path / "a.csv").write_text(f"text,label\n{rows}")

    def hook(self: Training, info: StepInfo) -> None:
        if info.step == step:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Training, "after_step", hook)
        main([recipe.stem, str(recipe), f"run_dir={tmp_path / run}"])
    return tmp_path / run / recipe.stem / "checkpoints"


@pytest.mark.parametrize("stage", RECIPES)
def test_one_on_other_examples_is_named_and_the_one_before_is_used(
    stage: str, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written(tmp_path, stage, encoder)
    other = killed(tmp_path, recipe, "other", "maybe", 10)
    own = killed(tmp_path, recipe, "own", "yes", 6)
    shutil.copytree(other / "step-00000008", own / "step-00000008")
    capsys.readouterr()
    assert main([stage, str(recipe), f"run_dir={tmp_path / 'own'}"]) == 0
    said = capsys.readouterr().out
    assert f"checkpoint {own / 'step-00000008'} is of a training with other settings, another seed or other" in said
    assert "going on after step 4" in said


@pytest.mark.parametrize(("stage", "room"), [("finetune", "teaching"), ("joint", "joint")])
def test_one_of_a_version_that_did_not_carry_it_goes_on(
    stage: str, room: str, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written(tmp_path, stage, encoder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"danlu.tasks.{room}.fingerprint", lambda read, golds: {})
        known = killed(tmp_path, recipe, "run", "yes", 6) / "step-00000004" / "training" / "data.json"
        assert not known.exists()
    capsys.readouterr()
    assert main([stage, str(recipe), f"run_dir={tmp_path / 'run'}"]) == 0
    said = capsys.readouterr().out
    assert "going on after step 4" in said
    assert "is of a training with other settings" not in said and "the text is another" not in said


def references(tmp_path: Path, second: str) -> None:
    rows = [{"source": f"be {n}", "target": f"to {n}"} for n in range(12)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dev = [{**row, "references": [row["target"], second]} for row in rows[:4]]
    (tmp_path / "dev.jsonl").write_text("\n".join(map(json.dumps, dev)))


def test_other_references_of_dev_are_other_examples(
    decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only one of several references is in a feature; the others decide which weights are best."""
    recipe = tmp_path / "finetune.yaml"
    recipe.write_text(
        f"finetune:\n  data: {{train: {tmp_path / 'train.jsonl'}, dev: {tmp_path / 'dev.jsonl'}}}\n"
        f"  task: {{use: seq2seq, answer_tokens: 4}}\n  model: {decoder}\n  budget: {{steps: 12}}\n  batch: 8\n"
        "  precision: fp32\n  evaluations: 1\n  save: {steps: 4}\n"
    )

    def stopped(run: str, second: str, step: int) -> Path:
        references(tmp_path, second)

        def hook(self: Training, info: StepInfo) -> None:
            if info.step == step:
                raise Killed

        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Training, "after_step", hook)
            main(["finetune", str(recipe), f"run_dir={tmp_path / run}"])
        return tmp_path / run / "finetune" / "checkpoints"

    other, own = stopped("other", "or so", 10), stopped("own", "or not", 6)
    shutil.copytree(other / "step-00000008", own / "step-00000008")
    capsys.readouterr()
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'own'}"]) == 0
    said = capsys.readouterr().out
    assert f"checkpoint {own / 'step-00000008'} is of a training with other settings, another seed or other" in said
    assert "going on after step 4" in said and "the text is another" not in said
    references(tmp_path, "or not")
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'other'}"]) == 2
    assert "dev.jsonl changed" in capsys.readouterr().err
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'other'}", "--changed", "go-on"]) == 0
    said = capsys.readouterr().out
    assert "going on after step 8" in said
    assert "the same documents and tokens, but dev has other references, by which the best weights are known" in said


def feature(number: int, tokens: list[int], target: float) -> Feature:
    return Feature(number, np.array(tokens), {"labels": np.array([target])})


@given(st.lists(st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 2)), min_size=2))
def test_every_token_and_target_counts_and_their_order(rows: list[tuple[list[int], int]]) -> None:
    features = [feature(number, *row) for number, row in enumerate(rows)]
    known = fingerprint([{"train": features, "dev": features[:1]}])
    again = [feature(number, *row) for number, row in enumerate(rows)]
    assert fingerprint([{"train": again, "dev": again[:1], "test": again}]) == known
    assert (known["documents"], known["tokens"]) == (len(rows), sum(len(tokens) for tokens, _ in rows))
    tokens, target = rows[-1]
    changed = [feature(9, [*tokens[:-1], tokens[-1] + 1], target), feature(9, tokens, target + 1)]
    for last in changed:
        assert fingerprint([{"train": [*features[:-1], last], "dev": features[:1]}]) != known
    assert fingerprint([{"train": features, "dev": features[:2]}]) != known
    assert fingerprint([{"train": [*features, feature(9, [1], 0)], "dev": []}]) != known


def test_what_a_model_makes_of_examples_is_none_of_it() -> None:
    """Of a reference model on another machine the last bits are others, and the examples are the same."""
    pair = Feature(0, np.arange(6), {"labels": np.arange(6)}, parts=(3, 3))
    one, other = (with_reference([pair], [torch.full((2, 2), number)])[0] for number in (1.0, 1.0000001))
    assert (one.targets["reference"] != other.targets["reference"]).any()
    assert fingerprint([{"train": [one], "dev": []}]) == fingerprint([{"train": [other], "dev": []}])


def test_checkpoints_carry_it(encoder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "finetune.yaml"
    recipe.write_text(
        RECIPES["finetune"].format(file=tmp_path / "a.csv")
        + f"  model: {encoder}\n  budget: {{steps: 6}}\n  batch: 8\n  evaluations: 1\n  save: {{steps: 2}}\n"
    )
    newest = max(killed(tmp_path, recipe, "run", "yes", 4).glob("step-*"))
    assert (read_json(newest / "training" / "data.json") or {})["documents"] == 12
