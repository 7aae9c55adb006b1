"""Batches that are made ahead are those that are made when they are asked for."""

from __future__ import annotations

import threading

import pytest
import torch

from danlu.corpus.batches import Batch
from danlu.train.ahead import Ahead


class Source:
    """A step's number as its only token; step 5 cannot be made."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.threads: set[int] = set()
        self.made = threading.Semaphore(0)

    def __call__(self, step: int) -> list[Batch]:
        self.asked.append(step)
        self.threads.add(threading.get_ident())
        if step == 5:
            raise OSError("the disk is gone")
        self.made.release()
        return [Batch({"tokens": torch.tensor([[step]])}, {}, {}, 1)]


def number(batches: list[Batch]) -> int:
    [batch] = batches
    return int(batch.inputs["tokens"])


def test_every_step_has_its_own_in_any_order() -> None:
    source = Source()
    ahead = Ahead(source)
    for step in (0, 1, 2, 3, 1, 2, 0, 3, 3):
        assert number(ahead(step)) == step


def test_the_next_step_is_made_before_it_is_asked_for_and_once() -> None:
    source = Source()
    ahead = Ahead(source)
    ahead(0)
    for _ in range(2):  # of step 0, which was asked for, and of step 1, which was not
        assert source.made.acquire(timeout=30)
    assert source.asked == [0, 1]
    assert number(ahead(1)) == 1
    assert source.asked[:2] == [0, 1] and source.asked.count(1) == 1
    assert threading.get_ident() not in source.threads


def test_an_error_comes_with_its_step() -> None:
    ahead = Ahead(Source())
    assert number(ahead(4)) == 4
    with pytest.raises(OSError, match="the disk is gone"):
        ahead(5)
    assert number(ahead(6)) == 6
