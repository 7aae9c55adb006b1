"""The gradient of a step from its micro-batches, which are cut smaller where memory does not hold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective, total_loss


def count_targets(micro: Sequence[Batch]) -> dict[str, int]:
    """Scored targets of all micro-batches together, by the name of the loss."""
    counts: Counter[str] = Counter()
    for batch in micro:
        counts.update(batch.counts)
    return dict(counts)


def gather_gradients(
    model: Transformer, objective: Objective, micro: Sequence[Batch], counts: dict[str, int]
) -> tuple[float, dict[str, float]]:
    """Add the gradient of the whole step to the weights.

    Returns:
        The loss that is minimised, and each mean by its name.
    """
    device = next(model.parameters()).device
    sums: dict[str, Tensor] = {}
    for batch in micro:
        if not any(batch.counts.values()):
            continue  # nothing to learn, and no gradient
        losses = objective.losses(model, batch.to(device))
        total_loss(objective, losses, counts).backward()  # type: ignore[no-untyped-call]
        for name, value in losses.items():
            sums[name] = sums[name] + value.detach() if name in sums else value.detach()
    if not sums:
        return 0.0, {}
    loss = float(total_loss(objective, sums, counts))
    return loss, {name: float(value) / max(1, counts[name]) for name, value in sums.items()}
