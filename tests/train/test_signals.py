"""Requests to stop are noted, and everything is as before afterwards."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from danlu.errors import Interrupted
from danlu.train.signals import ask_to_stop, watch_for_stop


@pytest.fixture
def received() -> Iterator[list[int]]:
    """The signals that come through to whoever listened before."""
    seen: list[int] = []
    before = {n: signal.signal(n, lambda number, _: seen.append(number)) for n in (signal.SIGTERM, signal.SIGINT)}
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted_and_comes_back_where_nobody_acted_on_it(
    number: signal.Signals, received: list[int]
) -> None:
    before = signal.getsignal(number)
    with watch_for_stop() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal == number
        assert received == []
    assert received == [number]
    assert signal.getsignal(number) is before


def test_a_request_that_was_acted_on_does_not_come_back(received: list[int]) -> None:
    with pytest.raises(Interrupted), watch_for_stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        raise Interrupted("saved", signal=stop.signal)
    assert received == []


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), watch_for_stop():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_repeated_sigterm_is_one_request(received: list[int]) -> None:
    with watch_for_stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
    assert received == [signal.SIGTERM]


def test_outside_the_main_thread_nobody_watches_and_nothing_breaks() -> None:
    seen: list[int] = []

    def work() -> None:
        with watch_for_stop() as stop:
            seen.append(stop.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0]


def test_outside_the_main_thread_requests_come_from_others_and_do_not_get_lost() -> None:
    ready, asked = threading.Event(), threading.Event()
    seen: list[int] = []

    def work() -> None:
        try:
            with watch_for_stop() as stop:
                ready.set()
                asked.wait(10)
                seen.append(stop.signal)
        except Interrupted as error:
            seen.append(error.exit_code)

    assert not ask_to_stop(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(10)
    assert ask_to_stop(signal.SIGTERM)
    asked.set()
    thread.join()
    assert seen == [signal.SIGTERM, 128 + signal.SIGTERM]
    assert not ask_to_stop(signal.SIGTERM)
