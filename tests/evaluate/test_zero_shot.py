"""A suite as a measure in a recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from danlu.cli import main
from danlu.errors import InputError, RecipeError
from danlu.evaluate.protocol import Subject
from danlu.evaluate.stage import Evaluate
from danlu.evaluate.zero_shot import ZeroShot
from danlu.files import read_json, read_jsonl
from danlu.nn.hf.folder import load_model
from danlu.recipe import build
from danlu.suites.pairs import Blimp
from danlu.tokenizers.tokenizer import Tokenizer

ROWS = [{"sentence_good": f"To be {number}", "sentence_bad": f"be {number} To", "UID": "u"} for number in range(4)]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def test_figures_go_by_the_suite_or_a_name_and_details_to_files(whole_decoder: Path, pairs: Path) -> None:
    out = pairs.parent / "out"
    out.mkdir()
    tokenizer, store = Tokenizer.load(whole_decoder), None
    subject = Subject(load_model(whole_decoder), tokenizer, store, store, out=out, seed=4)  # type: ignore[arg-type]
    figures = ZeroShot(suite=Blimp(), file=pairs).measure(subject)
    assert set(figures) == {"blimp.items", "blimp.acc", "blimp.acc_stderr", "blimp.chance", "blimp.ties", "blimp.cut"}
    assert figures["blimp.items"] == len(read_jsonl(out / "blimp_items.jsonl")) == 4
    named = ZeroShot(suite=Blimp(), file=pairs, name="mine", limit=3).measure(subject)
    assert named["mine.items"] == 3
    summary = read_json(out / "mine.json")
    assert summary is not None and summary["suite"] == {"use": "blimp"} and summary["limit"] == 3


def test_the_files_are_part_of_what_the_stage_was_made_from(pairs: Path) -> None:
    raw = {"tasks": [{"use": "zero_shot", "suite": "blimp", "file": str(pairs)}]}
    stage = build(Evaluate, raw, key="evaluate")
    assert stage.external_files() == [pairs]
    pairs.unlink()
    with pytest.raises(InputError, match=r"evaluate.tasks: there is no file .*pairs.jsonl"):
        stage.external_files()


def test_settings_that_are_wrong_name_their_key() -> None:
    with pytest.raises(RecipeError, match=r"evaluate.tasks.0.suite: unknown suite 'blimb'|unknown suite 'blimb'"):
        build(Evaluate, {"tasks": [{"use": "zero_shot", "suite": "blimb", "file": "x"}]}, key="evaluate")
    with pytest.raises(RecipeError, match=r"evaluate.tasks.0.file is required"):
        build(Evaluate, {"tasks": [{"use": "zero_shot", "suite": "blimp"}]}, key="evaluate")


def test_a_recipe_from_text_to_figures(tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").mkdir()
    for number in range(6):
        (tmp_path / "text" / f"{number}.txt").write_text(f"To be, or not to be {number}: that is the question.\n" * 9)
    (tmp_path / "r.yaml").write_text(f"""
clean: {{sources: [text/], duplicates: []}}
tokenizer: {{use: char}}
pack: {{split: {{use: tail, fraction: 0.2}}}}
pretrain:
  model: {{use: gpt, layers: 1, dim: 32, heads: 2}}
  sequence: 32
  budget: {{steps: 2}}
evaluate:
  tasks: [{{use: perplexity, baseline: null}}, {{use: zero_shot, suite: blimp, file: {pairs}}}]
""")
    assert main(["run", "r.yaml"]) == 0
    done = read_json(tmp_path / "runs" / "r" / "evaluate" / "done.json")
    assert done is not None and done["figures"]["blimp.items"] == 4 and "all.perplexity" in done["figures"]
    assert (tmp_path / "runs" / "r" / "evaluate" / "blimp_items.jsonl").exists()
