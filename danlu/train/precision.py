"""Float32 masters for weights of half the width, and the scale that keeps float16's gradients from vanishing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from danlu.log import say
from danlu.optim.clipping import gradient_norm
from danlu.parallel.joining import ALONE, Number, Ranks
from danlu.parallel.mesh import Place

OBJECTIVE = "objective."
"""Before the names of what is trained along with the model and is no part of it."""

GROWS_AFTER = 2000
"""Steps without an overflow after which the scale of a loss is doubled."""
SMALLEST_SCALE, LARGEST_SCALE = 1.0, 2.0**24


@dataclass
class LossScale:
    """What a float16 loss is multiplied by, so that small gradients are no zeros (Micikevicius et al. 2018, sec. 3.2).

    Halved when a gradient overflows, doubled after a long while without.
    """

    value: float = 2.0**16
    steps: int = 0
    """Since it was changed."""

    def fits(self, norm: float) -> bool:
        """Whether a step whose gradient has this norm can be taken; the scale follows."""
        if not math.isfinite(norm):
            self.value, self.steps = max(SMALLEST_SCALE, self.value / 2), 0
            return False
        self.steps += 1
        if self.steps >= GROWS_AFTER:
            self.value, self.steps = min(LARGEST_SCALE, self.value * 2), 0
        return True

    def overflows(self, step: int, norm: float) -> bool:
        """Whether ``step``, counted from 0, is left out because its gradient is too large for float16.

        Where the scale cannot be smaller, it is not the scale that is wrong.
        """
        before = self.value
        if self.fits(norm) or before <= SMALLEST_SCALE:
            return False
        say(f"step {step + 1} is left out: its gradient overflows float16; its loss was scaled by {before:g}")
        return True

    def load(self, state: dict[str, Any]) -> None:
        """Take over the fields of another; the gradients' hooks hold this one."""
        self.value, self.steps = float(state["value"]), int(state["steps"])


class Masters(Protocol):
    """The float32 weights that an optimizer works on, and what processes tell each other of them in a step."""

    dtype: torch.dtype
    """What the model computes in."""
    named: dict[str, nn.Parameter]
    scale: LossScale | None
    """Of float16."""

    @property
    def ranks(self) -> Ranks: ...
    @property
    def own(self) -> Mapping[str, nn.Parameter]:
        """Those whose optimizer state is in this process."""
        ...

    @property
    def place(self) -> Place: ...

    def attach(self, optimizer: torch.optim.Optimizer) -> None: ...
    def backward(self, loss: Tensor) -> None: ...
    def publish(self) -> None: ...
    def collect(self, sums: Mapping[str, float] | None) -> dict[str, float] | None:
        """Have the owners' gradients be those of all micro-batches of a step, whoever did them.

        Args:
            sums: of each loss over the micro-batches of this process; None where its memory was short.

        Returns:
            those over all micro-batches; None where the memory of any process was short, and nothing is collected.
        """
        ...

    def spoilt(self) -> list[int]:
        """The ranks whose part of the step that was collected last has a number that is infinite or none."""
        ...

    def forget(self) -> None:
        """Drop gradients that are not collected yet."""
        ...

    def sum(self, values: Mapping[str, Number]) -> dict[str, Number]:
        """What all micro-batches of a step give together, name by name, of what those of this process gave."""
        ...

    def norm(self, weights: Iterable[Tensor]) -> Tensor:
        """Of all gradients together, of which ``weights`` have this process's."""
        ...

    def gathered(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All that the processes' ``own`` tables have, on rank 0; nothing on others."""
        ...

    def owned(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's part of the table that rank 0 has."""
        ...

    def state(self) -> dict[str, Tensor]: ...
    def load(self, state: Mapping[str, Tensor]) -> None: ...
    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]: ...
    def load_optimizer(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None: ...


class FloatMasters:
    """The parameters that an optimizer works on, in float32 whatever the model computes in.

    Frozen weights have none. A float32 model is its own master. The weights of a bfloat16 or float16 model are copies:
    each gradient is added, in float32, to its master's as soon as it is made, and after each optimizer step the
    masters are copied back (Micikevicius et al. 2018, arXiv:1710.03740).

    Args:
        modules: the objective's own, whose names begin with ``objective.``.
        offload: masters, and so the optimizer's state, are in main memory, whatever device the model is on
            (Ren et al. 2021, arXiv:2101.06840).
    """

    ranks: ClassVar[Ranks] = ALONE
    place: ClassVar[Place] = Place(0)

    def __init__(
        self, model: nn.Module, dtype: torch.dtype, *, modules: nn.Module | None = None, offload: bool = False
    ) -> None:
        self.dtype = dtype
        self.weights = dict(model.named_parameters())
        if modules is not None:
            self.weights |= {f"{OBJECTIVE}{name}": weight for name, weight in modules.named_parameters()}
        for frozen in [name for name, weight in self.weights.items() if not weight.requires_grad]:
            weight = self.weights.pop(frozen)
            weight.data = weight.data.to(dtype)
        self.named: dict[str, nn.Parameter] = {}
        self.scale = LossScale() if dtype == torch.float16 else None
        for name, weight in self.weights.items():
            home = torch.device("cpu") if offload else weight.device
            if dtype == torch.float32 and home == weight.device:
                self.named[name] = weight
                continue
            self.named[name] = master = nn.Parameter(weight.detach().to(home, torch.float32, copy=True))
            weight.data = weight.data.to(dtype)
            hook = partial(hand_over, master, scale=self.scale)
            weight.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Have the model's weights follow after every step of ``optimizer``."""
        if any(self.named[name] is not weight for name, weight in self.weights.items()):
            optimizer.register_step_post_hook(lambda *_: self.publish())

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of ``loss`` to that of the masters."""
        (loss if self.scale is None else loss * self.scale.value).backward()  # type: ignore[no-untyped-call]

    @property
    def own(self) -> dict[str, nn.Parameter]:
        return self.named

    def collect(self, sums: Mapping[str, float] | None) -> dict[str, float] | None:
        """What comes in: each gradient is where it belongs as soon as it is made."""
        return None if sums is None else dict(sums)

    def spoilt(self) -> list[int]:
        """None: one process knows of no other."""
        return []

    def forget(self) -> None:
        """Nothing that is not the model's or the optimizer's."""

    def sum(self, values: Mapping[str, Number]) -> dict[str, Number]:
        return dict(values)

    def norm(self, weights: Iterable[Tensor]) -> Tensor:
        return gradient_norm(weights)

    def gathered(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(own)

    def owned(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(whole)

    @torch.no_grad()
    def publish(self) -> None:
        """Copy the masters into the model."""
        torch._foreach_copy_(list(self.weights.values()), list(self.named.values()))

    def state(self) -> dict[str, Tensor]:
        """The float32 weights by name."""
        return {name: master.detach() for name, master in self.named.items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights of the same names and shapes, in the masters and in the model."""
        for name, master in self.named.items():
            master.copy_(state[name])
        self.publish()

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Its ``state_dict``."""
        return optimizer.state_dict()

    def load_optimizer(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """Have ``optimizer`` go on from a ``state_dict``."""
        optimizer.load_state_dict(state)


def hand_over(master: nn.Parameter, weight: Any, *, scale: LossScale | None = None) -> None:
    """Move a fresh gradient to the master, its scale taken off."""
    fresh = weight.grad.to(master.device, torch.float32)
    if scale is not None:
        fresh = fresh / scale.value
    if master.grad is None:
        master.grad = fresh
    else:
        master.grad += fresh
    weight.grad = None
