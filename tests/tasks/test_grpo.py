"""GRPO: trainings from file to model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
import yaml
from grpo_run import DIGITS, nats, run, task_of, theirs

from danlu.cli import main
from danlu.data.dataset import Data, load
from danlu.errors import DanluError, InputError
from danlu.files import read_jsonl
from danlu.nn.hf.folder import load_config, load_model
from danlu.parallel.joining import Ranks
from danlu.tasks.finetune import Finetune
from danlu.tasks.material import Material
from danlu.tasks.on_policy import FILE, OnPolicy
from danlu.tasks.task import Known
from danlu.tasks.teaching import ByReward, teaching_of
from danlu.tasks.text_reader import TextReader
from danlu.tasks.transcript import Transcriber
from danlu.train.loop import fit
from danlu.train.probe import probe, warm_up


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2 + 2?", "answer": 4},
        {"question": "2 + 2?", "answer": "4"},
        {"instruction": "2 + 2?", "input": "", "output": "It is 4."},
        {"messages": [{"role": "user", "content": "2 + 2?"}], "wanted": 4},
        {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]},
        {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]},
    ],
)
def test_of_any_conversation_the_prompt_is_what_a_server_reads(
    row: dict[str, Any], decoder: Path, rewards: Path, tmp_path: Path
) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(json.dumps(row) + "\n")
    task = task_of(rewards, template="plain")
    examples = load(Data(train=file, dev=file), task.form).splits["train"]
    assert examples[0].columns == row
    (feature,) = task.features(examples, Known(), TextReader.load(decoder, max_tokens=90))
    tokenizer = transformers.AutoTokenizer.from_pretrained(decoder)
    assert tokenizer.decode(feature.tokens) == "### Instruction:\n2 + 2?\n\n### Response:\n"


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_model_learns_what_is_rewarded(method: str, decoder: Path, rewards: Path, tmp_path: Path) -> None:
    """To write a digit: from a file of prompts and a function to a model that transformers and predict use."""
    out = run(
        tmp_path, decoder, {"reward": f"{rewards}:digits", "shown": "drawn"}, method=method,
        optimizer={"lr": 1e-2 if method == "full" else 5e-2}, budget={"steps": 20},
    )  # fmt: skip
    figures = json.loads((out / "done.json").read_text())["figures"]
    assert figures["before.reward"] < 0.5 < 0.9 < figures["dev.reward"]
    lines = read_jsonl(out / "metrics.jsonl")
    assert lines[0]["reward"] < 0.5 < 0.9 < lines[-1]["reward"]
    assert {"reward_spread", "equal_groups", "answer_tokens", "cut_off", "loss.policy"} <= lines[0].keys()
    assert [line["step"] for line in lines if "heldout.reward" in line] == [10, 20]
    assert not any("heldout_loss" in line for line in lines)
    written = read_jsonl(out / "answers.jsonl")
    assert len(written) == 20 * 8 * 8
    for step in (1, 20):
        of_step = [each for each in written if each["step"] == step]
        assert lines[step - 1]["reward"] == pytest.approx(np.mean([each["reward"] for each in of_step]))
        groups = np.array([each["reward"] for each in of_step]).reshape(8, 8)
        assert lines[step - 1]["reward_spread"] == pytest.approx(groups.std(1, ddof=1).mean())
        assert lines[step - 1]["cut_off"] == pytest.approx(np.mean([each["cut_off"] for each in of_step]))
    assert all(each["reward"] == any(letter.isdigit() for letter in each["answer"]) for each in written)
    assert main(["report", str(tmp_path / "run.yaml")]) == 0
    report = (tmp_path / "run/report.md").read_text()
    assert "(report/finetune_reward.svg)" in report and "dev before training" in report
    assert not (tmp_path / "run/report/finetune_loss.svg").exists()
    said = tmp_path / "said.jsonl"
    assert main(["predict", str(out / "model"), str(tmp_path / "asked.jsonl"), "--out", str(said)]) == 0
    answers = [line["prediction"] for line in read_jsonl(said)]
    assert np.mean([any(letter.isdigit() for letter in answer) for answer in answers]) > 0.9
    assert theirs(out / "model").config.vocab_size == load_config(decoder).vocab_size


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_stopped_training_goes_on_to_the_same_bytes(
    method: str, decoder: Path, rewards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it was learning from answers that weights wrote which are no longer there."""
    task = {"reward": f"{rewards}:digits", "updates": 3, "beta": 0.2, "group": 4}
    settings: dict[str, Any] = {"save": {"steps": 5}, "budget": {"steps": 8}, "method": method}
    whole = run(tmp_path, decoder, task, name="whole", **settings)
    write = OnPolicy._write

    def stopping(self: OnPolicy, model: Any, asked: Any, step: int) -> Any:
        if step == 6:
            raise DanluError("stopped")
        return write(self, model, asked, step)

    monkeypatch.setattr(OnPolicy, "_write", stopping)
    assert run(tmp_path, decoder, task, **settings) is None
    stopped = tmp_path / "run/finetune"
    with (stopped / "answers.jsonl").open("a") as file:
        file.write('{"step": 7, "half')  # as a kill may leave it
    monkeypatch.undo()
    assert run(tmp_path, decoder, task, **settings) == stopped
    for name in ("model/model.safetensors", "answers.jsonl", "dev.json", "dev.predictions.jsonl"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes(), name

    lines = read_jsonl(whole / "answers.jsonl")
    assert {line["step"] for line in lines} == {1, 4, 7}
    tokenizer, began = transformers.AutoTokenizer.from_pretrained(decoder), theirs(decoder)
    for line in (lines[0], lines[-1]):
        prompt = tokenizer(f"### Instruction:\n{line['prompt']}\n\n### Response:\n").input_ids
        reference = nats(began, prompt, line["ids"]).tolist()
        assert line["reference"] == pytest.approx(reference, rel=1e-3)
        assert (line["before"] == pytest.approx(reference, rel=1e-3)) == (line["step"] == 1)
    metrics = read_jsonl(whole / "metrics.jsonl")
    assert metrics[0]["loss.kl"] == pytest.approx(0, abs=1e-6) and metrics[-1]["loss.kl"] > 1e-4
    assert metrics[0]["loss"] == pytest.approx(metrics[0]["loss.policy"] + 0.2 * metrics[0]["loss.kl"])
    assert metrics[-1]["loss"] == pytest.approx(metrics[-1]["loss.policy"] + 0.2 * metrics[-1]["loss.kl"])


def test_answers_that_are_gone_are_told(
    decoder: Path, rewards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = {"reward": f"{rewards}:digits", "updates": 3}
    settings: dict[str, Any] = {"save": {"steps": 2}, "budget": {"steps": 4}}

    def stopping(self: OnPolicy, model: Any, asked: Any, step: int) -> Any:
        if step == 3:
            raise DanluError("stopped")
        return write(self, model, asked, step)

    write = OnPolicy._write
    monkeypatch.setattr(OnPolicy, "_write", stopping)
    assert run(tmp_path, decoder, task, **settings) is None
    (tmp_path / "run/finetune/answers.jsonl").unlink()
    assert run(tmp_path, decoder, task, **settings) is None
    assert "answers.jsonl lacks the answers of step 1" in capsys.readouterr().err


def test_rewards_are_added_up_by_their_weights(decoder: Path, rewards: Path, tmp_path: Path) -> None:
    """Steps with the same answers are of the same prompts, and an epoch has each prompt."""
    task = {"reward": [f"{rewards}:digits", {"by": f"{rewards}:short", "weight": 0.5}], "updates": 2, "divide": False}
    out = run(tmp_path, decoder, task, budget={"epochs": 1}, batch=6)
    assert json.loads((out / "done.json").read_text())["figures"]["steps"] == 6  # 18 prompts, twice
    lines = read_jsonl(out / "answers.jsonl")
    assert len({line["line"] for line in lines}) == 18
    assert [line["step"] for line in lines[::48]] == [1, 3, 5]
    for line in lines:
        digits, short = line["rewards"]["digits"], line["rewards"]["short"]
        assert short == -len(line["answer"]) / 10 and line["reward"] == pytest.approx(digits + 0.5 * short)
    groups = np.array([line["reward"] for line in lines]).reshape(-1, 8)
    found = np.array([line["advantage"] for line in lines]).reshape(-1, 8)
    np.testing.assert_allclose(found, groups - groups.mean(1, keepdims=True), atol=1e-9)
    scored = json.loads((out / "dev.json").read_text())["figures"]
    assert scored["reward"] == pytest.approx(scored["reward.digits"] + 0.5 * scored["reward.short"])


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return [float('nan')] * len(answers)", "must return finite numbers; for {}"),
        ("return [columns['gold']]", "failed on {}"),
        ("return [1.0]", "must return a number for each answer"),
    ],
)
def test_a_reward_that_fails_ends_the_training_in_one_line(
    body: str, told: str, decoder: Path, rewards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewards.write_text(f"def digits(prompts, answers, columns):\n    {body}\n")
    assert run(tmp_path, decoder, {"reward": f"{rewards}:digits"}) is None
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{rewards}:digits {told.format(tmp_path / 'asked.jsonl')}" in last


def test_rewards_that_are_all_equal_are_told_once(
    decoder: Path, rewards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewards.write_text("def digits(prompts, answers, columns):\n    return [0.0] * len(answers)\n")
    assert run(tmp_path, decoder, {"reward": f"{rewards}:digits"}, budget={"steps": 3}) is not None
    out = capsys.readouterr().out
    assert out.count("all answers had the same reward, of which nothing is learned") == 1 and "step 1: to every" in out


def test_a_changed_reward_trains_anew(
    decoder: Path, rewards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = {"reward": f"{rewards}:digits"}
    few: dict[str, Any] = {"budget": {"steps": 1}, "evaluations": 1}
    assert run(tmp_path, decoder, task, **few) is not None
    assert run(tmp_path, decoder, task, **few) is not None
    assert "unchanged, skipped" in capsys.readouterr().out
    rewards.write_text(DIGITS.replace("float(any", "2.0 * float(any"))
    assert run(tmp_path, decoder, task, **few) is not None
    assert "unchanged, skipped" not in capsys.readouterr().out


def test_prompts_that_are_too_long(decoder: Path, rewards: Path, tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in ("To be?", "why " * 30)))
    task, reader = task_of(rewards, template="plain", answer_tokens=3), TextReader.load(decoder, max_tokens=40)
    examples = load(Data(train=file, dev=file), task.form).splits["train"]
    assert [each.example for each in task.features(examples, Known(), reader)] == [0]
    short, long = task.write(load_model(decoder), examples, reader)
    assert short.value["tokens"] <= 3 and long.value is None
    with pytest.raises(InputError, match=r"data.jsonl, line 2: the prompt has .*; finetune.task.max_tokens is 40"):
        task.model_copy(update={"too_long": "refuse"}).features(examples, Known(), reader)
    with pytest.raises(InputError, match=r"data.jsonl: no prompt is left"):
        task.features(examples[1:], Known(), reader)


def test_texts_that_are_told_are_those_that_are_read(decoder: Path, rewards: Path, tmp_path: Path) -> None:
    """A prompt of exactly ``max_tokens`` is read whole, and one that is left out is none to learn from."""
    file, tokens = tmp_path / "data.jsonl", transformers.AutoTokenizer.from_pretrained(decoder)
    file.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in ("To be?", "To be?", "why " * 30)))
    most = len(tokens("### Instruction:\nTo be?\n\n### Response:\n").input_ids)
    task = task_of(rewards, template="plain", max_tokens=most, answer_tokens=3)
    settings = Finetune(data=Data(train=file, dev=file), task=task, model=decoder)
    material = Material.of(settings, decoder, load(settings.data, task.form), out=tmp_path, seed=1)
    assert material.described() == f"2 texts of {most} tokens, the longest {most}"


def test_what_cannot_be_is_told_before_training(
    decoder: Path, encoder: Path, rewards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reward = f"{rewards}:digits"
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (decoder, {}, "finetune.task.reward is required"),
        (decoder, {"reward": []}, "finetune.task.reward must be"),
        (decoder, {"reward": reward, "group": 1}, "finetune.task.group must be at least 2; got 1"),
        (decoder, {"reward": reward, "temperature": 0}, "finetune.task.temperature must be greater than 0; got 0"),
        (decoder, {"reward": reward, "answer_tokens": 60}, "together must be at most 96, which the model sees"),
        (decoder, {"reward": [reward, reward]}, "reward has two parts of one name"),
        (decoder, {"reward": f"{rewards}x:digits"}, "must be FILE.py:FUNCTION or the folder of a reward model"),
        (decoder, {"reward": [reward, "none.py:a"]}, "finetune.task.reward.1: there is no file none.py"),
        (decoder, {"reward": f"{rewards}:digit"}, "has no function 'digit' (it has: digits, short)"),
        (encoder, {"reward": reward, "max_tokens": 8}, "needs a decoder with a language-model head"),
    ]
    for folder, task, told in cases:
        assert run(tmp_path, folder, task) is None
        assert told in capsys.readouterr().err


def test_it_trains_alone(
    decoder: Path,
    rewards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, recipe = tmp_path / "data.jsonl", tmp_path / "recipe.yaml"
    file.write_text("".join(json.dumps({"prompt": f"{n}?"}) + "\n" for n in range(20)))
    part = {"data": str(file), "task": {"use": "grpo", "reward": f"{rewards}:digits"}}
    section = {"model": str(decoder), "tasks": {"one": part, "other": part}}
    recipe.write_text(yaml.safe_dump({"run_dir": str(tmp_path / "run"), "joint": section}))
    assert main(["joint", str(recipe)]) == 2
    assert "joint.tasks.one.task: it learns from what the model writes" in capsys.readouterr().err
    monkeypatch.setattr("danlu.tasks.teaching.here", lambda: Ranks(0, 2))
    assert run(tmp_path, decoder, {"reward": f"{rewards}:digits"}) is None
    told = capsys.readouterr()
    assert "one process has to write and judge the answers of a step; there are 2" in told.err
    assert "asked.jsonl" not in told.out  # nothing has been read


def test_each_step_and_seed_draws_other_answers(decoder: Path, rewards: Path, tmp_path: Path) -> None:
    """To the same prompts, by a model that hardly moves; again the same ones by the same seed."""
    said: dict[tuple[str, int, int], list[str]] = {}
    for name, seed in (("one", 1), ("other", 2), ("again", 1)):
        task: dict[str, Any] = {"reward": f"{rewards}:digits", "group": 2}
        settings: dict[str, Any] = {"optimizer": {"lr": 1e-9}, "budget": {"steps": 2}, "batch": 6, "evaluations": 1}
        out = run(tmp_path, decoder, task, name=name, rows=8, seed=seed, **settings)
        for each in read_jsonl(out / "answers.jsonl"):
            said.setdefault((name, each["step"], each["line"]), []).append(each["answer"])
    assert len(said) == 3 * 2 * 6
    for (name, step, line), answers in said.items():
        assert answers != said[name, 3 - step, line]
        assert said["one", step, line] == said["again", step, line] != said["other", step, line]


def test_steps_that_are_only_timed_keep_nothing(
    decoder: Path, rewards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a training that goes on is compiled first: its answers are still needed."""
    file, kept = tmp_path / "data.jsonl", tmp_path / FILE
    file.write_text("".join(json.dumps({"prompt": f"{n}?"}) + "\n" for n in range(6)))
    kept.write_text("")
    task = task_of(rewards, template="plain", max_tokens=40, answer_tokens=3, updates=2)
    settings = Finetune(data=Data(train=file, dev=file), task=task, model=decoder, precision="fp32", batch=3)
    material = Material.of(settings, decoder, load(settings.data, task.form), out=tmp_path, seed=1)
    training = teaching_of(task)(material, 1).training()
    assert training.subject.objective.compares_readings  # what is learned from was written by a model that only read
    monkeypatch.setattr("danlu.train.probe.PROBE_SECONDS", 0.0)
    warm_up(training, print)
    probe(training, print)
    assert kept.read_text() == ""
    fit(training.model, training.batches, training.lesson, training.optimizer, lambda _: 1.0, steps=1)
    assert len(read_jsonl(kept)) == 3 * 8


def test_what_answers_are_written_with_is_read_once(
    decoder: Path, rewards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not at each step; for the prompts, and for each measurement, it is once too."""
    load_, read = Transcriber.load, []
    monkeypatch.setattr(Transcriber, "load", lambda *a: read.append(a) or load_(*a))
    counts = []
    for steps in (1, 4):
        read.clear()
        task = {"reward": f"{rewards}:digits", "group": 2}
        run(tmp_path, decoder, task, name=f"run{steps}", rows=8, budget={"steps": steps}, batch=4, evaluations=1)
        counts.append(len(read))
    assert counts[0] == counts[1]
    task_ = task_of(rewards, template="plain", max_tokens=40, answer_tokens=2)
    monkeypatch.setattr("danlu.tasks.grpo.WRITTEN_AT_ONCE", 1)
    data = tmp_path / "asked.jsonl"
    examples = load(Data(train=data, dev=data), task_.form).splits["train"]
    read.clear()
    task_.write(load_model(decoder), examples, TextReader.load(decoder, max_tokens=40))
    assert len(examples) > 1 and len(read) == 1


def test_what_answers_are_judged_by_tells_trainings_apart(decoder: Path, rewards: Path, tmp_path: Path) -> None:
    """A checkpoint of the same prompts with other solutions is of another training."""
    found = []
    for number, solutions in enumerate([(4, 6), (4, 6), (4, 7)]):
        file = tmp_path / f"{number}.jsonl"
        file.write_text("".join(f'{{"prompt": "2 + {n}?", "answer": {each}}}\n' for n, each in enumerate(solutions)))
        settings = Finetune(
            data=Data(train=file, dev=file),
            task=task_of(rewards, template="plain", answer_tokens=3),
            model=decoder,
            batch=2,
        )
        material = Material.of(settings, decoder, load(settings.data, settings.task.form), out=tmp_path, seed=1)
        found.append(ByReward(material, 1).fingerprint())
    assert found[0] == found[1] != found[2] and found[0]["features"] == found[2]["features"]
