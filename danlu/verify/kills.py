"""Real trainings, killed with ``kill -9`` and run again: what they leave is what an undisturbed one leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from danlu.log import read_metrics
from danlu.recipe import load_recipe
from danlu.runs import run_stages
from danlu.train.checkpoint import checkpoint_step, checkpoints
from danlu.verify import forks
from danlu.verify.forks import Fork
from danlu.verify.outcome import Outcome
from danlu.verify.sample import Sample

STEPS, EPOCH = 80, 27
"""Of the training, and of an epoch: whole ones, the next begins within a step."""
KNOWN = (
    f"pretrain.budget.steps={STEPS}", "pretrain.average={decay: 0.9}",
    "pretrain.model={use: gpt2, layers: 1, dim: 16, heads: 2, dropout: 0.1}",
)  # fmt: skip
"""Weights, their average and what dropout draws: all of it has to come back."""
SAVES = {"in the training": "{steps: 5}", "beside it": "{steps: 5, background: true}"}
SECONDS = 120.0
Moment = Callable[[Path], bool]


def saved(run_dir: Path) -> int:
    """The newest step that is on the disk; 0 where there is none."""
    found = checkpoints(run_dir / "pretrain" / "checkpoints")
    return checkpoint_step(found[-1]) if found else 0


def done(run_dir: Path) -> int:
    """The last step that is in the metrics, cheaply."""
    try:
        return (run_dir / "pretrain" / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def in_a_save(run_dir: Path, files: int) -> bool:
    """Whether a checkpoint is being written, and has so many files."""
    try:
        hidden = (run_dir / "pretrain" / "checkpoints").glob(".step-*.partial")
        return any(sum(1 for _ in path.rglob("*")) >= files for path in hidden)
    except FileNotFoundError:  # it has its name by now
        return False


MOMENTS: dict[str, Moment] = {
    "before the first save": lambda run_dir: done(run_dir) >= 2,
    "in the first epoch": lambda run_dir: saved(run_dir) >= 5,
    "again": lambda run_dir: saved(run_dir) >= 10 and done(run_dir) % 5 == 2,
    "in a save": lambda run_dir: saved(run_dir) >= 15 and in_a_save(run_dir, 3),
    "in a later epoch": lambda run_dir: saved(run_dir) >= EPOCH + 5,
}


def kills(sample: Sample) -> Outcome:
    """Five kills of a training that saves by itself, and five of one that saves beside itself."""
    straight = sample.copy()
    train(sample, straight, SAVES["in the training"]).result(seconds=SECONDS)
    wanted = left(straight)
    faults: list[str] = []
    resumed: list[int] = []
    for way, saves in SAVES.items():
        run_dir = sample.copy()
        try:
            resumed += _killed(sample, run_dir, saves)
        except RuntimeError as error:
            faults.append(f"{way}: the training does not come to its end: {error}")
        else:
            faults += [f"{way}: {each}" for each in differing(wanted, left(run_dir))]
    planned, struck = len(SAVES) * len(MOMENTS), len(resumed)
    if struck < planned // 2:
        faults.append(f"only {struck} of {planned} kills came before the training was done")
    steps = ", ".join(map(str, resumed))
    return Outcome(f"{struck} kills, gone on from steps {steps} of {STEPS} (an epoch has {EPOCH}); {len(wanted)} files",
                   f"{len(faults)} differ", "0 differ", faults)  # fmt: skip


def _killed(sample: Sample, run_dir: Path, saves: str) -> list[int]:
    """Train to the end, killed at each of the moments; the steps that were saved then.

    Raises:
        RuntimeError: a process ended otherwise.
    """
    resumed = []
    for moment in MOMENTS.values():
        fork = train(sample, run_dir, saves)
        if forks.wait_until(lambda moment=moment: moment(run_dir), fork=fork):  # type: ignore[misc]
            fork.kill()
            resumed.append(saved(run_dir))
        else:
            fork.result(seconds=SECONDS)
    train(sample, run_dir, saves).result(seconds=SECONDS)
    return resumed


def train(sample: Sample, run_dir: Path, saves: str) -> Fork:
    """A process that trains in ``run_dir``."""
    overrides = [f"run_dir={run_dir}", f"pretrain.save={saves}", *KNOWN]
    return forks.start(pretrain, sample.recipe, overrides, said=run_dir.parent / "said")


def pretrain(recipe: Path, overrides: list[str]) -> None:
    """What ``danlu pretrain`` does."""
    run_stages(load_recipe(recipe, overrides), ["pretrain"])


def left(run_dir: Path) -> dict[str, bytes]:
    """All that decides what follows, and the losses on the way."""
    folder = run_dir / "pretrain"
    newest = checkpoints(folder / "checkpoints")[-1]
    files = [*(path for path in newest.rglob("*") if path.is_file()), folder / "model" / "model.safetensors"]
    losses = "\n".join(f"{line['step']} {line['loss']} {line['tokens']}" for line in read_metrics(folder))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files} | {"losses": losses.encode()}


def differing(wanted: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    """Files that are not the same to the byte."""
    return [f"{name} differs" for name in wanted | found if wanted.get(name) != found.get(name)]
