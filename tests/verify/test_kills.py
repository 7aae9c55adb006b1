"""Trainings that are killed: what is not restored, and what is let through, shows."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path

import pytest

from danlu.run_folder import RunFolder
from danlu.verify import kills, resuming
from danlu.verify.sample import Sample


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "SAVES", {"beside it": kills.SAVES["beside it"], "in the training": "{steps: 5}"})
    few = {name: kills.MOMENTS[name] for name in ("in the first epoch", "in a later epoch")}
    monkeypatch.setattr(kills, "MOMENTS", few)


@pytest.mark.usefixtures("_few")
def test_they_leave_the_same_bytes(sample: Sample) -> None:
    outcome = kills.kills(sample)
    assert outcome.faults == [] and outcome.worst == "0 differ"
    assert " kills, gone on from steps " in outcome.compared


SPOILT = """
    from pathlib import Path

    from danlu.train.setup import Training
    from danlu.verify import kills

    real, restore = kills.pretrain, Training.restore


    def forgetful(self, state):
        restore(self, state)
        self.optimizer.state.clear()


    def pretrain(recipe: Path, overrides: list[str]) -> None:
        Training.restore = forgetful
        real(recipe, overrides)
"""


@pytest.mark.usefixtures("_few")
def test_an_optimizer_that_forgets_shows(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that trains is another one, so what it does otherwise is in a module that it can import."""
    (tmp_path / "forgetful_resume.py").write_text(textwrap.dedent(SPOILT), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(kills, "pretrain", importlib.import_module("forgetful_resume").pretrain)
    outcome = kills.kills(sample)
    assert "in the training: losses differs" in outcome.faults
    assert "in the training: model/model.safetensors differs" in outcome.faults


@pytest.mark.usefixtures("_few")
def test_kills_that_never_come_show(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "MOMENTS", {"never": lambda run_dir: False})
    assert kills.kills(sample).faults == ["only 0 of 2 kills came before the training was done"]


def test_changes_are_refused(sample: Sample) -> None:
    outcome = resuming.changes(sample)
    assert (outcome.faults, outcome.worst) == ([], "11 of 11")


def test_a_change_that_is_let_through_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: resuming.CHANGES[name] for name in ("the optimizer", "a word more")}
    monkeypatch.setattr(resuming, "CHANGES", few)
    monkeypatch.setattr(RunFolder, "changes", lambda self, *_, **__: [])
    outcome = resuming.changes(sample)
    assert outcome.faults == [
        "the optimizer: it went on", "a word more: it went on", "told to restart, it does not",
        "told to restart, the former checkpoints are not set aside",
    ]  # fmt: skip
    assert outcome.worst == "0 of 2"


def test_who_is_told_and_does_otherwise_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "CHANGES", {"the optimizer": resuming.CHANGES["the optimizer"]})
    right = resuming.run_stages
    monkeypatch.setattr(resuming, "run_stages", lambda *rest, changed: right(*rest, changed="refuse"))
    told = [fault.partition(": ")[0] for fault in resuming.changes(sample).faults]
    assert told == ["told to go-on, it is refused", "told to restart, it is refused"]
    other = {"go-on": "restart", "restart": "go-on", "refuse": "refuse"}
    monkeypatch.setattr(resuming, "run_stages", lambda *rest, changed: right(*rest, changed=other[changed]))
    assert resuming.changes(sample).faults == [
        "told to go-on, it does not", "told to go-on, the former checkpoints are set aside",
        "told to restart, it does not", "told to restart, the former checkpoints are not set aside",
    ]  # fmt: skip


def test_a_refusal_that_names_something_else_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "CHANGES", {"the batch": resuming.CHANGES["the batch"]})
    monkeypatch.setattr(RunFolder, "changes", lambda self, *_, **__: ["something"])
    monkeypatch.setattr(resuming, "TOLD", ())
    faults = resuming.changes(sample).faults
    assert faults[0].startswith("the batch: the refusal says: pretrain is half done")
