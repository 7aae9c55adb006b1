"""A short fine-tuning by a method, from the command line: what the tests of methods share."""

from __future__ import annotations

from pathlib import Path

from danlu.cli import main


def finetuned(tmp_path: Path, folder: Path, file: Path, task: str, method: str, *more: str, rate: float = 0.02) -> Path:
    """The folder of the stage."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"finetune:\n  data: {{train: {file}, dev: {file}}}\n  model: {folder}\n  task: {task}\n  method: {method}\n"
        f"  budget: {{steps: 6}}\n  batch: 4\n  precision: fp32\n  evaluations: 2\n  optimizer: {{lr: {rate}}}\n"
    )
    out = tmp_path / "run"
    assert main(["finetune", str(recipe), f"run_dir={out}", *more]) == 0
    return out / "finetune"
