"""One of two processes cannot write, or is killed amid a save of both: the checkpoint before is whole, and goes on."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path

import pytest
from launching import exit_codes, launch, launch_hanging_in, launch_with_small_files, said, steps

from danlu.parallel.verdict import LOST

pytestmark = pytest.mark.cluster
SHORT = ("pretrain.budget.steps=10",)
REFUSED = r"\(cannot write to [^ ]+: the file would be larger than the system allows\)"


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    shutil.copytree(packed / "run", tmp_path / "run")
    shutil.copy(packed / "recipe.yaml", tmp_path)
    return tmp_path


def warned(folder: Path) -> list[str]:
    return [line for line in (folder / "out-0").read_text().splitlines() if line.startswith("could not ")]


@pytest.mark.parametrize("background", ["false", "true"])
def test_a_save_that_the_disk_of_rank_0_refuses_is_told_and_training_goes_on(background: str, folder: Path) -> None:
    beside = f"pretrain.save.background={background}"
    assert exit_codes(launch_with_small_files, 2, 0, 5, 8, str(folder), *SHORT, beside) == [0, 0]
    [line] = warned(folder)
    assert re.fullmatch(f"could not save a checkpoint at step 5 {REFUSED}; training goes on", line)
    assert steps(folder) == ["step-00000010"] and said(folder) == []


@pytest.mark.parametrize("background", ["false", "true"])
def test_where_the_last_save_is_refused_both_say_so_by_their_codes(background: str, folder: Path) -> None:
    beside = f"pretrain.save.background={background}"
    assert exit_codes(launch_with_small_files, 2, 0, 8, 99, str(folder), *SHORT, beside) == [2, 2]
    [line] = said(folder)
    assert re.match(f"danlu: error: the last checkpoint could not be saved {REFUSED}; make room and run again", line)
    assert steps(folder) == ["step-00000005"]
    assert exit_codes(launch, 1, str(folder), *SHORT) == [0]
    assert "going on after step 5\n" in (folder / "out-0").read_text()


def test_the_disk_of_a_rank_that_writes_nothing_may_be_full(folder: Path) -> None:
    assert exit_codes(launch_with_small_files, 2, 1, 1, 99, str(folder), *SHORT) == [0, 0]
    assert warned(folder) == [] and said(folder) == []


@pytest.mark.parametrize(("place", "victim"), [("a later save", 0), ("a later save", 1), ("a file of a later save", 0)])
def test_a_kill_amid_a_save_of_both_leaves_the_one_before(place: str, victim: int, folder: Path) -> None:
    patient = "pretrain.hardware.mesh.watch.stuck=60"
    codes = exit_codes(launch_hanging_in, 2, place, victim, "dies", str(folder), patient, *SHORT, seconds=30)
    assert codes[victim] == -signal.SIGKILL and codes[1 - victim] == LOST
    [line] = [line for line in said(folder) if line.startswith("danlu: ")]
    assert line.startswith(f"danlu: error: rank {victim} (host ")
    assert steps(folder) == ["step-00000005"]
    assert exit_codes(launch, 1, str(folder), *SHORT) == [0]
    assert "going on after step 5\n" in (folder / "out-0").read_text()
    assert steps(folder)[-1] == "step-00000010"
