"""Several processes: what is read otherwise, summed otherwise or taken up otherwise shows."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path
from typing import Any

import pytest

from danlu.parallel.mesh import Place
from danlu.verify import kills, processes
from danlu.verify.sample import Sample


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SIZES", (1, 2))
    monkeypatch.setattr(processes, "STEPS", 20)


def test_all_read_what_one_reads(sample: Sample) -> None:
    outcome = processes.order(sample)
    assert (outcome.faults, outcome.worst) == ([], "36 of 36")


def test_another_order_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    def own(self: Place, micro_batches: Any) -> list[tuple[Any, bool]]:
        return [(each, True) for each in micro_batches[self.reader :: self.readers]]

    monkeypatch.setattr(Place, "own", own)
    assert "2 ranks, 1 rows at once: step 0 reads something else" in processes.order(sample).faults


@pytest.mark.usefixtures("_few")
def test_two_train_as_one(sample: Sample) -> None:
    outcome = processes.ranks(sample)
    assert outcome.faults == [] and float(outcome.worst) < 1e-6


SPOILT = """
    from pathlib import Path

    from danlu.train.owners import OwnedMasters
    from danlu.train.setup import Training
    from danlu.verify import processes

    real, restore = processes.pretrain, Training.restore


    def of_this_rank(self, each):
        return dict(each)


    def forgetful(self, state):
        restore(self, state)
        self.optimizer.state.clear()


    def pretrain(recipe: Path, overrides: list[str]) -> None:
        {spoil}
        real(recipe, overrides)
"""


def spoil(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks are other processes, so what they do otherwise is in a module that they can import."""
    name = f"spoilt_{what.partition(' ')[0].replace('.', '_')}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(SPOILT).format(spoil=what), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(processes, "pretrain", importlib.import_module(name).pretrain)


@pytest.mark.usefixtures("_few")
def test_sums_of_one_rank_show(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil("OwnedMasters.sum = of_this_rank", tmp_path, monkeypatch)
    [fault] = processes.ranks(sample).faults
    assert fault.startswith("2 ranks: ")


@pytest.mark.usefixtures("_few")
def test_an_optimizer_that_forgets_shows(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil("Training.restore = forgetful", tmp_path, monkeypatch)
    faults = processes.other_sizes(sample).faults
    assert [fault.split(":")[0] for fault in faults] == ["2, then 1", "1, then 3"]


@pytest.mark.cluster
def test_lost_ranks_stop_all(sample: Sample) -> None:
    assert processes.lost_ranks(sample).faults == []


@pytest.mark.cluster
@pytest.mark.usefixtures("_few")
def test_another_exit_code_and_other_bytes_show(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOST", 4)
    monkeypatch.setattr(kills, "differing", lambda wanted, found: ["losses differs"])
    assert processes.lost_ranks(sample).faults == [
        "killed: rank 0 leaves with 3", "killed: losses differs", "hanging: rank 0 leaves with 3",
        "hanging: losses differs",
    ]  # fmt: skip
