"""What ``benchmarks/finetune_sst2.py`` says of its figures."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def sst2(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("finetune_sst2")


@pytest.mark.parametrize(
    ("times", "verdict"),
    [
        ((20.0, 24.0, 10.0), "0.200: met; by every seed: met"),
        ((20.0, None, 10.0), "0.200: met; by every seed: missed"),
        ((20.0, 26.0, 10.0), "0.200: met; by every seed: missed"),
        ((None, None, 10.0), "inf: MISSED; by every seed: missed"),
        ((None, None, None), "inf: MISSED; by every seed: missed"),
        ((20.0, 28.0), "0.240: met; by every seed: missed"),
        ((20.0, None), "inf: MISSED; by every seed: missed"),
    ],
)
def test_time_to_an_accuracy_is_the_median_of_the_seeds(
    times: tuple[float | None, ...], verdict: str, sst2: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of which one that never comes to it takes infinitely long."""
    ours = [sst2.Trained(100.0, [(5.0, 0.7), (time or 50.0, 0.9 if time else 0.8)], 0.9, 0.88) for time in times]
    peers = [sst2.Trained(100.0, [(100.0, dev)], dev, 0.87) for dev in (0.85, 0.8, 0.9)[: len(times)]]
    found = sst2.judge(range(len(times)), ours, peers)
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if "median of the seeds" in line).endswith(verdict)
    there = [time for time in times if time]
    own = 2 if len(times) == 3 else 1
    goal = 0.85 if len(times) == 3 else 0.825
    assert f"{len(there)} of {len(times)} seeds came to {goal:.4f} on dev, of Trainer's own {own}" in lines
    assert len(found) == 1 + bool(there)
    assert lines[-1] == "wanted: accuracy on test not lower: met"
