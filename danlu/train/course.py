"""A whole training in the folder of its stage: how long it takes, every step of it, the model, the figures."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from danlu.errors import CheckpointError
from danlu.log import say
from danlu.stage import Figures
from danlu.train.checkpoint import checkpoints
from danlu.train.identity import admit, identity
from danlu.train.length import Length, arithmetic, first_guess, read_length, what_differs, write_length
from danlu.train.monitor import Measure, Monitor
from danlu.train.probe import probe, warm_up
from danlu.train.run import PLAN, Run
from danlu.train.settings import TrainSettings
from danlu.train.setup import Training, restart


@dataclass(frozen=True)
class Course:
    """A training at its first step, and where it takes place; run again, it goes on where it was stopped."""

    settings: TrainSettings
    training: Training
    heldout: Measure
    out: Path
    tokenizer: Path
    """The folder of the one that goes with the model."""
    seed: int

    def run(self) -> tuple[Training, Figures]:
        """To the end: the training as it is then, and its figures.

        Raises:
            DanluError: it diverges, also after going back with lower learning rates.
            OutputError: the last checkpoint could not be saved.
            Interrupted: a signal asked to stop; the work is saved.
        """
        with self.training.masters.ranks.alike("prepares to train"):
            training, length = self._begun()
        run = Run(self.settings, training, self.heldout, length, self.out, self.tokenizer, self.seed)
        done = run.train()
        return training, {**_figures(training, done), **run.outcome()}

    def _begun(self) -> tuple[Training, Length]:
        """The training at its first step, timed or compiled where that is asked for, and how many steps it has."""
        settings, training = self.settings, self.training
        say(f"precision {training.precision}; {training.compilation}{self._shared()}")
        length = self._length()
        epochs = length.steps / training.steps_per_epoch
        unused = training.batches.whole.rows.unused
        foretold = "" if length.settled else ", as far as the first steps tell"
        say(f"{length.steps:,} steps of {training.tokens_per_step:,} tokens: {epochs:.2f} epochs{foretold}")
        if unused.pieces:
            say(f"of {unused.pieces:,} pieces of text, {unused.tokens:,} tokens, the objective can make nothing: "
                "they are left out")  # fmt: skip
        training = restart(training, settings)  # the timed steps have spoilt the weights
        self._admit(training)
        return training, length

    def _admit(self, training: Training) -> None:
        """Have checkpoints say which training they are of, and the folder know it."""
        own = identity(self.settings, seed=self.seed, data=training.data)
        training.history.training = own
        if training.masters.ranks.first:
            admit(self.out / PLAN, own, fresh=not checkpoints(self.out / "checkpoints"))

    def _length(self) -> Length:
        """How many steps there are, from ``plan.json`` where the run has begun before."""
        budget, training = self.settings.budget, self.training
        path, ranks = self.out / PLAN, training.masters.ranks
        length = ranks.from_first(read_length(path, minutes=budget.minutes) if ranks.first else None)
        if budget.minutes is None and length is not None and length.begun_with != self._steps_at_most():
            length = None  # the budget is another one, and a changed training is to go on
        if length is None and budget.minutes is not None and ranks.first and checkpoints(self.out / "checkpoints"):
            raise CheckpointError(
                f"{path} is missing or damaged, and only it says how many steps there are; "
                f"delete {self.out} to train from the start"
            )
        if length is not None and budget.minutes not in (None, length.minutes):
            length = self._reckoned_anew(length)
        if length is not None or budget.minutes is None:
            if any(ranks.all(training.compiled)):  # a machine may have no compiler; a step is one of all ranks
                warm_up(training, say)
            if different := what_differs(path, arithmetic(training)):
                say(f"this run began with {different}: its weights will not be the same from then on")
        if length is None:
            length = ranks.from_first(self._first_length())
        if ranks.first:
            write_length(path, length, arithmetic(training))
        return length

    def _first_length(self) -> Length:
        at_most, budget = self._steps_at_most(), self.settings.budget
        if budget.minutes is None:
            assert at_most is not None, "a budget has at least one limit"
            return Length(at_most, settled=True)
        timed = probe(self.training, say)
        started = time.perf_counter()
        with self.training.masters.ranks.alike("measures"):
            self.heldout.measure(self.training.model)
        measuring = self.settings.evaluations * (time.perf_counter() - started)
        say(f"first step {timed.first_step_seconds:.1f} s, then {timed.seconds_per_step * 1e3:.0f} ms a step")
        steps = budget.steps_in(timed.seconds_per_step, spent=timed.seconds + measuring)
        assert steps is not None
        return first_guess(min(steps, at_most or steps), spent=timed.seconds, minutes=budget.minutes)

    def _reckoned_anew(self, length: Length) -> Length:
        """A length whose budget has now other minutes, for which it is corrected on the way.

        Raises:
            CheckpointError: it is too late for that.
        """
        section, minutes = self.settings.section, self.settings.budget.minutes
        if length.settled:
            raise CheckpointError(
                f"{section}.budget.minutes is now {minutes:g}, but that there are {length.steps:,} steps is settled "
                f"and the learning rate follows from it; to go on for longer, give {section}.budget.steps"
            )
        return replace(length, minutes=minutes)

    def _steps_at_most(self) -> int | None:
        return self.settings.budget.steps_at_most(
            tokens_per_step=self.training.tokens_per_step, steps_per_epoch=self.training.steps_per_epoch
        )

    def _shared(self) -> str:
        """How processes share the training, in words; nothing for one."""
        place = self.training.masters.place
        if place.size == 1:
            return ""
        micro_batches = -(-self.settings.batch // self.training.micro_batch)
        idle = f", with only {micro_batches} micro-batches a step" if micro_batches < place.readers else ""
        return f"; {place.size} processes: {place}{idle}"


def _figures(training: Training, done: Monitor) -> Figures:
    unused = training.batches.whole.rows.unused
    trained = sum(weight.numel() for weight in training.masters.named.values())
    return {
        "parameters": trained + training.frozen,
        **({"trained_parameters": trained} if training.frozen else {}),
        "steps": done.step,
        "tokens": done.tokens,
        "epochs": round(done.step / training.steps_per_epoch, 3),
        **({"unused_tokens": unused.tokens} if unused.pieces else {}),
        "seconds": round(done.seconds, 3),
        "tokens_per_second": round(done.tokens / max(done.seconds, 1e-3), 1),
        "loss": done.loss,
        "precision": training.precision,
        "compilation": training.compilation,
    }
