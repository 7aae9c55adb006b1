"""A save that is killed, refused or cut off from power at any moment leaves the checkpoint before it or the new one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SCENARIOS = ("save", "save over a damaged one", "save the first", "load past a damaged one")
REFUSALS = ("full from here", "full once", "failing once", "read-only from here")


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that hears every call that changes the disk."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler, to hear the calls that safetensors makes")
    library = tmp_path_factory.mktemp("library") / "disk_calls.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, HERE / "disk_calls.c", "-ldl"], check=True)
    return library


def crash(preloaded: Path, folder: Path, packed: Path, kinds: tuple[str, ...], *scenarios: str) -> dict[str, Any]:
    command = [sys.executable, HERE / "crashing_saves.py", folder, packed / "run" / "tokenizer", json.dumps(kinds)]
    environment = {**os.environ, "LD_PRELOAD": str(preloaded), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *scenarios], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def check(seen: dict[str, Any], *, before: str, after: str) -> None:
    """The program has checked each outcome; here only that it has looked at every call, before and after the rename."""
    calls = seen.pop("calls")
    count = sum(calls.values())
    if after != before:  # fewer would mean that some are not heard any more
        assert calls["write"] >= 8, "two files of the tokenizer, three of the model, two of the state, the manifest"
        assert calls["fsync"] >= 20
        assert {"open", "mkdir", "rename", "ftruncate64"} < set(calls)
    for kind, steps in seen.items():
        disks = steps.pop("disks", None)
        looks = {"power lost": 6 * (count + 1), "killed in a write": calls.get("write", 0)}.get(kind, count)
        assert sum(steps.values()) == looks, kind
        assert set(steps) <= {before, after}, kind
        assert disks is None or before == after or disks > 30
        assert kind == "killed in a write" or set(steps) == {before, after}, kind


def test_a_save_cut_short_at_every_call_leaves_the_old_or_the_new_checkpoint(
    preloaded: Path, tmp_path: Path, packed: Path
) -> None:
    kinds = ("killed", "killed in a write", "power lost", "full from here")
    seen = crash(preloaded, tmp_path, packed, kinds, "save")
    check(seen["save"], before="10", after="20")


def test_the_faults_show_when_a_mechanism_is_taken_away(preloaded: Path, tmp_path: Path, packed: Path) -> None:
    assert crash(preloaded, tmp_path, packed, ()) == dict.fromkeys(
        (
            "files are not synced", "folders are not synced", "the old ones go first", "it is written in place",
            "what a refused save wrote stays",
        ),
        True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_fault_at_every_call(scenario: str, preloaded: Path, tmp_path: Path, packed: Path) -> None:
    seen = crash(preloaded, tmp_path, packed, ("killed", "killed in a write", "power lost", *REFUSALS), scenario)
    steps = {"save": ("10", "20"), "save over a damaged one": ("5", "10"), "save the first": ("None", "20")}
    before, after = steps.get(scenario, ("5", "5"))
    check(seen[scenario], before=before, after=after)
