"""What a Ray worker does: it meets the others, runs the stages with them, and leaves word of it at the desk."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT
from typing import Any

from danlu.errors import DanluError
from danlu.log import say
from danlu.optional import optional
from danlu.parallel.desk import End, Line
from danlu.parallel.world import World
from danlu.recipe import Recipe
from danlu.run_folder import Changed
from danlu.train.launch import run_on_ranks
from danlu.train.signals import ask_to_stop

SECONDS_BETWEEN_CALLS = 0.3
"""How often a worker asks whether it shall stop, or where to meet."""


@dataclass(frozen=True)
class Task:
    """What all workers are told."""

    desk: Any
    """The handle of the actor that is the ``Desk``."""
    recipe: Recipe
    stages: tuple[str, ...]
    changed: Changed
    folder: Path
    """Where the command was given, which the recipe's paths are relative to."""


class Told(io.TextIOBase):
    """A stream whose lines somebody else shows."""

    def __init__(self, tell: Callable[[str], Any]) -> None:
        self._tell = tell
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._tell(line)
        return len(text)

    def finish(self) -> None:
        """Tell what has no line end."""
        if self._begun:
            self.write("\n")


def work(config: dict[str, Any]) -> None:
    """The function of the trainer."""
    task: Task = config["task"]
    ray = optional("ray", purpose="a worker of --ray")
    context = optional("ray.train", purpose="a worker of --ray").get_context()
    rank, size, local_rank = context.get_world_rank(), context.get_world_size(), context.get_local_rank()

    def call(method: str, *arguments: Any) -> Any:
        return ray.get(getattr(task.desk, method).remote(*arguments))

    call("begin", rank, f"rank {rank} (host {socket.gethostname()}, process {os.getpid()})")
    if task.folder.is_dir():  # Ray has a folder of its own
        os.chdir(task.folder)
    out, err = Told(lambda text: call("tell", Line(text, False))), Told(lambda text: call("tell", Line(text, True)))
    over = threading.Event()
    if rank == 0:
        call("invite", ray.util.get_node_ip_address(), _free_port())
        threading.Thread(target=_listen, args=(call, over), daemon=True).start()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        end = outcome(lambda: _run(task, _meeting(call, rank, size, local_rank)))
    over.set()
    for stream in (out, err):
        stream.finish()
    call("end", rank, end)


def outcome(run: Callable[[], Any]) -> End:
    """What becomes of it, as the command line would have it: a bug shows its traceback, and has code 1."""
    try:
        run()
    except DanluError as error:
        return End(error.exit_code, str(error))
    except SystemExit as left:  # whoever was first has said why
        return End(left.code if isinstance(left.code, int) else 1)
    except BaseException:
        traceback.print_exc()
        return End(1)
    return End()


def _run(task: Task, world: World | None) -> None:
    def begin(stage: str) -> None:
        say(f"{stage}: begins")

    run_on_ranks(world, task.recipe, task.stages, say, begin=begin, changed=task.changed)


def _meeting(call: Callable[..., Any], rank: int, size: int, local_rank: int) -> World | None:
    if size == 1:
        return None
    while (place := call("meeting")) is None:
        time.sleep(SECONDS_BETWEEN_CALLS)
    address, port = place
    return World(rank, size, local_rank, address, port)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        port: int = found.getsockname()[1]
        return port


def _listen(call: Callable[..., Any], over: threading.Event) -> None:
    """Pass on the wish to stop; where nothing runs that could save, end at once, as a signal would."""
    while not over.wait(SECONDS_BETWEEN_CALLS):
        if number := call("asked"):
            if not ask_to_stop(number):
                call("end", 0, End(128 + number, f"stopped by {'Ctrl-C' if number == SIGINT else 'SIGTERM'}"))
                os._exit(128 + number)
            return
