"""What is measured of dev while a model learns a task: a loss, and the task's own figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from danlu.metrics.tally import overall
from danlu.nn.transformer import Transformer
from danlu.tasks.answering import tuned_answers
from danlu.tasks.feature import Feature
from danlu.tasks.scores import tally
from danlu.tasks.task import Known, Task
from danlu.tasks.text_reader import TextReader
from danlu.train.monitor import Measure, Measured

TIE = 1e-6
"""Weight of the loss in what the best checkpoint has the least of: of two with one figure the one with less loss."""


@dataclass(frozen=True)
class TaskMeasure:
    """The loss of a sample of dev, and the task's figures of all of it (a :class:`danlu.train.monitor.Measure`)."""

    task: Task
    known: Known
    reader: TextReader
    loss: Measure | None
    examples: Sequence[Any]
    features: Sequence[Feature]

    def measure(self, model: Transformer) -> Measured:
        """The best checkpoint has the most, or the least, of the task's criterion."""
        figures, criterion = self.figures(model)
        if self.loss is None:
            return Measured(None, figures=figures, criterion=criterion)
        loss = self.loss.measure(model)
        return Measured(loss.loss, loss.losses, figures, criterion=criterion + TIE * loss.least)

    def figures(self, model: Transformer) -> tuple[dict[str, float], float]:
        """The task's criterion by its name; and as what there should be least of."""
        known, answers = tuned_answers(self.task, model, self.features, self.examples, self.known, self.reader)
        figures = overall(tally(self.task, self.examples, answers, known))
        wanted = self.task.criterion
        return {wanted: figures[wanted]}, figures[wanted] if self.task.least_is_best else -figures[wanted]
