"""``clean`` and ``pack`` are struck at random moments; run again, they leave the bytes of an undisturbed run."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for killing.py

from killing import Killing, alive_in_group, to_a_worker, to_group, to_one

FEW, MANY = 1, 60
"""Kills."""
IN_VAIN = 25
"""Strikes that may come too late for each that is wanted."""


@pytest.fixture(scope="module")
def killing(tmp_path_factory: pytest.TempPathFactory) -> Killing:
    return Killing.prepared(tmp_path_factory.mktemp("killing"))


def kills(few: int, many: int = MANY) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.slow)])


@kills(FEW)
@pytest.mark.parametrize("stage", ["clean", "pack"])
def test_killed_with_all_its_processes_a_rerun_gives_the_same_bytes(killing: Killing, stage: str, count: int) -> None:
    randoms = random.Random(f"{stage} {count}")
    seen, runs = Counter[str](), 0
    while seen["killed"] < count:
        assert runs < IN_VAIN * count, seen
        name = killing.new(stage)
        for _ in range(min(3, count)):
            workers = randoms.choice((1, 2))
            struck = killing.strike(name, stage, workers, randoms, to_group(signal.SIGKILL))
            seen["over" if struck is None else "killed"] += 1
            if struck is None:
                break
        killing.finish(name, stage, randoms.choice((1, 2)))
        killing.check(name, stage)
        runs += 1
    print(f"{stage}: {dict(seen)} in {runs} runs, which left the same bytes")


@kills(FEW)
@pytest.mark.parametrize("stage", ["clean", "pack"])
def test_the_work_of_one_killed_process_is_done_by_another(killing: Killing, stage: str, count: int) -> None:
    randoms = random.Random(f"{stage} {count}")
    seen = Counter[str]()
    while seen["killed"] < count:
        seen["tried"] += 1
        assert seen["tried"] <= IN_VAIN * count, seen
        name = killing.new(stage)
        struck = killing.strike(name, stage, 2, randoms, to_a_worker(randoms), within=0.0)
        if struck is not None:
            seen["killed"] += 1
            assert (struck.code, struck.errors) == (0, "")
            seen["told"] += "another one tries it again" in struck.said
        killing.check(name, stage)
    print(f"{stage}: {dict(seen)}")


@kills(FEW, 20)
@pytest.mark.parametrize(("stage", "number"), [("clean", signal.SIGTERM), ("pack", signal.SIGINT)])
def test_asked_to_stop_it_says_so_leaves_no_process_and_goes_on(
    killing: Killing, stage: str, number: signal.Signals, count: int
) -> None:
    randoms = random.Random(f"{stage} {number} {count}")
    told = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}[number]
    how = to_group(number) if number == signal.SIGINT else to_one(number)
    stopped = tried = 0
    while stopped < count:
        tried += 1
        assert tried <= IN_VAIN * count, f"{stopped} of {tried} strikes stopped it"
        name = killing.new(stage)
        struck = killing.strike(name, stage, randoms.choice((1, 2)), randoms, how, early=0.0)
        if struck is not None and struck.code == 128 + number:  # else it was about to end
            stopped += 1
            assert struck.errors == f"danlu: stopped by {told}; the same command goes on from here\n"
            until = time.monotonic() + 10
            while alive_in_group(struck.group) and time.monotonic() < until:
                time.sleep(0.05)
            assert not alive_in_group(struck.group)
        killing.finish(name, stage, 1)
        killing.check(name, stage)
