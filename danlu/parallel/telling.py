"""Small things that ranks tell each other: one collective call where what is told is short, two where it is long.

``torch.distributed`` has such calls for objects, which are two calls each: the lengths first. Here an envelope of a
fixed size has the length and the beginning, and so as a rule all.
"""

from __future__ import annotations

import pickle
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

LENGTH = 8
"""Bytes that say how long it is."""
ENVELOPE = 1024
"""Bytes that go at once; what a step tells is a tenth of it."""


def gather(value: Any, size: int) -> list[Any]:
    """What each of ``size`` ranks has, by rank."""
    said = pickle.dumps(value)
    told = _gather_bytes(_envelope(said), size)
    lengths = [int.from_bytes(each[:LENGTH], "little") for each in told]
    more = LENGTH + max(lengths) - ENVELOPE
    if more > 0:  # all see it alike
        rest = said[ENVELOPE - LENGTH :]
        told = [begun + end for begun, end in zip(told, _gather_bytes(rest.ljust(more, b"\0"), size), strict=True)]
    return [pickle.loads(each[LENGTH : LENGTH + length]) for each, length in zip(told, lengths, strict=True)]


def broadcast(value: Any, *, speaks: bool) -> Any:
    """What rank 0 has, which is the one that ``speaks``."""
    said = pickle.dumps(value) if speaks else b""
    told = _broadcast_bytes(_envelope(said))
    length = int.from_bytes(told[:LENGTH], "little")
    more = LENGTH + length - ENVELOPE
    if more > 0:
        told += _broadcast_bytes(said[ENVELOPE - LENGTH :].ljust(more, b"\0"))
    return value if speaks else pickle.loads(told[LENGTH : LENGTH + length])


def _envelope(said: bytes) -> bytes:
    return (len(said).to_bytes(LENGTH, "little") + said)[:ENVELOPE].ljust(ENVELOPE, b"\0")


def _gather_bytes(said: bytes, size: int) -> list[bytes]:
    told = [torch.empty(len(said), dtype=torch.uint8) for _ in range(size)]
    dist.all_gather(told, _tensor(said))
    return [each.numpy().tobytes() for each in told]


def _broadcast_bytes(said: bytes) -> bytes:
    told = _tensor(said)
    dist.broadcast(told, 0)
    return told.numpy().tobytes()


def _tensor(said: bytes) -> Tensor:
    return torch.frombuffer(bytearray(said), dtype=torch.uint8)
