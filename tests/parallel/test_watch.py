"""A rank that dies, is stopped or hangs ends all others, by name; nobody is blamed for a slow first step."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import ranks

from danlu.corpus.fetching import fetching
from danlu.errors import DanluError
from danlu.parallel import joining
from danlu.parallel import watch as watching
from danlu.parallel.joining import Ranks, joined
from danlu.parallel.locks import LOCKS
from danlu.parallel.patience import Watch
from danlu.parallel.signs import Sign
from danlu.parallel.verdict import LOST
from danlu.parallel.watch import Watchman
from danlu.parallel.world import read_world
from danlu.ticks import ticking

QUICK = {"silent": 3.0, "stuck": 2.0}
PATIENT = {"silent": 600.0, "stuck": 600.0}


def keep_step(folder: str, watch: dict[str, float], what: str = "nothing") -> None:
    """Step after step; rank 1 does ``what`` after the fourth."""
    world = read_world(os.environ)
    assert world is not None
    os.dup2(os.open(Path(folder) / f"said-{world.rank}", os.O_WRONLY | os.O_CREAT), 2)
    joining.BEAT = watching.BEAT = 0.25
    with joined(world, Watch(**watch)) as team, team.training():
        for step in range(1000):
            team.sum({"loss": 1.0})
            team.step()
            if step == 4:
                (Path(folder) / f"stands-{team.rank}").touch()
                if team.rank == 1 and what != "nothing":
                    do(what, team, Path(folder))
                    return
            time.sleep(0.01)


def do(what: str, team: Ranks, folder: Path) -> None:
    """Some of it takes longer than anybody waits."""
    until = time.monotonic() + 5
    if what == "hang":
        wait(600)
    elif what == "turn in a ring":
        turn(600)
    elif what == "hang in a save":
        with team.alone("saves"):
            wait(600)
    elif what == "leave":
        raise DanluError("the disk is full")
    elif what == "turn in a ring alone":
        with team.alone("measures"):
            turn(600)
    elif what == "work":
        with team.alone("measures"):
            for _ in ticking(range(10)):
                turn(0.5)
    elif what == "write slowly":
        with team.alone("saves"), tempfile.TemporaryFile() as file:
            while time.monotonic() < until:
                file.write(bytes(4096))
                file.flush()
                time.sleep(0.5)
    elif what == "have others work":
        with team.alone("saves"):
            busy = f"import time\nwhile time.monotonic() < {until}: pass"
            subprocess.run([sys.executable, "-c", busy], check=True)
    else:
        assert what == "compile"
        assert team.watch is not None
        team.watch.work.locks = lambda: folder
        team.watch.work.compiles(is_so=True)
        time.sleep(5)  # for another process that has the compiler's lock
        team.watch.work.compiles(is_so=False)


def turn(seconds: float) -> None:
    """In a ring."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def wait(seconds: float) -> None:
    """As for a lock that is looked at now and then."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)


def wait_until_all_stand(folder: Path, size: int) -> None:
    until = time.monotonic() + 30
    while any(not (folder / f"stands-{rank}").exists() for rank in range(size)):
        assert time.monotonic() < until
        time.sleep(0.02)


def ends(started: list[Any], but: int, *, seconds: float) -> list[int | None]:
    """The exit codes of all others."""
    until = time.monotonic() + seconds
    for rank, (process, _) in enumerate(started):
        if rank != but:
            process.join(max(0.0, until - time.monotonic()))
    return [process.exitcode for rank, (process, _) in enumerate(started) if rank != but]


def clear(started: list[Any]) -> None:
    for process, _ in started:
        process.kill()
        process.join()


def said(folder: Path) -> str:
    """What we said; torch says things of its own where the store is gone."""
    lines = [line for path in sorted(folder.glob("said-*")) for line in path.read_text().splitlines(keepends=True)]
    return "".join(line for line in lines if line.startswith("danlu: "))


@pytest.mark.parametrize(
    ("number", "lost", "line"),
    [
        (signal.SIGKILL, 1, "gives no sign of life since"),
        (signal.SIGSTOP, 1, "gives no sign of life since"),
        (signal.SIGKILL, 0, "does not answer since"),
    ],
)
def test_a_dead_or_stopped_rank_ends_the_others(number: int, lost: int, line: str, tmp_path: Path) -> None:
    started = ranks.start(keep_step, 2, str(tmp_path), QUICK)
    try:
        wait_until_all_stand(tmp_path, 2)
        process = started[lost][0]
        os.kill(process.pid, number)
        assert ends(started, lost, seconds=15) == [LOST]
    finally:
        clear(started)
    assert said(tmp_path).startswith(f"danlu: error: rank {lost} (host ")
    assert f"process {process.pid}) {line}" in said(tmp_path)
    assert said(tmp_path).count("\n") == 1


def test_without_the_watch_it_would_be_waited_for(tmp_path: Path) -> None:
    started = ranks.start(keep_step, 2, str(tmp_path), PATIENT)
    try:
        wait_until_all_stand(tmp_path, 2)
        os.kill(started[1][0].pid, signal.SIGSTOP)
        assert ends(started, 1, seconds=7) == [None]
    finally:
        clear(started)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("hang", " hangs: (the others have waited for it|it has done nothing) for "),
        ("turn in a ring", " hangs: the others have waited for it for "),
        ("turn in a ring alone", " hangs as it measures: it has done nothing for "),
        ("hang in a save", " hangs as it saves: it has done nothing for "),
    ],
)
def test_a_rank_that_hangs_ends_itself_and_the_others(what: str, line: str, tmp_path: Path) -> None:
    started = ranks.start(keep_step, 3, str(tmp_path), QUICK, what)
    try:
        assert ends(started, -1, seconds=25) == [LOST] * 3
    finally:
        clear(started)
    assert said(tmp_path).startswith("danlu: error: rank 1 (host ")
    assert re.search(line, said(tmp_path)), said(tmp_path)
    assert said(tmp_path).count("\n") == 1


OF_LOCKS = pytest.mark.skipif(not LOCKS.exists(), reason="the system tells of no locks")


@pytest.mark.parametrize("what", ["work", "write slowly", "have others work", pytest.param("compile", marks=OF_LOCKS)])
def test_what_one_rank_does_alone_is_waited_for(what: str, tmp_path: Path) -> None:
    """It takes longer than ``stuck``; what ends the others is that it then leaves them."""
    began = time.monotonic()
    with (tmp_path / "a.lock").open("w") as file:  # this process has it, which is none of the ranks
        fcntl.flock(file, fcntl.LOCK_EX)
        started = ranks.start(keep_step, 2, str(tmp_path), QUICK, what)
        try:
            wait_until_all_stand(tmp_path, 2)
            assert ends(started, 1, seconds=4) == [None]
        finally:
            clear(started)
    assert time.monotonic() - began > 4
    assert said(tmp_path) == ""


def test_an_error_of_one_rank_is_said_once_and_ends_all_with_its_code(tmp_path: Path) -> None:
    started = ranks.start(keep_step, 2, str(tmp_path), QUICK, "leave")
    try:
        assert ends(started, 1, seconds=15) == [DanluError.exit_code]
        assert b"SystemExit: 2" in started[1][1].recv_bytes()
    finally:
        clear(started)
    assert said(tmp_path).startswith("danlu: error: on rank 1 (host ")
    assert said(tmp_path).endswith("): the disk is full\n")
    assert said(tmp_path).count("\n") == 1


class Kept:
    """As torch's store, in this process."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def set(self, key: str, value: str) -> None:
        self.values[key] = value

    def get(self, key: str) -> str:
        return self.values[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self.values for key in keys)

    def compare_set(self, key: str, expected: str, wanted: str) -> str:
        return self.values.setdefault(key, wanted)


class Gone(Kept):
    def set(self, key: str, value: str) -> None:
        raise RuntimeError("Broken pipe")


def left_with(watchman: Watchman) -> int:
    """The first exit code that it leaves with, once it does."""
    codes: list[int] = []
    watchman.leave = codes.append
    watchman.begin()
    for thread in watchman._threads:
        thread.join(10)
    return codes[0]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """What is seen in a fifth of a second."""
    monkeypatch.setattr(watching, "BEAT", 0.02)
    return Watch().model_copy(update={"silent": 0.2})


def test_a_bug_of_the_watch_keeps_its_traceback_and_is_told(quick: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the rank would give no sign of life any more, and be called dead."""

    def calls() -> dict[str, int]:
        raise KeyError("no such group")

    store: Any = Kept()
    assert left_with(Watchman(lambda: store, 0, ["rank 0", "rank 1"], quick, None, calls=calls)) == LOST
    traceback, line = capsys.readouterr().err.rsplit("danlu: error: ", 1)
    assert traceback.startswith("Traceback ") and "in calls\n" in traceback
    assert line.startswith("rank 0 failed (KeyError: 'no such group'); all ranks stop")
    assert "rank 0 failed" in store.values["verdict"]


def test_a_lost_connection_is_told_by_who_waits_for_an_answer(quick: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    store: Any = Gone()
    assert left_with(Watchman(lambda: store, 1, ["rank 0", "rank 1"], quick, 0)) == LOST
    line = capsys.readouterr().err
    assert line.startswith("danlu: error: rank 0 does not answer since 0 s: it is dead or stopped; ")


def test_a_rank_to_which_nothing_comes_names_itself() -> None:
    watchman = Watchman(lambda: pytest.fail("no store is asked"), 1, ["rank 0", "rank 1"], Watch(blocked=60.0), None)
    now = time.monotonic()
    watchman._signs = [Sign(seen=now, moved=now, stirred=now, limit=70.0, idle=70.0)] * 2
    with fetching():
        watchman.work.look()
        assert watchman._problem(now + 5) is None
        line = "rank 1 hangs: nothing has come for 61 s of what it fetches from elsewhere"
        assert watchman._problem(watchman.work.brought + 61) == line
    watchman.work.look()
    assert watchman._problem(now + 5) is None


def test_the_defaults_keep_to_half_a_minute() -> None:
    """Between the last sign of life and the end: the limit, two beats to see it, and what the store's keeper waits."""
    assert max(Watch().silent, Watch().stuck) + 2 + 3 + 1 < 30
