"""Rewards: what a user's function is given and gives, what a reward model says, and what is wrong with either."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers

from danlu.cli import main
from danlu.data.asked import Asked
from danlu.data.chats import Message
from danlu.data.example import Place
from danlu.errors import DanluError, InputError, RecipeError
from danlu.files import read_jsonl
from danlu.nn.speed import computing_on
from danlu.tasks.judges import RewardPart, rewards_of


def asked(*wanted: str) -> list[Asked]:
    return [
        Asked(Place(Path("math.jsonl"), line), (Message("user", f"{line}?"),), "", {"wanted": each, "line": line})
        for line, each in enumerate(wanted, 1)
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.py"


def given(file: Path, body: str, answers: list[str] | None = None) -> list[float]:
    """What a function of this body gives for two answers."""
    file.write_text(f"import math\ndef score(prompts, answers, columns):\n    {body}\n")
    part = RewardPart(by=f"{file}:score")
    return list(rewards_of([("task.reward", part)], asked("a", "b"), answers or ["a", "c"])[0])


def test_a_function_gets_prompts_answers_and_columns_as_lists(file: Path) -> None:
    assert given(file, "return [float(a == w) for a, w in zip(answers, columns['wanted'])]") == [1.0, 0.0]
    assert given(file, "return [len(p) + l for p, l in zip(prompts, columns['line'])]") == [3.0, 4.0]
    assert given(file, "import torch; return torch.tensor([1.0, 2.0], dtype=torch.bfloat16)") == [1.0, 2.0]
    assert given(file, "import torch; return [torch.tensor(1.0, requires_grad=True), torch.tensor(3)]") == [1.0, 3.0]
    assert given(file, "import numpy; return numpy.array([a == 'a' for a in answers])") == [1.0, 0.0]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return [1.0]", "must return a number for each answer: it was called with 2, the first to math.jsonl, line 1"),
        ("return [1.0, math.nan]", r"finite numbers; for math.jsonl, line 2, answer 'c', it returned nan"),
        ("return [1.0, math.inf]", r"finite numbers; for math.jsonl, line 2, answer 'c', it returned inf"),
        ("return [None, 1.0]", r"finite numbers; for math.jsonl, line 1, answer 'a', it returned None"),
        ("import torch; return torch.tensor([1.0, math.nan])", r"math.jsonl, line 2, answer 'c', it returned nan"),
        ("import torch; return torch.tensor(1.0)", r"must return a list of numbers; got tensor\(1.\)"),
        ("import torch; return torch.ones(2, 1)", r"line 1, answer 'a', it returned tensor\(\[1.\]\)"),
        ("return 1.0", r"must return a list of numbers; got 1.0"),
        ("return 'ab'", r"must return a list of numbers; got 'ab'"),
        ("return {0: 1.0, 1: 2.0}", r"must return a list of numbers; got \{0"),
        ("return [float(a) if a == 'c' else 0.0 for a in answers]",
         r"failed on math.jsonl, line 2, answer 'c': ValueError: could not convert .*'c' \(line 3\)"),
        ("return columns['gold']",
         r"failed on math.jsonl, line 1, answer 'a': KeyError: 'gold' \(line 3\) \(columns: wanted, line\)"),
        ("return [1 / (2 - len(answers))] * 2", r"failed on math.jsonl, line 1, answer 'a': ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_a_function_gets_wrong_is_one_line_with_file_and_example(file: Path, body: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        given(file, body)
    assert str(error.value).startswith(f"{file}:score ")
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_used(file: Path) -> None:
    with pytest.raises(RecipeError, match=r"mine.py cannot be loaded: SyntaxError: .*\(line 3\)"):
        given(file, "return [")
    file.write_text("def other(prompts, answers, columns): ...\n")
    with pytest.raises(RecipeError, match=r"task.reward: .*mine.py has no function 'score' \(it has: other\)"):
        RewardPart(by=f"{file}:score").judge("task.reward")
    with pytest.raises(InputError, match=r"task.reward: there is no file .*none.py"):
        RewardPart(by=f"{file.with_name('none.py')}:score").judge("task.reward")
    with pytest.raises(InputError, match=r"must be FILE.py:FUNCTION or the folder of a reward model; got 'mine'"):
        RewardPart(by="mine").judge("task.reward")


def test_of_a_relative_path_the_line_is_told_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    with pytest.raises(InputError, match=r"^mine.py:score failed on .*: KeyError: 'gold' \(line 3\)"):
        given(Path(file.name), "return columns['gold']")
    (file.parent / "mine.py").write_text("\n\nimport no_such_module_anywhere\n")
    with pytest.raises(RecipeError, match=r"mine.py cannot be loaded: ModuleNotFoundError: .*\(line 3\)"):
        RewardPart(by="mine.py:other").judge("task.reward")


def test_a_file_is_a_module_that_may_import_what_lies_beside_it(file: Path) -> None:
    """Dataclasses look their module up by its name."""
    file.with_name("beside_the_reward.py").write_text("HALF = 0.5\n")
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom beside_the_reward import HALF\n"
        "@dataclass\nclass Part:\n    value: float = HALF\n"
        "def score(prompts, answers, columns):\n    return [Part().value for answer in answers]\n"
    )
    before = list(sys.path)
    part = RewardPart(by=f"{file}:score")
    assert rewards_of([("task.reward", part)], asked("a", "b"), ["", ""]).tolist() == [[0.5, 0.5]]
    assert sys.path == before
    other = file.parent / "other" / file.name
    other.parent.mkdir()
    other.write_text("def score(prompts, answers, columns):\n    return [2.0 for answer in answers]\n")
    both = [("task.reward.0", part), ("task.reward.1", RewardPart(by=f"{other}:score"))]
    assert rewards_of(both, asked("a"), [""]).tolist() == [[0.5], [2.0]]


def test_parts_have_names_for_figures() -> None:
    assert RewardPart(by="rewards.py:exact").name == "exact"
    assert RewardPart(by="runs/helpful/finetune/model").name == "helpful"


@pytest.fixture
def reward_model(decoder: Path, tmp_path: Path) -> Path:
    """One that has learned a little."""
    data, recipe = tmp_path / "pairs.jsonl", tmp_path / "reward.yaml"
    rows = [{"prompt": f"{n}?", "chosen": f"yes {n}", "rejected": "no"} for n in range(8)]
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    recipe.write_text(
        f"run_dir: {tmp_path / 'reward'}\nfinetune: {{data: {{train: {data}, dev: {data}}}, model: {decoder}, "
        "task: {use: reward, template: plain}, budget: {steps: 2}, batch: 4, precision: fp32, evaluations: 1}\n"
    )
    assert main(["finetune", str(recipe)]) == 0
    return tmp_path / "reward/finetune/model"


def test_a_reward_model_says_what_transformers_reads_of_it(reward_model: Path, decoder: Path) -> None:
    answers = ["yes", "", "no, 话说"]
    examples = asked("a", "b", "c")
    found = RewardPart(by=str(reward_model)).judge("task.reward")(examples, answers)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(reward_model, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(reward_model)
    for each, answer, reward in zip(examples, answers, found, strict=True):
        messages = [{"role": "user", "content": each.prompt[0].content}, {"role": "assistant", "content": answer}]
        ids = tokenizer(tokenizer.apply_chat_template(messages, tokenize=False), add_special_tokens=False).input_ids
        assert reward == pytest.approx(theirs(torch.tensor([ids])).logits.item(), abs=1e-5)
    told = r"math.jsonl, line 1: the conversation has .* tokens; .* at most 96; task.reward: .*answer_tokens"
    with pytest.raises(InputError, match=told):
        RewardPart(by=str(reward_model)).judge("task.reward")(examples, ["word " * 200] * 3)
    with pytest.raises(DanluError, match="trained for no task"):
        RewardPart(by=str(decoder)).judge("task.reward")


def test_a_reward_model_is_the_one_that_lies_there_now_and_computes_where_it_is_said(
    reward_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same files once; of others anew, also where they are older."""
    part, examples = RewardPart(by=str(reward_model)), asked("a")
    before = part.judge("task.reward")
    assert part.judge("task.reward") is before
    path = reward_model / "model.safetensors"
    time = path.stat().st_mtime_ns - 10**9
    weights = safetensors.torch.load_file(path)
    halved = {name: weight / 2 if name.startswith("score") else weight for name, weight in weights.items()}
    safetensors.torch.save_file(halved, path, metadata={"format": "pt"})
    os.utime(path, ns=(time, time))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with computing_on("cpu"):
        after = part.judge("task.reward")(examples, ["yes"])
    assert after == pytest.approx([each / 2 for each in before(examples, ["yes"])], rel=1e-4)


def test_a_model_learns_from_a_reward_model_and_a_function(
    reward_model: Path, decoder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, recipe = tmp_path / "asked.jsonl", tmp_path / "grpo.yaml"
    data.write_text("".join(json.dumps({"prompt": f"{n}?"}) + "\n" for n in range(4)))
    file.write_text("def score(prompts, answers, columns):\n    return [len(answer) for answer in answers]\n")
    recipe.write_text(
        f"run_dir: {tmp_path / 'grpo'}\nfinetune: {{data: {{train: {data}, dev: {data}}}, model: {decoder}, "
        f"task: {{use: grpo, template: plain, answer_tokens: 4, max_tokens: 40, group: 2, reward: "
        f"[{reward_model}, {{by: '{file}:score', weight: -0.5}}]}}, "
        "budget: {steps: 1}, batch: 4, precision: fp32, evaluations: 1}\n"
    )
    config = json.loads((reward_model / "config.json").read_text())
    (reward_model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 64}))
    assert main(["finetune", str(recipe), "finetune.task.answer_tokens=25"]) == 2
    assert "reward.0: this reward model reads at most 64 tokens; finetune.task.max" in capsys.readouterr().err
    assert main(["finetune", str(recipe)]) == 0
    lines = read_jsonl(tmp_path / "grpo/finetune/answers.jsonl")
    for line in lines:
        about = Asked(Place(data, line["line"]), (Message("user", line["prompt"]),), "", {})
        (wanted,) = RewardPart(by=str(reward_model)).judge("task.reward")([about], [line["answer"]])
        assert line["rewards"] == {"reward": pytest.approx(wanted, abs=1e-5), "score": len(line["answer"])}
        assert line["reward"] == pytest.approx(wanted - 0.5 * len(line["answer"]), abs=1e-5)
