"""A training from its newest checkpoint, or from its first weights, to its end; bad stretches are gone back over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from danlu.errors import CheckpointError, OutputError
from danlu.files import writing
from danlu.log import Metrics, MetricsLog, NoLog, Progress, progress, read_metrics, say
from danlu.parallel.joining import Ranks
from danlu.train.checkpoint import (
    TrainingState,
    check_fits,
    checkpoint_step,
    checkpoints,
    find_damage,
    load_newest,
    setbacks_before,
)
from danlu.train.dropout import seed_step
from danlu.train.fingerprint import in_words
from danlu.train.guard import DivergedError, given_up
from danlu.train.history import setbacks_of
from danlu.train.identity import admitted_to
from danlu.train.length import Length, arithmetic, write_length
from danlu.train.loop import Hook, fit
from danlu.train.monitor import Measure, Measured, Monitor
from danlu.train.saving import Saver, Writer, writing_beside
from danlu.train.settings import TrainSettings
from danlu.train.setup import Training, first_weights
from danlu.train.signals import StopRequest, watch_for_stop
from danlu.train.stopping import BestWeights, EnoughError

PLAN = "plan.json"


@dataclass
class Run:
    """One training in one folder."""

    settings: TrainSettings
    training: Training
    heldout: Measure
    length: Length
    out: Path
    tokenizer: Path
    seed: int
    _metrics: Metrics = field(init=False)
    _start: int = field(init=False)
    """The step that the training goes on from."""
    _known_setbacks: int = field(init=False)
    """Those that its checkpoint knows of."""

    def train(self) -> Monitor:
        """To the end.

        Raises:
            DanluError: the training diverges, also after going back with lower learning rates.
            OutputError: the last checkpoint could not be saved.
            Interrupted: a signal asked to stop; the work is saved.
        """
        self._metrics = MetricsLog(self.out) if self._ranks.first else NoLog()
        with (
            watch_for_stop() as stop,
            progress(self.settings.section, self.length.steps, "steps") as bar,
            writing_beside() as writer,
        ):
            saver = self._saver(stop, writer)
            while True:
                try:
                    return self._attempt(saver, bar)
                except DivergedError as diverged:
                    saver.wait()  # what is being written is the newest checkpoint once it is there
                    self._set_back(diverged, newest=saver.saved or 0)

    def outcome(self) -> dict[str, int | str]:
        """What became of the training that its number of steps does not say, as figures."""
        found: dict[str, int | str] = {}
        history = self.training.history
        if self.settings.early_stopping is not None and history.best is not None:
            found |= {"best_step": history.best[0], "stopped_early": "yes" if self.length.ended_early else "no"}
        if history.setbacks:
            found["setbacks"] = history.setbacks
        return found

    @property
    def _ranks(self) -> Ranks:
        return self.training.masters.ranks

    def _attempt(self, saver: Saver, bar: Progress) -> Monitor:
        start, best = self._take_up(), self._best_weights(saver)
        saver.begin(start)
        monitor = self._monitor(start, bar)
        if best is None:
            self._to_the_end(start, monitor, [self.training.after_step, monitor, saver])
        else:
            best.go_back(start)
            try:
                self._to_the_end(start, monitor, [self.training.after_step, monitor, best, saver])
            except EnoughError:
                self.training.check(monitor.step)  # before the plan says that nothing follows
                self._keep_length(self.length.ended(monitor.step))
        saver.finish(monitor.step)
        if best is not None and (weights := best.best()) is not None:
            self.training.masters.load(weights)
        elif self.training.average is not None:
            self.training.masters.load(self.training.averaged())
        return monitor

    def _to_the_end(self, start: int, monitor: Monitor, hooks: Sequence[Hook]) -> None:
        """Step by step; a budget in minutes is turned into another number of steps on the way."""
        begun, timed_before = start, monitor.seconds > 0
        while not self.length.settled:
            mark = self.length.mark
            self._fit(start, mark, hooks)
            reached = max(start, mark)  # a plan that the disk refused may know less than the checkpoint
            # Metrics may be lost with a crash: then only the steps of this process have a time.
            timed = reached if timed_before or not begun else reached - begun
            pace = self._ranks.from_first(monitor.seconds / timed if timed else None)
            self._keep_length(self.length.correct(self.settings.budget, pace=pace, at_most=self._steps_at_most()))
            say(f"step {mark:,}: with the pace so far there will be {self.length.steps:,} steps")
            start = reached
            monitor.bar.total = self.length.steps
            monitor.heldout_steps = self.length.heldout_steps(self.settings.evaluations)
        self._fit(start, self.length.steps, hooks)

    def _fit(self, start: int, end: int, hooks: Sequence[Hook]) -> None:
        training, history = self.training, self.training.history
        lowered = self.settings.anomalies.lr_factor**history.setbacks

        def factor(step: int) -> float:
            steps = self.length.schedule_steps(step)
            return lowered * self.settings.schedule.factor(step, steps=steps, heldout=history.heldout)

        def before(step: int) -> None:
            seed_step(self.seed, step, reader=training.masters.place.reader)
            if self.settings.dropout_schedule is not None:
                steps = self.length.schedule_steps(step)
                training.dropout.scale(self.settings.dropout_schedule.share(step, steps=steps))

        with self._ranks.training():
            fit(
                training.model, training.made_ahead, training.lesson, training.optimizer, factor,
                steps=end, start=start, before=before, clip=self.settings.clip, masters=training.masters,
                cuts=training.cuts, accept=training.accept, hooks=hooks,
            )  # fmt: skip

    def _take_up(self) -> int:
        """Load the newest checkpoint; the step that it stands at, 0 where there is none."""
        folder = self.out / "checkpoints"
        with self._ranks.alone("reads a checkpoint", moves=self.training.state_bytes):
            state = self._newest(folder)
            if state is None:
                first_weights(self.training, self.settings)
            else:
                self.training.restore(state)
        if state is not None:
            say(f"going on after step {state.step}")
            if other := in_words(state.data, self.training.data):
                say(f"the text is another one than that of the checkpoint: {other}")
        step = 0 if state is None else state.step
        if step > self.length.steps:
            raise CheckpointError(
                f"{folder} stands at step {step}, behind the {self.length.steps} of {self.settings.section}.budget"
            )
        history = self.training.history
        remembered = {} if state is None else state.history
        self._start, self._known_setbacks = step, setbacks_of(remembered, history.training)
        self._forget_setbacks_of_another(remembered)
        history.setbacks = max(self._known_setbacks, self.length.setbacks)
        try:
            self._metrics.rewind(step)
        except OSError as error:
            say(f"could not remove the metrics behind step {step} ({error}); training goes on")
        return step

    def _newest(self, folder: Path) -> TrainingState | None:
        """What rank 0 finds on the disk; others have it without its tensors."""
        ranks, state = self._ranks, None
        if ranks.first:
            state = load_newest(folder, say, in_vain=self._in_vain, of=admitted_to(self.out / PLAN))
            if state is not None:
                check_fits(state, self.training.masters.named, self.training.optimizer, folder)
        told = ranks.from_first(state if state is None or ranks.size == 1 else state.without_tensors())
        return state if ranks.first else told

    def _in_vain(self, path: Path) -> bool:
        """Whether the training has gone back further than this checkpoint since it was saved."""
        back_to = self.length.back_to
        if back_to is None or checkpoint_step(path) <= back_to:
            return False
        return setbacks_before(path, self.length.training) < self.length.setbacks

    def _forget_setbacks_of_another(self, remembered: Mapping[str, Any]) -> None:
        """Have a training with new settings, or new text, go on as the recipe says, however often it had gone back.

        Args:
            remembered: by the checkpoint that it goes on from.
        """
        length, own = self.length, self.training.history.training
        before = max(int(remembered.get("setbacks", 0)), length.setbacks)
        of = length.training or remembered.get("training", "")
        if before and of not in ("", own):
            self._keep_length(replace(length, setbacks=0, back_to=None, training=own))
            say("settings or text have changed since this training went back: its learning rates are those of the "
                f"recipe again, and it may go back {self.settings.anomalies.rewinds} times anew")  # fmt: skip

    def _set_back(self, diverged: DivergedError, *, newest: int) -> None:
        """Have the next attempt go on with a lower learning rate, from the ``newest`` checkpoint.

        Where that has been tried and none was saved since, it is no good one: then from the one before, if there is.

        Raises:
            DanluError: that has been done as often as is allowed.
        """
        history, known = self.training.history, self.settings.anomalies
        if history.setbacks >= known.rewinds:
            raise given_up(diverged, rewinds=history.setbacks, section=self.settings.section) from diverged
        with self._ranks.alone("looks for a checkpoint"):
            found = (newest, self._back_to(newest)) if self._ranks.first else (0, 0)
            newest, back_to = self._ranks.from_first(found)
        history.setbacks += 1
        self._keep_length(replace(self.length, setbacks=history.setbacks, back_to=back_to, training=history.training))
        further = "further " if back_to < newest else ""
        say(f"{diverged}; going {further}back, with {known.lr_factor**history.setbacks:g} of the learning rate")

    def _back_to(self, newest: int) -> int:
        """The step to go back to; only rank 0 knows which checkpoints are on the disk."""
        if newest != self._start or self._known_setbacks >= self.training.history.setbacks:
            return newest
        found = checkpoints(self.out / "checkpoints")
        whole = (checkpoint_step(path) for path in found if find_damage(path) is None)
        return max((step for step in whole if step < newest), default=newest)

    def _monitor(self, start: int, bar: Progress) -> Monitor:
        known = read_metrics(self.out) if self._ranks.first else []
        lines = [line for line in known if line["step"] <= start] or [{"step": 0}]
        return Monitor(
            self._metrics, bar, self._heldout_loss(), self.length.heldout_steps(self.settings.evaluations),
            history=self.training.history, seconds=lines[-1].get("seconds", 0.0) if lines[-1]["step"] == start else 0.0,
            loss=next((line["loss"] for line in reversed(lines) if "loss" in line and "skipped" not in line), None),
            step=start,
        )  # fmt: skip

    def _saver(self, stop: StopRequest, writer: Writer) -> Saver:
        folder = self.out / "checkpoints"
        return Saver(folder, self.training, stop, self.settings.save, writer, tokenizer=self.tokenizer)

    def _heldout_loss(self) -> Callable[[], Measured]:
        """Of the averaged weights, where there are such."""
        training = self.training

        def loss() -> Measured:
            if training.average is None:
                return self.heldout.measure(training.model)
            with training.average.swapped_in(training.masters.publish):
                return self.heldout.measure(training.model)

        def alike() -> Measured:
            with self._ranks.alike("measures"):
                return self._ranks.from_first(loss())

        return alike

    def _best_weights(self, saver: Saver) -> BestWeights | None:
        settings, training = self.settings.early_stopping, self.training
        if settings is None:
            return None

        def steps() -> list[int]:
            soon = saver.being_written  # asked first: it may be among the others before they are looked at
            return [*soon, *map(checkpoint_step, checkpoints(self.out / "checkpoints"))]

        return BestWeights(
            settings, training.history, self.out / "best", training.averaged, training.saved_as, self.tokenizer,
            steps, self._ranks, training.state_bytes,
        )  # fmt: skip

    def _keep_length(self, length: Length) -> None:
        """On the disk too; one that refuses is told, and does not end the training."""
        self.length = length
        if self._ranks.first:
            try:
                with writing(self.out):
                    write_length(self.out / PLAN, length, arithmetic(self.training))
            except OutputError as error:
                say(f"could not keep the number of steps ({error}); training goes on")

    def _steps_at_most(self) -> int | None:
        return self.settings.budget.steps_at_most(
            tokens_per_step=self.training.tokens_per_step, steps_per_epoch=self.training.steps_per_epoch
        )
