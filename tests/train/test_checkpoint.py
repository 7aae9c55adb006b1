"""Checkpoints: everything comes back bit for bit, every damage is found, and the disk has it before it is named."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from danlu.errors import CheckpointError, OutputError
from danlu.nn import speed
from danlu.nn.families import GPT, Llama
from danlu.objectives.clm import CausalLM
from danlu.optim.adamw import AdamW
from danlu.optim.muon import Muon
from danlu.train import checkpoint, manifest
from danlu.train.checkpoint import TrainingState, checkpoints, load_newest, save_checkpoint
from danlu.train.loop import fit
from danlu.train.setup import Training
from danlu.verify.disk import read, spoil

MakeTraining = Callable[..., Training]


def train(training: Training, *, start: int, steps: int) -> None:
    fit(training.model, training.batches, CausalLM(), training.optimizer, lambda step: 1 / (step + 1),
        start=start, steps=steps)  # fmt: skip


def state_of(training: Training, step: int) -> TrainingState:
    return TrainingState(step, step * 100, training.masters.state(), training.optimizer.state_dict())


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit and in type, tensors and all."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, torch.Tensor):
        bits = [tensor.flatten().view(torch.uint8) for tensor in (a, b)]
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*bits)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.fixture
def saved(make_training: MakeTraining, tmp_path: Path) -> tuple[Path, dict[int, TrainingState], Training]:
    """Two checkpoints, of steps 10 and 20, and what is in them."""
    training = make_training(optimizer=Muon(), model=GPT(layers=1, dim=8, heads=1), batch=2)
    states = {}
    for step in (10, 20):
        train(training, start=step - 1, steps=step)
        state = state_of(training, step)
        save_checkpoint(tmp_path / "checkpoints", state, training.model.config)
        weights = {name: weight.clone() for name, weight in state.weights.items()}
        kept = {name: {k: v.clone() for k, v in values.items()} for name, values in state.optimizer["state"].items()}
        states[step] = TrainingState(step, step * 100, weights, {**state.optimizer, "state": kept})
    return tmp_path / "checkpoints", states, training


@pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("optimizer", [AdamW(), Muon()], ids=["adamw", "muon"])
@pytest.mark.parametrize(
    "family", [GPT(layers=2, dim=32, heads=2), Llama(layers=1, dim=32, heads=2, tied=True)], ids=["gpt", "tied llama"]
)
def test_training_goes_on_as_if_it_had_never_stopped(
    precision: str, optimizer: Any, family: Any, make_training: MakeTraining, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(speed, "fast_int8", lambda: "avx512_vnni")
    settings = {"precision": precision, "optimizer": optimizer, "model": family, "batch": 4}
    straight, resumed = make_training(**settings), make_training(**settings, seed=99)
    train(straight, start=0, steps=3)
    save_checkpoint(tmp_path, state_of(straight, 3), straight.model.config)

    loaded = load_newest(tmp_path, pytest.fail)
    assert loaded is not None
    assert (loaded.step, loaded.tokens) == (3, 300)
    assert same(loaded.weights, straight.masters.state())
    resumed.masters.load(loaded.weights)
    resumed.optimizer.load_state_dict(loaded.optimizer)
    assert same(resumed.optimizer.state_dict(), straight.optimizer.state_dict())
    for training in (straight, resumed):  # the same batches: those of the first seed
        fit(training.model, straight.batches, CausalLM(), training.optimizer, lambda _: 0.5, start=3, steps=6)
    assert same(resumed.masters.state(), straight.masters.state())
    assert same(resumed.optimizer.state_dict(), straight.optimizer.state_dict())


def test_a_checkpoint_loads_in_stock_transformers(make_training: MakeTraining, tmp_path: Path, packed: Path) -> None:
    training = make_training(precision="bf16")
    train(training, start=0, steps=2)
    path = save_checkpoint(
        tmp_path, state_of(training, 2), training.model.config, tokenizer=packed / "run" / "tokenizer"
    )
    stock = AutoModelForCausalLM.from_pretrained(path)
    assert stock.get_input_embeddings().weight.dtype == torch.float32
    assert same(stock.get_input_embeddings().weight.detach(), training.masters.state()["embedding.weight"])
    assert AutoTokenizer.from_pretrained(path).decode(AutoTokenizer.from_pretrained(path)("to be").input_ids) == "to be"


def test_a_thousand_random_damages_are_found_and_named_and_the_one_before_is_used(
    saved: tuple[Path, dict[int, TrainingState], Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, states, _ = saved
    real = checkpoint._load
    # Every twentieth is really loaded; of the others it is enough which one it would be.
    monkeypatch.setattr(checkpoint, "_load", lambda path: states[int(path.name[5:])] if number % 20 else real(path))
    newest, older = folder / "step-00000020", folder / "step-00000010"
    files, other = read(newest), read(older)
    randoms, done = random.Random(11), Counter[str]()
    for number in range(1000):
        names, kind = spoil(newest, files, other, randoms)
        lines: list[str] = []
        loaded = load_newest(folder, lines.append)
        assert loaded is not None and loaded.step == 10, (number, names, kind)
        if number % 20 == 0:
            assert same(loaded.weights, states[10].weights)
            assert same(loaded.optimizer["state"], states[10].optimizer["state"])
        [line] = lines
        assert line.startswith(f"checkpoint {newest} is damaged ("), line
        assert line.endswith("; going on from step-00000010"), line
        # A damaged manifest may name a file that is not there; every other damage is at the file it names.
        assert "manifest.json" in names or any(name in line for name in names), (line, names, kind)
        assert not newest.exists() and sorted(folder.iterdir()) == [older]
        done[kind] += 1
        (newest / "training").mkdir(parents=True)
        for name, data in files.items():
            (newest / name).write_bytes(data)
    assert min(done.values()) > 50, done
    assert len(done) == 8
    number = 0
    undamaged = load_newest(folder, pytest.fail)
    assert undamaged is not None and undamaged.step == 20


def test_one_in_vain_is_passed_over_and_then_removed(saved: tuple[Path, dict[int, TrainingState], Training]) -> None:
    folder, states, _ = saved
    loaded = load_newest(folder, pytest.fail, in_vain=lambda path: path.name == "step-00000020")
    assert loaded is not None and same(loaded.weights, states[10].weights)
    assert [path.name for path in folder.iterdir()] == ["step-00000010"]


@pytest.mark.parametrize("damaged", [True, False], ids=["the other is damaged", "so is the other"])
def test_one_in_vain_is_better_than_none(damaged: bool, saved: tuple[Path, dict[int, TrainingState], Training]) -> None:
    """It once was deleted before it was known whether another one is whole."""
    folder, states, _ = saved
    if damaged:
        (folder / "step-00000010" / "model.safetensors").write_bytes(b"")
    lines: list[str] = []
    loaded = load_newest(folder, lines.append, in_vain=lambda path: True)
    assert loaded is not None and same(loaded.weights, states[20].weights)
    assert len(lines) == damaged
    assert (folder / "step-00000020").exists()


def test_two_damaged_at_once_are_both_named(saved: tuple[Path, dict[int, TrainingState], Training]) -> None:
    folder, _, _ = saved
    shutil.copytree(folder / "step-00000020", folder / "step-00000030")
    state = (folder / "step-00000030" / "training" / "state.json").read_text().replace('"step": 20', '"step": 30')
    (folder / "step-00000030" / "training" / "state.json").write_text(state)
    (folder / "step-00000020" / "model.safetensors").unlink()
    lines: list[str] = []
    loaded = load_newest(folder, lines.append)
    assert loaded is not None and loaded.step == 10
    assert lines == [
        f"checkpoint {folder / 'step-00000030'} is damaged (training/state.json is not what was written); "
        "going on from step-00000020",
        f"checkpoint {folder / 'step-00000020'} is damaged (model.safetensors is missing); going on from step-00000010",
    ]
    assert [path.name for path in folder.iterdir()] == ["step-00000010"]


def test_every_byte_of_the_manifest_counts(saved: tuple[Path, dict[int, TrainingState], Training]) -> None:
    file = saved[0] / "step-00000020" / "manifest.json"
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert checkpoint.find_damage(file.parent) == "manifest.json is missing or damaged"
    for place in range(len(whole)):
        flipped = bytes([whole[place] ^ 1 << place % 8])
        file.write_bytes(whole[:place] + flipped + whole[place + 1 :])
        assert checkpoint.find_damage(file.parent) is not None, place
    first, *_ = whole.decode().splitlines(keepends=True)[1:]
    file.write_bytes(whole.replace(first.encode(), first.encode() * 2))  # as a flipped bit in a name may make it
    assert checkpoint.find_damage(file.parent) == "manifest.json is missing or damaged"
    file.write_bytes(b"{}\n")
    assert checkpoint.find_damage(file.parent) == "manifest.json is missing or damaged"
    file.write_bytes(whole)
    assert checkpoint.find_damage(file.parent) is None


def test_where_all_are_damaged_there_is_one_line_and_nothing_is_deleted(
    saved: tuple[Path, dict[int, TrainingState], Training],
) -> None:
    folder = saved[0]
    for path in folder.iterdir():
        (path / "model.safetensors").write_bytes(b"")
    lines: list[str] = []
    with pytest.raises(CheckpointError) as caught:
        load_newest(folder, lines.append)
    assert str(caught.value) == f"every checkpoint in {folder} is damaged; delete that folder to train from the start"
    what = "is damaged (model.safetensors is not what was written)"
    assert lines == [
        f"checkpoint {folder / 'step-00000020'} {what}; going on from step-00000010",
        f"checkpoint {folder / 'step-00000010'} {what}; and there is no earlier one",
    ]
    assert len(list(folder.iterdir())) == 2


def test_a_disk_that_cannot_read_is_a_damage_too(
    saved: tuple[Path, dict[int, TrainingState], Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hash_file(path: Path) -> str:
        if path.parent.name == "step-00000020" and path.name == "model.safetensors":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    real = manifest.hash_file
    monkeypatch.setattr(manifest, "hash_file", hash_file)
    lines: list[str] = []
    loaded = load_newest(saved[0], lines.append)
    assert loaded is not None
    assert loaded.step == 10
    assert "model.safetensors cannot be read: Input/output error" in lines[0]


def test_a_manifest_that_the_disk_cannot_read_is_a_damage_too(
    saved: tuple[Path, dict[int, TrainingState], Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_bytes(path: Path) -> bytes:
        if path == saved[0] / "step-00000020" / "manifest.json":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert checkpoint.find_damage(saved[0] / "step-00000020") == "manifest.json cannot be read: Input/output error"


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "nowhere", pytest.fail) is None
    (tmp_path / "step-notes").mkdir()
    (tmp_path / "step-00000001").write_text("a file")
    assert load_newest(tmp_path, pytest.fail) is None


def test_the_last_two_are_kept_in_order_of_number(make_training: MakeTraining, tmp_path: Path) -> None:
    training = make_training()
    for step in (1, 9, 10, 99_999_999, 100_000_000):
        save_checkpoint(tmp_path, state_of(training, step), training.model.config)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-99999999", "step-100000000"]
    loaded = load_newest(tmp_path, pytest.fail)
    assert loaded is not None
    assert loaded.step == 100_000_000


def test_what_a_killed_save_left_is_swept_away(saved: tuple[Path, dict[int, TrainingState], Training]) -> None:
    folder, states, training = saved
    for name in (".step-00000015.partial", ".step-00000005.removed", ".step-00000030.partial"):
        (folder / name / "training").mkdir(parents=True)
    save_checkpoint(folder, TrainingState(30, 1, states[20].weights, states[20].optimizer), training.model.config)
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000020", "step-00000030"]


def test_a_step_that_is_saved_already_is_left_alone_unless_damaged(
    saved: tuple[Path, dict[int, TrainingState], Training],
) -> None:
    folder, states, training = saved
    file = folder / "step-00000020" / "model.safetensors"
    before = file.stat().st_ino
    save_checkpoint(folder, states[20], training.model.config)
    assert file.stat().st_ino == before
    file.write_bytes(b"")
    save_checkpoint(folder, states[20], training.model.config)
    loaded = load_newest(folder, pytest.fail)
    assert loaded is not None
    assert loaded.step == 20


def test_what_going_back_could_not_remove_is_removed_by_the_next_save(
    saved: tuple[Path, dict[int, TrainingState], Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that is done again, at another learning rate, has another outcome, and there is none behind it."""
    folder, states, training = saved
    path = save_checkpoint(folder, state_of(training, 5), training.model.config)
    assert [each.name for each in checkpoints(folder)] == [path.name]
    for step in (10, 20):
        save_checkpoint(folder, states[step], training.model.config)
    told: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refused)
        loaded = load_newest(folder, told.append, in_vain=lambda path: path.name > "step-00000010")
    assert loaded is not None and loaded.step == 10
    [line] = told
    assert line.startswith("could not remove the checkpoints behind step-00000010 (cannot write to ")
    assert line.endswith("the file system is read-only); training goes on")
    again = replace(state_of(training, 10), history={"setbacks": 1})
    assert not same(again.weights, states[10].weights)
    save_checkpoint(folder, again, training.model.config)
    assert [each.name for each in checkpoints(folder)] == ["step-00000010"]
    loaded = load_newest(folder, pytest.fail)
    assert loaded is not None and same(loaded.weights, again.weights)


def refused(path: Path, *_: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system", str(path))


def test_everything_is_on_the_disk_before_it_has_its_name(
    saved: tuple[Path, dict[int, TrainingState], Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would still be in memory when the power fails must not be called a checkpoint."""
    folder, states, training = saved
    synced: dict[Path, tuple[int, int]] = {}
    real_sync, real_rename = os.fsync, Path.rename
    renamed: list[Path] = []

    def fsync(descriptor: int) -> None:
        about = os.fstat(descriptor)
        synced[Path(f"/proc/self/fd/{descriptor}").readlink()] = (about.st_ino, about.st_mtime_ns)
        real_sync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        if target.name == "step-00000030":
            for each in [path, *path.rglob("*")]:
                about = each.stat()
                assert (about.st_ino, about.st_mtime_ns) in synced.values(), f"{each} was not synced"
            renamed.append(target)
            synced.clear()
        elif renamed:
            assert folder in synced, "an old checkpoint was removed before the new name was on the disk"
        return real_rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    save_checkpoint(folder, TrainingState(30, 1, states[20].weights, states[20].optimizer), training.model.config)
    assert renamed == [folder / "step-00000030"]
    assert folder in synced


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """What the system itself refuses, as a full disk would, to every library alike."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 50, 300, 1000, 3000])
def test_a_full_disk_is_one_clear_error_and_earlier_checkpoints_stay(
    saved: tuple[Path, dict[int, TrainingState], Training], size: int
) -> None:
    folder, states, training = saved
    state = TrainingState(30, 1, states[20].weights, states[20].optimizer)
    with no_file_larger_than(size), pytest.raises(OutputError) as caught:
        save_checkpoint(folder, state, training.model.config)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000010", "step-00000020"]
    loaded = load_newest(folder, pytest.fail)
    assert loaded is not None
    assert same(loaded.weights, states[20].weights)
    save_checkpoint(folder, state, training.model.config)
    assert [path.name for path in checkpoints(folder)] == ["step-00000020", "step-00000030"]


def test_a_state_that_json_would_change_is_a_bug_and_leaves_no_checkpoint(
    saved: tuple[Path, dict[int, TrainingState], Training],
) -> None:
    folder, states, training = saved
    odd = {**states[20].optimizer, "param_groups": [{"params": [0], "lr": torch.tensor(0.1)}]}
    with pytest.raises(TypeError):
        save_checkpoint(folder, TrainingState(30, 1, states[20].weights, odd), training.model.config)
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000010", "step-00000020"]


def test_nothing_in_a_checkpoint_is_a_pickle(saved: tuple[Path, dict[int, TrainingState], Training]) -> None:
    newest = saved[0] / "step-00000020"
    names = {path.relative_to(newest).as_posix() for path in newest.rglob("*") if path.is_file()}
    assert all(name.endswith((".json", ".safetensors")) for name in names)
    state = json.loads((newest / "training" / "state.json").read_text())
    assert (state["step"], state["tokens"]) == (20, 2000)
