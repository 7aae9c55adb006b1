"""What a rank says of itself hangs on its own work: how long it may be waited for, and what counts as coming on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from danlu.corpus.fetching import fetching, piece_came, queued
from danlu.parallel import work as working
from danlu.parallel.activity import Activity
from danlu.parallel.patience import Watch
from danlu.parallel.whereabouts import Whereabouts
from danlu.parallel.work import RECENT, Work


class Clock:
    """Moves when it is told to."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        patch.setattr(working.time, "monotonic", lambda: self.now)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def work(clock: Clock) -> Work:
    work = Work(Watch(stuck=2.0, first=70.0))
    work._met = work._since = work.brought = clock.now
    return work


def do_step(work: Work, clock: Clock, seconds: float, *, waits: float = 0.0) -> None:
    """One micro-batch, and what all tell each other then."""
    clock.pass_by(seconds)
    work.tick()
    with work.meeting():
        clock.pass_by(waits)
    work.step()


def test_how_long_a_micro_batch_takes_is_known_when_steps_settle(clock: Clock, work: Work) -> None:
    """The second step tells it already, so that long ones are no hang in the third."""
    with work.training():
        for seconds in (60.0, 20.0):  # the first one begins with whatever is done once
            do_step(work, clock, seconds)
        assert work.limits() == (60.0, 60.0)


def test_what_a_rank_waits_for_others_is_no_work(clock: Clock, work: Work) -> None:
    """One that has waited twice, and long, is still seen to hang as soon as before."""
    with work.training():
        for waits in (0.0, 50.0, 50.0, 0.0):
            do_step(work, clock, 1.0, waits=waits)
        assert work.limits() == (3.0, 3.0)
        clock.pass_by(1.0)
        with work.meeting():
            assert work.limits() == (150.0, 150.0), "where it waits so does whoever hangs: nobody is late there"
    assert [took for _, took in work.sign.took] == [1.0] * 5


def test_one_slow_moment_is_no_reason_to_wait_for_long_and_two_are_for_some_steps(clock: Clock, work: Work) -> None:
    with work.training():
        for seconds in (1.0, 1.0, 14.0, 1.0):
            do_step(work, clock, seconds)
        assert work.limits() == (3.0, 3.0)
        do_step(work, clock, 10.0)
        assert work.limits() == (30.0, 30.0)
        for _ in range(RECENT - 2):
            do_step(work, clock, 1.0)
        assert work.limits() == (3.0, 3.0)


def test_who_has_waited_comes_on_when_the_wait_is_over(clock: Clock, work: Work) -> None:
    """Else what it has waited would count against it."""
    with work.meeting():
        assert work.told()["waits"]
        before = work.sign.work
    assert work.sign.work > before and not work.told()["waits"]


def test_how_long_it_worked_is_told_of_the_last_points(clock: Clock, work: Work) -> None:
    with work.alike("builds the model"):
        for seconds in (3.0, 4.0):
            clock.pass_by(seconds)
            with work.meeting():
                clock.pass_by(9.0)
    assert work.sign.took == [(1, 3.0), (2, 4.0)]
    with work.training():
        with work.meeting():  # nothing was to be done here, by this rank
            pass
        clock.pass_by(5.0)
        work.tick()
        with work.meeting():
            pass
    assert work.sign.took == [(1, 3.0), (2, 4.0), (4, 5.0)]


def test_a_batch_that_is_compiled_amid_settled_steps_is_no_long_micro_batch(clock: Clock, work: Work) -> None:
    blocked = work.settings.blocked
    with work.training():
        for _ in range(2):
            work.step()
        assert work.limits() == (2.0, 2.0)
        work.compiles(is_so=True)
        clock.pass_by(60.0)
        assert work.limits() == (70.0, 2.0) and work.told()["compiles"]
        work.sign.lock = "another/7"
        assert work.limits() == (70.0, blocked)
        work.sign.lock = ""
        work.compiles(is_so=False)
        for _ in range(2):
            work.step()
        assert work.limits() == (2.0, 2.0)
    assert work.limits() == (70.0, 2.0)


def test_a_save_may_compute_for_as_long_as_its_bytes_need(work: Work) -> None:
    with work.training(), work.alone("saves", moves=10**9):
        assert work.limits() == (70.0, 7.0)


def test_what_was_done_before_takes_about_as_long_again(clock: Clock, work: Work) -> None:
    """Piece by piece; for the first time nobody knows how long."""
    with work.alone("draws", again=True):
        assert work.limits() == (70.0, 2.0)
        for seconds in (1.0, 3.0, 1.0):
            clock.pass_by(seconds)
            work.tick()
    with work.alone("draws"):
        assert work.limits() == (70.0, 2.0)
    with work.alone("draws", again=True):
        assert work.limits() == (9.0, 2.0)
        work._waited = True
        assert work.limits() == (work.settings.blocked, work.settings.blocked), "a disk may be slower than before"
    with work.alone("measures", again=True):
        assert work.limits()[0] == 70.0


def test_between_stages_a_processor_at_work_is_progress_for_a_while(clock: Clock) -> None:
    """A condition may never hold; a loaded machine gives little of its processors a second, so these are asked."""
    activity = Computing(seconds=0.5)
    work = Work(Watch(stuck=4.0), activity)
    for _ in range(6):
        clock.pass_by(30.0)
        work.look()
    assert activity.counted == [True] * 4 + [False] * 2
    activity.carried = True
    work.look()
    activity.carried = False
    work.look()
    assert activity.counted[-2:] == [False, True], "bytes have moved"


def test_what_a_rank_does_alone_is_no_hang_while_it_comes_to_new_lines_or_tells_of_pieces(clock: Clock) -> None:
    """A ring comes back to its lines; the same holds in the compiler, and not where others do the same."""
    activity, whereabouts = Computing(), Turning(seconds=0.5)
    work = Work(Watch(stuck=4.0), activity, whereabouts=whereabouts)

    def counted(looks: int) -> list[bool]:
        activity.counted.clear()
        for _ in range(looks):
            work.look()
        return activity.counted

    with work.alone("measures"):
        assert counted(6) == [True] * 3 + [False] * 3, "half of ``stuck``"
        work.tick()
        assert counted(3) == [True] * 3
        activity.carried = True
        work.look()
        activity.carried = False
        assert counted(4) == [True] * 3 + [False], "bytes have moved"
        clock.pass_by(1.0)
        work.tick()
        assert counted(7) == [True] * 5 + [False] * 2, "three times the longest piece"
    with work.alone("draws", call=1.0):
        assert counted(6) == [True] * 5 + [False]
    with work.alike("measures"):
        assert counted(6) == [True] * 6
        work.compiles(is_so=True)
        assert counted(6) == [True] * 3 + [False] * 3
        work.compiles(is_so=False)
        assert counted(6) == [True] * 6


def test_the_compiler_is_looked_at_in_the_thread_that_compiles(work: Work) -> None:
    """Torch compiles the backward pass of a GPU in a thread of autograd's, for which the main one waits."""
    thread = threading.Thread(target=lambda: work.compiles(is_so=True))
    thread.start()
    thread.join()
    assert work.whereabouts.thread == thread.ident
    with work.alone("measures"):
        assert work.whereabouts.thread == threading.get_ident()


class Turning(Whereabouts):
    """A thread that takes so many seconds between two looks, always at the same lines."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def look(self) -> None:
        self.turning += self.seconds


class Computing(Activity):
    """Notes whether processor time is counted, of which it takes so many seconds between two looks."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(seconds=seconds)
        self.counted: list[bool] = []

    def seen(self, *, computing: bool = True) -> bool:
        self.counted.append(computing)
        return False


def test_calls_are_counted_from_where_all_have_met_and_how_long_none_was_begun(clock: Clock) -> None:
    """Of sends some ranks have more than others, and what was waited for in a meeting is no time without a call."""
    begun = {"all": 5}
    work = Work(Watch(), calls=lambda: dict(begun))
    work._called = clock.now
    work.look()
    assert work.sign.calls == {"all": 5}
    clock.pass_by(3.0)
    with work.meeting():
        begun["all"] += 1
        work.look()
        assert (work.sign.calls, work.sign.pause) == ({"all": 1}, 0.0)
        clock.pass_by(50.0)
    for seconds in (4.0, 2.0):
        clock.pass_by(seconds)
        begun["all"] += 1
        work.look()
    assert (work.sign.calls, work.sign.pause) == ({"all": 3}, 4.0)
    clock.pass_by(9.0)  # in a call, where it waits
    work.look()
    assert work.sign.pause == 4.0


def test_what_two_ranks_exchange_is_no_call_of_all(work: Work) -> None:
    begun = {"all": 5}
    work.calls = lambda: dict(begun)
    with work.meeting():
        before = work.sign.work
        with work.exchange(2):
            begun["all"] += 1
            assert work.told()["peer"] == 2
        assert work.told()["peer"] == -1 and work.sign.work > before
        begun["all"] += 1
        work.look()
        assert work.sign.calls == {"all": 1}


def test_a_lock_of_another_process_is_known_while_the_compiler_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(Watch(), locks=lambda: tmp_path)
    has = {os.getpid()}
    monkeypatch.setattr(working, "holders", lambda folder: has if folder == tmp_path else set())
    work.compiles(is_so=True)
    work.look()
    assert work.sign.lock == "", "its own"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        has.add(child.pid)
        work.look()
        assert work.sign.lock == "", "of a process that this one has started"
        child.communicate(b"\n")
    has = {1}
    work.activity = Computing(seconds=0.0)  # which does nothing
    work.look()
    assert work.sign.lock == working.process(1)
    before = work.sign.activity
    work.look()
    assert work.sign.activity == before
    has.remove(1)
    work.look()
    assert work.sign.lock == "" and work.sign.activity > before, "who has waited needs a moment to go on"
    has.add(1)
    work.compiles(is_so=False)
    work.look()
    assert work.sign.lock == ""


def test_a_disk_that_all_wait_for_is_waited_for_amid_settled_steps_too(work: Work) -> None:
    with work.training():
        work.steps, work._waited = 2, True
        assert work.limits() == (2.0, work.settings.blocked)


def test_what_a_rank_does_elsewhere_takes_as_long_as_it_takes(work: Work) -> None:
    work.elsewhere(is_so=True)
    with work.alike("measures"):
        told = work.told()
    assert told["limit"] == told["idle"] == float("inf") and not told["alike"]
    work.elsewhere(is_so=False)
    assert work.limits() == (70.0, 2.0)


def test_what_all_do_alike_is_told_with_what_it_is(work: Work) -> None:
    with work.alike("builds the model"):
        assert (work.told()["alike"], work.told()["what"]) == (True, "builds the model")
        with work.alone("draws the first weights"):
            assert (work.told()["alike"], work.told()["what"]) == (False, "draws the first weights")
        work.compiles(is_so=True)
        assert work.told()["alike"], "a compiler takes many times as long only where it has kept nothing"
    assert (work.told()["alike"], work.told()["what"]) == (False, "")


class Carrying(Activity):
    """Of a process that reads all the time."""

    def seen(self, *, computing: bool = True) -> bool:
        self.carried = True
        return True


def test_bytes_are_progress_where_others_may_have_had_them_in_memory() -> None:
    work = Work(Watch(), Carrying())

    def comes_on() -> bool:
        before = work.sign.work
        work.look()
        return work.sign.work > before

    assert not comes_on(), "it may be all that it does"
    with work.training():
        assert comes_on(), "in the first step"
        with work.alike("measures"):
            assert comes_on()
        with work.alone("saves", moves=10):
            assert not comes_on(), "it has limits of its own"
        work.steps = 2
        assert not comes_on(), "a settled rank has none to read"


def settled(work: Work) -> dict[str, Any]:
    work.look()
    return work.told()


def test_who_fetches_is_waited_for_and_comes_on_with_each_piece(clock: Clock, work: Work) -> None:
    with work.training():
        work.steps = 2
        assert settled(work)["limit"] == 2.0
        with fetching():
            told = settled(work)
            assert told["limit"] == told["idle"] == 70.0
            clock.pass_by(5.0)
            assert settled(work)["work"] == told["work"] and work.brought == 0.0
            piece_came()
            assert settled(work)["work"] > told["work"] and work.brought == 5.0
        assert settled(work)["limit"] == 2.0


def test_who_waits_for_what_another_process_fetches_is_waited_for(work: Work) -> None:
    with work.training(), queued():
        work.steps = 2
        assert settled(work)["limit"] == 70.0
    assert work.fetches == replace(work.fetches, fetching=0)
