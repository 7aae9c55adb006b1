"""A fine-tuning that begins with a drawn model and a tokenizer of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from danlu.cli import main
from danlu.data.dataset import Data, load
from danlu.data.generated import GENERATE
from danlu.errors import RecipeError
from danlu.recipe import build
from danlu.tasks.joint import Joint
from danlu.tasks.scratch import Scratch
from danlu.tasks.seq2seq import Seq2Seq

PAIRS = [(f"once upon a time {number}", f"话说天下大势 {number}") for number in range(40)]
SHAPE = {"use": "t5", "layers": 1, "dim": 16, "heads": 2, "mlp": "relu"}
SCRATCH = {"family": SHAPE, "tokenizer": {"use": "bpe", "vocab_size": 380, "special": ["t5"]}}
TASK = {"use": "seq2seq", "max_tokens": 32, "answer_tokens": 8}


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
