"""``danlu pretrain`` on several local processes, each with what a test does to it."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ranks
import torch
import torch.distributed as dist
from poison import spoilt

from danlu import cli, recipe
from danlu.corpus.batches import Batch
from danlu.corpus.fetching import fetching, piece_came
from danlu.nn import speed
from danlu.objectives.clm import CausalLM
from danlu.parallel import joining, meeting, watch
from danlu.parallel.joining import here
from danlu.run_folder import RunFolder
from danlu.stage import Job
from danlu.train import launch as train_launch
from danlu.train import manifest, precision, pretrain, saving, setup
from danlu.train.checkpoint import checkpoints, find_damage
from danlu.train.compiling import Compilation
from danlu.train.monitor import Heldout, Monitor

SMALL_BYTES = 20_000
COMMON = ("pretrain.optimizer=adamw", "pretrain.hardware.micro_batch=1", "pretrain.save.minutes=null")


def exit_codes(function: Callable[..., int], size: int, *arguments: Any, seconds: float = 60) -> list[int | None]:
    """What ``function`` returns on each rank, or what its process ended with."""
    started, codes = ranks.start(function, size, *arguments), list[int | None]()
    try:
        for process, pipe in started:
            process.join(seconds)
            if process.exitcode is None and not pipe.poll():
                raise TimeoutError(f"no end after {seconds} s: ranks wait for each other")
            try:
                good, result = pickle.loads(pipe.recv_bytes())
                assert good, result
                codes.append(result)
            except EOFError:
                codes.append(process.exitcode)
    finally:
        for process, _ in started:
            process.kill()
    return codes


def launch(folder: str, *overrides: str) -> int:
    """``danlu pretrain`` on this rank; the exit code. What it says is in files beside the run folder."""
    cli.SECONDS_TO_SPEAK = 0.1
    return run_stage("pretrain", folder, *COMMON, *overrides)


def run_stage(stage: str, folder: str, *overrides: str) -> int:
    """A stage of the recipe in ``folder`` on this rank, as from the command line; the exit code."""
    rank = os.environ.get("RANK", "0")
    with (
        Path(folder, f"out-{rank}").open("w", buffering=1) as out,
        Path(folder, f"err-{rank}").open("w", buffering=1) as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            return cli.main([stage, f"{folder}/recipe.yaml", f"run_dir={folder}/run", *overrides])
        except SystemExit as left:
            assert isinstance(left.code, int)
            return left.code


def said(folder: Path) -> list[str]:
    """What two ranks have said on standard error."""
    return [line for rank in range(2) for line in (folder / f"err-{rank}").read_text().splitlines()]


def steps(folder: Path) -> list[str]:
    """The checkpoints of a run, which are whole."""
    found = checkpoints(folder / "run/pretrain/checkpoints")
    assert all(find_damage(path) is None for path in found)
    return [path.name for path in found]


def at_step(number: int, rank: int, act: Callable[[], None]) -> None:
    """Have ``rank`` do something after a step."""
    real = Monitor.__call__

    def call(self: Monitor, info: Any) -> None:
        real(self, info)
        if info.step == number and here().rank == rank:
            act()

    Monitor.__call__ = call  # type: ignore[method-assign]


def launch_until(step: int, number: int, folder: str, *overrides: str) -> int:
    """As ``launch``, and the last rank gets a signal after a step."""
    last = int(os.environ.get("WORLD_SIZE", "1")) - 1
    at_step(step, last, lambda: os.kill(os.getpid(), number))
    return launch(folder, *overrides)


def launch_watchful(folder: str, *overrides: str) -> int:
    """A rank that is gone is seen within two seconds, less than a recipe may ask for: so many die in these tests."""
    joining.BEAT = meeting.BEAT = watch.BEAT = 0.2
    real = meeting.Watchman

    def watchman(connect: Any, rank: int, names: list[str], settings: watch.Watch, *rest: Any) -> watch.Watchman:
        return real(connect, rank, names, settings.model_copy(update={"silent": 1.6}), *rest)

    meeting.Watchman = watchman  # type: ignore[assignment,misc]
    return launch(folder, *overrides)


def launch_hanging(step: int, folder: str, *overrides: str) -> int:
    at_step(step, 1, lambda: time.sleep(600))
    return launch(folder, *overrides)


def hang() -> None:
    """As for a lock that is looked at now and then."""
    until = time.monotonic() + 600
    while time.monotonic() < until:
        time.sleep(0.01)


def turn() -> None:
    """In a ring, as where a condition never holds."""
    until = time.monotonic() + 600
    while time.monotonic() < until:
        pass


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def launch_hanging_in(place: str, victim: int, how: str, folder: str, *overrides: str) -> int:
    """``victim`` hangs where it does ``place``; all others do it as always."""
    owner, name, before = {
        "the first call": (dist, "all_gather", 0),
        "a later call": (dist, "all_gather", 30),
        "reading the tokens": (pretrain.TokenStore, "open_for", 0),
        "building the model": (setup, "build_optimizer", 0),
        "the first step": (CausalLM, "losses", 0),
        "a measurement": (Heldout, "measure", 0),
        "a save": (saving.Saver, "_state", 0),
        "writing": (saving, "save_checkpoint", 0),
        "a later save": (saving.Saver, "_state", 1),
        "a file of a later save": (manifest, "sync_file", 12),
        "drawing the weights": (setup, "drawn", 1),
        "the start": (train_launch, "_check_disk", 0),
        "between stages": (RunFolder, "begin", 0),
        "after training": (RunFolder, "returned", 0),
        "the end": (watch.Watchman, "wait_for_all", 0),
        "leaving": (dist, "destroy_process_group", 0),
    }[place]
    real, calls = getattr(owner, name), itertools.count()

    def call(*arguments: Any, **settings: Any) -> Any:
        if int(os.environ["RANK"]) == victim and next(calls) == before:
            {"sleeps": hang, "turns": turn, "dies": die}[how]()
        return real(*arguments, **settings)

    setattr(owner, name, call)
    return launch_watchful(folder, *overrides)


def launch_fetching(comes: bool, folder: str, *overrides: str) -> int:
    """Rank 1 fetches tokens from elsewhere at its seventh step, and whether any of them ``comes``."""
    real = setup.OwnBatches.__call__

    def batches(self: setup.OwnBatches, step: int) -> list[Batch]:
        if here().rank == 1 and step == 6:
            with fetching():
                for _ in range(3):
                    time.sleep(3.5)
                    if comes:
                        piece_came()
        return real(self, step)

    setup.OwnBatches.__call__ = batches  # type: ignore[method-assign]
    return launch_watchful(folder, *overrides)


def launch_with_small_files(victim: int, first: int, last: int, folder: str, *overrides: str) -> int:
    """``victim`` can write no large files from a step to another: those of a checkpoint are, metrics are not."""

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    at_step(first, victim, lambda: limit(SMALL_BYTES))
    at_step(last, victim, lambda: limit(resource.RLIM_INFINITY))
    return launch(folder, *overrides)


def launch_spoilt(how: str, victim: int, folder: str, *overrides: str) -> int:
    """The loss of ``victim``, or its gradient alone, is multiplied by something from the sixth micro-batch on."""
    real, calls = CausalLM.losses, itertools.count()

    def losses(self: CausalLM, model: Any, batch: Batch) -> dict[str, torch.Tensor]:
        found = real(self, model, batch)
        if not model.training or here().rank != victim or next(calls) < 6:
            return found
        return {name: spoilt(value, how) for name, value in found.items()}

    CausalLM.losses = losses  # type: ignore[method-assign]
    return launch(folder, *overrides)


def launch_failing(problem: str, folder: str, *overrides: str) -> int:
    """Rank 1 fails amid its third step, as a broken device has it; -1 is its end by this error."""
    real, calls = CausalLM.losses, itertools.count()

    def losses(self: CausalLM, model: Any, batch: Batch) -> dict[str, torch.Tensor]:
        if here().rank == 1 and next(calls) == 5:
            raise RuntimeError(problem)
        return real(self, model, batch)

    CausalLM.losses = losses  # type: ignore[method-assign]
    try:
        return launch_watchful(folder, *overrides)
    except RuntimeError as error:
        assert str(error) == problem
        return -1


def launch_without_recipe(victim: int, folder: str, *overrides: str) -> int:
    """``victim`` does not see the recipe."""
    if int(os.environ["RANK"]) == victim:
        real = recipe.load_recipe
        recipe.load_recipe = lambda path, *rest: real(path.with_name("gone.yaml"), *rest)  # type: ignore[assignment]
    return launch(folder, *overrides)


def launch_with_a_bug(victim: int, folder: str, *overrides: str) -> int:
    """``victim`` fails as it reads the recipe, and not for what stands there."""
    if int(os.environ["RANK"]) == victim:
        recipe.load_recipe = lambda *_: len(None)  # type: ignore[assignment,arg-type,return-value]
    return launch(folder, *overrides)


def launch_with_others(name: str, other: str, folder: str, *overrides: str) -> int:
    """Rank 1 has the output of the stage ``name`` from another folder, as from a disk of its own."""

    def job(recipe: Any, inputs: Any, out: Path) -> Job:
        return Job(recipe, {need: Path(other, need) if need == name else path for need, path in inputs.items()}, out)

    train_launch.Job = job  # type: ignore[misc,assignment]
    return launch(folder, *overrides)


def launch_with_another_recipe(folder: str, *overrides: str) -> int:
    """Rank 1 is started with other settings."""
    return launch(folder, *overrides, *(("pretrain.batch=8",) if os.environ["RANK"] == "1" else ()))


def launch_with_another_torch(folder: str, *overrides: str) -> int:
    if os.environ["RANK"] == "1":
        torch.__version__ = "9.9"
    return launch(folder, *overrides)


def launch_until_ctrl_c(folder: str, *overrides: str) -> int:
    """Rank 1 alone gets it, before training begins."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background begin with Ctrl-C ignored
    real = train_launch._check_disk

    def check(*arguments: Any) -> None:
        real(*arguments)
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGINT)

    train_launch._check_disk = check
    return launch(folder, *overrides)


def launch_short(folder: str, *overrides: str) -> int:
    """Rank 1 has memory for one row."""
    real = CausalLM.losses

    def losses(self: CausalLM, model: Any, batch: Batch) -> dict[str, torch.Tensor]:
        if model.training and here().rank == 1 and len(batch.inputs["tokens"]) > 1:
            raise MemoryError
        return real(self, model, batch)

    CausalLM.losses = losses  # type: ignore[method-assign]
    return launch(folder, *overrides)


def launch_without_room_for_a_step(folder: str, *overrides: str) -> int:
    """Rank 1 has no memory for what the optimizer does in the sixth step."""
    real, calls = torch.optim.AdamW.step, itertools.count(1)

    def step(self: torch.optim.AdamW, *arguments: Any) -> Any:
        if here().rank == 1 and next(calls) == 6:
            raise MemoryError
        return real(self, *arguments)

    torch.optim.AdamW.step = step  # type: ignore[method-assign]
    return launch(folder, *overrides)


def launch_on_another_processor(folder: str, *overrides: str) -> int:
    """Rank 1 finds that its processor is no good at bfloat16; rank 0 that its own is."""
    speed.fast_bfloat16 = lambda: "" if os.environ["RANK"] == "1" else "amx_bf16"  # type: ignore[assignment]
    return launch(folder, *overrides)


def launch_in_int8(folder: str, *overrides: str) -> int:
    """Products of blocks in int8 and all else in bfloat16, whatever this processor is."""
    speed.fast_int8 = lambda: "avx512_vnni"  # type: ignore[assignment]
    speed.fast_bfloat16 = lambda: "avx512_bf16"  # type: ignore[assignment]
    return launch(folder, "pretrain.precision=int8", *overrides)


FIRST_SCALE = 2.0**30
"""No gradient fits under it in float16."""


def launch_overflowing(folder: str, *overrides: str) -> int:
    """The scale of a float16 loss begins so high that the first steps overflow."""
    precision.LossScale.__init__.__defaults__ = (FIRST_SCALE, 0)
    return launch(folder, *overrides)


def launch_without_compiler(folder: str, *overrides: str) -> int:
    """Rank 1 has none; what rank 0 compiles would take long here, and changes nothing in who talks when."""
    setup.compile_blocks = lambda *_, **__: Compilation(os.environ["RANK"] == "0", "as the test says")  # type: ignore
    return launch(folder, *overrides)


CALLS = ("all_gather", "all_reduce", "all_to_all_single", "barrier", "broadcast", "reduce", "send", "recv")


def launch_counting(folder: str, *overrides: str) -> int:
    """Each rank leaves the collective calls of its steps, from one line of metrics to the next, in a file."""
    steps: list[list[str]] = [[]]

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            steps[-1].append(name)
            return real(*arguments, **settings)

        return call

    for name in CALLS:
        setattr(dist, name, counted(name, getattr(dist, name)))
    for rank in range(2):
        at_step(3, rank, lambda: steps.append([]))
        at_step(4, rank, lambda: steps.append([]))
    code = launch(folder, *overrides)
    Path(folder, f"calls-{os.environ['RANK']}").write_text(" ".join(steps[1]))
    return code


def mesh_override(mesh: dict[str, int]) -> tuple[str, ...]:
    return tuple(f"pretrain.hardware.mesh.{axis}={size}" for axis, size in mesh.items())


def files(folder: Path) -> dict[str, bytes]:
    """Of the model and the checkpoints."""
    paths = [path for part in ("model", "checkpoints") for path in (folder / "run/pretrain" / part).rglob("*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}
