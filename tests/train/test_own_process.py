"""A measurement in a process of its own returns what it found, or says in one line that the process died."""

from __future__ import annotations

import os

import pytest

from danlu.train.own_process import ProcessDiedError, in_own_process


def test_it_is_another_process() -> None:
    assert in_own_process(os.getpid) != os.getpid()


def test_a_process_that_dies_is_told_in_one_line() -> None:
    with pytest.raises(ProcessDiedError, match=r"^the process that timed the steps died, [^\n]*micro_batch$"):
        in_own_process(os._exit, 9)
