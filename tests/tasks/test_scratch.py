"""A fine-tuning that begins with a drawn model and a tokenizer of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers

from danlu.cli import main
from danlu.data.dataset import Data, load
from danlu.data.generated import GENERATE
from danlu.errors import DanluError, RecipeError
from danlu.files import read_json, read_jsonl, stamps
from danlu.recipe import build
from danlu.tasks.joint import Joint
from danlu.tasks.measure import TaskMeasure
from danlu.tasks.scratch import MADE_FROM, Scratch
from danlu.tasks.seq2seq import Seq2Seq

PAIRS = [(f"once upon a time {number}", f"话说天下大势 {number}") for number in range(40)]
SHAPE = {"use": "t5", "layers": 1, "dim": 16, "heads": 2, "mlp": "relu"}
SCRATCH = {"family": SHAPE, "tokenizer": {"use": "bpe", "vocab_size": 380, "special": ["t5"]}}
TASK = {"use": "seq2seq", "max_tokens": 32, "answer_tokens": 8}


class KilledError(BaseException):
    """In place of a signal."""


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"source": one, "target": two}) + "\n" for one, two in PAIRS))
    return path


def recipe(tmp_path: Path, **section: Any) -> str:
    settings = {"budget": {"steps": 2}, "batch": 4, "evaluations": 1, "precision": "fp32", **section}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({"run_dir": str(tmp_path / "run"), "finetune": settings}))
    return str(path)


def test_from_a_file_of_pairs_to_answers(tmp_path: Path, pairs: Path) -> None:
    assert main(["finetune", recipe(tmp_path, data=str(pairs), model=SCRATCH, task=TASK)]) == 0
    folder = tmp_path / "run/finetune"
    start, trained = (
        transformers.AutoModelForSeq2SeqLM.from_pretrained(folder / name, dtype=torch.float32)
        for name in ("start", "model")
    )
    assert (start.config.d_model, start.config.num_layers, start.config.num_heads) == (16, 1, 2)
    changed = [not one.equal(other) for one, other in zip(start.parameters(), trained.parameters(), strict=True)]
    assert any(changed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "start")
    for known in ("once upon a time", "话说天下大势"):  # of which each side has one
        assert len(tokenizer(known, add_special_tokens=False).input_ids) < len(known.encode()) / 2
    out = tmp_path / "answers.jsonl"
    assert main(["predict", str(folder / "model"), str(pairs), "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == len(PAIRS)


def test_other_tasks_begin_so_too(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "".join(f"to be {number},{'ab'[number % 2]}\n" for number in range(30)))
    scratch = {"family": {"use": "bert", "layers": 1, "dim": 16, "heads": 2}, "max_length": 40,
               "tokenizer": {"use": "wordpiece", "vocab_size": 60}}  # fmt: skip
    assert main(["finetune", recipe(tmp_path, data=str(data), model=scratch, task={"use": "classify"})]) == 0
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "run/finetune/model")
    assert model.config.max_position_embeddings == 40
    assert model.config.id2label == {0: "a", 1: "b"}


def test_the_seed_draws_it(tmp_path: Path, pairs: Path) -> None:
    scratch = build(Scratch, SCRATCH, key="scratch")
    dataset = load(Data(train=pairs, dev=pairs), GENERATE)
    files = []
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        folder = scratch.begin(Seq2Seq(), dataset, tmp_path / name, seed=seed)
        files.append([(folder / file).read_bytes() for file in ("model.safetensors", "tokenizer.json")])
    assert files[0] == files[1]
    assert files[0][0] != files[2][0]
    assert files[0][1] == files[2][1]


def test_it_is_drawn_once_of_the_same_and_never_half(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, task = build(Scratch, SCRATCH, key="scratch"), Seq2Seq()
    dataset, folder = load(Data(train=pairs, dev=pairs), GENERATE), tmp_path / "start"
    fewer = replace(dataset, splits={**dataset.splits, "train": dataset.splits["train"][:-1]})

    def dies(*_: Any, **__: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("danlu.tasks.scratch.save_model", dies)
        with pytest.raises(KilledError):
            scratch.begin(task, dataset, folder, seed=1)
    assert not folder.exists()
    scratch.begin(task, dataset, folder, seed=1)
    whole = stamps(sorted(folder.iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr("danlu.tasks.scratch.save_model", dies)
        scratch.begin(task, dataset, folder, seed=1)
        with pytest.raises(KilledError):
            scratch.begin(task, fewer, folder, seed=1)
    assert stamps(sorted(folder.iterdir())) == whole
    for others in ({"task": task, "dataset": fewer, "seed": 1}, {"task": task, "dataset": fewer, "seed": 2},
                   {"task": Seq2Seq(prefix="say: "), "dataset": fewer, "seed": 2}):  # fmt: skip
        before = read_json(folder / MADE_FROM)
        scratch.begin(**others, folder=folder)  # type: ignore[arg-type]
        assert read_json(folder / MADE_FROM) != before
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["start"]


def test_a_training_that_goes_on_keeps_its_tokens(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a checkpoint has learned goes by them, whatever has become of the data."""
    path = recipe(tmp_path, data=str(pairs), model=SCRATCH, task=TASK, budget={"steps": 4}, save={"steps": 2})
    measure, times = TaskMeasure.measure, []

    def stopping(self: TaskMeasure, model: Any) -> Any:
        times.append(1)
        raise DanluError("stopped")

    monkeypatch.setattr(TaskMeasure, "measure", stopping)
    assert main(["finetune", path]) != 0 and times
    monkeypatch.setattr(TaskMeasure, "measure", measure)
    start = tmp_path / "run/finetune/start"
    whole = stamps(sorted(start.iterdir()))
    pairs.write_text("".join(json.dumps({"source": one.upper(), "target": two}) + "\n" for one, two in PAIRS))
    assert main(["finetune", path, "--changed", "go-on"]) == 0
    assert "going on after step" in capsys.readouterr().out
    assert stamps(sorted(start.iterdir())) == whole


def test_of_a_fold_that_is_held_out_the_tokenizer_has_seen_nothing(tmp_path: Path) -> None:
    """Each text has a word of its own, often enough to be one token where it is learned from."""
    random = np.random.default_rng(3)
    words = ["".join(map(str, random.choice([*"bcdfghjklmnpqrstvwxz"], 7))) for _ in range(16)]
    data, whole = tmp_path / "data.csv", tmp_path / "recipe.yaml"
    rows = [f"{word} {word} {word} {word},{'ab'[number % 2]}\n" for number, word in enumerate(words)]
    data.write_text("text,label\n" + "".join(rows))
    model = {"family": {"use": "gpt2", "layers": 1, "dim": 16, "heads": 2}, "max_length": 40,
             "tokenizer": {"use": "bpe", "vocab_size": 500}}  # fmt: skip
    section = {"data": {"train": str(data), "dev_share": 0.25}, "model": model, "task": "classify", "batch": 4,
               "budget": {"steps": 1}, "evaluations": 0, "early_stopping": None, "precision": "fp32"}  # fmt: skip
    whole.write_text(json.dumps({"run_dir": str(tmp_path / "run"), "study": {"use": "folds", "k": 2},
                                 "finetune": section}))  # fmt: skip
    assert main(["study", str(whole)]) == 0
    out, seen = tmp_path / "run/study", []
    for fold in ("fold-1", "fold-2"):
        tokenizer = tokenizers.Tokenizer.from_file(str(out / fold / "model/tokenizer.json"))
        known = {word for word in words if len(tokenizer.encode(f"{word} {word}", add_special_tokens=False)) == 2}
        answered = {
            line["texts"][0].split()[0]
            for split in ("dev", "fold")
            for line in read_jsonl(out / fold / f"{split}.predictions.jsonl")
        }
        assert known and known == set(words) - answered
        seen.append(known)
    assert seen[0] != seen[1] and not list(tmp_path.rglob("start"))


def test_the_tokenizer_sees_what_the_model_does(pairs: Path) -> None:
    """The prefix and the targets, not dev's texts."""
    examples = load(Data(train=pairs), GENERATE).splits["train"]
    texts = list(Seq2Seq(prefix="say: ").texts(examples))
    assert texts == [text for each in examples for text in (f"say: {each.source}", each.target)]
    assert len(texts) < 2 * len(PAIRS)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"family": {"use": "folder", "path": "x"}}, "finetune.model.family: a folder is pretrained; give its path as"),
        ({"family": {"use": "t6"}}, "finetune.model.family.use"),
        ({"tokenizer": {"use": "bpe"}}, "finetune.model.family is required"),
        ({"use": "t5"}, "finetune.model.use: unknown key"),
        ({**SCRATCH, "tokenizer": {"use": "folder", "path": "nowhere"}}, "there is no tokenizer in nowhere"),
    ],
)
def test_bad_settings(
    model: dict[str, Any], said: str, tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(tmp_path, data=str(pairs), model=model, task=TASK)
    assert main(["finetune", path]) != 0
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_several_tasks_at_once_begin_with_a_folder(pairs: Path) -> None:
    task = {"data": str(pairs), "task": "classify"}
    with pytest.raises(RecipeError, match=r"^joint: model must be a folder"):
        build(Joint, {"model": SCRATCH, "tasks": {"one": task, "other": task}}, key="joint")
