"""Checkpoints: whole or not at all, verified on load, everything that the next step depends on.

``checkpoints/step-00000500/`` is a Hugging Face folder in float32 with the optimizer's state beside
it and a manifest of hashes::

    model.safetensors config.json     the weights; stock transformers loads them
    training/optimizer.safetensors    the optimizer's tensors
    training/state.json               the step, the optimizer's numbers
    manifest.json                     SHA-256 of every other file, written last

A save goes into a hidden folder first; every file and folder is synced before the rename, and the
oldest checkpoint goes only after it. No pickle is read or written.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from danlu.errors import CheckpointError
from danlu.files import hash_file, read_json, sync_file, sync_folder, write_json
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.transformer import Transformer

KEEP = 2
"""Checkpoints kept, so that one damaged on the disk does not end the run."""


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds."""

    step: int
    """Steps done."""
    weights: dict[str, Tensor]
    """Float32, by the names of :class:`Transformer`."""
    optimizer: dict[str, Any]
    """``optimizer.state_dict()``."""


def save_checkpoint(folder: Path, state: TrainingState, config: TransformerConfig) -> Path:
    """Write ``folder/step-<step>``; when this returns it is on the disk, whole.

    Raises:
        OSError: the disk refuses; earlier checkpoints are as they were.
    """
    final = folder / f"step-{state.step:08d}"
    hidden = folder / f".{final.name}.partial"
    shutil.rmtree(hidden, ignore_errors=True)
    (hidden / "training").mkdir(parents=True)
    try:
        save_model(as_model(state.weights, config), hidden)
        tensors, numbers = _flatten(state.optimizer)
        safetensors.torch.save_file(tensors, hidden / "training" / "optimizer.safetensors")
        write_json(hidden / "training" / "state.json", {"step": state.step, "optimizer": numbers})
        files = sorted(path for path in hidden.rglob("*") if path.is_file())
        for path in files:
            sync_file(path)
        write_json(hidden / "manifest.json", {path.relative_to(hidden).as_posix(): hash_file(path) for path in files})
        sync_folder(hidden / "training")
        sync_folder(hidden)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    if final.exists():
        shutil.rmtree(final)
    os.rename(hidden, final)
    sync_folder(folder)
    for old in checkpoints(folder)[:-KEEP]:
        shutil.rmtree(old)
    return final


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints in ``folder``, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def load_newest(folder: Path, say: Callable[[str], None]) -> TrainingState | None:
    """The newest checkpoint that is undamaged; ``say`` gets a line for each one that is not.

    Raises:
        CheckpointError: there are checkpoints and all are damaged.
    """
    found = checkpoints(folder)
    for place, path in reversed(list(enumerate(found))):
        damage = find_damage(path)
        if damage is None:
            return _load(path)
        then = f"going on from {found[place - 1].name}" if place else "and there is no earlier one"
        say(f"checkpoint {path} is damaged ({damage}); {then}")
    if found:
        raise CheckpointError(f"every checkpoint in {folder} is damaged; delete that folder to train from the start")
    return None


def find_damage(path: Path) -> str | None:
    """The first thing wrong with a checkpoint, in words; None where its hashes are right."""
    manifest = read_json(path / "manifest.json")
    if manifest is None:
        return "manifest.json is missing or cut"
    for name, digest in manifest.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if hash_file(path / name) != digest:
            return f"{name} is not what was written"
    return None


def as_model(weights: dict[str, Tensor], config: TransformerConfig) -> Transformer:
    """A model that holds these very tensors, without copying them."""
    with torch.device("meta"):
        model = Transformer(config)
    if config.tied:
        weights = {**weights, "head.weight": weights["embedding.weight"]}
    model.load_state_dict(weights, assign=True)
    return model


def _load(path: Path) -> TrainingState:
    state = json.loads((path / "training" / "state.json").read_text(encoding="utf-8"))
    tensors = safetensors.torch.load_file(path / "training" / "optimizer.safetensors")
    weights = dict(load_model(path).named_parameters())
    return TrainingState(state["step"], {k: w.detach() for k, w in weights.items()}, _gather(tensors, state["optimizer"]))


def _flatten(optimizer: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's ``state_dict`` as tensors by ``<parameter>.<name>`` and a rest that is plain JSON."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for parameter, values in optimizer["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{parameter}.{name}"] = value.contiguous()
            else:
                numbers.setdefault(str(parameter), {})[name] = value
    return tensors, {"numbers": numbers, "param_groups": optimizer["param_groups"]}


def _gather(tensors: dict[str, Tensor], rest: dict[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {int(key): dict(values) for key, values in rest["numbers"].items()}
    for key, tensor in tensors.items():
        parameter, _, name = key.partition(".")
        state.setdefault(int(parameter), {})[name] = tensor
    return {"state": state, "param_groups": rest["param_groups"]}
