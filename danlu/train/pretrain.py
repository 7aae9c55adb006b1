"""The stage ``pretrain``: a model from a token store; run again, it goes on where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from danlu.corpus.rows import Rows
from danlu.corpus.store import TokenStore
from danlu.errors import CheckpointError
from danlu.files import read_json, write_json
from danlu.log import MetricsLog, progress, read_metrics, say
from danlu.nn.hf.folder import save_model
from danlu.runs import Figures, Job, Stage
from danlu.train.checkpoint import as_model, checkpoints, load_newest
from danlu.train.divergence import stop_where_diverged
from danlu.train.loop import fit
from danlu.train.monitor import Monitor, Saver, heldout_loss
from danlu.train.probe import probe, warm_up
from danlu.train.settings import TrainSettings
from danlu.train.setup import Training, restart, set_up
from danlu.train.signals import watch_for_stop


class Pretrain(TrainSettings, Stage):
    """Train a model from its first weights on a token store."""

    needs: ClassVar[tuple[str, ...]] = ("tokenizer", "pack")
    resumable: ClassVar[bool] = True

    def run(self, job: Job) -> Figures:
        train = TokenStore.open(job.inputs["pack"] / "train")
        training = set_up(self, train, seed=job.seed)
        say(f"precision {training.precision}; {training.compilation}")
        rows = Rows(TokenStore.open(job.inputs["pack"] / "heldout"), self.sequence, job.seed)
        heldout = partial(heldout_loss, training.model, self.objective, rows, batch=training.batches.micro_batch)
        steps = self._steps(job, training, heldout)
        say(f"{steps:,} steps of {training.tokens_per_step:,} tokens: {steps / training.steps_per_epoch:.2f} epochs")
        training = restart(training, self, seed=job.seed)  # the timed steps have spoilt the weights
        done = self._train(job, training, heldout, steps)
        model = as_model(training.masters.state(), training.model.config)
        save_model(model, job.out / "model", tokenizer=job.inputs["tokenizer"])
        return self._figures(training, steps, done)

    def _steps(self, job: Job, training: Training, heldout: Callable[[], float]) -> int:
        """How many steps there are, fixed once and for all in ``plan.json``."""
        path = job.out / "plan.json"
        steps = (read_json(path) or {}).get("steps")
        if isinstance(steps, int):
            if training.compiled:
                warm_up(training, self.objective, say)
            return steps
        if self.budget.minutes is not None and checkpoints(job.out / "checkpoints"):
            raise CheckpointError(
                f"{path} is missing or damaged, and only it says how many steps there are; "
                f"delete {job.out} to train from the start"
            )
        steps = self._fix_steps(training, heldout)
        write_json(path, {"steps": steps})
        return steps

    def _fix_steps(self, training: Training, heldout: Callable[[], float]) -> int:
        """The number of steps; from here on nothing depends on the clock."""
        steps = self.budget.steps_at_most(
            tokens_per_step=training.tokens_per_step, steps_per_epoch=training.steps_per_epoch
        )
        if self.budget.minutes is None:
            assert steps is not None, "a budget has at least one limit"
            if training.compiled:
                warm_up(training, self.objective, say)
            return steps
        timed = probe(training, self.objective, say)
        started = time.perf_counter()
        heldout()
        measuring = self.evaluations * (time.perf_counter() - started)
        in_time = self.budget.steps_in(timed.seconds_per_step, spent=timed.seconds + measuring)
        assert in_time is not None
        say(f"first step {timed.first_step_seconds:.1f} s, then {timed.seconds_per_step * 1e3:.0f} ms a step")
        return min(in_time, steps or in_time)

    def _train(self, job: Job, training: Training, heldout: Callable[[], float], steps: int) -> Monitor:
        """Train from the newest checkpoint, or from the start, to ``steps``."""
        folder = job.out / "checkpoints"
        state = load_newest(folder, say)
        start = 0
        if state is not None:
            training.masters.load(state.weights)
            training.optimizer.load_state_dict(state.optimizer)
            start = state.step
            say(f"going on after step {start}")
        metrics = MetricsLog(job.out)
        metrics.rewind(start)
        last = (read_metrics(job.out) or [{}])[-1]
        marks = frozenset(round(steps * n / self.evaluations) for n in range(1, self.evaluations + 1))
        with watch_for_stop() as stop, progress("pretrain", steps, "steps") as bar:
            monitor = Monitor(
                metrics, bar, heldout, marks, tokens=state.tokens if state is not None else 0,
                seconds=last.get("seconds", 0.0), loss=last.get("loss"),
            )  # fmt: skip
            saver = Saver(folder, training, monitor, stop, self.save, tokenizer=job.inputs["tokenizer"], saved=start)
            fit(
                training.model, training.batches, self.objective, training.optimizer,
                partial(self.schedule.factor, steps=steps), steps=steps, start=start, clip=self.clip,
                hooks=(stop_where_diverged, monitor, saver),
            )  # fmt: skip
            saver.finish(steps)
        return monitor

    def _figures(self, training: Training, steps: int, done: Monitor) -> Figures:
        return {
            "parameters": sum(weight.numel() for weight in training.model.parameters()),
            "steps": steps,
            "tokens": done.tokens,
            "epochs": round(steps / training.steps_per_epoch, 3),
            "seconds": round(done.seconds, 3),
            "tokens_per_second": round(done.tokens / max(done.seconds, 1e-3), 1),
            "loss": done.loss,
            "precision": training.precision,
            "compilation": training.compilation,
        }
