"""One training on several processes of this machine: what one process does, whatever becomes of one of them."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import torch

from danlu.errors import DanluError
from danlu.log import read_metrics
from danlu.parallel.mesh import Place
from danlu.parallel.world import read_world
from danlu.recipe import load_recipe
from danlu.runs import run_stages
from danlu.train.gradients import OwnBatches
from danlu.train.launch import run_on_ranks
from danlu.verify import forks, kills
from danlu.verify.forks import Fork
from danlu.verify.outcome import Outcome, relative, within, worst
from danlu.verify.sample import Sample, at_once

SIZES = (1, 2, 3, 4)
STEPS, MICRO_BATCHES = 50, 4
CLOSE = 1e-6
"""How far losses, which are float32, may differ relatively: sums over ranks are made in another order."""
STRUCK = 13
"""The step after which a rank is killed or stopped."""
LOST = 3
"""The exit code of a rank that leaves because of another one."""
SECONDS = 120.0


def order(sample: Sample) -> Outcome:
    """What all ranks read together is what one reads, in the same order."""
    faults: list[str] = []
    steps = 0
    whole = sample.training(batch=12, hardware=at_once(12)).batches
    for micro_batch in (1, 2, 3):
        parts = sample.training(batch=12, hardware=at_once(micro_batch)).batches
        assert isinstance(parts, OwnBatches)
        for size in SIZES:
            ranks = [OwnBatches(parts.whole, Place(rank, size)) for rank in range(size)]
            for step in (0, 1, 40):
                [expected] = whole(step)
                own = [batch for rank in ranks for batch in rank(step)]
                same = all(
                    torch.equal(torch.cat([batch.inputs[name] for batch in own]), expected.inputs[name])
                    for name in expected.inputs
                )
                steps += 1
                if not same or sum(batch.tokens for batch in own) != expected.tokens:
                    faults.append(f"{size} ranks, {micro_batch} rows at once: step {step} reads something else")
    compared = f"{steps} steps at {', '.join(map(str, SIZES))} ranks, 1, 2 and 3 rows at once"
    return Outcome(compared, f"{steps - len(faults)} of {steps}", "all", faults)


def ranks(sample: Sample) -> Outcome:
    """Fifty steps of one process with four micro-batches, two with two, three, and four with one."""
    losses = {}
    for size in SIZES:
        run_dir = sample.copy()
        for fork in start(sample, run_dir, size):
            fork.result(seconds=SECONDS)
        losses[size] = _losses(run_dir)
        assert len(losses[size]) == STEPS
    one = losses.pop(1)
    found = {f"{size} ranks": (_apart(one, each), CLOSE) for size, each in losses.items()}
    others = ", ".join(map(str, losses))
    return within(f"losses of {STEPS} steps, {MICRO_BATCHES} micro-batches each: {others} ranks and one", found)


def lost_ranks(sample: Sample) -> Outcome:
    """One of two is killed, and one stopped: the other leaves; run again, it is what an undisturbed one is."""
    straight = sample.copy()
    for fork in start(sample, straight, 2):
        fork.result(seconds=SECONDS)
    wanted, faults = kills.left(straight), []
    for what, number in (("killed", signal.SIGKILL), ("hanging", signal.SIGSTOP)):
        run_dir = sample.copy()
        faults += [f"{what}: {each}" for each in _strike(sample, run_dir, number)]
        for fork in start(sample, run_dir, 2):
            fork.result(seconds=SECONDS)
        faults += [f"{what}: {each}" for each in kills.differing(wanted, kills.left(run_dir))]
    compared = f"2 trainings on 2 ranks, one killed, one stopped after step {STRUCK}; {len(wanted)} files afterwards"
    return Outcome(compared, f"{len(faults)} faults", "0 faults", faults)


def _strike(sample: Sample, run_dir: Path, number: signal.Signals) -> list[str]:
    """Send a signal to rank 1; what is wrong with what rank 0 does then."""
    first, second = start(sample, run_dir, 2)
    if not forks.wait_until(lambda: kills.done(run_dir) >= STRUCK, fork=second):
        second.kill()
        first.kill()
        return ["the training ended before"]
    os.kill(second.pid, number)
    code = first.exit_code(seconds=SECONDS)
    first.kill()
    second.kill()
    said = first.said.read_text(encoding="utf-8", errors="replace")
    wrong = [] if code == LOST else [f"rank 0 leaves with {code}"]
    return wrong if "danlu: error: rank 1 (" in said else [*wrong, "rank 0 does not say that it is rank 1"]


def other_sizes(sample: Sample) -> Outcome:
    """Begun by two processes and gone on with by one, and the other way round."""
    straight = sample.copy()
    for fork in start(sample, straight, 1):
        fork.result(seconds=SECONDS)
    wanted = _losses(straight)
    found, faults = {}, []
    for before, after in ((2, 1), (1, 3)):
        run_dir, name = sample.copy(), f"{before}, then {after}"
        begun = start(sample, run_dir, before)
        if not forks.wait_until(lambda at=run_dir: kills.saved(at) >= 10, fork=begun[0]):  # type: ignore[misc]
            faults.append(f"{name}: the training ended before")
        for fork in begun:
            fork.kill()
        for fork in start(sample, run_dir, after):
            fork.result(seconds=SECONDS)
        losses = _losses(run_dir)
        if len(losses) != len(wanted):
            faults.append(f"{name}: {len(losses)} steps")
        found[name] = (_apart(wanted, losses), CLOSE)
    outcome = within(f"losses of {STEPS} steps, begun on 2 ranks and ended on 1, begun on 1 and ended on 3", found)
    outcome.faults += faults
    return outcome


def _apart(expected: Sequence[float], found: Sequence[float]) -> float:
    """The largest relative difference of losses of one step; where there are fewer of one, of those there are."""
    return worst(relative(a, b) for a, b in zip(expected, found, strict=False))


def _losses(run_dir: Path) -> list[float]:
    return [float(line["loss"]) for line in read_metrics(run_dir / "pretrain")]


def start(sample: Sample, run_dir: Path, size: int) -> list[Fork]:
    """A training in ``run_dir`` on so many processes, as a launcher starts them."""
    overrides = [
        f"run_dir={run_dir}", f"pretrain.batch={MICRO_BATCHES}", "pretrain.hardware.micro_batch=1",
        f"pretrain.budget.steps={STEPS}", "pretrain.save.minutes=null",
    ]  # fmt: skip
    port, begun = free_port(), []
    for rank in range(size):
        place = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "MASTER_PORT": port}
        environment = {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"}
        said = run_dir.parent / f"said-{rank}"
        begun.append(forks.start(pretrain, sample.recipe, overrides, said=said, environment=environment))
    return begun


def pretrain(recipe: Path, overrides: Sequence[str]) -> None:
    """What ``danlu pretrain`` does on a rank."""
    loaded, world = load_recipe(recipe, overrides), read_world(os.environ)
    if world is None:
        run_stages(loaded, ["pretrain"])
        return
    try:
        run_on_ranks(world, loaded, ["pretrain"], print, begin=print)
    except DanluError as error:
        print(f"danlu: error: {error}", flush=True)
        raise SystemExit(error.exit_code) from None


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
