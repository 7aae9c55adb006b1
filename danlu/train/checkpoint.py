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

Where only a part of a model trains, as adapters, ``part.safetensors`` with that part stands in place of the model;
weights of more than 5 GB are several files with an index.

A save goes into a hidden folder first; every file and folder is synced before the rename, and the
oldest checkpoint goes only after it. No pickle is read or written.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from danlu.errors import CheckpointError, OutputError
from danlu.files import atomic_write, make_folder, read_json, remove_folder, sync_folder, write_json, writing
from danlu.log import say as tell
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.hf.peft_config import CONFIG as VIRTUAL
from danlu.nn.hf.sentence_transformers import MODULES
from danlu.nn.hf.weight_files import INDEX, SHARD, WEIGHTS
from danlu.nn.transformer import Transformer
from danlu.train.history import setbacks_of
from danlu.train.manifest import find_change, seal
from danlu.train.memory import is_out_of_memory
from danlu.train.precision import OBJECTIVE

KEEP = 2
"""Checkpoints kept, so that one damaged on the disk does not end the run."""

AVERAGE = "average.safetensors"
OWN = "objective.safetensors"
PART = "part.safetensors"
DATA = "data.json"
STATE = "training/state.json"
OF_ANOTHER = "of a training with other settings, another seed or other text"
NEEDED = ("training/optimizer.safetensors", STATE)
"""Files without which a checkpoint is none, beside those of the weights."""
LOOKED_FOR = (PART, VIRTUAL, MODULES)
"""What is taken for a part of the weights, or says how to read them, wherever it is found."""
LOOKED_FOR_TOO = (*LOOKED_FOR, f"training/{AVERAGE}", f"training/{OWN}", f"training/{DATA}")
"""The same of a whole checkpoint."""


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
            hidden = folder / f".{final.name}.partial"
            _sweep(folder, needed=hidden)
            if final.exists():
                own = str(state.history.get("training", ""))
                whole = find_damage(final) is None and not _is_of_another(final, [own] if own else None)
                if whole and setbacks_before(final, own) == state.history.get("setbacks", 0):
                    return final
                remove_folder(final)
            try:
                _write(hidden, state, config, tokenizer)
            except BaseException:
                shutil.rmtree(hidden, ignore_errors=True)
                raise
            hidden.rename(final)
            sync_folder(folder)
            sync_folder(folder.parent)  # where a process was killed just after it had made the folder
            _remove_later(folder, newest=final)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write to {final}: {error}") from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutputError(f"cannot write to {final}: memory is short") from error
    _remove_old(folder, newest=final)
    return final


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in ``folder``, oldest first."""
    found = (path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name) and path.is_dir())
    return sorted(found, key=checkpoint_step)


def load_newest(
    folder: Path,
    say: Callable[[str], None],
    *,
    in_vain: Callable[[Path], bool] = lambda path: False,
    of: Collection[str] | None = None,
) -> TrainingState | None:
    """The newest checkpoint that is undamaged; ``say`` gets a line for each one that is not.

    Those behind it are removed once it is loaded; what the disk refuses then is told, and left to the next save.

    Args:
        in_vain: of which whole ones an earlier one is better, where there is such a one.
        of: the trainings that it may be of; of any where None.

    Raises:
        CheckpointError: there are checkpoints and none can be used.
    """
    found = checkpoints(folder)
    chosen, second = None, None
    for place, path in reversed(list(enumerate(found))):
        damage = find_damage(path)
        if damage is not None or _is_of_another(path, of):
            then = f"going on from {found[place - 1].name}" if place else "and there is no earlier one"
            say(f"checkpoint {path} is {f'damaged ({damage})' if damage else OF_ANOTHER}; {then}")
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
                _sweep(folder)
        except OutputError as error:
            say(f"could not remove the checkpoints behind {found[chosen].name} ({error}); training goes on")
        return state
    if found:
        what = "damaged" if all(map(find_damage, found)) else "damaged or of another training"
        raise CheckpointError(f"every checkpoint in {folder} is {what}; delete that folder to train from the start")
    return None


def setbacks_before(path: Path, training: str) -> int:
    """How often ``training`` had gone back when this checkpoint, which is whole, was saved."""
    return setbacks_of(_history(path), training)


def _is_of_another(path: Path, trainings: Collection[str] | None) -> bool:
    """Whether a checkpoint, which is whole, says that it is of none of these."""
    own = None if trainings is None else _history(path).get("training")
    return bool(own) and trainings is not None and own not in trainings


def _history(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))["history"]
    return found


def find_damage(path: Path) -> str | None:
    """The first thing wrong with a checkpoint, in words; None where it is what was written."""
    change = find_change(path, complete=_is_complete, looked_for=LOOKED_FOR_TOO)
    if change is not None:
        return change
    try:
        step = json.loads((path / STATE).read_text(encoding="utf-8"))["step"]
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return f"{STATE} cannot be read: {error.strerror}"
    return None if step == checkpoint_step(path) else f"{STATE} is that of step {step}"


def find_damage_of_weights(path: Path) -> str | None:
    """The same of a folder that has what :func:`put_weights` writes, and its manifest."""
    return find_change(path, complete=_has_weights, looked_for=LOOKED_FOR)


def _is_complete(names: Collection[str]) -> bool:
    return _has_weights(names) and all(name in names for name in NEEDED)


def _has_weights(names: Collection[str]) -> bool:
    """Whether there are all files of a model, or of a part of one."""
    if PART in names:
        return True
    if INDEX not in names:
        return "config.json" in names and WEIGHTS in names
    counts = [int(found[1]) for name in names if (found := re.fullmatch(r"model-\d+-of-(\d+)\.safetensors", name))]
    shards = (
        [SHARD.format(number=number, count=counts[0]) for number in range(1, counts[0] + 1)] if counts else [WEIGHTS]
    )
    return "config.json" in names and all(name in names for name in shards)


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
        raise CheckpointError(f"{folder} holds the state of another optimizer than the recipe's")


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
    atomic_write(hidden / "training" / "state.json", json.dumps(known, indent=1).encode())
    if state.data:
        write_json(hidden / "training" / DATA, state.data)
    seal(hidden)


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


def _sweep(folder: Path, *, needed: Path | None = None) -> None:
    """Remove what a process that was killed has left; only what is in the way of a save must go.

    Files that another process holds open cannot go from some disks, as NFS, before it ends.
    """
    for left in folder.glob(".step-*"):
        try:
            remove_folder(left)
        except OSError:
            if left == needed:
                raise


def _remove_later(folder: Path, *, newest: Path) -> None:
    """Checkpoints behind ``newest``, of a stretch that was gone back over: from one of them a process would go on."""
    found = checkpoints(folder)
    for path in found[found.index(newest) + 1 :]:
        _remove(path)


def _remove_old(folder: Path, *, newest: Path) -> None:
    """Keep ``newest`` and those just before it. A disk that refuses is told: what was saved is saved."""
    found = checkpoints(folder)
    for path in found[: max(0, found.index(newest) - (KEEP - 1))]:
        try:
            _remove(path)
        except OSError as error:
            tell(f"could not remove the old checkpoint {path.name} ({error}); training goes on")


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
