"""The same result in one process and in several; errors come through, and nobody waits for ever."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from danlu.clean.workers import work_through
from danlu.errors import InputError


def squares() -> Callable[[int], tuple[int, int]]:
    return lambda number: (number * number, os.getpid())


def refusing() -> Callable[[int], int]:
    def refuse(number: int) -> int:
        raise InputError(f"{number} is refused")

    return refuse


@pytest.mark.parametrize("workers", [1, 2, None])
def test_each_is_done_once(workers: int | None) -> None:
    done = list(work_through(squares, range(7), workers=workers))
    assert sorted(square for square, _ in done) == [number**2 for number in range(7)]
    assert all((process == os.getpid()) == (workers == 1) for _, process in done) or workers is None


def test_one_thing_needs_no_other_process() -> None:
    assert list(work_through(squares, [3], workers=4)) == [(9, os.getpid())]
    assert list(work_through(squares, [], workers=4)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_told_as_it_is(workers: int) -> None:
    with pytest.raises(InputError, match="is refused"):
        list(work_through(refusing, [1, 2], workers=workers))
