"""The words on learning rates beside the rates that a training then has."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu import catalog
from danlu.optim.adamw import AdamW
from danlu.optim.muon import Muon
from danlu.optim.schedules import Constant, Cosine, InverseSqrt, Linear, Plateau, WarmupStableDecay
from danlu.train.rates import peaks, rates_in_words


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Constant(warmup=0.0), "constant: at the peak, to the end"),
        (Constant(warmup=0.1), "constant: warm-up to the peak at step 11, to the end"),
        (Cosine(warmup=0.1, final=0.25), "cosine: warm-up to the peak at step 11, then down to 0.25 of it"),
        (Linear(warmup=0.0), "linear: at the peak, then down to 0.01 of it"),
        (
            WarmupStableDecay(warmup=0.1, decay=0.5),
            "wsd: warm-up to the peak at step 11, until step 51, then down to 0.02 of it",
        ),
        (WarmupStableDecay(decay=0.0), "wsd: at the peak, to the end"),
        (InverseSqrt(warmup=0.25), "inverse_sqrt: warm-up to the peak at step 26, then down to 0.503 of it"),
        (Plateau(warmup=0.0), "plateau: at the peak, to the end"),
        (Constant(warmup=0.99), "constant: warm-up to the peak at step 100, to the end"),
    ],
)  # fmt: skip
def test_the_way_of_the_rates(schedule: Any, words: str) -> None:
    assert rates_in_words(AdamW(lr=3e-4), schedule, steps=100) == f"adamw, lr 0.0003; {words}"


def test_all_rates_of_an_optimizer_are_told() -> None:
    assert peaks(Muon(adamw_lr=0.5)) == {"lr": 0.02, "adamw_lr": 0.5}
    assert rates_in_words(Muon(), Constant(warmup=0.0), steps=1).startswith("muon, lr 0.02, adamw_lr 0.003; constant:")


@pytest.mark.parametrize("name", catalog.names("schedule"))
@given(warmup=st.floats(0, 0.4), steps=st.integers(1, 400))
def test_the_steps_that_are_told_are_at_the_peak_and_those_around_them_are_not(
    name: str, warmup: float, steps: int
) -> None:
    schedule = catalog.load("schedule", name, key="schedule")(warmup=warmup)
    words = rates_in_words(AdamW(), schedule, steps=steps)
    factors = [schedule.factor(step, steps=steps) for step in range(steps)]
    known = {what: int(found[1].replace(",", "")) for what in ("at", "until")
             if (found := re.search(rf"{what} step ([\d,]+)", words))}  # fmt: skip
    first = known.get("at", 1)
    last = steps if words.endswith("to the end") else known.get("until", first)
    top = max(factors)
    assert [factors[first - 1], factors[last - 1]] == pytest.approx([top, top])
    assert all(factor < top for factor in [*factors[: first - 1], *factors[last:]])


def test_a_long_training_is_looked_at_in_places() -> None:
    words = rates_in_words(AdamW(), WarmupStableDecay(warmup=0.1, decay=0.5), steps=10_000_000)
    at, until = (int(found.replace(",", "")) for found in re.findall(r"step ([\d,]+)", words))
    assert at == pytest.approx(1_000_000, rel=1e-3)
    assert until == pytest.approx(5_000_000, rel=1e-3)
