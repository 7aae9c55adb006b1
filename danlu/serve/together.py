"""One thread answers what many ask: what waits is answered in one go, and nobody waits for all of a long request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass
class _Request(Generic[Q, A]):
    """Questions, and how far their answers are."""

    questions: Sequence[Q]
    result: Future[list[A]]
    answers: list[A] = field(default_factory=list)

    def following(self, most: int) -> Sequence[Q]:
        """The next questions that go through the model."""
        return self.questions[len(self.answers) : len(self.answers) + most]


class Together(Generic[Q, A]):
    """A queue in front of a model."""

    def __init__(self, answer: Callable[[Sequence[Q]], list[A]], *, most: int, alone: bool = False) -> None:
        """
        Args:
            answer: an answer a question, in their order.
            most: questions in one go.
            alone: whether an answer depends on what else is asked: then a request is a go, whole.
        """
        self._answer, self._most, self._alone = answer, most, alone
        self._queue: SimpleQueue[_Request[Q, A]] = SimpleQueue()
        threading.Thread(target=self._work, daemon=True, name="danlu serve").start()

    def ask(self, questions: Sequence[Q]) -> Future[list[A]]:
        """The answers to come. What the model raises is raised by them; cancelled, they are not worked on further."""
        request = _Request[Q, A](questions, Future())
        self._queue.put(request)
        return request.result

    def _work(self) -> None:
        behind: _Request[Q, A] | None = None
        while True:
            group, behind = self._group(behind or self._queue.get())
            self._answer_all([each for each in group if not each.result.cancelled()])

    def _group(self, first: _Request[Q, A]) -> tuple[list[_Request[Q, A]], _Request[Q, A] | None]:
        """Those that go together, and one for the next go that there was no room for."""
        group = [first]
        room = 0 if self._alone else self._most - len(first.following(self._most))
        while room > 0:
            try:
                request = self._queue.get_nowait()
            except Empty:
                break
            room -= len(request.following(self._most))
            if room < 0:
                return group, request
            group.append(request)
        return group, None

    def _answer_all(self, group: Sequence[_Request[Q, A]]) -> None:
        """One go; what is not done then waits behind the others."""
        parts = [each.questions if self._alone else each.following(self._most) for each in group]
        try:
            answers = self._answer([question for part in parts for question in part]) if group else []
        except Exception as error:
            if len(group) == 1:
                _settle(group[0].result, error)
            else:
                for request in group:  # whose fault it is, each finds out alone
                    self._answer_all([request])
            return
        for request, part in zip(group, parts, strict=True):
            request.answers += answers[: len(part)]
            del answers[: len(part)]
            if len(request.answers) == len(request.questions):
                _settle(request.result, request.answers)
            else:
                self._queue.put(request)


def _settle(result: Future[list[A]], value: list[A] | Exception) -> None:
    """Give an answer or an error, unless nobody wants it any longer."""
    if not result.set_running_or_notify_cancel():
        return
    if isinstance(value, Exception):
        result.set_exception(value)
    else:
        result.set_result(value)
