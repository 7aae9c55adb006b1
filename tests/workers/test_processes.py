"""The same result in one process and in several; errors come through, and nobody waits for ever."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable

import pytest

from danlu.errors import InputError
from danlu.workers.processes import ProcessDiedError, Workers


def squares() -> Callable[[int], tuple[int, int]]:
    return lambda number: (number * number, os.getpid())


def refusing() -> Callable[[int], int]:
    def refuse(number: int) -> int:
        raise InputError(f"{number} is refused")

    return refuse


@pytest.mark.parametrize("most", [1, 2])
def test_each_is_done_once(most: int) -> None:
    with Workers("clean", most) as workers:
        for things in (range(7), range(3)):
            done = list(workers.work_through(squares, things))
            assert sorted(square for square, _ in done) == [number**2 for number in things]
            assert all((process == os.getpid()) == (most == 1) for _, process in done)


def test_one_thing_needs_no_other_process() -> None:
    with Workers("clean", 4) as workers:
        assert list(workers.work_through(squares, [3])) == [(9, os.getpid())]
        assert list(workers.work_through(squares, [])) == []
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("most", [1, 2])
def test_an_error_is_told_as_it_is_and_ends_the_processes(most: int) -> None:
    with pytest.raises(InputError, match="is refused"), Workers("clean", most) as workers:
        list(workers.work_through(refusing, [1, 2]))
    for process in multiprocessing.active_children():
        process.join(10)
    assert not multiprocessing.active_children()


def dying() -> Callable[[int], None]:
    return lambda number: os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_one_line() -> None:
    with pytest.raises(ProcessDiedError, match=r"choose fewer clean\.workers"), Workers("clean", 2) as workers:
        list(workers.work_through(dying, [1, 2]))
