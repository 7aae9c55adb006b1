"""A model as a Hugging Face folder: ``config.json``, ``generation_config.json``, ``model.safetensors``.

Only safetensors are read: pickled weights can run code. What is written loads in stock
``transformers`` with no remote code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from danlu import catalog
from danlu.errors import CheckpointError, RecipeError, suggestion
from danlu.files import sync_file, sync_folder, write_json
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.family import FolderFamily
from danlu.nn.transformer import Transformer
from danlu.tokenizers.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
IGNORED = ("rotary_emb.inv_freq",)
"""Tensors that old folders hold and nobody reads: they follow from the configuration."""


def save_model(
    model: Transformer, folder: Path, *, dtype: torch.dtype | None = None, tokenizer: Path | None = None
) -> None:
    """Write the model into ``folder``, which is made where it is not there; each file appears whole or not at all.

    Args:
        dtype: the type of the weights in the file; by default the one that they have.
        tokenizer: a folder with a tokenizer that goes with the model; its end-of-text token is written
            as beginning and end, without one that is token 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config
    family = _family(config.family)
    state = model.state_dict()
    dtype = dtype or state["embedding.weight"].dtype
    tensors = dict(_parts(state, family.weight_names(config), dtype=dtype))
    eot = 0
    if tokenizer is not None:
        loaded = Tokenizer.load(tokenizer)
        loaded.save(folder)
        eot = loaded.eot
    _write_tensors(folder / WEIGHTS, tensors)
    write_json(folder / "generation_config.json", {"bos_token_id": eot, "eos_token_id": eot, "pad_token_id": eot})
    whole = {
        "architectures": [family.architecture],
        "model_type": config.family,
        "dtype": str(dtype).removeprefix("torch."),
        "bos_token_id": eot,
        "eos_token_id": eot,
        # Named, because some families have a padding token by default, which is then never learned.
        "pad_token_id": None,
        **family.write_config(config),
    }
    write_json(folder / "config.json", dict(sorted(whole.items())))


def load_config(folder: Path) -> TransformerConfig:
    """The configuration of the model in ``folder``.

    Raises:
        InputError: there is no ``config.json``.
        CheckpointError: it is damaged, or the model is of a kind that is not built here.
    """
    file = ConfigFile.load(folder)
    model_type = file.get("model_type")
    if not isinstance(model_type, str) or model_type not in catalog.names("family"):
        choices = suggestion(str(model_type), catalog.names("family"))
        raise CheckpointError(f"{file.path}: unknown model_type {model_type!r}{choices}")
    try:
        return _family(model_type).read_config(file)
    except RecipeError as error:  # sizes that do not fit each other
        raise CheckpointError(f"{file.path}: {error}") from None


def load_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> Transformer:
    """The model in ``folder``, its weights in ``dtype`` whatever the file's type.

    Raises:
        InputError: there is no model.
        CheckpointError: a file is missing or damaged, a tensor is missing, unknown or of another shape.
    """
    config = load_config(folder)
    with torch.device("meta"):  # no memory and no random numbers for weights that are read anyway
        model = Transformer(config)
    names = _family(config.family).weight_names(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name in names}
    assert shapes.keys() == names.keys(), shapes.keys() ^ names.keys()
    with ExitStack() as stack:
        stored = _open_weights(folder, stack)
        _check_names(folder, stored, names, tied=config.tied)
        state = {ours: _read(stored, theirs, shapes[ours], dtype) for ours, theirs in names.items()}
        if config.tied and "lm_head.weight" in stored:
            _check_tied(stored)
    if config.tied:
        state["head.weight"] = state["embedding.weight"]
    model.load_state_dict(state, assign=True)  # one parameter stays one where it stands at two places
    model.set_rotary()
    return model


class _Stored:
    """One tensor of an open file."""

    def __init__(self, path: Path, name: str, file: Any) -> None:
        self.path, self.name, self._file = path, name, file

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._file.get_slice(self.name).get_shape())

    def read(self) -> Tensor:
        tensor: Tensor = self._file.get_tensor(self.name)
        return tensor


def _family(name: str) -> FolderFamily:
    family: FolderFamily = catalog.load("family", name, key="model_type")
    return family


def _parts(
    state: Mapping[str, Tensor], names: Mapping[str, tuple[str, ...]], *, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    """The tensors as they are called in the folder."""
    for ours, theirs in names.items():
        pieces = state[ours].detach().chunk(len(theirs))
        # A copy where it is cut: safetensors refuses tensors that share memory.
        yield from (
            (name, piece.to("cpu", dtype, copy=len(theirs) > 1).contiguous())
            for name, piece in zip(theirs, pieces, strict=True)
        )


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Atomic and on the disk when this returns, without a second copy of all weights in memory."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(tensors, temporary, metadata={"format": "pt"})
        temporary.chmod(0o644)  # as every other file; safetensors makes it readable by its owner only
        sync_file(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _open_weights(folder: Path, stack: ExitStack) -> dict[str, _Stored]:
    """Every tensor of the folder by name; one file, or several that an index names."""
    index = folder / INDEX
    if not index.exists():
        return _open_file(folder / WEIGHTS, stack)
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted({str(name) for name in listed.values()})
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{index} is damaged: {error!r}") from None
    stored: dict[str, _Stored] = {}
    for name in files:
        if Path(name).name != name:
            raise CheckpointError(f"{index}: a file must lie in the same folder; got {name!r}")
        stored |= _open_file(folder / name, stack)
    return stored


def _open_file(path: Path, stack: ExitStack) -> dict[str, _Stored]:
    try:
        file = stack.enter_context(safe_open(path, framework="pt"))
    except FileNotFoundError:
        pickled = sorted(each.name for each in path.parent.glob("*.bin"))
        hint = f"; {pickled[0]} is a pickle, which can run code and is never loaded" if pickled else ""
        raise CheckpointError(f"{path} is missing{hint}") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    return {name: _Stored(path, name, file) for name in file.keys()}  # noqa: SIM118 (it is no mapping)


def _check_names(
    folder: Path, stored: Mapping[str, _Stored], names: Mapping[str, tuple[str, ...]], *, tied: bool
) -> None:
    wanted = [name for theirs in names.values() for name in theirs]
    missing = [name for name in wanted if name not in stored]
    spare = {"lm_head.weight"} if tied else set()
    extra = [name for name in stored if name not in {*wanted, *spare} and not name.endswith(IGNORED)]
    for what, found in (("lacks", missing), ("holds the unknown", extra)):
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            place = folder / (INDEX if (folder / INDEX).exists() else WEIGHTS)
            raise CheckpointError(f"{place} {what} tensor {found[0]}{more}; config.json says otherwise")


def _read(
    stored: Mapping[str, _Stored], theirs: tuple[str, ...], shape: tuple[int, ...], dtype: torch.dtype
) -> torch.nn.Parameter:
    """One of our tensors, put together and copied: the file may be replaced while the model lives."""
    part = (shape[0] // len(theirs), *shape[1:])
    for name in theirs:
        if stored[name].shape != part:
            where = stored[name].path
            raise CheckpointError(f"{where}: {name} must be {list(part)}; got {list(stored[name].shape)}")
    whole = torch.empty(shape, dtype=dtype)
    for name, rows in zip(theirs, whole.chunk(len(theirs)), strict=True):
        rows.copy_(stored[name].read())
    return torch.nn.Parameter(whole)


def _check_tied(stored: Mapping[str, _Stored]) -> None:
    head, embedding = stored["lm_head.weight"], stored["model.embed_tokens.weight"]
    if not torch.equal(head.read(), embedding.read()):
        raise CheckpointError(f"{head.path}: lm_head.weight differs from the embedding that config.json ties it to")
