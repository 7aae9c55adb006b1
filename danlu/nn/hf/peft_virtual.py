"""Virtual tokens as PEFT's files beside a model's: ``adapter_config.json`` and ``adapter_model.safetensors``.

A prompt is a matrix of embeddings; a prefix holds the keys and values that each layer's cache begins with.

Axes: P virtual tokens, G key/value heads, E head width, L layers.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from danlu.errors import CheckpointError, RecipeError
from danlu.files import atomic_write, write_json
from danlu.nn.config import Embedding, Head, Labels, TransformerConfig, Virtual
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.family import WeightNames
from danlu.nn.hf.peft_config import CONFIG
from danlu.nn.hf.settings_files import check_stays, read_object
from danlu.nn.hf.tensors import written
from danlu.nn.hf.weight_files import StoredTensor, open_file
from danlu.nn.prompting import add_virtual, table_of, with_virtual
from danlu.nn.transformer import Transformer

WEIGHTS = "adapter_model.safetensors"
TABLE = "prompt_embeddings"
"""What PEFT calls the tensor."""
PREFIX = "base_model."
"""What it puts before the names of weights that are written whole; those of low-rank adapters have more."""
KINDS: dict[str, Literal["prompt", "prefix"]] = {"PROMPT_TUNING": "prompt", "PREFIX_TUNING": "prefix"}
"""What it calls the two."""
HEADS = ("classifier", "score", "qa_outputs")
"""Modules that it writes whole without being told."""


@dataclass(frozen=True)
class VirtualFile:
    """What ``adapter_config.json`` says."""

    file: ConfigFile
    virtual: Virtual

    @classmethod
    def load(cls, folder: Path) -> VirtualFile | None:
        """That in a model's folder; None where there is none.

        Raises:
            CheckpointError: it is damaged, or of adapters of another kind.
        """
        path = folder / CONFIG
        if not path.exists():
            return None
        file = ConfigFile(path, read_object(path))
        kind = file.get("peft_type")
        if kind not in KINDS:
            raise CheckpointError(
                f"{path}: peft_type {kind!r:.40} beside a whole model is not read (choices: {', '.join(KINDS)}); "
                "merge the adapter into the model, or move it away"
            )
        return cls(file, Virtual(KINDS[kind], file.integer("num_virtual_tokens")))

    def submodules(self, config: TransformerConfig) -> int:
        """Stacks that PEFT counts: of a prompt's rows the first are those of the encoder, which alone gets any.

        Raises:
            CheckpointError: a prefix of another kind of model.
        """
        both = 2 if config.encoder is not None and config.decoder is not None else 1
        count = self.file.integer("num_transformer_submodules", both)
        if self.virtual.kind == "prefix" and count != both:
            raise self.file.wrong("num_transformer_submodules", count, f"{both} for this model")
        return count

    def pairs(self, layers: int) -> int:
        """Keys and values that a prefix has.

        Raises:
            CheckpointError: fewer than layers.
        """
        count = self.file.parts("num_layers", layers)
        if count < layers:
            raise self.file.wrong("num_layers", count, f"at least {layers}, the model's layers")
        return count


def with_virtual_of(folder: Path, config: TransformerConfig) -> TransformerConfig:
    """The shape with the virtual tokens that the folder says.

    Raises:
        CheckpointError: the file is damaged, or such a model cannot have them.
    """
    found = VirtualFile.load(folder)
    if found is None:
        return config
    try:
        return with_virtual(config, found.virtual)
    except RecipeError as error:
        raise CheckpointError(f"{found.file.path}: {error}") from None


def open_virtual(folder: Path, stack: ExitStack) -> StoredTensor:
    """The table of the virtual tokens; the file stays open as long as ``stack``.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    path = check_stays(folder, folder / WEIGHTS)
    table = open_file(path, stack).get(TABLE)
    if table is None:
        raise CheckpointError(f"{path} lacks tensor {TABLE}; {CONFIG} says otherwise")
    return table


def load_virtual(model: Transformer, folder: Path) -> None:
    """Give a model the virtual tokens in its folder, where it has some.

    Raises:
        CheckpointError: a file is missing or damaged, or does not fit the model.
    """
    found = VirtualFile.load(folder)
    if found is None:
        return
    virtual, config = found.virtual, model.config
    submodules, layers = found.submodules(config), len(config.stack.layers)
    shape = (virtual.tokens * submodules, config.dim)
    if virtual.kind == "prefix":
        attention, pairs = config.stack.layers[0].attention, found.pairs(layers)
        shape = (virtual.tokens, pairs * 2 * attention.kv_heads * attention.head_dim)
    with ExitStack() as stack:
        stored = open_virtual(folder, stack)
        if stored.shape != shape:
            raise CheckpointError(f"{stored.path}: {TABLE} must be {list(shape)}; got {list(stored.shape)}")
        table = stored.read()
    if virtual.kind == "prefix":
        of_layers = [submodules * layer % pairs for layer in range(layers)]  # as PEFT deals them out
        table = table.view(virtual.tokens, pairs, -1)[:, of_layers].flatten(1)
    add_virtual(model, virtual, table[: virtual.tokens])


def save_virtual(model: Transformer, folder: Path, names: WeightNames, *, dtype: torch.dtype) -> None:
    """Write the virtual tokens, and the head of a task whole, as PEFT does."""
    config = model.config
    virtual, attention = config.virtual, config.stack.layers[0].attention
    assert virtual is not None
    both = config.encoder is not None and config.decoder is not None
    layers = len(config.stack.layers)
    table = table_of(model)
    if virtual.kind == "prefix" and both:
        table = _as_theirs(table, layers)
    tensors = {TABLE: table.to("cpu", dtype).contiguous()}
    heads = isinstance(config.head, Labels)
    own = {ours: where for ours, where in names.items() if ours.startswith("head.")} if heads else {}
    for name, value in written(model.state_dict(), own, dtype=dtype):
        tensors[f"{PREFIX}{name}"] = value.clone()
    kept = {name.rpartition(".")[0] for where in own.values() for name in where.names}
    prefix = virtual.kind == "prefix"
    settings: dict[str, Any] = {
        "base_model_name_or_path": None,
        "inference_mode": True,
        "modules_to_save": sorted(name for name in kept if name.partition(".")[0] not in HEADS) or None,
        "num_attention_heads": attention.kv_heads if prefix else attention.heads,
        "num_layers": layers * 2 if prefix and both else layers,
        "num_transformer_submodules": 2 if prefix and both else 1,
        "num_virtual_tokens": virtual.tokens,
        "peft_type": next(theirs for theirs, kind in KINDS.items() if kind == virtual.kind),
        "task_type": _task_type(config),
        "token_dim": attention.kv_heads * attention.head_dim if prefix else config.dim,
        **({"prefix_projection": False} if prefix else {"prompt_tuning_init": "RANDOM"}),
    }
    atomic_write(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_json(folder / CONFIG, settings)


def save_embedding(model: Transformer, folder: Path, names: WeightNames) -> None:
    """Write the embedding whole beside the virtual tokens, where it has got rows that the model which they were trained
    for has not; PEFT loads it into one of that size."""
    tensors = load_file(folder / WEIGHTS)
    own = {"embedding.weight": names["embedding.weight"]}
    for name, value in written(model.state_dict(), own, dtype=tensors[TABLE].dtype):
        tensors[f"{PREFIX}{name}"] = value.clone()
    atomic_write(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))


def name_base(folder: Path, base: Path) -> None:
    """Say in the folder which model the virtual tokens were trained for."""
    write_json(folder / CONFIG, {**read_object(folder / CONFIG), "base_model_name_or_path": str(base)})


def remove_virtual(folder: Path) -> None:
    """Take away the virtual tokens of a model that was here before."""
    path = folder / CONFIG
    if path.exists() and read_object(path).get("peft_type") in KINDS:
        path.unlink()
        (folder / WEIGHTS).unlink(missing_ok=True)


def _task_type(config: TransformerConfig) -> str | None:
    """PEFT's name for what the model does, by which it knows how to apply the tokens; None where it does not."""
    head = config.head
    if isinstance(head, Labels):
        if head.choice or head.pair:
            return None
        return "QUESTION_ANS" if head.span else "TOKEN_CLS" if head.pooling is None else "SEQ_CLS"
    if isinstance(head, Embedding):
        return "FEATURE_EXTRACTION"
    if not isinstance(head, Head) or config.decoder is None:
        return None
    return "CAUSAL_LM" if config.encoder is None else "SEQ_2_SEQ_LM"


def _as_theirs(table: Tensor, layers: int) -> Tensor:
    """``[P, 2 L * 2 * G * E]`` of ``[P, L * 2 * G * E]``, for a decoder with an encoder.

    PEFT 0.21 gives layer i the pair ``2 i`` of keys and values, counted round: with every other one unused, and so
    twice as many, each layer has its own.
    """
    pairs = table.reshape(len(table), layers, 1, -1)
    return torch.cat([pairs, torch.zeros_like(pairs)], 2).flatten(1)
