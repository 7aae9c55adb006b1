"""The gradient of a step from its micro-batches, which are cut smaller where memory does not hold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from danlu.corpus.batches import Batch, StepBatches
from danlu.errors import DanluError
from danlu.log import say
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Lesson, LessonOfSteps, LessonOfTasks, WholeStep, total_loss
from danlu.parallel.mesh import Place
from danlu.train.memory import is_out_of_memory
from danlu.train.precision import Masters

TOKENS = "tokens that are read"
"""Told along with the counts of targets; no loss has such a name."""


@dataclass(frozen=True)
class OwnBatches:
    """The micro-batches of a step that one of several processes does; those of others are not made at all."""

    whole: StepBatches
    place: Place

    def __call__(self, step: int) -> list[Batch]:
        """Those of ``step``; one that only keeps step with the others counts nothing."""
        own = [(self.whole.make(group), counts) for group, counts in self.place.own(self.whole.groups(step))]
        return [batch if counts else _uncounted(batch) for batch, counts in own]


def count_targets(micro: Sequence[Batch]) -> dict[str, int]:
    """Scored targets of all micro-batches together, by the name of the loss."""
    counts: Counter[str] = Counter()
    for batch in micro:
        counts.update(batch.counts)
    return dict(counts)


def count_all(micro: Sequence[Batch]) -> dict[str, int]:
    """The scored targets, and as ``TOKENS`` what is read, padding not counted."""
    return {TOKENS: sum(batch.tokens for batch in micro), **count_targets(micro)}


@dataclass
class Cuts:
    """Into how many parts micro-batches are cut; it outlasts a call of ``fit``, so that none learns it anew."""

    halvings: int = 0
    """How often each is cut in half, because memory was short once."""
    section: str = "pretrain"
    """Of the recipe, for errors."""

    def of(self, micro: Sequence[Batch]) -> list[Batch]:
        """The parts of micro-batches."""
        batches = list(micro)
        for _ in range(self.halvings):
            batches = [
                part for batch in batches for part in (batch.halves() if len(batch.inputs["tokens"]) > 1 else (batch,))
            ]
        return batches

    def check(self, error: Exception, micro: Sequence[Batch], *, shared: bool) -> None:
        """Raise ``error`` anew where smaller parts would not help.

        Args:
            shared: whether a pass through the model needs other ranks.

        Raises:
            DanluError: they would, but ranks share the model, and so cannot begin again.
        """
        rows = _most_rows(micro)
        if not is_out_of_memory(error) or rows <= 2**self.halvings:
            raise error
        if shared:
            raise DanluError(
                "memory is short, and ranks that share a model cannot cut micro-batches on the way: "
                f"lower {self.section}.hardware.micro_batch, now {rows}"
            ) from error

    def halve(self, micro: Sequence[Batch]) -> int:
        """Cut them once more, and give the memory of what failed back; the rows of the largest part.

        To be called out of the handler, where the error still holds the tensors that are in the way.
        """
        self.halvings += 1
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        most: int = 2**self.halvings
        return -(-_most_rows(micro) // most)


def _most_rows(micro: Sequence[Batch]) -> int:
    return max((len(batch.inputs["tokens"]) for batch in micro), default=1)


@dataclass
class Gradients:
    """Adds the gradient of whole steps to the weights, in micro-batches that memory holds."""

    model: Transformer
    lesson: Lesson
    optimizer: torch.optim.Optimizer
    masters: Masters
    cuts: Cuts = field(default_factory=Cuts)

    def add(self, micro: Sequence[Batch], counts: dict[str, int]) -> tuple[float, dict[str, float]]:
        """The loss that is minimised, and each mean by its name: of the whole step, of which ``micro`` is a part.

        A step that memory does not hold begins again with micro-batches of half the rows; the sum is the same.

        Raises:
            MemoryError, RuntimeError: single rows are too large.
            DanluError: memory is short where ranks share the model, and so cannot begin again.
        """
        self._zero()
        if not any(counts.values()):
            return 0.0, {}  # nothing to learn, and no gradient
        lesson = self._lesson_of_step(micro)
        while (told := self.masters.collect(self._where_it_fits(lesson, micro, counts))) is None:
            self._zero()
            rows = self.cuts.halve(micro)
            say(f"memory is short: micro-batches are cut to {rows} rows; the step stays the same")
        totals = {name: torch.tensor(value, dtype=torch.float64) for name, value in told.items()}
        loss = float(total_loss(self.lesson, totals, counts)) if totals else 0.0
        return loss, {name: value / counts[name] for name, value in told.items() if counts[name]}

    def _zero(self) -> None:
        """Whatever a step that did not come to its end has left, in the model and in its masters."""
        self.model.zero_grad()
        self.optimizer.zero_grad()
        self.masters.forget()

    def _lesson_of_step(self, micro: Sequence[Batch]) -> Lesson:
        """Not within what begins again where memory is short: processes have to meet here equally often."""
        if not isinstance(self.lesson, LessonOfSteps) or not self.lesson.by_step:
            return self.lesson
        return self.lesson.of_step(self.model, self.cuts.of(micro), self.masters.sum)

    def _where_it_fits(self, lesson: Lesson, micro: Sequence[Batch], counts: dict[str, int]) -> dict[str, float] | None:
        """The sum of each loss; None where memory is short and micro-batches can be cut."""
        try:
            return self._add(lesson, self.cuts.of(micro), counts)
        except (MemoryError, RuntimeError) as error:
            self.cuts.check(error, micro, shared=self.masters.place.shared)
            return None

    def _add(self, lesson: Lesson, micro: Sequence[Batch], counts: dict[str, int]) -> dict[str, float]:
        sums: dict[str, float] = {}
        divided: Sequence[tuple[Lesson | WholeStep, Sequence[Batch]]] = [(lesson, micro)]
        if isinstance(lesson, LessonOfTasks):
            divided = lesson.divide(micro)
        for part, batches in divided:
            if isinstance(part, WholeStep):
                sums |= self._add_whole(part, batches, counts)
            else:
                sums |= self._add_each(part, batches, counts)
        return sums

    def _add_each(self, lesson: Lesson, micro: Sequence[Batch], counts: dict[str, int]) -> dict[str, float]:
        device = next(self.model.parameters()).device
        sums: dict[str, Tensor] = {}
        for batch in micro:
            learns = any(batch.counts.values())
            if not learns and not self.masters.place.together:
                continue
            losses = lesson.losses(self.model, batch.to(device))
            total = total_loss(lesson, losses, counts)
            self.masters.backward(total if learns else total * 0.0)
            self.masters.ranks.tick()
            for name, value in losses.items() if learns else ():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        return {name: float(value) for name, value in sums.items()}

    def _add_whole(self, lesson: WholeStep, micro: Sequence[Batch], counts: dict[str, int]) -> dict[str, float]:
        """The same of a loss over all micro-batches together: its gradient by their vectors comes first, then, one
        micro-batch after the other with the same dropout, that of the vectors (Gao et al. 2021, arXiv:2101.06983).
        """
        device = next(self.model.parameters()).device
        micro = [batch.to(device) for batch in micro]
        if len(micro) == 1:
            losses = lesson.losses_of([lesson.vectors(self.model, micro[0])], micro)
            self.masters.backward(total_loss(self.lesson, losses, counts))
            return {name: float(value.detach()) for name, value in losses.items()}
        states, seen = [], []
        for batch in micro:
            states.append(_random_state(device))
            with torch.no_grad():
                seen.append(lesson.vectors(self.model, batch).requires_grad_())
        losses = lesson.losses_of(seen, micro)
        torch.autograd.backward(total_loss(self.lesson, losses, counts), inputs=seen)
        for batch, state, vectors in zip(micro, states, seen, strict=True):
            _set_random_state(state, device)
            assert vectors.grad is not None
            self.masters.backward((lesson.vectors(self.model, batch) * vectors.grad).sum())
            self.masters.ranks.tick()
        return {name: float(value.detach()) for name, value in losses.items()}


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)


def _uncounted(batch: Batch) -> Batch:
    return replace(batch, counts=dict.fromkeys(batch.counts, 0), tokens=0)
