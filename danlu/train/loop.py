"""The heart: one training step after another, and nothing else.

To do more after a step, pass a hook; to do more inside one, copy ``fit``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective


@dataclass(frozen=True, slots=True)
class StepInfo:
    """What a hook is told after a step."""

    step: int
    """Steps done so far, this one included."""
    loss: float
    """Mean loss over the step's scored targets, in nats."""
    grad_norm: float
    """Norm of the gradient before clipping."""
    lr: float
    """The schedule's factor at this step."""
    targets: int
    """Scored targets of this step."""


Hook = Callable[[StepInfo], None]


def fit(  # noqa: PLR0913 (what one step needs, and nothing else)
    model: Transformer,
    batches: Callable[[int], Sequence[Batch]],
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    lr: Callable[[int], float],
    *,
    steps: int,
    start: int = 0,
    clip: float = 1.0,
    hooks: Sequence[Hook] = (),
) -> None:
    """Train ``model`` from step ``start`` to ``steps``.

    Args:
        batches: the micro-batches of a step; pure, so a step number is all that resuming needs.
        lr: the schedule's factor of a step; each parameter group multiplies it by its ``lr_scale``.
        clip: the gradient's norm is cut to this; 0 leaves it.
        hooks: called in order after every step.
    """
    model.train()
    for step in range(start, steps):
        factor = lr(step)
        for group in optimizer.param_groups:
            group["lr"] = factor * group["lr_scale"]
        micro = batches(step)
        count = max(1, sum(batch.count for batch in micro))  # before backward: the same whatever the micro-batches
        loss = torch.zeros(())
        for batch in micro:
            part = objective.loss(model, batch) / count
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        norm = clip_grad_norm(optimizer, clip)
        optimizer.step()
        optimizer.zero_grad()
        info = StepInfo(step + 1, float(loss), float(norm), factor, count)
        for hook in hooks:
            hook(info)


def clip_grad_norm(optimizer: torch.optim.Optimizer, limit: float) -> Tensor:
    """The norm of all gradients together; where it is above ``limit`` > 0, they are scaled down to it."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
    if limit > 0 and norm > limit:
        torch._foreach_mul_(gradients, limit / (norm + 1e-6))
    return norm
