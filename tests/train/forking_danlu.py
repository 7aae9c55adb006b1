"""Runs danlu's command line in processes of their own that have everything imported: forked from this one.

Run as a program by ``test_kill.py``, which asks in lines of JSON: ``{"start": [arguments], "out": file}`` is answered
with the process's id, ``{"poll": id}`` with its exit code, null while it runs.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import torch

from danlu.cli import main

for module in ("danlu.runs", "danlu.train.pretrain", "danlu.train.probe", "danlu.optim.muon", "danlu.optim.schedules"):
    importlib.import_module(module)


def start(arguments: list[str], out: Path) -> int:
    """The id of a new process that does this; what it says and its errors go to files."""
    child = os.fork()
    if child == 0:
        for descriptor, suffix in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(f"{out}{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = 1
        try:
            code = main(arguments)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return child


def poll(child: int) -> int | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = start(asked["start"], Path(asked["out"])) if "start" in asked else poll(asked["poll"])
        print(json.dumps(answer), flush=True)
