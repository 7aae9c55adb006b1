"""What a new user types, from the first plan to a prompt, on a recipe of seconds, through the real command line."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path

import pytest

from danlu import cli
from danlu.files import read_json, read_jsonl

RECIPE = """\
run_dir: {folder}/run
clean: {{sources: [{{path: {folder}/text, language: en}}]}}
tokenizer: {{use: char}}
pack: {{split: {{use: tail, fraction: 0.2}}}}
pretrain:
  model: {{use: gpt, layers: 1, dim: 32, heads: 2}}
  sequence: 32
  batch: 2
  budget: {{steps: 4}}
  compile: "off"
evaluate: {{tasks: [perplexity]}}
export: {{}}
generate: {{prompts: ["All the world"], sampling: {{max_tokens: 20}}}}
"""
STAGES = ["clean", "tokenizer", "pack", "pretrain", "evaluate", "export", "generate"]


def prepare(folder: Path) -> Path:
    """A recipe and its text in ``folder``."""
    (folder / "text").mkdir()
    (folder / "text" / "a.txt").write_text("All the world's a stage, and all the players.\n" * 20, encoding="utf-8")
    (folder / "tiny.yaml").write_text(RECIPE.format(folder=folder), encoding="utf-8")
    return folder / "tiny.yaml"


def danlu(*arguments: str) -> str:
    """What a command that must succeed prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert cli.main(arguments) == 0
    return out.getvalue()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A recipe that has been run once, and what that printed."""
    recipe = prepare(tmp_path_factory.mktemp("first"))
    return recipe, danlu("run", str(recipe))


def test_run_ends_with_a_table_samples_and_a_report(first: tuple[Path, str]) -> None:
    recipe, out = first
    run = recipe.parent / "run"
    begun = re.findall(r"^(\w+): begins$", out, flags=re.MULTILINE)
    done = re.findall(r"^(\w+): done in [\d.]+ s$", out, flags=re.MULTILINE)
    assert begun == done == STAGES
    _, table = out.split("tiny: results")
    assert re.findall(r"^│ (\w+) ", table, flags=re.MULTILINE) == STAGES
    assert "all: documents" in table and "perplexity" in table
    (sample,) = read_jsonl(run / "generate" / "samples.jsonl")
    assert f"sample (en); the model writes from ⟩ on\nAll the world⟩{cli.harmless(sample['text'])}\n" in table
    assert out.endswith(f"\nreport: {run / 'report.html'}\n")
    for page in ("report.md", "report.html"):
        assert "foresees held-out documents at" in (run / page).read_text(encoding="utf-8")
    assert "## Held-out figures" in (run / "export" / "README.md").read_text(encoding="utf-8")


def test_a_second_run_skips_everything_even_without_its_checkpoints(first: tuple[Path, str]) -> None:
    recipe, out = first
    run = recipe.parent / "run"
    shutil.rmtree(run / "pretrain" / "checkpoints")
    again = danlu("run", str(recipe))
    assert again.startswith("".join(f"{stage}: unchanged, skipped\n" for stage in STAGES))
    assert again.split("tiny: results")[1] == out.split("tiny: results")[1]
    assert not (run / "previous").exists()
    assert danlu("evaluate", str(recipe)) == "evaluate: unchanged, skipped\n"


def test_report_and_prompt_work_on_the_finished_run(first: tuple[Path, str]) -> None:
    recipe, _ = first
    report = recipe.parent / "run" / "report.html"
    report.unlink()
    assert danlu("report", str(recipe)) == f"report: {report}\n"
    assert report.exists()
    answer = danlu("generate", str(recipe), "--prompt", "All the world")
    (sample,) = read_jsonl(recipe.parent / "run" / "generate" / "samples.jsonl")
    assert answer == sample["text"] + "\n", "the same model, prompt, seed and settings"


def test_figures_that_come_later_reach_the_card(tmp_path: Path) -> None:
    recipe = prepare(tmp_path)
    for stage in ("clean", "tokenizer", "pack", "pretrain", "export"):
        danlu(stage, str(recipe))
    card = tmp_path / "run" / "export" / "README.md"
    assert "Held-out" not in card.read_text(encoding="utf-8")
    danlu("evaluate", str(recipe))
    out = danlu("run", str(recipe))
    assert "evaluate: unchanged, skipped\nexport: the figures of evaluate changed; it runs again" in out
    done = read_json(tmp_path / "run" / "evaluate" / "done.json")
    assert done is not None
    assert f"| all.bits per byte | {done['figures']['all.bits_per_byte']:.4g} |" in card.read_text(encoding="utf-8")
    assert "export: unchanged, skipped" in danlu("run", str(recipe))


def test_plan_says_what_it_will_cost_and_leaves_nothing(tmp_path: Path) -> None:
    recipe = prepare(tmp_path)
    out = danlu("plan", str(recipe))
    for line in (
        r"text        1 documents in 1 files, \d+B \(all read\)",
        r"tokens      [\d,]+ to train on; bytes per token: en 1\.00",
        r"parameters  [\d,]+: ",
        r"steps       4 of 64 tokens, \d\.\d\d epochs",
        r"rates       muon, lr 0\.02, adamw_lr 0\.003; wsd: at the peak, until step 2, then down to 0\.417 of it",
        r"time        \d\d:\d\d for pretrain on this machine \([\d,]+ ms a step, measured\)",
        r"memory      \d+\.\d\d GiB at the peak of pretrain \(measured\)",
    ):
        assert re.search(f"^{line}", out, flags=re.MULTILINE), (line, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text", "tiny.yaml"]
