"""The gradient of a step from its micro-batches, which are cut smaller where memory does not hold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.log import say
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Lesson, total_loss
from danlu.train.memory import is_out_of_memory


def count_targets(micro: Sequence[Batch]) -> dict[str, int]:
    """Scored targets of all micro-batches together, by the name of the loss."""
    counts: Counter[str] = Counter()
    for batch in micro:
        counts.update(batch.counts)
    return dict(counts)


@dataclass
class Gradients:
    """Adds the gradient of whole steps to the weights; remembers into how many parts a micro-batch must be cut."""

    model: Transformer
    lesson: Lesson
    optimizer: torch.optim.Optimizer
    backward: Callable[[Tensor], None]
    halvings: int = 0
    """How often each micro-batch is cut in half, because memory was short once."""

    def add(self, micro: Sequence[Batch], counts: dict[str, int]) -> tuple[float, dict[str, float]]:
        """The loss that is minimised, and each mean by its name.

        A step that memory does not hold begins again with micro-batches of half the rows; the sum is the same.

        Raises:
            MemoryError, RuntimeError: single rows are too large.
        """
        self._zero()
        while True:
            try:
                return self._add(_cut(micro, self.halvings), counts)
            except (MemoryError, RuntimeError) as error:
                rows = max(len(batch.inputs["tokens"]) for batch in micro)
                if not is_out_of_memory(error) or rows <= 2**self.halvings:
                    raise
            # Out of the handler, where the error still holds the tensors that are in the way.
            self._zero()
            self.halvings += 1
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            rows = -(-rows // 2**self.halvings)
            say(f"memory is short: micro-batches are cut to {rows} rows; the step stays the same")

    def _zero(self) -> None:
        """Whatever a step that did not come to its end has left, in the model and in its masters."""
        self.model.zero_grad()
        self.optimizer.zero_grad()

    def _add(self, micro: Sequence[Batch], counts: dict[str, int]) -> tuple[float, dict[str, float]]:
        device = next(self.model.parameters()).device
        sums: dict[str, Tensor] = {}
        for batch in micro:
            if not any(batch.counts.values()):
                continue  # nothing to learn, and no gradient
            losses = self.lesson.losses(self.model, batch.to(device))
            self.backward(total_loss(self.lesson, losses, counts))
            for name, value in losses.items():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        if not sums:
            return 0.0, {}
        loss = float(total_loss(self.lesson, sums, counts))
        return loss, {name: float(value) / max(1, counts[name]) for name, value in sums.items()}


def _cut(micro: Sequence[Batch], halvings: int) -> list[Batch]:
    batches = list(micro)
    for _ in range(halvings):
        batches = [
            part for batch in batches for part in (batch.halves() if len(batch.inputs["tokens"]) > 1 else (batch,))
        ]
    return batches
