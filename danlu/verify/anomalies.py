"""Steps that would spoil the weights: left out, gone back over, and given up on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.corpus.store import TokenStore
from danlu.errors import DanluError
from danlu.log import read_metrics
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.train.budget import Budget
from danlu.train.checkpoint import checkpoints, find_damage
from danlu.train.guard import Anomalies
from danlu.train.length import Length
from danlu.train.loop import StepInfo
from danlu.train.pretrain import heldout_of
from danlu.train.run import Run
from danlu.train.settings import Saves
from danlu.train.setup import Training
from danlu.verify.outcome import Outcome
from danlu.verify.sample import Sample, quiet, small

STEPS = 50
POISON = {2: math.inf, 3: math.nan, 24: math.nan, 27: math.inf, 28: -math.inf, 33: 1000.0, 40: math.nan}
"""Step, counted from 1 -> what its loss and gradient are multiplied by; there are no spikes before the twentieth."""
PATIENCE, REWINDS, SAVED = 3, 2, 10


@dataclass
class Poisoned:
    """A training of which some steps' losses are multiplied; it also keeps the weights after every step."""

    poison: Callable[[int], float]
    """Of a step, counted from 1."""
    objective: CausalLM = field(default_factory=CausalLM)
    step: int = 0
    weights: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    infos: list[StepInfo] = field(default_factory=list)

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        factor = self.poison(self.step) if model.training else 1.0
        return {name: value * factor for name, value in self.objective.losses(model, batch).items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.objective, name)

    def run(self, sample: Sample, out: Path, **settings: Any) -> Training:
        """Train to the end, in ``out``."""
        known = small(budget=Budget(steps=STEPS), batch=4, save=Saves(steps=SAVED, minutes=None), **settings)
        training = sample.training(batch=4, **settings)
        lesson: Any = self
        training = replace(training, made_ahead=self._watched(training.made_ahead), lesson=lesson)
        heldout = heldout_of(known, training, TokenStore.open(sample.run / "pack" / "heldout"), seed=3)
        kept, length = _Kept.of(training, self), Length(STEPS, settled=True)
        Run(known, kept, heldout, length, out, sample.run / "tokenizer", 3).train()
        return training

    def _watched(self, batches: Any) -> Any:
        def of_step(step: int) -> Sequence[Batch]:
            self.step = step + 1
            made: Sequence[Batch] = batches(step)
            return made

        return of_step


class _Kept(Training):
    """Keeps the weights after every step."""

    poisoned: Poisoned

    @classmethod
    def of(cls, training: Training, poisoned: Poisoned) -> _Kept:
        kept = cls(**{name: getattr(training, name) for name in training.__dataclass_fields__})
        object.__setattr__(kept, "poisoned", poisoned)
        return kept

    def after_step(self, info: StepInfo) -> None:
        super().after_step(info)
        self.poisoned.infos.append(info)
        self.poisoned.weights[info.step] = {name: weight.clone() for name, weight in self.masters.state().items()}


def bad_steps(sample: Sample) -> Outcome:
    """Each is left out, changes no weight, and is no part of the statistics."""
    poisoned, out = Poisoned(lambda step: POISON.get(step, 1.0)), sample.new("bad-steps")
    with quiet() as said:
        training = poisoned.run(sample, out)
    faults, told = [], said.getvalue()
    for info in poisoned.infos:
        before, after = (poisoned.weights.get(step) for step in (info.step - 1, info.step))
        unmoved = before is not None and after is not None and all(torch.equal(after[n], before[n]) for n in before)
        if (info.step in POISON) != info.skipped:
            faults.append(f"step {info.step} was {'' if info.skipped else 'not '}left out")
        elif unmoved != info.skipped:
            faults.append(f"step {info.step}: the weights {'stayed' if unmoved else 'moved'}")
    faults += [
        f"step {step} is left out, but nobody is told" for step in POISON if f"step {step} is left out: " not in told
    ]
    good = [info for info in poisoned.infos if info.step not in POISON]
    guard = training.history.guard
    if list(guard.losses) != [info.loss for info in good]:
        faults.append("the statistics of losses are not those of the steps that were taken")
    if list(guard.norms) != [math.log(info.grad_norm) for info in good]:
        faults.append("the statistics of gradients are not those of the steps that were taken")
    if not all(bool(torch.isfinite(weight).all()) for weight in training.masters.state().values()):
        faults.append("a weight is no number")
    skipped = [line["step"] for line in read_metrics(out) if line.get("skipped")]
    if skipped != list(POISON):
        faults.append(f"metrics.jsonl has steps {skipped} as left out")
    left = sum(info.skipped for info in poisoned.infos)
    return Outcome(f"{STEPS} steps, {len(POISON)} bad; weights, statistics and metrics after each", f"{left} left out",
                   f"{len(POISON)} left out", faults)  # fmt: skip


def rewinds(sample: Sample) -> Outcome:
    """From a step on every one is bad: back to the last checkpoint, then the one before, each time slower; the end."""
    first, out = 3 * SAVED - 2, sample.new("rewinds")
    poisoned = Poisoned(lambda step: math.nan if step >= first else 1.0)
    faults: list[str] = []
    with quiet() as said:
        try:
            poisoned.run(sample, out, anomalies=Anomalies(patience=PATIENCE, rewinds=REWINDS))
            faults.append("it has not ended")
        except DanluError as error:
            if "diverged" not in str(error) or "the last good checkpoint is kept" not in str(error):
                faults.append(f"it ended otherwise: {error}")
    told = said.getvalue()
    saved = (first - 1) // SAVED * SAVED
    steps = [info.step for info in poisoned.infos]
    wanted = [step for begun in (0, saved, saved - SAVED) for step in range(begun + 1, first + PATIENCE - 1)]
    if steps != wanted:
        faults.append(f"other steps were done: {steps}")
    else:
        faults += _not_slower(poisoned, saved)
    faults += _not_again(poisoned, saved)
    if (times := told.count("back, with ")) != REWINDS:
        faults.append(f"it went back {times} times")
    names = [path.name for path in checkpoints(out / "checkpoints") if find_damage(path) is None]
    if names[-1:] != [f"step-{saved:08d}"]:
        faults.append(f"the last good checkpoint is not there, but {names}")
    return Outcome(
        f"{PATIENCE} bad in a row, back to step {saved}, then {saved - SAVED}, at half the rate each time; the end",
        f"{times} rewinds", f"{REWINDS} rewinds", faults,
    )  # fmt: skip


def _not_slower(poisoned: Poisoned, saved: int) -> list[str]:
    """Where the learning rate of a step that is done again is not half of what it was."""
    rates = [info.lr for info in poisoned.infos if info.step == saved + 1]
    return [] if rates == [rates[0] / 2**time for time in range(len(rates))] else [f"the rates were {rates}"]


def _not_again(poisoned: Poisoned, saved: int) -> list[str]:
    """Where the first step after going back does not read the same batch from the same weights: its loss differs."""
    faults = []
    for step in (saved + 1, saved - SAVED + 1):
        losses = [info.loss for info in poisoned.infos if info.step == step][:2]  # later ones have other weights
        if len({*losses}) != 1:
            faults.append(f"step {step} had other losses: {losses}")
    return faults
