"""Who this process is among those that a launcher has started: torchrun's environment, or that of Slurm's srun."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from danlu.errors import InputError

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
RESTARTS = "TORCHELASTIC_RESTART_COUNT"
PORTS = range(20000, 30000)
"""Where ranks that srun has started meet, one port a job; MASTER_PORT chooses another."""


@dataclass(frozen=True, slots=True)
class World:
    """One of ``size`` processes, and where they meet."""

    rank: int
    size: int
    local_rank: int
    """Which of the processes of its own machine it is, and so which GPU is its own."""
    address: str
    port: int
    hosted: bool = False
    """Whether the launcher keeps the meeting point; else rank 0 does."""
    attempt: int = 0
    """How often the launcher has started them before: what it keeps holds the words of those too."""


def read_world(environ: Mapping[str, str]) -> World | None:
    """What the launcher says; None where this process is alone.

    Raises:
        InputError: the launcher's variables are not whole, or one is no number.
    """
    if "RANK" in environ or "WORLD_SIZE" in environ:
        world = _of_torchrun(environ)
    elif "SLURM_STEP_ID" in environ and "SLURM_PROCID" in environ:  # a batch script without srun has no step
        world = _of_slurm(environ)
    else:
        return None
    if not 0 <= world.rank < world.size:
        raise InputError(f"the launcher says rank {world.rank} of {world.size} processes; ranks count from 0")
    return world if world.size > 1 else None


def speaks(environ: Mapping[str, str]) -> bool:
    """Whether this process shows errors that all have alike, such as those of the recipe."""
    names = ("RANK", "SLURM_PROCID") if "SLURM_STEP_ID" in environ else ("RANK",)
    return next((environ[name] for name in names if name in environ), "0") == "0"


def _of_torchrun(environ: Mapping[str, str]) -> World:
    missing = [name for name in TORCHRUN if name not in environ]
    if missing:
        raise InputError(f"torchrun's environment is not whole: {', '.join(missing)} missing")
    rank, size, local, port = (_number(environ, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT"))
    hosted = environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    attempt = _number(environ, RESTARTS) if RESTARTS in environ else 0
    return World(rank, size, local, environ["MASTER_ADDR"], port, hosted, attempt)


def _of_slurm(environ: Mapping[str, str]) -> World:
    sizes = [name for name in ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") if name in environ]
    nodes = [environ[name] for name in ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST") if name in environ]
    if not sizes or "SLURM_LOCALID" not in environ or not (nodes or "MASTER_ADDR" in environ):
        raise InputError("srun's environment is not whole: it needs SLURM_NTASKS, SLURM_LOCALID, SLURM_JOB_NODELIST")
    address = environ.get("MASTER_ADDR") or first_node(nodes[0])
    if "MASTER_PORT" in environ:
        port = _number(environ, "MASTER_PORT")
    else:
        job = _number(environ, "SLURM_JOB_ID") if "SLURM_JOB_ID" in environ else 0
        port = PORTS[(job * 16 + _number(environ, "SLURM_STEP_ID")) % len(PORTS)]
    return World(
        _number(environ, "SLURM_PROCID"), _number(environ, sizes[0]), _number(environ, "SLURM_LOCALID"), address, port
    )


def first_node(nodes: str) -> str:
    """The first host of a list as Slurm writes it: ``gpu[03-05,9],cpu1`` begins with ``gpu03``."""
    found = re.match(r"([^\[,]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    if found is None:
        raise InputError(f"cannot read the hosts that Slurm names: {nodes!r}")
    return "".join(part or "" for part in found.groups())


def _number(environ: Mapping[str, str], name: str) -> int:
    try:
        return int(environ[name])
    except ValueError:
        raise InputError(f"the launcher's {name} must be a number; got {environ[name]!r}") from None
