"""The learning rates of a training before it begins, in words: their peaks, and the way there and down."""

from __future__ import annotations

from danlu.optim.protocol import OptimizerChoice, ScheduleChoice
from danlu.recipe import Choice

LOOKED_AT = 20_000
"""Steps that are looked at one by one; of longer trainings as many, evenly spread."""


def peaks(optimizer: OptimizerChoice) -> dict[str, float]:
    """The settings of an optimizer that are learning rates, by name; none where it calls them otherwise."""
    if not isinstance(optimizer, Choice):
        return {}
    names = [name for name in type(optimizer).model_fields if name == "lr" or name.endswith("_lr")]
    return {name: value for name in names if isinstance(value := getattr(optimizer, name), float)}


def rates_in_words(optimizer: OptimizerChoice, schedule: ScheduleChoice, *, steps: int) -> str:
    """Rates at the peak, and at which of ``steps``, counted from 1, they are there.

    What held-out losses will change is not foreseen.
    """
    known = ", ".join(f"{name} {value:g}" for name, value in peaks(optimizer).items())
    looked_at = range(0, steps, max(1, steps // LOOKED_AT))
    factors = [schedule.factor(step, steps=steps) for step in looked_at]
    top, end = max(factors), schedule.factor(steps - 1, steps=steps)
    at_top = [step for step, factor in zip(looked_at, factors, strict=True) if factor > top - 1e-9]
    first, last = at_top[0] + 1, at_top[-1] + 1
    share = "" if top > 1 - 1e-9 else f" {top:.3g} of"
    way = f"at{share} the peak" if first == 1 else f"warm-up to{share} the peak at step {first:,}"
    if end > top - 1e-9:
        way += ", to the end"
    else:
        way += (f", until step {last:,}" if last > first else "") + f", then down to {end:.3g} of it"
    return f"{_name(optimizer)}{', ' if known else ''}{known}; {_name(schedule)}: {way}"


def _name(choice: OptimizerChoice | ScheduleChoice) -> str:
    return str(choice.to_recipe()["use"]) if isinstance(choice, Choice) else type(choice).__name__
