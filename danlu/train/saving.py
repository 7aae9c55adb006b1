"""When a checkpoint is saved, and who writes it: the training itself or a thread beside it.

A :class:`Saver` is a hook. It hands each checkpoint to a :class:`Writer`, which writes it at once or,
in the background, from a copy in memory while training goes on. Either way one is written at a time,
the last one is waited for, and a disk that refuses is told as a warning until the last one. Of many processes rank 0
writes; all decide alike.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from danlu.errors import Interrupted, OutputError
from danlu.log import say
from danlu.parallel.joining import Ranks
from danlu.train.checkpoint import TrainingState, save_checkpoint
from danlu.train.loop import StepInfo
from danlu.train.memory import is_out_of_memory
from danlu.train.settings import Saves
from danlu.train.setup import Training
from danlu.train.signals import StopRequest


class Writer:
    """Does one piece of work at a time, in a thread of its own."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin ``work``; what was begun before must have been waited for."""
        assert self._thread is None, "one at a time"
        # A daemon, so that Ctrl-C can end the wait and the process; what is half-written is taken for no checkpoint.
        self._thread = threading.Thread(target=self._do, args=(work,), name="checkpoint", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Wait for what was begun; raises what it raised, once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._failure = error


@contextmanager
def writing_beside() -> Iterator[Writer]:
    """A writer that has ended its work when the ``with`` is left, however that happens."""
    writer = Writer()
    try:
        yield writer
    except BaseException as error:
        # The run folder is unlocked next. That the training failed is told; a save that failed too is added to it.
        try:
            writer.wait()
        except OutputError as refused:
            error.add_note(str(refused))
        raise
    writer.wait()


@dataclass
class Wishes:
    """Why this process wants a checkpoint now; it needs nothing of the training, which a call holds on to."""

    stop: StopRequest
    minutes: float | None
    since: float = field(default_factory=time.perf_counter)
    """When the last save ended, or began where the training goes on beside it."""

    def __call__(self) -> tuple[int, bool]:
        """The signal that has asked it to stop, 0 for none; and whether the time has come."""
        return self.stop.signal, self.minutes is not None and time.perf_counter() - self.since > self.minutes * 60


@dataclass
class Saver:
    """Saves every so often, and when asked to stop.

    Amid steps that are left out it waits for one that is taken, or for the training to go back: to a step before them.
    """

    folder: Path
    training: Training
    stop: StopRequest
    settings: Saves
    writer: Writer
    tokenizer: Path
    saved: int | None = None
    """The last step that is on the disk."""
    _begun: int = 0
    """The step that the writer was given."""
    _due: bool = False
    """Whether the step that was to be saved was left out."""

    def __post_init__(self) -> None:
        self._wishes = Wishes(self.stop, self.settings.minutes)
        self._heard = self.ranks.mention(self._wishes)

    @property
    def ranks(self) -> Ranks:
        return self.training.masters.ranks

    def __call__(self, info: StepInfo) -> None:
        if not self.writer.busy:
            self.wait()
        by_steps = self._due or (self.settings.steps is not None and info.step % self.settings.steps == 0)
        self._due = by_steps and info.skipped
        if info.skipped:
            return
        asked, by_time = self._asked()
        if asked:
            self.wait()
            self._save(info.step)
            raise self._interrupted(info.step, asked)
        if by_steps or by_time:
            self.wait()
            if self.settings.background:
                self._begin(info.step)
            else:
                with self._told_where_refused(info.step):
                    self._save(info.step)

    @property
    def being_written(self) -> list[int]:
        """The step that is soon on the disk, where there is one."""
        return [self._begun] if self.writer.busy else []

    def begin(self, step: int) -> None:
        """Go on from ``step``, which is on the disk; what was due behind it no longer is."""
        self.saved, self._due = step, False

    def finish(self, step: int) -> None:
        """Save the last step of all.

        Raises:
            OutputError: it could not be saved.
            Interrupted: the process was asked to stop meanwhile.
        """
        self.wait()
        if self.ranks.from_first(self.saved) != step:
            try:
                self._save(step)
            except OutputError as error:
                problem = f"the last checkpoint could not be saved ({error}); make room and run again"
                raise OutputError(problem) from error
        self.ranks.all(None)  # since the last step somebody may have asked
        asked, _ = self._asked()
        if asked:
            raise self._interrupted(step, asked)

    def wait(self) -> None:
        """Take note of what the writer has done, once it has."""
        with self._told_where_refused(self._begun), self.ranks.alone("saves", moves=self.training.state_bytes):
            self.writer.wait()

    def _asked(self) -> tuple[int, bool]:
        """The signal that has asked any process to stop, 0 for none; and whether rank 0's clock asks for it.

        As all have heard last, within the step: a signal that comes after that is heeded after the next one.
        """
        heard = self._heard()
        return max(signal for signal, _ in heard), heard[0][1]

    @contextmanager
    def _told_where_refused(self, step: int) -> Iterator[None]:
        try:
            yield
        except OutputError as error:
            say(f"could not save a checkpoint at step {step} ({error}); training goes on")

    def _begin(self, step: int) -> None:
        """Have this step written while the next ones are done; before them where memory does not hold it twice."""
        with self.ranks.alone("saves", moves=self.training.state_bytes):
            state = self._state(step)
            copy = copied_where_it_fits(state)
            if copy is None and self.ranks.first:
                say(f"memory is short for a copy of step {step}: training waits while it is written")
                with self._told_where_refused(step):
                    self._write(state)
        self._begun, self._wishes.since = step, time.perf_counter()
        if copy is not None and self.ranks.first:
            self.writer.start(lambda: self._write(copy))

    def _save(self, step: int) -> None:
        """Rank 0 writes, and all hear how it went."""
        with self.ranks.alone("saves", moves=self.training.state_bytes):
            state, refused = self._state(step), None
            if self.ranks.first:
                try:
                    self._write(state)
                except OutputError as error:
                    refused = error
            self._wishes.since = time.perf_counter()
            problem = self.ranks.from_first(None if refused is None else str(refused))
        if problem is not None:
            raise OutputError(problem) from refused

    def _state(self, step: int) -> TrainingState:
        return self.training.state(step)

    def _write(self, state: TrainingState) -> None:
        save_checkpoint(self.folder, state, self.training.saved_as, tokenizer=self.tokenizer)
        self.saved = state.step

    def _interrupted(self, step: int, number: int) -> Interrupted:
        return Interrupted(
            f"stopped after step {step} as asked; the work is saved, run the same command to go on", signal=number
        )


def copied_where_it_fits(state: TrainingState) -> TrainingState | None:
    """:func:`copied`; None where memory does not hold it twice."""
    try:
        return copied(state)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def copied(state: TrainingState) -> TrainingState:
    """The same state in main memory of its own, which no later step changes: a GPU may have no room for it twice."""
    weights, optimizer, average = (_apart(part) for part in (state.weights, state.optimizer, state.average))
    return replace(state, weights=weights, optimizer=optimizer, average=average, history=deepcopy(state.history))


def _apart(value: Any) -> Any:
    """A copy of tensors, and of the tables and lists that they are in."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: _apart(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_apart(each) for each in value]
    return deepcopy(value)
