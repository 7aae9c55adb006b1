"""How many collective calls this process has begun: of two that wait for each other, who has begun fewer is late."""

from __future__ import annotations

import contextlib

import torch.distributed as dist


def begun() -> dict[str, int]:
    """By the name of each group of ranks that it is one of, which is the same on all of them.

    torch numbers the calls of a group for itself, also those that FSDP makes; a group that does not is left out.
    """
    counts: dict[str, int] = {}
    with contextlib.suppress(Exception):  # groups may end while they are looked at
        for group in list(dist.distributed_c10d._world.pg_map):
            with contextlib.suppress(RuntimeError):
                counts[group.group_name] = group._get_sequence_number_for_group()  # type: ignore[attr-defined]
    return counts
