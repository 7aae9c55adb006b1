"""Disks that refuse and forget: the lines say so where a save ends the training, or a damage is not found."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from danlu.train import checkpoint, manifest
from danlu.train.saving import Saver
from danlu.verify import disk
from danlu.verify.sample import Sample


@pytest.fixture(autouse=True)
def _fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "DAMAGES", 60)


def test_they_hold(sample: Sample) -> None:
    refused, damaged = disk.refusals(sample), disk.damage(sample)
    assert (refused.faults, refused.worst) == ([], "8 of 8")
    assert (damaged.faults, damaged.worst) == ([], "60 of 60")


def test_a_save_that_ends_the_training_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Saver, "_told_where_refused", lambda self, step: nullcontext())
    outcome = disk.refusals(sample)
    assert outcome.worst == "0 of 8"
    assert "no room, in the training: step 15: 0 warnings" in outcome.faults


def test_an_old_checkpoint_that_is_gone_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    right = checkpoint._write

    def careless(hidden: Path, *rest: object) -> None:
        for old in checkpoint.checkpoints(hidden.parent)[1:]:
            (old / "config.json").unlink()
        right(hidden, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoint, "_write", careless)
    faults = disk.refusals(sample).faults
    assert any(fault.endswith("the checkpoints are ['step-00000005']") for fault in faults), faults


def test_a_damage_that_is_not_found_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "hash_file", lambda path: "0" * 64)  # as if nobody looked into a file
    outcome = disk.damage(sample)
    found, _, of = outcome.worst.partition(" of ")
    assert int(found) < 30 and of == "60" and "not found" in outcome.faults[0]


def test_a_damage_that_is_not_named_shows(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    right = checkpoint.find_damage
    monkeypatch.setattr(checkpoint, "find_damage", lambda path: right(path) and "something is wrong")
    faults = disk.damage(sample).faults
    assert faults and all("not named, but" in fault for fault in faults)
