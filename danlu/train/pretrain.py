"""The stage ``pretrain``: a model from a token store; run again, it goes on where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from danlu.corpus.rows import Rows
from danlu.corpus.store import TokenStore
from danlu.errors import CheckpointError
from danlu.log import MetricsLog, progress, read_metrics, say
from danlu.nn.hf.folder import save_model
from danlu.runs import Figures, Job, Stage
from danlu.train.checkpoint import as_model, check_fits, checkpoints, load_newest
from danlu.train.divergence import stop_where_diverged
from danlu.train.length import Length, arithmetic, first_guess, read_length, what_differs, write_length
from danlu.train.loop import Hook, fit
from danlu.train.memory import told_where_too_little
from danlu.train.monitor import Monitor, heldout_loss
from danlu.train.probe import probe, warm_up
from danlu.train.saving import Saver, writing_beside
from danlu.train.settings import TrainSettings
from danlu.train.setup import Training, restart, set_up
from danlu.train.signals import watch_for_stop

PLAN = "plan.json"


class Pretrain(TrainSettings, Stage):
    """Train a model from its first weights on a token store."""

    needs: ClassVar[tuple[str, ...]] = ("tokenizer", "pack")
    resumable: ClassVar[bool] = True
    # A raised budget is not among them: the schedule stretches with it, and so do the steps already done.
    neutral: ClassVar[tuple[str, ...]] = ("save", "evaluations")

    def progress(self, out: Path) -> str | None:
        found = checkpoints(out / "checkpoints")
        return f"its newest checkpoint is {found[-1].name}" if found else None

    def run(self, job: Job) -> Figures:
        train = TokenStore.open(job.inputs["pack"] / "train")
        with told_where_too_little():
            training = set_up(self, train, seed=job.seed)
            return self._run(job, training)

    def _run(self, job: Job, training: Training) -> Figures:
        say(f"precision {training.precision}; {training.compilation}")
        rows = Rows(TokenStore.open(job.inputs["pack"] / "heldout"), self.sequence, job.seed)
        heldout = partial(heldout_loss, training.model, self.objective, rows, batch=training.batches.micro_batch)
        length = self._length(job, training, heldout)
        epochs = length.steps / training.steps_per_epoch
        foretold = "" if length.settled else ", as far as the first steps tell"
        say(f"{length.steps:,} steps of {training.tokens_per_step:,} tokens: {epochs:.2f} epochs{foretold}")
        training = restart(training, self, seed=job.seed)  # the timed steps have spoilt the weights
        done = self._train(job, training, heldout, length)
        model = as_model(training.masters.state(), training.model.config)
        save_model(model, job.out / "model", tokenizer=job.inputs["tokenizer"])
        return self._figures(training, done)

    def _length(self, job: Job, training: Training, heldout: Callable[[], float]) -> Length:
        """How many steps there are, from ``plan.json`` where the run has begun before."""
        path = job.out / PLAN
        # Of all other budgets the settings say it, which may be new where a changed training is to go on.
        length = read_length(path) if self.budget.minutes is not None else None
        if length is None and self.budget.minutes is not None and checkpoints(job.out / "checkpoints"):
            raise CheckpointError(
                f"{path} is missing or damaged, and only it says how many steps there are; "
                f"delete {job.out} to train from the start"
            )
        if length is not None or self.budget.minutes is None:
            if training.compiled:
                warm_up(training, self.objective, say)
            if different := what_differs(path, arithmetic(training)):
                say(f"this run began with {different}: the last bits of its weights will differ from then on")
        if length is None:
            length = self._first_length(training, heldout)
        write_length(path, length, arithmetic(training))
        return length

    def _first_length(self, training: Training, heldout: Callable[[], float]) -> Length:
        at_most = self._steps_at_most(training)
        if self.budget.minutes is None:
            assert at_most is not None, "a budget has at least one limit"
            return Length(at_most, settled=True)
        timed = probe(training, self.objective, say)
        started = time.perf_counter()
        heldout()
        measuring = self.evaluations * (time.perf_counter() - started)
        say(f"first step {timed.first_step_seconds:.1f} s, then {timed.seconds_per_step * 1e3:.0f} ms a step")
        steps = self.budget.steps_in(timed.seconds_per_step, spent=timed.seconds + measuring)
        assert steps is not None
        return first_guess(min(steps, at_most or steps), spent=timed.seconds)

    def _steps_at_most(self, training: Training) -> int | None:
        return self.budget.steps_at_most(
            tokens_per_step=training.tokens_per_step, steps_per_epoch=training.steps_per_epoch
        )

    def _train(self, job: Job, training: Training, heldout: Callable[[], float], length: Length) -> Monitor:
        """Train from the newest checkpoint, or from the start, to the end."""
        folder = job.out / "checkpoints"
        begun, tokens = take_up(training, folder)
        start = begun
        if start > length.steps:
            raise CheckpointError(f"{folder} stands at step {start}, behind the {length.steps} of pretrain.budget")
        metrics = MetricsLog(job.out)
        metrics.rewind(start)
        last = (read_metrics(job.out) or [{"step": 0}])[-1]
        with (
            watch_for_stop() as stop,
            progress("pretrain", length.steps, "steps") as bar,
            writing_beside() as writer,
        ):
            monitor = Monitor(
                metrics, bar, heldout, length.heldout_steps(self.evaluations), tokens=tokens,
                seconds=last.get("seconds", 0.0) if last["step"] == start else 0.0, loss=last.get("loss"), step=start,
            )  # fmt: skip
            saver = Saver(
                folder, training, monitor, stop, self.save, writer, tokenizer=job.inputs["tokenizer"], saved=start
            )
            hooks = (stop_where_diverged, monitor, saver)
            while not length.settled:
                mark = length.mark
                self._fit(training, length, start, mark, hooks)
                # Metrics may be lost with a crash: then only the steps of this process have a time.
                timed = mark if last["step"] == begun else mark - begun
                pace = monitor.seconds / timed if timed else None
                length = length.correct(self.budget, pace=pace, at_most=self._steps_at_most(training))
                write_length(job.out / PLAN, length, arithmetic(training))
                say(f"step {mark:,}: with the pace so far there will be {length.steps:,} steps")
                start = mark
                bar.total, monitor.heldout_steps = length.steps, length.heldout_steps(self.evaluations)
            self._fit(training, length, start, length.steps, hooks)
            saver.finish(length.steps)
        return monitor

    def _fit(self, training: Training, length: Length, start: int, end: int, hooks: Sequence[Hook]) -> None:
        def factor(step: int) -> float:
            return self.schedule.factor(step, steps=length.schedule_steps(step))

        fit(
            training.model, training.batches, self.objective, training.optimizer, factor,
            steps=end, start=start, clip=self.clip, hooks=hooks,
        )  # fmt: skip

    def _figures(self, training: Training, done: Monitor) -> Figures:
        return {
            "parameters": sum(weight.numel() for weight in training.model.parameters()),
            "steps": done.step,
            "tokens": done.tokens,
            "epochs": round(done.step / training.steps_per_epoch, 3),
            "seconds": round(done.seconds, 3),
            "tokens_per_second": round(done.tokens / max(done.seconds, 1e-3), 1),
            "loss": done.loss,
            "precision": training.precision,
            "compilation": training.compilation,
        }


def take_up(training: Training, folder: Path) -> tuple[int, int]:
    """Load the newest checkpoint into ``training``; the steps and tokens that it stands at, 0 where there is none."""
    state = load_newest(folder, say)
    if state is None:
        return 0, 0
    check_fits(state, training.masters.state(), training.optimizer, folder)
    training.masters.load(state.weights)
    settings = [dict(group) for group in training.optimizer.param_groups]
    training.optimizer.load_state_dict(state.optimizer)
    for group, known in zip(training.optimizer.param_groups, settings, strict=True):
        # The learning rate and the like are the recipe's, should they have changed; how far it is, the checkpoint's.
        group.update({name: value for name, value in known.items() if name not in ("params", "lr", "step")})
    say(f"going on after step {state.step}")
    return state.step, state.tokens
