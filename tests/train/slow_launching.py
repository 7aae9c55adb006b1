"""``danlu pretrain`` on several local processes that are slow, or wait for a lock of the compiler's."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import time
from pathlib import Path
from typing import Any

import torch
from launching import hang, launch_watchful, turn

from danlu.objectives.clm import CausalLM
from danlu.run_folder import RunFolder
from danlu.train import setup
from danlu.train.compiling import Compilation


def launch_compiling(victim: int, how: str, folder: str, *overrides: str) -> int:
    """Blocks are compiled under a lock of the cache's by a compiler that does nothing; ``victim`` hangs before it takes
    the lock, or holding it, or is the only one that needs it."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{folder}/cache"
    Path(folder, "cache/locks").mkdir(parents=True, exist_ok=True)
    hangs = int(os.environ["RANK"]) == victim

    def compiler(graph: torch.fx.GraphModule, _: Any) -> Any:
        if how == "waits" and not hangs:
            return graph.forward
        if hangs and how in ("sleeps", "turns"):
            {"sleeps": hang, "turns": turn}[how]()
        if not hangs and how == "holds":
            time.sleep(1.0)  # until the other one has it
        with Path(folder, "cache/locks/a.lock").open("w") as file:
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.05)
            if hangs and how == "holds":
                hang()
        return graph.forward

    def compile_blocks(model: Any, *_: Any, **__: Any) -> Compilation:
        for block in model.blocks:
            block.compile(backend=compiler, dynamic=False)
        return Compilation(True, "as the test says")

    setup.compile_blocks = compile_blocks
    return launch_watchful(folder, *overrides)


def launch_slow(place: str, folder: str, *overrides: str) -> int:
    """Rank 0 takes longer than ``stuck`` where it does ``place``; in the first step rank 1 takes longer still."""
    rank, calls = int(os.environ["RANK"]), itertools.count()
    owner, name = {
        "drawing the weights": (setup, "first_model"),
        "between stages": (RunFolder, "begin"),
        "the first step": (CausalLM, "losses"),
    }[place]
    real = getattr(owner, name)

    def call(*arguments: Any, **settings: Any) -> Any:
        number = next(calls)
        if place == "drawing the weights":
            for _ in range(8):
                work_for(number * 1.0)
                torch.zeros(1)
        elif place == "between stages":
            for _ in range(8):
                work_for(1.0)
                Path(folder, "recipe.yaml").read_bytes()
        elif number == 0:
            work_for(7.0 if rank == 1 else 2.0)
        return real(*arguments, **settings)

    setattr(owner, name, call)
    return launch_watchful(folder, *overrides)


def work_for(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
