"""KTO as one of several tasks: what it reckons of a step is of its own texts, and the others know nothing of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml

from danlu import cli
from danlu.parallel.joining import Ranks
from danlu.recipe import load_recipe
from danlu.tasks.feedback import KL
from danlu.tasks.joint import JointMaterial

VERDICTS = [{"prompt": f"{n}? to be", "response": f"{'not ' * (n % 3)}once {n}", "good": n % 2 == 0} for n in range(24)]
CHATS = [{"instruction": f"say {n}", "output": f"a time {n}"} for n in range(24)]


@pytest.fixture
def recipe(decoder: Path, tmp_path: Path) -> Path:
    tasks = {}
    for name, rows, task in (("chats", CHATS, "chat"), ("verdicts", VERDICTS, "feedback")):
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        tasks[name] = {"data": {"train": str(file), "dev": str(file)}, "task": {"use": task, "template": "plain"}}
    tasks["verdicts"]["weight"] = 3.0
    section = {"model": str(decoder), "tasks": tasks, "compile": "off", "precision": "fp32", "batch": 24,
               "hardware": {"micro_batch": 1}, "optimizer": {"lr": 3e-3}, "budget": {"epochs": 2},
               "evaluations": 1}  # fmt: skip
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"joint": section, "run_dir": str(tmp_path / "run"), "seed": 3}))
    return path


def moved(model: Any) -> Any:
    """The model somewhat away from where it began."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in model.decoder.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.05)
    return model.eval()


@torch.no_grad()
def test_a_step_is_as_of_each_task_alone(recipe: Path, decoder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    joint = JointMaterial.of(load_recipe(recipe).section("joint"), decoder, tmp_path / "out", seed=3)  # type: ignore[arg-type]
    training = joint.training(3)
    model, micro = moved(training.model), training.batches(1)
    assert training.lesson.by_step  # type: ignore[attr-defined]
    lesson = training.lesson.of_step(model, micro, lambda own: own)  # type: ignore[attr-defined]
    losses = [lesson.losses(model, batch) for batch in micro]
    for name, part in joint.materials.items():
        own, task = moved(part.start.draw()), part.settings.task
        batches = [batch for batch in micro if batch.task == name]
        assert len(batches) > 1
        known = task.of_step(own, batches, part.known, lambda own: own)
        wanted = sum(float(each) for batch in batches for each in task.losses(own, batch, known).values())
        found = sum(float(value) for each in losses for key, value in each.items() if key == f"{name}.{task.loss}")
        assert found == pytest.approx(wanted, rel=1e-5)
        if name == "verdicts":
            assert known.numbers[KL] > 0.01
    assert lesson.weight("verdicts.feedback") == 3.0


def test_from_files_to_two_models(recipe: Path, tmp_path: Path) -> None:
    assert cli.main(["joint", str(recipe)]) == 0
    out = tmp_path / "run/joint"
    figures = json.loads((out / "done.json").read_text())["figures"]
    assert figures["verdicts.dev.margin"] > 0 and figures["chats.dev.loss"] > 0
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {"loss.chats.words", "loss.verdicts.feedback"} <= {name for line in lines for name in line}
    one, other = (
        transformers.AutoModelForCausalLM.from_pretrained(out / name / "model") for name in ("chats", "verdicts")
    )
    both = zip(one.named_parameters(), other.named_parameters(), strict=True)
    assert "lm_head.weight" in dict(one.named_parameters())  # which both have learned too
    assert all(mine.equal(theirs) for (_, mine), (_, theirs) in both)


def test_one_process_reads_all_of_a_step(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("danlu.tasks.joint.here", lambda: Ranks(0, 2))
    assert cli.main(["joint", str(recipe)]) == 2
    told = capsys.readouterr()
    assert "joint.tasks.verdicts.task: its loss sees all of its texts of a step, which beside other tasks" in told.err
    assert "there are 2 processes" in told.err and "task chats" not in told.out  # no task's data has been read
