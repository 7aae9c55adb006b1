"""GRPO from the command line, rewards to learn from, and what transformers says: what its tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
import yaml

from danlu.cli import main
from danlu.tasks.grpo import GRPO
from danlu.tasks.judges import RewardPart

DIGITS = """
def digits(prompts, answers, columns):
    return [float(any(letter.isdigit() for letter in answer)) for answer in answers]

def short(prompts, answers, columns):
    return [-len(answer) / 10 for answer in answers]
"""


def task_of(rewards: Path, **settings: Any) -> GRPO:
    return GRPO(reward=(RewardPart(by=f"{rewards}:digits"),), **settings)


def theirs(folder: Path, dtype: torch.dtype = torch.float64) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)


def nats(model: Any, prompt: list[int], ids: list[int], temperature: float = 1.0) -> torch.Tensor:
    """How unlikely each token of an answer is for a model of transformers."""
    logs = (model(torch.tensor([prompt + ids])).logits[0, :-1] / temperature).log_softmax(-1)
    found: torch.Tensor = -logs.gather(1, torch.tensor(prompt + ids)[1:, None])[len(prompt) - 1 :, 0]
    return found


def run(
    tmp_path: Path,
    folder: Path,
    task: dict[str, Any],
    *,
    name: str = "run",
    rows: int = 24,
    seed: int = 1,
    **settings: Any,
) -> Any:
    """A training from a recipe; its folder, or None where it has failed."""
    data, recipe = tmp_path / "asked.jsonl", tmp_path / f"{name}.yaml"
    data.write_text("".join(json.dumps({"prompt": f"Say {n}!", "wanted": n}) + "\n" for n in range(rows)))
    section = {
        "data": {"train": str(data), "dev_share": 0.25}, "model": str(folder), "precision": "fp32", "batch": 8,
        "task": {"use": "grpo", "template": "plain", "answer_tokens": 5, "max_tokens": 40, **task},
        "optimizer": {"lr": 5e-3}, "budget": {"steps": 8}, "evaluations": 2, **settings,
    }  # fmt: skip
    recipe.write_text(yaml.safe_dump({"run_dir": str(tmp_path / name), "seed": seed, "finetune": section}))
    return None if main(["finetune", str(recipe)]) else tmp_path / name / "finetune"
