"""The sample that a plan measures is packed as the run will pack it, and read as often as the plan says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from danlu.recipe import load_recipe
from danlu.runs import run_stages
from danlu.train import plan
from danlu.train.plan import _pack_sample


def test_a_sample_has_the_tokens_and_marks_that_pack_writes(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    for number in range(20):
        text = f"To be, or not to be: that is question {number}. 生存还是毁灭。" * 5
        (tmp_path / "text" / f"{number}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "lexicon.txt").write_text("生存还是毁灭\nor not to be\n", encoding="utf-8")
    (tmp_path / "r.yaml").write_text(
        f"run_dir: {tmp_path / 'run'}\nclean: {{sources: [{tmp_path / 'text'}]}}\ntokenizer: {{use: bpe}}\n"
        "pack: {split: {use: tail, fraction: 0.2}, marks: [words, phrases, sentences], "
        f"lexicon: {tmp_path / 'lexicon.txt'}}}\n",
        encoding="utf-8",
    )
    recipe = load_recipe(tmp_path / "r.yaml")
    run_stages(recipe, list(recipe.sections), lambda _: None, begin=lambda _: None)
    (tmp_path / "sample").mkdir()
    _pack_sample(recipe, tmp_path / "sample")
    packed = tmp_path / "run" / "pack" / "train"
    assert (packed / "marks-00000.bin").stat().st_size > 500
    sample = tmp_path / "sample" / "train"
    of_sources = {"lineage.json", "lineage.jsonl", "data_card.md"}  # which a sample does not tell
    listing = {"store.json", "hashes.bin"}
    for path in packed.iterdir():
        if path.name not in of_sources | listing:
            assert path.read_bytes() == (sample / path.name).read_bytes(), path.name
    assert (packed / "hashes.bin").read_bytes().startswith((sample / "hashes.bin").read_bytes())  # those come last
    wanted, found = (json.loads((each / "store.json").read_text()) for each in (packed, sample))
    wanted["files"] = {name: size for name, size in wanted["files"].items() if name not in of_sources}
    for name in ("hashes", "sha256"):
        del wanted[name], found[name]
    assert wanted == found


def test_epochs_of_rows_that_are_not_full_are_those_that_the_recipe_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third of the places is empty, so that the tokens of the steps are more than those of the text."""
    (tmp_path / "text").mkdir()
    for number in range(20):
        (tmp_path / "text" / f"{number}.txt").write_text(f"{number:02}" + "ab c" * 10, encoding="utf-8")
    (tmp_path / "r.yaml").write_text(
        f"run_dir: {tmp_path / 'run'}\nclean: {{sources: [{tmp_path / 'text'}]}}\ntokenizer: {{use: char}}\n"
        "pack: {split: {use: hash, fraction: 0.2}}\n"
        "pretrain: {model: {use: gpt, layers: 1, dim: 16, heads: 1}, sequence: 64, batch: 2, rows: packed, "
        "budget: {epochs: 3}, precision: fp32, compile: off}\n",
        encoding="utf-8",
    )
    recipe = load_recipe(tmp_path / "r.yaml")
    monkeypatch.setattr(plan, "in_own_process", lambda measure, *arguments: measure(*arguments))
    with plan.sampled(recipe) as sample:
        known = plan.measure(recipe, sample)
    assert known.steps * known.tokens_per_step / known.tokens > 4
    assert 3 <= known.epochs < 3 * (1 + 1 / known.steps)
    assert f" tokens, {known.epochs:.2f} epochs\n" in plan.in_words(known)
