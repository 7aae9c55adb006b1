"""What a worker says line by line, and how its end is told."""

from __future__ import annotations

import contextlib
import io

import pytest

from danlu.errors import Interrupted, RunLockedError
from danlu.parallel.desk import End
from danlu.train.ray_worker import Told, outcome


def test_a_stream_is_told_line_by_line() -> None:
    told: list[str] = []
    stream = Told(told.append)
    print("a", "b", file=stream)
    print("", file=stream)
    assert stream.write("c") == 1
    assert told == ["a b", ""]
    stream.write("d\ne")
    stream.finish()
    stream.finish()
    assert told == ["a b", "", "cd", "e"]
    assert not stream.isatty()  # no bars are drawn there


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (RunLockedError("in use"), End(2, "in use")),
        (Interrupted("stopped after step 3", signal=15), End(143, "stopped after step 3")),
        (SystemExit(3), End(3)),
    ],
)
def test_an_error_that_a_user_can_mend_is_its_line_and_its_code(error: BaseException, end: End) -> None:
    def run() -> None:
        raise error

    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert outcome(run) == end
    assert said.getvalue() == ""


def test_a_bug_shows_its_traceback() -> None:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert outcome(lambda: int("x")) == End(1)
    assert said.getvalue().startswith("Traceback") and said.getvalue().endswith("with base 10: 'x'\n")


def test_what_ends_well_has_nothing_to_tell() -> None:
    assert outcome(lambda: None) == End(0, "")
