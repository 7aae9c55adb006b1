"""What rank 0 does alone for a fine-tuning, and never did before: a hang is told from work of unknown length."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from finetuning import launch_finetune, prepare
from launching import exit_codes, said

from danlu.parallel.verdict import LOST

QUICK = "finetune.hardware.mesh.watch={silent: 3, stuck: 3}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prepare(tmp_path)
    return tmp_path


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("place", "how", "what"),
    [
        ("the last figures", "turns", "measures"),
        ("the last figures", "sleeps", "measures"),
        ("a model's file", "turns", "saves the model"),
        ("a tokenizer", "turns", "draws a model"),
    ],
)
def test_rank_0_that_hangs_in_what_it_does_alone_is_named(place: str, how: str, what: str, folder: Path) -> None:
    assert exit_codes(launch_finetune, 2, place, how, str(folder), QUICK, seconds=40) == [LOST, LOST]
    [told] = said(folder)
    assert re.search(rf"error: rank 0 \(host .*\) hangs as it {what}: it has done nothing for \d+ s", told), told


@pytest.mark.cluster
@pytest.mark.parametrize("place", ["the last figures", "a tokenizer"])
def test_rank_0_that_comes_on_is_waited_for(place: str, folder: Path) -> None:
    assert exit_codes(launch_finetune, 2, place, "works", str(folder), QUICK, seconds=60) == [0, 0]
    assert (folder / "acted").exists()
    assert said(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["turns", "sleeps"])
def test_a_hang_ends_all_within_half_a_minute_by_default(how: str, folder: Path) -> None:
    """By the settings that a recipe has which says nothing of them."""
    began = time.monotonic()
    assert exit_codes(launch_finetune, 2, "the last figures", how, str(folder), seconds=60) == [LOST, LOST]
    trained = (folder / "run/finetune/metrics.jsonl").stat().st_mtime
    took = time.time() - trained
    assert took < 30, f"{took:.1f} s, of {time.monotonic() - began:.1f}"
