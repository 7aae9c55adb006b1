"""A running average of the weights, which often measures better than the weights of the last step.

Polyak & Juditsky 1992; exponential, as in Tarvainen & Valpola 2017 (arXiv:1703.01780).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.optim.protocol import Decay
from danlu.recipe import Settings


class Averaging(Settings):
    """How the weights are averaged over the steps."""

    decay: Decay = 0.999
    """The share of the average that one step leaves as it was: it spans about ``1 / (1 - decay)`` steps."""
    warmup: bool = True
    """Hold the decay to ``(1 + t) / (10 + t)`` after t steps, so that the first weights are soon forgotten."""


@dataclass(frozen=True)
class AverageState:
    """What the next update depends on."""

    updates: int
    """Updates so far."""
    weights: dict[str, Tensor]
    """The average, by the names of the parameters."""


class WeightAverage:
    """The exponential moving average of named float32 parameters; it begins as a copy of them."""

    def __init__(self, parameters: Mapping[str, Tensor], settings: Averaging) -> None:
        self.settings, self.updates = settings, 0
        self.parameters = {name: parameter.detach() for name, parameter in parameters.items()}
        self.average = {name: parameter.clone() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are: once after every step."""
        decay = self.settings.decay
        if self.settings.warmup:
            decay = min(decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.average.values()), list(self.parameters.values()), 1 - decay)
        self.updates += 1

    def state(self) -> AverageState:
        """The tensors themselves, not copies."""
        return AverageState(self.updates, self.average)

    @torch.no_grad()
    def load(self, state: AverageState) -> None:
        """Go on from a state of the same names and shapes."""
        for name, average in self.average.items():
            average.copy_(state.weights[name])
        self.updates = state.updates

    @contextmanager
    def swapped_in(self, publish: Callable[[], None] = lambda: None) -> Iterator[None]:
        """While it lasts, the parameters hold the average; then they are as before, to the bit.

        Args:
            publish: called after either exchange, such as :meth:`FloatMasters.publish` where the model computes with
                copies of the parameters.
        """
        self._exchange()
        publish()
        try:
            yield
        finally:
            self._exchange()
            publish()

    @torch.no_grad()
    def _exchange(self) -> None:
        """One weight at a time, in place: a compiled model and the optimizer keep their tensors."""
        for name, parameter in self.parameters.items():
            kept = parameter.clone()
            parameter.copy_(self.average[name])
            self.average[name].copy_(kept)
