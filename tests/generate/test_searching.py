"""Searches from a recipe: beam search of one beam is greedy sampling, stop strings hold, text and ends are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.files import read_jsonl
from danlu.generate.beam import Beam
from danlu.generate.contrastive import Contrastive
from danlu.generate.engine import generate, load
from danlu.generate.sampling import Sampling
from danlu.generate.search import Search
from danlu.generate.searching import find_answers
from danlu.generate.stage import Generate
from danlu.recipe import Recipe, build
from danlu.stage import Job

PROMPTS = ["To be", "", "话说", "First Citizen:"]


@pytest.mark.parametrize("stop", [(), ("e",)], ids=["to the end", "stopped"])
def test_one_beam_is_the_greedy_answer(run_dir: Path, stop: tuple[str, ...]) -> None:
    loaded = load(run_dir / "pretrain/model")
    settings = Sampling(max_tokens=12, temperature=0, stop=stop)
    found = find_answers(loaded, Beam(beams=1), PROMPTS, settings=settings)
    drawn = generate(*loaded[:2], PROMPTS, settings=settings, seed=1, special=loaded.special)
    assert [(each.text, each.end) for each in found] == [(each.text, each.end) for each in drawn]
    if not stop:
        assert [each.ids for each in found] == [each.ids for each in drawn]


@pytest.mark.parametrize("search", [Beam(beams=3), Contrastive()], ids=["beam", "contrastive"])
def test_the_stage_writes_what_is_found(search: Search, run_dir: Path, tmp_path: Path) -> None:
    section = {"prompts": PROMPTS, "sampling": {"max_tokens": 8}, "search": search, "precision": "fp32"}
    stage = build(Generate, section, key="generate")
    stage.run(Job(Recipe("x", run_dir, 40, {"generate": stage}), {"pretrain": run_dir / "pretrain"}, tmp_path))
    found = find_answers(load(run_dir / "pretrain/model"), search, PROMPTS, settings=Sampling(max_tokens=8))
    assert [sample["text"] for sample in read_jsonl(tmp_path / "samples.jsonl")] == [each.text for each in found]
    assert len({each.text for each in found}) > 1


def test_forced_tokens_of_the_folder_hold_where_the_search_has_none() -> None:
    assert Beam(beams=2).with_forced(5, 7) == Beam(beams=2, forced_first=5, forced_last=7)
    assert Beam(forced_first=1).with_forced(5, None) == Beam(forced_first=1)
