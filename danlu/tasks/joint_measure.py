"""What is measured of dev while a model learns several tasks: the loss of all, and each task's own figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from danlu.nn.transformer import Transformer
from danlu.tasks.heads import as_for
from danlu.tasks.measure import TIE, TaskMeasure
from danlu.tasks.step_task import StepHeldout
from danlu.tasks.study_curve import MOST
from danlu.train.monitor import Heldout, Measured


@dataclass(frozen=True)
class JointLoss:
    """What is minimised in training, of held-out texts (a :class:`danlu.train.monitor.Measure`)."""

    each: Heldout | None
    """Of the tasks whose texts are learned one by one, together; None where there is none."""
    whole: Mapping[str, StepHeldout]
    """Of each task that compares all of its texts of a step, in groups as large as its part of one."""
    weights: Mapping[str, float]
    """Of the tasks."""

    def measure(self, model: Transformer) -> Measured:
        """The weighted sum of the tasks' means, and each mean as ``task.loss``."""
        total = 0.0
        losses: dict[str, float] = {}
        if self.each is not None:
            found = self.each.measure(model)
            total += found.least
            losses |= found.losses
        for name, heldout in self.whole.items():
            with as_for(model, name):
                found = heldout.measure(model)
            total += self.weights[name] * found.least
            losses |= {f"{name}.{loss}": value for loss, value in found.losses.items()}
        return Measured(total, losses)


@dataclass(frozen=True)
class JointMeasure:
    """The loss of a sample of all tasks, and each task's figure (a :class:`danlu.train.monitor.Measure`)."""

    loss: JointLoss
    tasks: Mapping[str, TaskMeasure]

    def measure(self, model: Transformer) -> Measured:
        """The best checkpoint has the best mean of the tasks' criteria, each as a share of the most that it can be."""
        loss = self.loss.measure(model)
        figures: dict[str, float] = {}
        criteria: list[float] = []
        for name, each in self.tasks.items():
            with as_for(model, name):
                found, criterion = each.figures(model)
            figures |= {f"{name}.{figure}": value for figure, value in found.items()}
            criteria.append(criterion / MOST.get(next(iter(found)), 1.0))
        return Measured(loss.loss, loss.losses, figures, criterion=float(np.mean(criteria)) + TIE * loss.least)
