"""Float32 masters for bfloat16 weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


class FloatMasters:
    """The parameters that an optimizer works on, in float32 whatever the model computes in.

    A float32 model is its own master. The weights of a bfloat16 model are copies: each gradient is
    added, in float32, to its master's as soon as it is made, and after each optimizer step the
    masters are copied back (Micikevicius et al. 2018, arXiv:1710.03740).
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self.weights = dict(model.named_parameters())
        self.named: dict[str, nn.Parameter] = {}
        for name, weight in self.weights.items():
            if dtype == torch.float32:
                self.named[name] = weight
                continue
            self.named[name] = master = nn.Parameter(weight.detach().float().clone())
            weight.data = weight.data.to(dtype)
            weight.register_post_accumulate_grad_hook(partial(hand_over, master))  # type: ignore[no-untyped-call]

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Have the model's weights follow after every step of ``optimizer``."""
        if any(self.named[name] is not weight for name, weight in self.weights.items()):
            optimizer.register_step_post_hook(lambda *_: self.publish())

    @torch.no_grad()
    def publish(self) -> None:
        """Copy the masters into the model."""
        torch._foreach_copy_(list(self.weights.values()), list(self.named.values()))

    def state(self) -> dict[str, Tensor]:
        """The float32 weights by name."""
        return {name: master.detach() for name, master in self.named.items()}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Take over weights of the same names and shapes, in the masters and in the model."""
        for name, master in self.named.items():
            master.copy_(state[name])
        self.publish()


def hand_over(master: nn.Parameter, weight: Any) -> None:
    """Move a fresh gradient to the master."""
    if master.grad is None:
        master.grad = weight.grad.float()
    else:
        master.grad += weight.grad
    weight.grad = None
