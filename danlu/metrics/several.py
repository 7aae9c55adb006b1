"""Several metrics of the same answers as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from danlu.metrics.tally import Metric, Named, Numbers, Tally, settled


class ChosenMetric(Metric[Any, Any], Protocol):
    """A metric that a recipe picks."""

    main: ClassVar[str]
    """The figure that stands for all of its figures."""


@runtime_checkable
class OfFiles(Protocol):
    """A metric that reads files, such as those of a model."""

    def files(self, key: str) -> list[Path]:
        """All of them.

        Args:
            key: of the metric in the recipe, for the error.

        Raises:
            InputError: they are not there.
        """
        ...


@dataclass(frozen=True)
class Several:
    """All figures of ``metrics``, whose names differ."""

    metrics: Sequence[Metric[Any, Any]]

    def settled(self, gold: Sequence[Any]) -> Several:
        """Each of them settled."""
        return Several([settled(each, gold) for each in self.metrics])

    def tally(self, gold: Sequence[Any], predicted: Sequence[Any]) -> Tally:
        """Every metric looks at every item once.

        Raises:
            InputError: as the metrics say.
        """
        tallies = [each.tally(gold, predicted) for each in self.metrics]

        def figures(times_BN: Numbers) -> Named:
            return {name: values for each in tallies for name, values in each.figures(times_BN).items()}

        notes = {name: note for each in tallies for name, note in each.notes.items()}
        return Tally(len(gold), figures, notes)
