"""Saves that are killed at every call: the calls are heard, and a mechanism that is taken away shows."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path

import pytest

from danlu.verify import crashes, traced
from danlu.verify.sample import Sample

pytestmark = pytest.mark.skipif(bool(traced.supported()), reason="calls of the system cannot be heard here")


@pytest.mark.slow
def test_every_crash_leaves_the_old_or_the_new_one(sample: Sample) -> None:
    outcome = crashes.crashes(sample)
    if outcome.not_run:
        pytest.skip(outcome.not_run)
    assert outcome.faults == []
    whole, _, looks = outcome.worst.partition(" of ")
    assert whole == looks and int(looks) >= 50
    assert " writes, " in outcome.compared and " renames, " in outcome.compared


SPOILT = """
    import shutil
    from pathlib import Path

    from danlu import files
    from danlu.train import checkpoint, manifest
    from danlu.verify import crashes

    real = checkpoint.save_checkpoint


    def save(folder, *rest, **settings):
        {spoil}
        return real(folder, *rest, **settings)


    def everywhere(folder: Path) -> object:
        crashes.EVERY = 9
        checkpoint.save_checkpoint = save
        return crashes.everywhere(folder)
"""
SPOILS = {
    "nothing_is_wrong": ("pass", ""),
    "old_ones_go_first": (
        "[shutil.rmtree(old) for old in checkpoint.checkpoints(folder)]", "step None is found",
    ),
    "it_is_written_in_place": (
        "[(old / 'config.json').write_bytes(b'') for old in checkpoint.checkpoints(folder)]", "is damaged",
    ),
    "files_are_not_synced": (
        "manifest.sync_file = lambda path: None",
        "training/optimizer.safetensors is not synced before the checkpoint has its name",
    ),
    "folders_are_not_synced": (
        "files.sync_folder = manifest.sync_folder = lambda path: None",
        ". is not synced before the checkpoint has its name",
    ),
    "its_name_is_not_synced": (
        "checkpoint.sync_folder = lambda path: None", "step-00000005 goes before the name of the new one is synced",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILS)
def test_a_careless_save_shows_and_no_other(
    name: str, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that saves is another one, so what it does otherwise is in a module that it can import."""
    spoil, fault = SPOILS[name]
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(SPOILT).format(spoil=spoil), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(crashes, "everywhere", importlib.import_module(name).everywhere)
    outcome = crashes.crashes(sample)
    if outcome.not_run:
        pytest.skip(outcome.not_run)
    assert outcome.verdict == ("fails" if fault else "holds"), outcome.faults
    assert not fault or any(fault in each for each in outcome.faults), outcome.faults[:3]


def test_where_nobody_can_be_traced_it_is_not_run(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    outcome = crashes.crashes(sample)
    assert (outcome.verdict, outcome.not_run) == ("not run", "needs Linux on x86_64 or aarch64")
