"""The learning curve: parts of train, the smaller ones inside the larger ones, and what twice the data would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from danlu.data.dataset import Dataset
from danlu.data.split import subset
from danlu.errors import InputError
from danlu.metrics.power_law import PARAMETERS, Forecast, forecast
from danlu.metrics.resampling import resampled
from danlu.metrics.tally import Numbers
from danlu.tasks.study_kind import Conclusion, Outcome, Setting, StudyKind, Variation, spread, spreads
from danlu.tasks.study_seeds import following
from danlu.ticks import ticking

MOST = {"bleu": 100.0, "chrf": 100.0}
"""That a figure can be; of all others it is 1."""
UNBOUNDED = frozenset({"reward"})
"""Figures that have no most: how far one is from what may be reached cannot be told."""
SMALL = 0.005
"""Of the most, or of a nat: what is sure to bring less brings next to nothing."""
RESAMPLES = 500


class LearningCurve(StudyKind):
    """Train on growing parts of train; dev and test stay as they are."""

    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.1, 0.25, 0.5, 1.0)
    """Parts of train, from the smallest to the largest, each with its share of every label."""
    same: Literal["steps", "epochs"] = "steps"
    """What the trainings have as many of. With the epochs of the whole, a small part has so few steps that it learns
    little whatever is in it (Zhang et al. 2021, arXiv:2006.05987); but it costs less."""
    seeds: int = Field(default=1, ge=1, le=100)
    """Trainings a share, each on a part of its own: their spread says how sure the curve is."""

    @field_validator("shares")
    @classmethod
    def _rise(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) < PARAMETERS:
            raise ValueError(f"must be at least {PARAMETERS}, for a curve goes through any two; got {len(value)}")
        if any(first >= later for first, later in pairwise(value)):
            raise ValueError(f"must rise; got {', '.join(f'{each:g}' for each in value)}")
        return value

    def variations(self, dataset: Dataset[Any], *, seed: int, data_seed: int) -> list[Variation]:
        train, found = dataset.splits["train"], []
        for share in self.shares:
            for each in following(seed, self.seeds):
                part = subset(train, share, seed=each)
                varied = replace(dataset, splits={**dataset.splits, "train": part})
                longer = len(train) / len(part) if self.same == "steps" else 1.0
                about = {"share": share, "seed": each}
                found.append(Variation(f"share-{share:g}-seed-{each}", each, varied, about, longer))
        sizes = [len(each.dataset.splits["train"]) for each in found[:: self.seeds]]
        for (share, size), (later, more) in pairwise(zip(self.shares, sizes, strict=True)):
            if size == more:
                raise InputError(f"study.shares {share:g} and {later:g} of train are both {size:,} examples; "
                                 "leave one out")  # fmt: skip
        return found

    def conclude(self, outcomes: Sequence[Outcome], setting: Setting) -> Conclusion:
        curve = Curve.of(outcomes, setting)
        name = f"{curve.split}.{curve.criterion}"
        figures: dict[str, Any] = {}
        for share in self.shares:
            there = [each for each in outcomes if each.variation.about["share"] == share]
            figures[f"share-{share:g}.{name}"] = round(spread([each.figures()[name] for each in there]).mean, 6)
        if (found := curve.forecast) is not None:
            low, high = curve.doubling
            figures |= {f"doubling.{name}": round(curve.change(found.gain), 6),
                        f"doubling.{name}.interval": f"{low:+.4f} to {high:+.4f}"}  # fmt: skip
        figures["doubling"] = curve.verdict
        by_share = {
            f"{share:g}": {name: asdict(each) for name, each in spreads(
                [each for each in outcomes if each.variation.about["share"] == share]).items()}
            for share in self.shares
        }  # fmt: skip
        return Conclusion([curve.says], figures, {"spread": by_share, "curve": curve.as_plain()})


@dataclass(frozen=True)
class Curve:
    """A figure over the examples of train, and what follows from it."""

    split: str
    """That it was measured on: test where there is one, else dev."""
    criterion: str
    best: float
    """What the figure would be without an error; where there should be least of it, 0."""
    small: float
    examples: list[int]
    """Of train, a number a training."""
    figures: list[float]
    forecast: Forecast | None
    """Of the error, how far the figure is from the best; None where trainings are too few, or there is no best."""

    HELPS: ClassVar[str] = "more data would help"
    HARDLY: ClassVar[str] = "more data would bring next to nothing"
    UNKNOWN: ClassVar[str] = "it cannot be told whether more data would help"

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], setting: Setting) -> Curve:
        """Of the figure that the task is chosen by."""
        split = "test" if "test" in outcomes[0].measured else "dev"
        criterion = setting.task.criterion
        most, least_is_best = MOST.get(criterion, 1.0), setting.task.least_is_best
        best = 0.0 if least_is_best else most
        examples = [len(each.variation.dataset.splits["train"]) for each in outcomes]
        figures = [each.figures()[f"{split}.{criterion}"] for each in outcomes]
        drawn_BP = _resampled(outcomes, setting, split)
        errors_BP = None if drawn_BP is None else abs(best - drawn_BP)
        errors = [abs(best - each) for each in figures]
        found = None if criterion in UNBOUNDED else forecast(
            examples, errors, seed=setting.seed, resampled_BP=errors_BP
        )  # fmt: skip
        return cls(split, criterion, best, SMALL * most, examples, figures, found)

    @property
    def verdict(self) -> str:
        """Whether more data would help, as far as the interval says."""
        if self.forecast is not None and self.forecast.high < self.small:
            return self.HARDLY
        return self.HELPS if self.forecast is not None and self.forecast.low > 0 else self.UNKNOWN

    @property
    def says(self) -> str:
        """One line for people."""
        if self.criterion in UNBOUNDED:
            return f"{self.UNKNOWN}: nothing says what {self.criterion} is the most that can be reached"
        if self.forecast is None:
            return (f"{self.UNKNOWN}: {len(self.examples)} trainings are as few as the curve has unknowns; "
                    "give study.seeds or more study.shares")  # fmt: skip
        most, found = max(self.examples), self.forecast
        at_most = [figure for size, figure in zip(self.examples, self.figures, strict=True) if size == most]
        remedy = "; more study.seeds make it narrower" if self.verdict == self.UNKNOWN else ""
        low, high = self.doubling
        return (f"{self.verdict}: twice the {most:,} examples would change {self.split}.{self.criterion}, now "
                f"{sum(at_most) / len(at_most):.4f}, by {self.change(found.gain):+.4f} (95 % interval {low:+.4f} to "
                f"{high:+.4f}){remedy}")  # fmt: skip

    @property
    def doubling(self) -> tuple[float, float]:
        """The interval of what twice the data would change the figure by."""
        assert self.forecast is not None
        low, high = sorted(map(self.change, (self.forecast.low, self.forecast.high)))
        return low, high

    def change(self, gain: float) -> float:
        """Of the figure, where the error becomes less by ``gain``."""
        return gain if self.best else -gain

    def _figure(self, error: float) -> float:
        return self.best - error if self.best else error

    def as_plain(self) -> dict[str, Any]:
        """As JSON; the band is one of figures, not of errors."""
        plain: dict[str, Any] = {
            "split": self.split, "criterion": self.criterion, "best": self.best, "verdict": self.verdict,
            "points": [{"examples": size, "figure": figure}
                       for size, figure in zip(self.examples, self.figures, strict=True)],
        }  # fmt: skip
        if (found := self.forecast) is not None:
            band = []
            for size, *errors in zip(
                found.band.examples, found.band.expected, found.band.low, found.band.high, strict=True
            ):
                expected, *ends = map(self._figure, errors)
                band.append({"examples": size, "expected": expected, "low": min(ends), "high": max(ends)})
            plain |= {"law": asdict(found.law), "noise": found.noise, "band": band,
                      "doubling": {"change": self.change(found.gain), "interval": list(self.doubling)}}  # fmt: skip
        return plain


def _resampled(outcomes: Sequence[Outcome], setting: Setting, split: str) -> Numbers | None:
    """The criterion of each training on the same resamples of the split; None where there are none."""
    golds = [each.gold for each in outcomes[0].variation.dataset.splits[split]]
    if len(golds) < 2:
        return None
    metric = setting.task.metric(setting.known)
    tallies = [metric.tally(golds, [line["prediction"] for line in each.lines(split)]) for each in ticking(outcomes)]
    drawn_BP = np.concatenate([
        np.stack([tally.figures(times_BN)[setting.task.criterion] for tally in ticking(tallies)], axis=1)
        for times_BN in resampled(len(golds), RESAMPLES, setting.seed)
    ])  # fmt: skip
    there_BP = drawn_BP[~np.isnan(drawn_BP).any(1)]
    return there_BP if len(there_BP) else None
