"""The same result in one process and in several; errors come through, and nobody waits for ever."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path

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


@dataclass(frozen=True)
class Dying:
    """Kills its process at a number, so many times."""

    folder: Path
    number: int
    times: int

    def __call__(self) -> Callable[[int], int]:
        def square(number: int) -> int:
            marks = len(list(self.folder.iterdir()))
            if number == self.number and marks < self.times:
                (self.folder / str(marks)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return number * number

        return square


def test_what_a_killed_process_was_at_is_done_by_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Workers("clean", 2) as workers:
        done = list(workers.work_through(Dying(tmp_path, 3, times=1), range(6), named="page {}".format))
        assert sorted(done) == [number**2 for number in range(6)]
        assert sorted(workers.work_through(Dying(tmp_path, 3, times=1), range(4))) == [0, 1, 4, 9]
    assert not multiprocessing.active_children()
    said = capsys.readouterr().out
    assert said == "clean: a process was killed, perhaps for want of memory, at page 3; another one tries it again\n"


def test_what_kills_two_processes_is_one_line_that_names_it(tmp_path: Path) -> None:
    told = r"killed, perhaps for want of memory, at page 3, after another .* fewer clean\.workers, or leave it out"
    with pytest.raises(ProcessDiedError, match=told), Workers("clean", 2) as workers:
        list(workers.work_through(Dying(tmp_path, 3, times=9), range(6), named="page {}".format))
    assert len(list(tmp_path.iterdir())) == 2 and not multiprocessing.active_children()


def test_a_process_killed_while_it_has_nothing_to_do_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    with Workers("clean", 2) as workers:
        processes = {process for _, process in workers.work_through(squares, range(4))}
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
        more = {process for _, process in workers.work_through(squares, range(4))}
        assert more and not processes & more
    assert capsys.readouterr().out == "", "no input is blamed for it"


class Unlike(Exception):  # noqa: N818 (it is no error of anyone's)
    """One that pickle takes and does not give back."""

    def __init__(self, one: int, *, other: int) -> None:
        super().__init__(one)


def raising() -> Callable[[int], int]:
    def fail(number: int) -> int:
        raise Unlike(number, other=1)

    return fail


def test_an_error_that_cannot_be_sent_is_told_in_words() -> None:
    with pytest.raises(RuntimeError, match="Unlike: "), Workers("clean", 2) as workers:
        list(workers.work_through(raising, [1, 2]))


def slow() -> Callable[[float], float]:
    def wait(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    return wait


@dataclass(frozen=True)
class LateAnswers:
    """0 raises once another has begun; that one answers when nobody listens any more, and SIGTERM has not ended it."""

    folder: Path

    def __call__(self) -> Callable[[int], bytes]:
        def answer(number: int) -> bytes:
            if number == 0:
                wait_for(self.folder / "begun")
                raise ValueError("the first")
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            (self.folder / "begun").touch()
            wait_for(self.folder / "left")
            return bytes(3_000_000)  # more than a pipe holds

        return answer


def wait_for(mark: Path) -> None:
    until = time.monotonic() + 20
    while not mark.exists():
        assert time.monotonic() < until, mark
        time.sleep(0.01)


def test_one_that_is_answering_when_another_failed_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = SpawnProcess.join

    def join(process: SpawnProcess, timeout: float | None = None) -> None:
        (tmp_path / "left").touch()  # its pipe is closed by now
        real(process, timeout)

    monkeypatch.setattr(SpawnProcess, "join", join)
    with pytest.raises(ValueError, match="the first"), Workers("clean", 2) as workers:
        list(workers.work_through(LateAnswers(tmp_path), range(6)))
    assert (tmp_path / "left").exists()
    assert capfd.readouterr().err == ""


def test_who_stops_listening_gets_no_old_answers() -> None:
    with Workers("clean", 2) as workers:
        assert next(workers.work_through(slow, [0.0, 0.2])) == 0.0
        assert sorted(workers.work_through(slow, [0.01, 0.02])) == [0.01, 0.02]


def large() -> Callable[[bytes], bytes]:
    return lambda content: content


def test_things_and_answers_may_be_larger_than_a_pipe_holds() -> None:
    things = [bytes([number]) * 3_000_000 for number in range(5)]
    with Workers("clean", 2) as workers:
        assert sorted(workers.work_through(large, things)) == things
