"""Early stopping: a training that no longer gains on held-out text ends, and its best weights are its result."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field
from torch import Tensor

from danlu.errors import OutputError
from danlu.files import make_folder, remove_folder, sync_folder, writing
from danlu.log import say
from danlu.nn.config import TransformerConfig
from danlu.parallel.joining import ALONE, Ranks
from danlu.recipe import Settings
from danlu.train.checkpoint import find_damage_of_weights, put_weights, take_weights
from danlu.train.history import History
from danlu.train.loop import StepInfo
from danlu.train.manifest import seal
from danlu.train.memory import is_out_of_memory


class EarlyStopping(Settings):
    """When a training ends before its budget does (Prechelt 1998). What counts is the held-out loss on the way."""

    patience: int = Field(default=3, ge=1)
    """Measurements without a gain after which the training ends."""
    gain: float = Field(default=0.0, ge=0)
    """Nats by which a loss must be below the best so far to be one; where a figure such as accuracy chooses the best
    weights, by how much of that it must be better."""


class EnoughError(Exception):
    """The training need not go on."""


def without_gain(losses: Sequence[float], *, gain: float) -> int:
    """How many measurements have followed the last one that was a gain over all before it."""
    best, since = float("inf"), 0
    for loss in losses:
        if loss < best - gain:
            best, since = loss, 0
        else:
            since += 1
    return since


@dataclass
class BestWeights:
    """A hook that keeps the weights of the lowest held-out loss in ``folder``, on rank 0, and says when to stop.

    What it does follows from the history alone, so that a resumed training stops where an undisturbed one does. The
    best weights of the times of the checkpoints are kept too, for the training may go back to one of them.
    """

    settings: EarlyStopping
    history: History
    folder: Path
    weights: Callable[[], dict[str, Tensor]]
    """As they are now, in float32."""
    config: TransformerConfig | None
    """None where the weights are a part of a model."""
    tokenizer: Path
    checkpoints: Callable[[], list[int]]
    """The steps that the training may go back to."""
    ranks: Ranks = ALONE
    moves: int | None = None
    """Bytes that keeping them moves."""
    _forgotten: set[int] = field(default_factory=set)
    """Steps whose weights are no longer any good, and that the disk has refused to remove."""

    def __call__(self, info: StepInfo) -> None:
        self._remove_forgotten()
        measured = self.history.heldout
        if not measured or measured[-1][0] != info.step:
            return
        if self.history.best == measured[-1]:
            with self.ranks.alone("keeps the best weights", moves=self.moves):
                weights = self.weights()
                if self.ranks.first:
                    self._keep(info.step, weights)
        waited = without_gain([loss for _, loss in measured], gain=self.settings.gain)
        if waited >= self.settings.patience:
            step, _ = self.history.best or measured[-1]
            say(f"no gain in {waited} measurements: stopping after step {info.step}; the result is step {step}")
            raise EnoughError

    def go_back(self, step: int) -> None:
        """Forget what was kept after ``step``, from which the training goes on."""
        if self.ranks.first:
            self._forgotten = {later for later in self._kept() if later > step}
            if (refused := self._remove_forgotten()) is not None:
                say(f"could not remove the best weights of a stretch that was gone back over ({refused}); "
                    "training goes on")  # fmt: skip

    def _remove_forgotten(self) -> OutputError | None:
        """What a disk says that refuses; it is asked again after each step, before a checkpoint is saved behind them.

        From such a one a process would go on that takes them for weights of its own.
        """
        try:
            with writing(self.folder):
                for step in sorted(self._forgotten):
                    if self._path(step).exists():
                        remove_folder(self._path(step))
                self._forgotten.clear()
        except OutputError as error:
            return error
        return None

    def best(self) -> dict[str, Tensor] | None:
        """The weights of the best step; None where nothing was measured, the disk had no room for them or spoilt them.

        On others than rank 0, nothing in their place.
        """
        if self.history.best is None:
            return None
        found = self._read(self.history.best[0]) if self.ranks.first else {}
        if not self.ranks.from_first(found is not None):
            return None
        # The objective's own weights, which no model folder holds, end as they are; all ranks have a part of them.
        return {**self.weights(), **(found or {})}

    def _read(self, step: int) -> dict[str, Tensor] | None:
        path = self._path(step)
        if step in self._forgotten or not path.exists():
            say(f"the weights of step {step}, the best, were not kept: the result is the last step")
            return None
        if (damage := find_damage_of_weights(path)) is not None:
            say(f"{path}, the weights of the best step, is damaged ({damage}): the result is the last step")
            return None
        return take_weights(path)

    def _keep(self, step: int, weights: dict[str, Tensor]) -> None:
        """Whole or not at all: the folder appears under its name when all of it is on the disk."""
        final = self._path(step)
        hidden = final.with_name(f".{final.name}.partial")
        try:
            with writing(self.folder):
                make_folder(self.folder)
                shutil.rmtree(hidden, ignore_errors=True)
                hidden.mkdir()
                put_weights(hidden, weights, self.config, tokenizer=self.tokenizer)
                seal(hidden)
                if final.exists():
                    remove_folder(final)
                hidden.rename(final)
                self._forgotten.discard(step)
                sync_folder(self.folder)
                self._remove_needless()
        except OutputError as error:
            say(f"could not keep the best weights so far ({error}); training goes on")
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            say("could not keep the best weights so far (memory is short); training goes on")

    def _remove_needless(self) -> None:
        """All but the two newest, and those of the times of checkpoints, that which is being written included."""
        kept = [step for step in self._kept() if step not in self._forgotten]
        needed = {*kept[-2:]}
        for checkpoint in self.checkpoints():
            needed |= set([step for step in kept if step <= checkpoint][-1:])
        for step in set(kept) - needed:
            remove_folder(self._path(step))

    def _kept(self) -> list[int]:
        """Steps, in order."""
        names = [path.name for path in self.folder.glob("step-*")]
        return sorted(int(name.removeprefix("step-")) for name in names if re.fullmatch(r"step-\d+", name))

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"
