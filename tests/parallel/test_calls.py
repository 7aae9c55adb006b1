"""Collective calls are counted as soon as they begin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist

from danlu.parallel.calls import begun


@pytest.fixture
def group() -> Iterator[str]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield dist.group.WORLD.group_name
    dist.destroy_process_group()


def test_each_call_counts_once_in_its_group(group: str) -> None:
    before = begun()[group]
    dist.all_reduce(torch.zeros(1))
    work = dist.broadcast(torch.zeros(1), src=0, async_op=True)
    assert begun()[group] == before + 2
    work.wait()
    other = dist.new_group([0])
    dist.all_reduce(torch.zeros(1), group=other)
    assert begun()[group] >= before + 2 and begun()[other.group_name] == 1


def test_a_process_that_is_alone_has_none() -> None:
    assert begun() == {}
