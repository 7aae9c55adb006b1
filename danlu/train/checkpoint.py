"""Checkpoints: whole or not at all, verified on load, everything that the next step depends on.

``checkpoints/step-00000500/`` is a Hugging Face folder in float32 with the optimizer's state beside
it and a manifest of hashes::

    model.safetensors config.json …   the weights, and the tokenizer; stock transformers loads them
    training/optimizer.safetensors    the optimizer's tensors
    training/average.safetensors      the averaged weights, where there are such
    training/objective.safetensors    the objective's own weights, where it has some
    training/state.json               the step, the tokens seen, the optimizer's numbers, the training's history
    training/data.json                which text it was trained on: hashes and counts (fingerprint.py)
    manifest.json                     SHA-256 of every other file, written last

Where only a part of a model trains, as adapters, ``part.safetensors`` with that part stands in place of the model.

A save goes into a hidden folder first; every file and folder is synced before the rename, and the
oldest checkpoint goes only after it. No pickle is read or written.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from danlu.errors import CheckpointError, OutputError
from danlu.files import (
    atomic_write,
    hash_file,
    json_text,
    make_folder,
    read_json,
    remove_folder,
    sync_file,
    sync_folder,
    write_json,
    writing,
)
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.transformer import Transformer
from danlu.train.precision import OBJECTIVE

KEEP = 2
"""Checkpoints kept, so that one damaged on the disk does not end the run."""

AVERAGE = "average.safetensors"
OWN = "objective.safetensors"
PART = "part.safetensors"
DATA = "data.json"
NEEDED = ("config.json", "model.safetensors", "training/optimizer.safetensors", "training/state.json")
"""Files without which a checkpoint is none; a manifest that lacks one is damaged."""
NEEDED_OF_PART = (PART, "training/optimizer.safetensors", "training/state.json")
"""The same of a training of a part."""


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds."""

    step: int
    """Steps done."""
    tokens: int
    """Read in them, padding not counted."""
    weights: dict[str, Tensor]
    """Float32, by the names of :class:`Transformer`; those of the objective's own modules begin with ``objective.``."""
    optimizer: dict[str, Any]
    """``optimizer.state_dict()``."""
    history: dict[str, Any] = field(default_factory=dict)
    """What else the next steps depend on, in plain JSON."""
    average: dict[str, Tensor] = field(default_factory=dict)
    """The running average of the weights, where there is one."""
    data: dict[str, Any] = field(default_factory=dict)
    """Which text was read, by its fingerprint; empty where nobody has said."""

    def without_tensors(self) -> TrainingState:
        """What ranks need that get their tensors from another."""
        return replace(self, weights={}, optimizer={}, average={})


def save_checkpoint(
    folder: Path, state: TrainingState, config: TransformerConfig | None, *, tokenizer: Path | None = None
) -> Path:
    """Write ``folder/step-<step>``; when this returns it is on the disk, whole.

    A whole checkpoint of this step is left as it is, for a step has one outcome in a run that has gone back so often.
    Those behind it, which going back could not remove, are removed now.

    Args:
        config: of the model; None where the weights are a part of one.

    Raises:
        OutputError: the disk refuses; earlier checkpoints are as they were.
    """
    final = folder / f"step-{state.step:08d}"
    try:
        with writing(folder):
            make_folder(folder)
            for left in folder.glob(".step-*"):  # by a process that was killed
                remove_folder(left)
            if final.exists():
                if find_damage(final) is None and setbacks_before(final) == state.history.get("setbacks", 0):
                    return final
                remove_folder(final)
            hidden = folder / f".{final.name}.partial"
            try:
                _write(hidden, state, config, tokenizer)
            except BaseException:
                shutil.rmtree(hidden, ignore_errors=True)
                raise
            hidden.rename(final)
            sync_folder(folder)
            sync_folder(folder.parent)  # where a process was killed just after it had made the folder
            _remove_others(folder, newest=final)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write to {final}: {error}") from error
    return final


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in ``folder``, oldest first."""
    found = (path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name) and path.is_dir())
    return sorted(found, key=checkpoint_step)


def load_newest(
    folder: Path, say: Callable[[str], None], *, in_vain: Callable[[Path], bool] = lambda path: False
) -> TrainingState | None:
    """The newest checkpoint that is undamaged; ``say`` gets a line for each one that is not.

    Those behind it are removed once it is loaded; what the disk refuses then is told, and left to the next save.

    Args:
        in_vain: of which whole ones an earlier one is better, where there is such a one.

    Raises:
        CheckpointError: there are checkpoints and all are damaged.
    """
    found = checkpoints(folder)
    chosen, second = None, None
    for place, path in reversed(list(enumerate(found))):
        damage = find_damage(path)
        if damage is not None:
            then = f"going on from {found[place - 1].name}" if place else "and there is no earlier one"
            say(f"checkpoint {path} is damaged ({damage}); {then}")
        elif not in_vain(path):
            chosen = place
            break
        elif second is None:
            second = place
    if chosen is None:
        chosen = second
    if chosen is not None:
        state = _load(found[chosen])
        try:
            with writing(folder):
                for path in found[chosen + 1 :]:
                    _remove(path)
        except OutputError as error:
            say(f"could not remove the checkpoints behind {found[chosen].name} ({error}); training goes on")
        return state
    if found:
        raise CheckpointError(f"every checkpoint in {folder} is damaged; delete that folder to train from the start")
    return None


def setbacks_before(path: Path) -> int:
    """How often a training had gone back when this checkpoint, which is whole, was saved."""
    history = json.loads((path / "training" / "state.json").read_text(encoding="utf-8"))["history"]
    return int(history.get("setbacks", 0))


def find_damage(path: Path) -> str | None:
    """The first thing wrong with a checkpoint, in words; None where it is what was written."""
    name = "manifest.json"
    try:
        manifest = _read_manifest(path / name)
        if manifest is None:
            return f"{name} is missing or damaged"
        for name, digest in manifest.items():
            if not (path / name).is_file():
                return f"{name} is missing"
            if hash_file(path / name) != digest:
                return f"{name} is not what was written"
        name = "training/state.json"
        step = json.loads((path / name).read_text(encoding="utf-8"))["step"]
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return f"{name} cannot be read: {error.strerror}"
    return None if step == checkpoint_step(path) else f"{name} is that of step {step}"


def check_fits(
    state: TrainingState, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, folder: Path
) -> None:
    """Refuse a state that is not one of these weights and this optimizer.

    Raises:
        CheckpointError: a weight has another shape, or the optimizer is another one.
    """
    shapes = [{name: list(weight.shape) for name, weight in each.items()} for each in (state.weights, weights)]
    for name in shapes[0] | shapes[1]:
        if shapes[0].get(name) != shapes[1].get(name):
            was, now = (each.get(name, "nothing") for each in shapes)
            raise CheckpointError(f"{folder} holds another model: {name} is {was} there, {now} in the recipe")
    groups = [[_kind(group) for group in each["param_groups"]] for each in (state.optimizer, optimizer.state_dict())]
    if groups[0] != groups[1]:
        raise CheckpointError(f"{folder} holds the state of another optimizer than pretrain.optimizer")


def _kind(group: Mapping[str, Any]) -> tuple[Any, ...]:
    """What decides which numbers an optimizer keeps for the weights of a group."""
    # RMSProp makes the means that these ask for at its first step only.
    means = "centered" in group and (group["centered"], group["momentum"] > 0)
    # Those of pytorch_optimizer count their steps in a group from the first one on.
    return set(group) - {"lr", "step"}, group.get("rule"), len(group["params"]), means


def as_model(weights: dict[str, Tensor], config: TransformerConfig) -> Transformer:
    """A model that holds these very tensors, without copying them; not those of the objective."""
    weights = {name: weight for name, weight in weights.items() if not name.startswith(OBJECTIVE)}
    with torch.device("meta"):
        model = Transformer(config)
    if config.tied:
        weights = {**weights, config.words_weight: weights["embedding.weight"]}
    model.load_state_dict(weights, assign=True)
    model.set_rotary()  # which no file holds
    return model


def put_weights(
    folder: Path, weights: dict[str, Tensor], config: TransformerConfig | None, *, tokenizer: Path | None
) -> None:
    """Write the model that these weights are into ``folder``; where there is no ``config``, the part of one."""
    if config is None:
        _save_tensors({name: each for name, each in weights.items() if not name.startswith(OBJECTIVE)}, folder / PART)
    else:
        save_model(as_model(weights, config), folder, tokenizer=tokenizer)


def take_weights(folder: Path) -> dict[str, Tensor]:
    """What :func:`put_weights` has written."""
    if (folder / PART).exists():
        return _read_tensors(folder / PART)
    return {name: weight.detach() for name, weight in load_model(folder).named_parameters()}


def _write(hidden: Path, state: TrainingState, config: TransformerConfig | None, tokenizer: Path | None) -> None:
    """All files of a checkpoint, and the manifest when they are on the disk."""
    (hidden / "training").mkdir(parents=True)
    put_weights(hidden, state.weights, config, tokenizer=tokenizer)
    tensors, rest = _flatten(state.optimizer)
    _save_tensors(tensors, hidden / "training" / "optimizer.safetensors")
    if own := {name: weight for name, weight in state.weights.items() if name.startswith(OBJECTIVE)}:
        _save_tensors(own, hidden / "training" / OWN)
    if state.average:
        _save_tensors(state.average, hidden / "training" / AVERAGE)
    # Not write_json, which turns what it does not know into text: that would not come back.
    known = {"step": state.step, "tokens": state.tokens, "history": state.history, "optimizer": rest}
    numbers = json.dumps(known, indent=1)
    atomic_write(hidden / "training" / "state.json", numbers.encode())
    if state.data:
        write_json(hidden / "training" / DATA, state.data)
    files = sorted(path for path in hidden.rglob("*") if path.is_file())
    for path in files:
        sync_file(path)
    write_json(hidden / "manifest.json", {path.relative_to(hidden).as_posix(): hash_file(path) for path in files})
    sync_folder(hidden / "training")
    sync_folder(hidden)


def _read_manifest(path: Path) -> dict[str, str] | None:
    """Name to hash; None where the file is not to the byte what is written for them."""
    try:
        text = path.read_bytes().decode()
        manifest = json.loads(text)
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    if not isinstance(manifest, dict):
        return None
    if any(name not in manifest for name in (NEEDED_OF_PART if PART in manifest else NEEDED)):
        return None
    return manifest if text == json_text(manifest) else None


def _load(path: Path) -> TrainingState:
    state = json.loads((path / "training" / "state.json").read_text(encoding="utf-8"))
    tensors = _read_tensors(path / "training" / "optimizer.safetensors")
    average, own = (
        _read_tensors(file) if file.exists() else {} for file in (path / "training" / AVERAGE, path / "training" / OWN)
    )
    weights = take_weights(path) | own
    optimizer = _gather(tensors, state["optimizer"])
    data = read_json(path / "training" / DATA) or {}
    return TrainingState(state["step"], state["tokens"], weights, optimizer, state["history"], average, data)


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    safetensors.torch.save_file(tensors, path)
    path.chmod(0o644)  # as every other file


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Copied: a mapped file would hold its room on the disk after it is removed."""
    return {name: tensor.clone() for name, tensor in safetensors.torch.load_file(path).items()}


def _remove_others(folder: Path, *, newest: Path) -> None:
    """Keep ``newest`` and those just before it; none that is there already is behind it."""
    found = checkpoints(folder)
    place = found.index(newest)
    for path in [*found[place + 1 :], *found[: max(0, place - (KEEP - 1))]]:
        _remove(path)


def _remove(path: Path) -> None:
    """Delete a checkpoint; a process that is killed on the way leaves no part of it under its name."""
    hidden = path.with_name(f".{path.name}.removed")
    if hidden.exists():
        remove_folder(hidden)
    path.rename(hidden)
    remove_folder(hidden)


def checkpoint_step(path: Path) -> int:
    """The step that a checkpoint stands at, by its name."""
    return int(path.name.removeprefix("step-"))


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
