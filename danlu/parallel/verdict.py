"""Why all ranks leave: who writes it into the store first is right, and says it to people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

LOST = 3
"""The exit code of ranks that leave because of another one."""
CONNECTION = (OSError, RuntimeError)
"""What is raised where the store cannot be reached; torch's own errors are RuntimeErrors."""
MOST = 300
"""Characters of an error's first line that are told."""
KEY = "verdict"


class Store(Protocol):
    """What is used of ``torch.distributed.TCPStore``."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def check(self, keys: list[str], /) -> bool: ...
    def compare_set(self, key: str, expected: str, wanted: str, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who has found what, and the exit code that all leave with."""

    by: int
    problem: str
    code: int = LOST
    absent: str = ""
    """The name of a rank that has failed before it met the others; rank 0 then speaks for it."""


def pronounce(connect: Callable[[], Store], verdict: Verdict) -> bool:
    """Have all ranks leave; whether no other one has been faster and has said why, as far as that can be known."""
    try:
        first = connect().compare_set(KEY, "", json.dumps(asdict(verdict)))
    except CONNECTION:
        return True
    return Verdict(**json.loads(first)).by == verdict.by


def pronounced(store: Store) -> Verdict | None:
    """Why all leave; None while nobody has said so."""
    return Verdict(**json.loads(store.get(KEY))) if store.check([KEY]) else None


def say(problem: str) -> None:
    """Tell people why all ranks stop."""
    print(f"danlu: error: {problem}; all ranks stop, run the same command to go on", file=sys.stderr, flush=True)


def in_short(error: BaseException) -> str:
    """Of which kind it is, and the first line of what it says."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:MOST]}" if first else type(error).__name__
