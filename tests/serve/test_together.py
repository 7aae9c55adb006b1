"""Requests that wait are answered together, each its own; long ones let others in, bad ones fail alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import pytest

from danlu.serve.together import Together


class Model:
    """Stands still at its first go until it may go on; remembers what it was asked."""

    def __init__(self, answer: Callable[[int], int] = lambda question: question * 10) -> None:
        self.groups: list[list[int]] = []
        self.begun, self.held, self._answer = threading.Event(), threading.Event(), answer

    def __call__(self, questions: Sequence[int]) -> list[int]:
        self.groups.append(list(questions))
        self.begun.set()
        assert self.held.wait(30)
        return [self._answer(each) for each in questions]

    def ask_while_it_stands(self, together: Together[int, int], *requests: list[int]) -> list[Future[list[int]]]:
        """The first alone, the others while it stands."""
        first = together.ask(requests[0])
        assert self.begun.wait(30)
        found = [first, *(together.ask(request) for request in requests[1:])]
        self.held.set()
        return found


def test_what_waits_is_answered_together() -> None:
    model = Model()
    found = model.ask_while_it_stands(Together(model, most=6), [0], [1, 2], [3], [4, 5, 6], [7])
    assert [each.result(30) for each in found] == [[0], [10, 20], [30], [40, 50, 60], [70]]
    assert model.groups == [[0], [1, 2, 3, 4, 5, 6], [7]]


def test_what_depends_on_its_company_is_answered_alone_and_whole() -> None:
    model = Model()
    found = model.ask_while_it_stands(Together(model, most=2, alone=True), [0], [1, 2, 3], [4], [5])
    assert [each.result(30) for each in found] == [[0], [10, 20, 30], [40], [50]]
    assert model.groups == [[0], [1, 2, 3], [4], [5]]


def test_a_long_request_lets_others_in() -> None:
    model = Model()
    found = model.ask_while_it_stands(Together(model, most=2), [0, 1, 2, 3, 4], [5])
    assert [each.result(30) for each in found] == [[0, 10, 20, 30, 40], [50]]
    assert model.groups == [[0, 1], [5], [2, 3], [4]]


def test_one_that_fails_fails_alone() -> None:
    model = Model(lambda question: 100 // question)
    found = model.ask_while_it_stands(Together(model, most=6), [1], [0], [5, 4])
    assert (found[0].result(30), found[2].result(30)) == ([100], [20, 25])
    with pytest.raises(ZeroDivisionError):
        found[1].result(30)


def test_what_nobody_wants_any_longer_is_not_worked_on() -> None:
    model = Model()
    together = Together(model, most=1)
    first = together.ask([0])
    assert model.begun.wait(30)
    second, third = together.ask([1]), together.ask([2])
    assert second.cancel()
    model.held.set()
    assert (first.result(30), third.result(30)) == ([0], [20])
    assert model.groups == [[0], [2]]
