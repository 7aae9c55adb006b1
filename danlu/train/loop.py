"""The heart: one training step after another, and nothing else.

To do more after a step, pass a hook; to do more inside one, copy ``fit``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from danlu.corpus.batches import Batch
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Experience, Lesson, LessonOfOwnText
from danlu.optim.clipping import ClipNorm, ClippingChoice
from danlu.train.gradients import TOKENS, Cuts, Gradients, count_all
from danlu.train.memory import told_where_a_step_is_too_large
from danlu.train.precision import FloatMasters, Masters


@dataclass(frozen=True, slots=True)
class StepInfo:
    """What a hook is told after a step."""

    step: int
    """Steps done so far, this one included."""
    loss: float
    """What was minimised: the means over the step's scored targets, weighted, in nats; 0 where there are none."""
    grad_norm: float
    """Norm of the gradient before clipping."""
    lr: float
    """The schedule's factor at this step."""
    targets: int
    """Scored targets of this step."""
    tokens: int = 0
    """Tokens that were read, padding not counted."""
    losses: dict[str, float] = field(default_factory=dict)
    """Each mean by its name, unweighted; none of what the step did not score."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What else there is to tell, by name; the first is what is looked at most."""
    skipped: bool = False
    """Whether the weights were left as they were."""


CLIP = ClipNorm()
Hook = Callable[[StepInfo], None]
Accept = Callable[[int, float, float], bool]
"""Whether to take a step, by its number, its loss and the norm of its gradient."""


def fit(  # noqa: PLR0913 (what one step needs, and nothing else)
    model: Transformer,
    batches: Callable[[int], Sequence[Batch]],
    lesson: Lesson,
    optimizer: torch.optim.Optimizer,
    lr: Callable[[int], float],
    *,
    steps: int,
    start: int = 0,
    before: Callable[[int], None] | None = None,
    clip: ClippingChoice = CLIP,
    masters: Masters | None = None,
    cuts: Cuts | None = None,
    accept: Accept | None = None,
    hooks: Sequence[Hook] = (),
) -> None:
    """Train ``model`` from step ``start`` to ``steps``.

    Args:
        batches: this process's micro-batches of a step; pure, so a step number is all that resuming needs. A
            :class:`danlu.objectives.protocol.LessonOfOwnText` makes others from them.
        lr: the schedule's factor of a step; each parameter group multiplies it by its ``lr_scale``.
        before: called with the number of each step before it is done.
        clip: what is done to large gradients.
        masters: what the optimizer works on, and how that of many processes comes together; by default the weights.
        cuts: where it stands how micro-batches are cut once memory was short; by default this call's own.
        accept: says which steps are taken; all are where it is None.
        hooks: called in order after every step.
    """
    masters = masters or FloatMasters(model, torch.float32)
    cuts = cuts or Cuts()
    gradients = Gradients(model, lesson, optimizer, masters, cuts)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    model.train()
    for step in range(start, steps):
        if before is not None:
            before(step)
        factor = lr(step)
        for group in optimizer.param_groups:
            group["lr"] = factor * group["lr_scale"]
        micro, figures = _experience(model, batches, lesson, step)
        counts = masters.sum(count_all(micro))  # before backward: the same whatever the micro-batches
        tokens = counts.pop(TOKENS)
        loss, losses = gradients.add(micro, counts)
        norm = masters.norm(weights)
        size = float(norm)  # asked for before the update, which a GPU then does while the next step is prepared
        clip.clip(weights, norm)
        taken = accept is None or accept(step, loss, size)
        if taken:
            with told_where_a_step_is_too_large(cuts.section):
                optimizer.step()
        optimizer.zero_grad()
        info = StepInfo(step + 1, loss, size, factor, sum(counts.values()), tokens, losses, figures, skipped=not taken)
        for hook in hooks:
            hook(info)
        masters.ranks.step()


def _experience(model: Transformer, batches: Callable[[int], Sequence[Batch]], lesson: Lesson, step: int) -> Experience:
    if isinstance(lesson, LessonOfOwnText):
        return lesson.experience(model, batches, step)
    return Experience(batches(step), {})
