"""The stage ``pretrain``: a model from a token store; run again, it goes on where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from danlu.corpus.store import TokenStore
from danlu.errors import CheckpointError
from danlu.log import say
from danlu.nn.hf.folder import save_model
from danlu.objectives.protocol import Shape
from danlu.runs import Figures, Job, Stage
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.checkpoint import as_model, checkpoints
from danlu.train.length import Length, arithmetic, first_guess, read_length, what_differs, write_length
from danlu.train.memory import told_where_too_little
from danlu.train.monitor import HELDOUT_TOKENS, Heldout, Monitor
from danlu.train.probe import probe, warm_up
from danlu.train.run import PLAN, Run
from danlu.train.settings import TrainSettings
from danlu.train.setup import Training, restart, set_up


class Pretrain(TrainSettings, Stage):
    """Train a model from its first weights on a token store."""

    needs: ClassVar[tuple[str, ...]] = ("tokenizer", "pack")
    resumable: ClassVar[bool] = True
    # Not the budget, with which the schedule stretches, nor evaluations, on which early stopping and plateau hang.
    neutral: ClassVar[tuple[str, ...]] = ("save",)
    unrecorded: ClassVar[tuple[str, ...]] = ("hardware.mesh",)

    def progress(self, out: Path) -> str | None:
        found = checkpoints(out / "checkpoints")
        return f"its newest checkpoint is {found[-1].name}" if found else None

    def external_files(self) -> list[Path]:
        return self.objective.external_files()

    def run(self, job: Job) -> Figures:
        train = TokenStore.open(job.inputs["pack"] / "train")
        with told_where_too_little():
            vocabulary = Vocabulary.of(Tokenizer.load(job.inputs["tokenizer"]))
            training = set_up(self, train, vocabulary=vocabulary, seed=job.seed)
            return self._run(job, training)

    def _run(self, job: Job, training: Training) -> Figures:
        ranks = training.masters.ranks
        say(f"precision {training.precision}; {training.compilation}{_shared(self, training)}")
        store = TokenStore.open(job.inputs["pack"] / "heldout")
        heldout = heldout_of(self, training, store, seed=job.seed)
        length = self._length(job, training, lambda: heldout.loss(training.model))
        epochs = length.steps / training.steps_per_epoch
        unused = training.batches.whole.rows.unused
        foretold = "" if length.settled else ", as far as the first steps tell"
        say(f"{length.steps:,} steps of {training.tokens_per_step:,} tokens: {epochs:.2f} epochs{foretold}")
        if unused.pieces:
            say(f"of {unused.pieces:,} pieces of text, {unused.tokens:,} tokens, the objective can make nothing: "
                "they are left out")  # fmt: skip
        training = restart(training, self, seed=job.seed)  # the timed steps have spoilt the weights
        run = Run(self, training, heldout, length, job.out, job.inputs["tokenizer"], job.seed)
        done = run.train()
        with ranks.alone("saves the model"):
            weights = training.masters.state()
            if ranks.first:
                model = as_model(weights, training.model.config)
                save_model(model, job.out / "model", tokenizer=job.inputs["tokenizer"])
        return {**self._figures(training, done), **run.outcome()}

    def _length(self, job: Job, training: Training, heldout: Callable[[], float]) -> Length:
        """How many steps there are, from ``plan.json`` where the run has begun before."""
        path, ranks = job.out / PLAN, training.masters.ranks
        length = ranks.from_first(read_length(path, minutes=self.budget.minutes) if ranks.first else None)
        if self.budget.minutes is None and length is not None and length.begun_with != self._steps_at_most(training):
            length = None  # the budget is another one, and a changed training is to go on
        if length is None and self.budget.minutes is not None and ranks.first and checkpoints(job.out / "checkpoints"):
            raise CheckpointError(
                f"{path} is missing or damaged, and only it says how many steps there are; "
                f"delete {job.out} to train from the start"
            )
        if length is not None and self.budget.minutes not in (None, length.minutes):
            length = _reckoned_anew(length, self.budget.minutes)
        if length is not None or self.budget.minutes is None:
            if any(ranks.all(training.compiled)):  # a machine may have no compiler; a step is one of all ranks
                warm_up(training, say)
            if different := what_differs(path, arithmetic(training)):
                say(f"this run began with {different}: the last bits of its weights will differ from then on")
        if length is None:
            length = ranks.from_first(self._first_length(training, heldout))
        if ranks.first:
            write_length(path, length, arithmetic(training))
        return length

    def _first_length(self, training: Training, heldout: Callable[[], float]) -> Length:
        at_most = self._steps_at_most(training)
        if self.budget.minutes is None:
            assert at_most is not None, "a budget has at least one limit"
            return Length(at_most, settled=True)
        timed = probe(training, say)
        started = time.perf_counter()
        with training.masters.ranks.alone("measures"):
            heldout()
        measuring = self.evaluations * (time.perf_counter() - started)
        say(f"first step {timed.first_step_seconds:.1f} s, then {timed.seconds_per_step * 1e3:.0f} ms a step")
        steps = self.budget.steps_in(timed.seconds_per_step, spent=timed.seconds + measuring)
        assert steps is not None
        return first_guess(min(steps, at_most or steps), spent=timed.seconds, minutes=self.budget.minutes)

    def _steps_at_most(self, training: Training) -> int | None:
        return self.budget.steps_at_most(
            tokens_per_step=training.tokens_per_step, steps_per_epoch=training.steps_per_epoch
        )

    def _figures(self, training: Training, done: Monitor) -> Figures:
        unused = training.batches.whole.rows.unused
        return {
            "parameters": sum(weight.numel() for weight in training.masters.named.values()),
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


def _reckoned_anew(length: Length, minutes: float | None) -> Length:
    """A length whose budget is now ``minutes``, for which it is corrected on the way.

    Raises:
        CheckpointError: it is too late for that.
    """
    if length.settled:
        raise CheckpointError(
            f"pretrain.budget.minutes is now {minutes:g}, but that there are {length.steps:,} steps is settled and the "
            "learning rate follows from it; to go on for longer, give pretrain.budget.steps"
        )
    return replace(length, minutes=minutes)


def _shared(settings: TrainSettings, training: Training) -> str:
    """How processes share the training, in words; nothing for one."""
    place = training.masters.place
    if place.size == 1:
        return ""
    micro_batches = -(-settings.batch // training.micro_batch)
    idle = f", with only {micro_batches} micro-batches a step" if micro_batches < place.readers else ""
    return f"; {place.size} processes: {place}{idle}"


def heldout_of(settings: TrainSettings, training: Training, store: TokenStore, *, seed: int) -> Heldout:
    """What is measured on the way, of the held-out ``store``."""
    form = Shape(settings.objective, settings.sequence)
    sample = settings.reading.sample(store, form, tokens=HELDOUT_TOKENS, seed=seed)
    shared = training.masters.place.shared
    return Heldout(training.lesson, sample, training.example, training.micro_batch, shared)
