"""``--ray ADDRESS``: the same stages on the workers of a Ray cluster, shown and ended here as if they ran here."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from danlu.errors import DanluError, InputError, Interrupted, RecipeError
from danlu.log import say
from danlu.parallel.desk import Desk, End, Line, News
from danlu.parallel.verdict import LOST
from danlu.parallel.world import read_world
from danlu.recipe import Recipe
from danlu.run_folder import Changed, RunFolder
from danlu.train.ray_worker import Task, work
from danlu.train.settings import TrainSettings
from danlu.train.signals import StopRequest, watch_for_stop
from danlu.workers.cluster import connected, first_line, load_ray

PACKAGE = "ray[train]"
OF_WORKERS = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
"""When a rank is lost, the connections of all others fail, and torch tells of each."""
AGAIN = "run the same command to go on"
SECONDS_BETWEEN_NEWS = 0.3
SECONDS_TO_LEAVE = 10.0
"""How long the others have to come to their end once rank 0 has stopped or failed."""


class WorkersError(DanluError):
    """What ended the workers, with the exit code that they would have left with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_on_ray(
    recipe: Recipe, stages: Iterable[str], *, address: str | None, workers: int | None, changed: Changed = "refuse"
) -> RunFolder:
    """As :func:`danlu.train.launch.run_on_ranks`, on workers that Ray starts.

    Args:
        address: ``local`` for a cluster that begins and ends with this call; else as ``ray.init`` takes it.
        workers: how many; None for as many as ``hardware.mesh`` says.

    Raises:
        RecipeError: the number of workers is not said, or does not fit the mesh.
        InputError: Ray is not installed, or there is no such cluster.
        WorkersError: whatever ended the workers.
        Interrupted: this process was asked to stop; the work is saved.
        SystemExit: the workers failed, and have said why.
    """
    if address is None:
        raise InputError("--workers is the number of Ray's workers; without --ray ADDRESS there are none")
    if read_world(os.environ) is not None:
        raise InputError("--ray starts the processes itself; give the command once, without torchrun or srun")
    settings = _settings(recipe)
    size = count_workers(settings, workers)
    recipe = replace(recipe, run_dir=recipe.run_dir.absolute())
    ray = load_ray(PACKAGE)
    ray_workers = _ray_workers()
    with connected(ray, address, size, OF_WORKERS), tempfile.TemporaryDirectory(prefix="danlu-ray-") as folder:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        each, enough = share_out(nodes, size, device=settings.hardware.device)
        if not enough:
            _tell_too_little(address, size, each, section=settings.section)
        desk = ray.remote(num_cpus=0)(Desk).remote()
        task = Task(desk, recipe, tuple(stages), changed, Path.cwd())
        trainer = ray_workers.trainer(work, {"task": task}, workers=size, each=each, folder=folder)
        with watch_for_stop() as stop:
            news, error = _watch_over(ray, desk, _Fit(trainer), stop)
            _settle(news, error)
    return RunFolder(recipe.run_dir)


def check_workers(recipe: Recipe, workers: int | None) -> None:
    """Refuse early what :func:`run_on_ray` would refuse: a recipe that trains nothing, a number that does not fit.

    Raises:
        DanluError: one line of which it is.
    """
    count_workers(_settings(recipe), workers)


def count_workers(settings: TrainSettings, workers: int | None) -> int:
    """How many workers there shall be.

    Raises:
        RecipeError: neither the mesh nor ``workers`` says it, or they do not agree.
    """
    mesh = settings.hardware.mesh
    if workers is None and mesh.data is None:
        raise RecipeError(f"--ray needs the number of workers: --workers N, or {settings.section}.hardware.mesh.data=N")
    if workers is not None and workers < 1:
        raise InputError(f"--workers must be at least 1; got {workers}")
    size = workers if workers is not None else (mesh.data or 1) * mesh.shard * mesh.tensor
    mesh.place(rank=0, size=size, section=settings.section)
    return size


def share_out(nodes: Sequence[Mapping[str, float]], workers: int, *, device: str) -> tuple[dict[str, int], bool]:
    """What each worker has for itself, a GPU or as many cores as all can have, and whether there is enough of it.

    Args:
        nodes: what each machine has, by Ray's names.
        device: ``hardware.device``.
    """
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if device == "cuda" or (device == "auto" and gpus):
        return {"CPU": 1, "GPU": 1}, gpus >= workers
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    fits = (each for each in range(max(cpus, default=0), 0, -1) if sum(has // each for has in cpus) >= workers)
    most = next(fits, 0)
    return {"CPU": max(1, most)}, most > 0


def _settings(recipe: Recipe) -> TrainSettings:
    found = next((section for section in recipe.sections.values() if isinstance(section, TrainSettings)), None)
    if found is None:
        raise RecipeError(f"--ray is for recipes that train; this one has: {', '.join(recipe.sections)}")
    return found


def _tell_too_little(address: str, workers: int, each: Mapping[str, int], *, section: str) -> None:
    what = "GPU" if "GPU" in each else "CPU"
    if address == "local":
        raise InputError(
            f"this machine does not have a {what} for each of {workers} workers: start fewer (--workers), "
            f"or compute on the processor ({section}.hardware.device=cpu)"
        )
    say(f"the cluster does not have a {what} for each of {workers} workers yet: waiting for more machines")


def _ray_workers() -> ModuleType:
    """Our part that needs Ray Train."""
    try:
        return importlib.import_module("danlu.parallel.ray_workers")
    except ImportError as error:  # Ray is there, but it lacks what it needs for training, or is of another version
        raise InputError(f"--ray needs {PACKAGE} ({first_line(error)}): pip install {PACKAGE}") from error


class _Fit(threading.Thread):
    """The trainer at work, beside the thread that signals come to."""

    def __init__(self, trainer: Any) -> None:
        super().__init__(daemon=True)
        self._trainer = trainer
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._trainer.fit()
        except Exception as error:
            self.error = error


def _watch_over(ray: Any, desk: Any, fit: _Fit, stop: StopRequest) -> tuple[News, Exception | None]:
    """Show what the workers say, until all have come to their end or are not worth waiting for."""
    fit.start()
    explained: list[Line] = []
    until = float("inf")
    while True:
        ended = not fit.is_alive()
        try:
            news: News = ray.get(desk.news.remote(stop.signal))
        except ray.exceptions.RayError as error:
            raise WorkersError(f"the Ray cluster is lost: {first_line(error)}; {AGAIN}", LOST) from error
        for line in news.lines:
            print(line.text, file=sys.stderr if line.error else sys.stdout, flush=True)
            explained += [line] * (line.error and line.text.startswith("danlu: error: "))
        if stop and 0 not in news.names:
            raise Interrupted("stopped before the workers began", signal=stop.signal)
        first = news.ends.get(0)
        if first is not None and first.code and until == float("inf"):
            until = time.monotonic() + SECONDS_TO_LEAVE
        if ended or time.monotonic() > until:
            return replace(news, lines=explained), fit.error
        fit.join(SECONDS_BETWEEN_NEWS)


def _settle(news: News, error: Exception | None) -> None:
    """Leave as the workers did; ``news.lines`` are the errors that have been shown."""
    ends = [end for _, end in sorted(news.ends.items()) if end.code]
    said = next((end for end in ends if end.message), End())
    if said.code > 128:
        raise Interrupted(said.message, signal=said.code - 128)
    if said.code:
        raise WorkersError(said.message, said.code)
    if ends:
        raise SystemExit(ends[0].code)
    if error is None:
        return
    if news.lines:
        raise SystemExit(LOST)
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    lost = [news.names[rank] for rank in sorted(failures) if rank in news.names]
    if not lost:
        why = str(next(iter(failures.values()), error)).strip().splitlines() or [type(error).__name__]
        raise WorkersError(f"Ray could not start the workers: {why[-1]}", DanluError.exit_code) from error
    raise WorkersError(f"{', '.join(lost)} died; all ranks stop, {AGAIN}", LOST) from error
