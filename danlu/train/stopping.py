"""Early stopping: a training that no longer gains on held-out text ends, and its best weights are its result."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from torch import Tensor

from danlu.errors import OutputError
from danlu.files import read_json, write_json, writing
from danlu.log import say
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.folder import load_model, save_model
from danlu.recipe import Settings
from danlu.train.checkpoint import as_model
from danlu.train.history import History
from danlu.train.loop import StepInfo


class EarlyStopping(Settings):
    """When a training ends before its budget does (Prechelt 1998). What counts is the held-out loss on the way."""

    patience: int = Field(default=3, ge=1)
    """Measurements without a gain after which the training ends."""
    gain: float = Field(default=0.0, ge=0)
    """Nats by which a loss must be below the best so far to be one."""


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
    """A hook that keeps the weights of the lowest held-out loss in ``folder``, and says when to stop.

    What it does follows from the history alone, so that a resumed training stops where an undisturbed one does.
    """

    settings: EarlyStopping
    history: History
    folder: Path
    weights: Callable[[], dict[str, Tensor]]
    """As they are now, in float32."""
    config: TransformerConfig
    tokenizer: Path

    def __call__(self, info: StepInfo) -> None:
        measured = self.history.heldout
        if not measured or measured[-1][0] != info.step:
            return
        if self.history.best == measured[-1]:
            self._keep(info.step)
        waited = without_gain([loss for _, loss in measured], gain=self.settings.gain)
        if waited >= self.settings.patience:
            step, loss = self.history.best or measured[-1]
            say(f"no gain in {waited} measurements: stopping after step {info.step}; "
                f"the result is step {step}, held-out {loss:.4f}")  # fmt: skip
            raise EnoughError

    def _keep(self, step: int) -> None:
        """Whole or not at all: the folder appears under its name when all of it is there."""
        hidden = self.folder.with_name(f".{self.folder.name}.partial")
        try:
            with writing(self.folder):
                shutil.rmtree(hidden, ignore_errors=True)
                hidden.mkdir(parents=True)
                save_model(as_model(self.weights(), self.config), hidden, tokenizer=self.tokenizer)
                write_json(hidden / "step.json", {"step": step})
                if self.folder.exists():
                    shutil.rmtree(self.folder)
                hidden.rename(self.folder)
        except OutputError as error:
            say(f"could not keep the best weights so far ({error}); training goes on")

    def best(self) -> dict[str, Tensor] | None:
        """The kept weights, where they are those of the best step."""
        best = self.history.best
        if best is None or (read_json(self.folder / "step.json") or {}).get("step") != best[0]:
            return None
        return {name: weight.detach() for name, weight in load_model(self.folder).named_parameters()}
