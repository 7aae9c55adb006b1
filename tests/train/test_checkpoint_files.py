"""Checkpoints of several files, with strange files in them, on disks that let nothing go, where memory is short."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from danlu.errors import OutputError
from danlu.files import json_text, remove_folder
from danlu.nn.families import GPT
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.stage import Job
from danlu.train import checkpoint
from danlu.train.checkpoint import TrainingState, checkpoints, find_damage, load_newest, save_checkpoint

CONFIG = GPT(layers=2, dim=16, heads=2).config(vocab_size=60, max_length=8)


def state(step: int) -> TrainingState:
    """A state that says its step in every number."""
    weights = {
        name: torch.full_like(each, float(step)).detach() for name, each in Transformer(CONFIG).named_parameters()
    }
    optimizer = {"state": {0: {"mean": torch.full((4,), float(step))}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return TrainingState(step, step * 100, weights, optimizer)


def is_whole(found: TrainingState | None, step: int) -> bool:
    return found is not None and found.step == step and all((each == step).all() for each in found.weights.values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (10, 20):
        save_checkpoint(tmp_path / "checkpoints", state(step), CONFIG)
    return tmp_path / "checkpoints"


@pytest.fixture
def sharded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two checkpoints as those of 1.3 billion weights are: above 5 GB there are several files."""
    monkeypatch.setattr(checkpoint, "save_model", partial(save_model, max_shard_bytes=4000))
    for step in (10, 20):
        save_checkpoint(tmp_path / "checkpoints", state(step), CONFIG)
    assert len(list((tmp_path / "checkpoints" / "step-00000020").glob("model-*.safetensors"))) > 3
    return tmp_path / "checkpoints"


def test_weights_in_several_files_are_whole(sharded: Path) -> None:
    """They once were taken for damaged, all of them: no large training could go on."""
    assert [find_damage(path) for path in checkpoints(sharded)] == [None, None]
    assert is_whole(load_newest(sharded, pytest.fail), 20)


def test_each_of_several_files_counts(sharded: Path) -> None:
    newest = sharded / "step-00000020"
    whole = {path: path.read_bytes() for path in newest.rglob("*") if path.is_file()}
    for path, data in whole.items():
        path.write_bytes(data[:-1])
        damage = find_damage(newest)
        path.unlink()
        assert damage is not None and path.name in damage and path.name in str(find_damage(newest))
        path.write_bytes(data)
    manifest = json.loads((newest / "manifest.json").read_text())
    for name in manifest:
        if name.startswith(("model", "config")):
            (newest / "manifest.json").write_text(json_text({k: v for k, v in manifest.items() if k != name}))
            assert find_damage(newest) == "manifest.json is missing or damaged", name
    lines: list[str] = []
    assert is_whole(load_newest(sharded, lines.append), 10)
    [line] = lines
    assert "is damaged (manifest.json is missing or damaged); going on from step-00000010" in line


@pytest.mark.parametrize(
    "name",
    ["part.safetensors", "training/average.safetensors", "training/objective.safetensors", "training/data.json",
     "adapter_config.json", "modules.json"],
)  # fmt: skip
def test_a_file_of_another_checkpoint_is_not_read(name: str, folder: Path) -> None:
    (folder / "step-00000020" / name).write_text("{}")
    lines: list[str] = []
    assert is_whole(load_newest(folder, lines.append), 10)
    [line] = lines
    assert f"({name} is none of its files); going on from step-00000010" in line


@pytest.mark.parametrize("name", ["notes.txt", ".DS_Store", "training/.nfs0001", "step-00000020"])
def test_a_file_that_nobody_reads_does_no_harm(name: str, folder: Path) -> None:
    (folder / "step-00000020" / name).write_text("it works")
    assert is_whole(load_newest(folder, pytest.fail), 20)


def test_what_a_killed_process_has_left_goes_when_a_training_goes_on(folder: Path) -> None:
    """One that was killed behind its last save, while it removed an old checkpoint, makes no other save."""
    (folder / ".step-00000005.removed").mkdir()
    assert is_whole(load_newest(folder, pytest.fail), 20)
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000010", "step-00000020"]


def test_so_does_half_a_model(train: Callable[..., Job]) -> None:
    """A hidden file as large as the model once stayed beside it for ever."""
    settings = ("pretrain.budget.steps=2", "pretrain.evaluations=0")
    job = train(*settings)
    whole = {path.name: path.read_bytes() for path in (job.out / "model").iterdir()}
    (job.out / "model" / ".tmpKbFxu1").write_bytes(bytes(5000))
    (job.out / "model" / "model.safetensors").unlink()
    train(*settings)
    assert {path.name: path.read_bytes() for path in (job.out / "model").iterdir()} == whole


def test_a_link_that_has_the_name_of_one_is_none_and_goes(folder: Path) -> None:
    (folder / "step-00000030").symlink_to(folder / "step-00000020")
    lines: list[str] = []
    assert is_whole(load_newest(folder, lines.append), 20)
    assert lines == [
        f"checkpoint {folder / 'step-00000030'} is damaged (training/state.json is that of step 20); "
        "going on from step-00000020"
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000010", "step-00000020"]


def holding(name: str) -> Callable[[Path], None]:
    """A disk that does not let a folder of this name go, as NFS does not while another process reads a file in it."""

    def remove(folder: Path) -> None:
        if folder.name == name:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", str(folder))
        remove_folder(folder)

    return remove


def test_an_old_one_that_cannot_go_does_not_make_a_save_fail(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = ".step-00000010.removed"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "remove_folder", holding(held))
        save_checkpoint(folder, state(30), CONFIG)
        told = capsys.readouterr().out
        assert told.startswith("could not remove the old checkpoint step-00000010 (") and told.count("\n") == 1
        assert told.endswith("; training goes on\n")
        for step in (40, 50):  # nor the next ones, which sweep up what is left
            save_checkpoint(folder, state(step), CONFIG)
            assert is_whole(load_newest(folder, pytest.fail), step)
        assert capsys.readouterr().out == ""
        assert sorted(path.name for path in folder.iterdir()) == [held, "step-00000040", "step-00000050"]
    save_checkpoint(folder, state(60), CONFIG)
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000050", "step-00000060"]


def test_what_is_in_the_way_of_a_save_must_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".step-00000030.partial").mkdir()
    monkeypatch.setattr(checkpoint, "remove_folder", holding(".step-00000030.partial"))
    with pytest.raises(OutputError, match="Directory not empty"):
        save_checkpoint(folder, state(30), CONFIG)
    save_checkpoint(folder, state(40), CONFIG)
    assert is_whole(load_newest(folder, pytest.fail), 40)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("std::bad_alloc")]
)
def test_too_little_memory_to_write_is_a_refusal(
    error: Exception, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_tensors(*_: object) -> None:
        raise error

    monkeypatch.setattr(checkpoint, "_save_tensors", save_tensors)
    with pytest.raises(OutputError) as caught:
        save_checkpoint(folder, state(30), CONFIG)
    assert str(caught.value) == f"cannot write to {folder / 'step-00000030'}: memory is short"
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000010", "step-00000020"]


def test_other_errors_are_bugs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save_tensors(*_: object) -> None:
        raise RuntimeError("shapes")

    monkeypatch.setattr(checkpoint, "_save_tensors", save_tensors)
    with pytest.raises(RuntimeError, match="shapes"):
        save_checkpoint(folder, state(30), CONFIG)


def test_a_step_that_another_training_has_saved_is_saved_anew(folder: Path) -> None:
    """One that was copied in, and that a disk would not remove as the training began, is not what this one has done."""
    for name, tokens in (("another", 1), ("own", 2)):
        save_checkpoint(folder, replace(state(30), tokens=tokens, history={"training": name}), CONFIG)
    found = load_newest(folder, pytest.fail, of=["own"])
    assert found is not None and (found.step, found.tokens) == (30, 2)
