"""Ranks that do not come, or die before all are connected, are named; nobody waits for them for ever."""

from __future__ import annotations

import os
import pickle
import signal
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ranks

from danlu.errors import InputError
from danlu.parallel import joining, meeting
from danlu.parallel.patience import Watch
from danlu.parallel.verdict import LOST
from danlu.parallel.world import read_world


def meet_without(absent: tuple[int, ...]) -> str:
    """What is told where these ranks do not come."""
    world = read_world(os.environ)
    assert world is not None
    if world.rank in absent:
        return ""
    meeting.MEETING = timedelta(seconds=1)
    try:
        with joining.joined(world, Watch()):
            return "all are here"
    except InputError as error:
        return str(error)


def die_before_connecting(folder: str, victim: int) -> None:
    """As under a launcher, but that one rank is killed when all have met and none is connected."""
    world = read_world(os.environ)
    assert world is not None
    os.dup2(os.open(Path(folder) / f"said-{world.rank}", os.O_WRONLY | os.O_CREAT), 2)
    if world.rank == victim:
        joining._connect_all = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    with joining.joined(world, Watch(silent=3.0)):
        pass


def results(started: list[Any]) -> list[str]:
    found = []
    for process, pipe in started:
        assert pipe.poll(30), "somebody is still being waited for"
        good, result = pickle.loads(pipe.recv_bytes())
        assert good, result
        found.append(result)
        process.join()
    return found


@pytest.mark.parametrize(("size", "absent", "who"), [(2, (1,), "rank 1 of 2"), (3, (1, 2), "ranks 1, 2 of 3")])
def test_who_does_not_come_is_named(size: int, absent: tuple[int, ...], who: str) -> None:
    first, *others = results(ranks.start(meet_without, size, absent))
    assert first.startswith(f"{who} did not come to 127.0.0.1:") and first.endswith(" within 1 s")
    assert others == [""] * len(absent)


def test_without_the_rank_that_keeps_the_meeting_point_there_is_none() -> None:
    _, second = results(ranks.start(meet_without, 2, (0,)))
    assert second.startswith("rank 1 of 2 cannot meet the others at 127.0.0.1:")


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_dies_before_all_are_connected_ends_the_other(victim: int, tmp_path: Path) -> None:
    started = ranks.start(die_before_connecting, 2, str(tmp_path), victim)
    other = started[1 - victim][0]
    try:
        other.join(20)
        assert other.exitcode == LOST
    finally:
        for process, _ in started:
            process.kill()
            process.join()
    said = (tmp_path / f"said-{1 - victim}").read_text()
    assert f"danlu: error: rank {victim} (host " in said


def test_the_watch_knows_while_a_compiler_may_work() -> None:
    """And where its locks are; also where it fails."""
    told: list[bool] = []
    work: Any = SimpleNamespace(compiles=lambda *, is_so: told.append(is_so), locks=None)
    watch: Any = SimpleNamespace(work=work)
    with pytest.raises(ValueError, match="no such header"), joining.Ranks(1, 2, watch).compiling():
        assert told == [True] and work.locks().name == "locks"
        raise ValueError("no such header")
    assert told == [True, False]
    with joining.ALONE.compiling():
        pass
