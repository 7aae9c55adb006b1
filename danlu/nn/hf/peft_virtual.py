"""Virtual tokens as PEFT's files beside a model's: ``adapter_config.json`` and ``adapter_model.safetensors``.

A prompt is a matrix of embeddings. A prefix holds the keys and values that each layer's cache begins with: keys that
rotary positions have turned already, as if their tokens stood at the beginning, which ours are not.

Axes: P virtual tokens, N pairs of keys and values, G key/value heads, E head width, L layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from danlu.errors import CheckpointError, RecipeError
from danlu.files import atomic_write, write_json
from danlu.nn.config import Embedding, Head, Labels, Stack, TransformerConfig, Virtual
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.family import WeightNames
from danlu.nn.hf.peft_config import CONFIG
from danlu.nn.hf.settings_files import read_object
from danlu.nn.hf.tensors import written
from danlu.nn.positions import rotary_table, rotate
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

    path: Path
    virtual: Virtual
    pairs: int
    """Of a prefix: keys and values that there are, as many as layers or more."""
    submodules: int

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
        virtual = Virtual(KINDS[kind], file.integer("num_virtual_tokens"))
        return cls(path, virtual, file.parts("num_layers", 1), file.integer("num_transformer_submodules", 1))


def with_virtual_of(folder: Path, config: TransformerConfig) -> TransformerConfig:
    """The shape with the virtual tokens that the folder says.

    Raises:
        CheckpointError: the file is damaged, or such a model cannot have them.
    """
    file = VirtualFile.load(folder)
    if file is None:
        return config
    try:
        return with_virtual(config, file.virtual)
    except RecipeError as error:
        raise CheckpointError(f"{file.path}: {error}") from None


def load_virtual(model: Transformer, folder: Path) -> None:
    """Give a model the virtual tokens in its folder, where it has some.

    Raises:
        CheckpointError: a file is missing or damaged, or does not fit the model.
    """
    file = VirtualFile.load(folder)
    if file is None:
        return
    path, virtual = folder / WEIGHTS, file.virtual
    try:
        table = load_file(path).get(TABLE)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    if table is None:
        raise CheckpointError(f"{path} lacks tensor {TABLE}; {CONFIG} says otherwise")
    stack = model.config.stack
    rows, width = virtual.tokens, model.config.dim
    if virtual.kind == "prompt":
        rows = virtual.tokens * file.submodules  # of two stacks' the first is the encoder's, which is all that counts
    else:
        attention = stack.layers[0].attention
        width = file.pairs * 2 * attention.kv_heads * attention.head_dim
    if list(table.shape) != [rows, width]:
        raise CheckpointError(f"{path}: {TABLE} must be {[rows, width]}; got {list(table.shape)}")
    ours = table[: virtual.tokens] if virtual.kind == "prompt" else _from_theirs(table, stack, file)
    add_virtual(model, virtual, ours)


def save_virtual(model: Transformer, folder: Path, names: WeightNames, *, dtype: torch.dtype) -> None:
    """Write the virtual tokens, and the head of a task whole, as PEFT does."""
    config = model.config
    virtual, attention = config.virtual, config.stack.layers[0].attention
    assert virtual is not None
    both = config.encoder is not None and config.decoder is not None
    layers = len(config.stack.layers)
    table = table_of(model)
    if virtual.kind == "prefix":
        table = _as_theirs(table, config.stack, both=both)
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


def _as_theirs(table: Tensor, stack: Stack, *, both: bool) -> Tensor:
    """``[P, N * 2 * G * E]`` of ``[P, L * 2 * G * E]``.

    Of a decoder with an encoder PEFT 0.21 gives layer i the pair ``2i`` of those that there are, and counts them
    round: with every other one unused, and so twice as many, each layer has its own.
    """
    pairs = []
    for number, (keys_PGE, values_PGE) in enumerate(_pairs(table, stack)):
        turned_PGE = _turned(keys_PGE, stack, number, back=False)
        pairs.append(torch.stack([turned_PGE, values_PGE], 1))
        if both:
            pairs.append(torch.zeros_like(pairs[-1]))
    return torch.stack(pairs, 1).flatten(1)


def _from_theirs(table: Tensor, stack: Stack, file: VirtualFile) -> Tensor:
    """The other way round; of prefixes that PEFT itself has trained, too."""
    theirs = list(_pairs(table, stack))
    ours = []
    for number in range(len(stack.layers)):
        keys_PGE, values_PGE = theirs[file.submodules * number % len(theirs)]
        ours.append(torch.stack([_turned(keys_PGE, stack, number, back=True), values_PGE], 1))
    return torch.stack(ours, 1).flatten(1)


def _pairs(table: Tensor, stack: Stack) -> Iterator[tuple[Tensor, Tensor]]:
    """Keys and values ``[P, G, E]`` of each pair."""
    attention = stack.layers[0].attention
    for pair_P2GE in table.reshape(len(table), -1, 2, attention.kv_heads, attention.head_dim).unbind(1):
        yield pair_P2GE[:, 0], pair_P2GE[:, 1]


def _turned(keys_PGE: Tensor, stack: Stack, layer: int, *, back: bool) -> Tensor:
    """Turned by the positions 0, 1, … that their tokens have, or back."""
    attention = stack.layers[layer].attention
    if attention.rotary is None:
        return keys_PGE
    tables = rotary_table(attention.rotary, attention.head_dim, end=len(keys_PGE), dtype=torch.float64)
    cos_PF, sin_PF = (each.to(keys_PGE.device) for each in tables)
    if back:
        length_PF = cos_PF.square() + sin_PF.square()  # not 1 where turning also scales
        cos_PF, sin_PF = cos_PF / length_PF, -sin_PF / length_PF
    return rotate(keys_PGE.double().transpose(0, 1), cos_PF, sin_PF).transpose(0, 1).to(keys_PGE.dtype)
