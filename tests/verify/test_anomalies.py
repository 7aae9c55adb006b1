"""Bad steps: the lines say so where one is taken, is counted, or is not gone back over."""

from __future__ import annotations

import math

import pytest

from danlu.train import run
from danlu.train.guard import Guard
from danlu.train.run import Run
from danlu.train.setup import Training
from danlu.verify import anomalies
from danlu.verify.sample import Sample


def test_they_hold(sample: Sample) -> None:
    for look, said in ((anomalies.bad_steps, "7 left out"), (anomalies.rewinds, "2 rewinds")):
        outcome = look(sample)
        assert (outcome.faults, outcome.worst, outcome.bound) == ([], said, said)


def test_a_step_that_is_taken_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Guard.__call__

    def lax(self: Guard, step: int, loss: float, norm: float, where: str = "") -> bool:
        return right(self, step, loss, norm, where) or step + 1 == 33

    monkeypatch.setattr(Guard, "__call__", lax)
    faults = anomalies.bad_steps(sample).faults
    assert "step 33 was not left out" in faults and any("metrics.jsonl" in fault for fault in faults)


def test_an_infinity_that_is_taken_for_a_spike_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which there are none in the first steps: the weights are soon no numbers."""
    right = Guard.__call__

    def lax(self: Guard, step: int, loss: float, norm: float, where: str = "") -> bool:
        return (math.isinf(loss) and step < 20) or right(self, step, loss, norm, where)

    monkeypatch.setattr(Guard, "__call__", lax)
    with pytest.raises(anomalies.DanluError, match="diverged"):
        anomalies.bad_steps(sample)


def test_weights_that_move_all_the_same_show(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Training.accept

    def spoil(self: Training, step: int, loss: float, norm: float) -> bool:
        taken = right(self, step, loss, norm)
        if not taken:
            next(iter(self.masters.named.values())).data.mul_(1.001)
        return taken

    monkeypatch.setattr(Training, "accept", spoil)
    assert "step 24: the weights moved" in anomalies.bad_steps(sample).faults


def test_statistics_that_are_polluted_show(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Guard.__call__

    def pollute(self: Guard, step: int, loss: float, norm: float, where: str = "") -> bool:
        if math.isfinite(loss) and step + 1 in anomalies.POISON:
            self.losses.append(loss)
        return right(self, step, loss, norm, where)

    monkeypatch.setattr(Guard, "__call__", pollute)
    assert anomalies.bad_steps(sample).faults == ["the statistics of losses are not those of the steps that were taken"]


def test_going_back_to_the_beginning_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "load_newest", lambda folder, say, in_vain, of: None)
    assert anomalies.rewinds(sample).faults[0].startswith("other steps were done: [1, 2, ")


def test_going_back_at_the_same_rate_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    slower = anomalies.Anomalies

    def constant(**settings: int) -> anomalies.Anomalies:
        return slower(**settings).model_copy(update={"lr_factor": 1.0})

    monkeypatch.setattr(anomalies, "Anomalies", constant)
    assert anomalies.rewinds(sample).faults == ["the rates were [1.0, 1.0, 1.0]"]


def test_a_training_that_never_ends_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(self: Run, diverged: Exception, *, newest: int) -> None:
        raise anomalies.DanluError("something else")

    monkeypatch.setattr(Run, "_set_back", give_up)
    faults = anomalies.rewinds(sample).faults
    assert "it ended otherwise: something else" in faults and "it went back 0 times" in faults
