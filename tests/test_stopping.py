"""Ctrl-C and SIGTERM end a ``with``, in Python at once and in C after a while, and leave no trace where they do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from danlu.errors import Interrupted
from danlu.stopping import stoppable

TOLD = {signal.SIGTERM: "stopped by SIGTERM", signal.SIGINT: "stopped by Ctrl-C"}


@pytest.mark.parametrize("number", TOLD)
def test_a_signal_passes_through_what_catches_exceptions(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGTERM)
    blamed = []
    with (
        pytest.raises(Interrupted, match=f"^{TOLD[number]}; the same command goes on from here$") as caught,
        stoppable(),
    ):
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        except Exception as error:  # as readers do, which quarantine the record then
            blamed.append(error)
    assert caught.value.exit_code == 128 + number and not blamed
    assert signal.getsignal(signal.SIGTERM) is before
    assert "signals" not in [thread.name for thread in threading.enumerate()]


def test_what_ends_well_and_errors_come_through() -> None:
    for _ in range(2):
        with stoppable():
            pass
        with pytest.raises(ValueError, match="mine"), stoppable():
            raise ValueError("mine")
    assert signal.set_wakeup_fd(-1) == -1


def test_a_thread_watches_nothing() -> None:
    seen = []

    def work() -> None:
        with stoppable():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


FORKING = """
import os, signal, time
from danlu import stopping

stopping.SECONDS_TO_END = 0.1
reading, writing = os.pipe()
there, here = os.pipe()


def fork():
    number = os.fork()
    if number == 0:
        os.close(writing)  # so that it ends with the one that forks, too
        os.write(here, b".")
        os.read(reading, 1)
        os._exit(0)
    os.read(there, 1)
    return number


with stopping.stoppable():
    ended, left = fork(), fork()
    os.kill(ended, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(ended, 0)[1]))
    time.sleep(0.5)
print("lives", os.waitpid(left, os.WNOHANG)[0])
os.write(writing, b".")
"""


def test_a_signal_to_a_process_that_was_forked_is_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [str(-signal.SIGTERM), "lives", "0"], "")


PROGRAM = """
import hashlib, signal, sys, threading
from danlu import stopping

stopping.SECONDS_TO_END = 0.2
with stopping.stoppable():
    if "minded" in sys.argv:
        signal.signal(signal.SIGTERM, lambda number, frame: print("minded", flush=True))
    threading.Timer(0.1, print, ["begun"], {"flush": True}).start()  # when the next line has begun
    hashlib.pbkdf2_hmac("sha256", b"", b"", int(sys.argv[1]))  # no Python of the main thread runs meanwhile
"""


@pytest.mark.parametrize("number", TOLD)
def test_code_in_c_does_not_hold_it_up(number: signal.Signals) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(10**9)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (
        128 + number,
        f"danlu: {TOLD[number]}; the same command goes on from here\n",
    )


def test_who_minds_the_signal_has_all_the_time() -> None:
    """A training saves first."""
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(2 * 10**6), "minded"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=30)
    assert (process.returncode, said, errors) == (0, "minded\n", "")
