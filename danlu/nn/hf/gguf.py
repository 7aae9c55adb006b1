"""A model in a GGUF file, llama.cpp's form: the configuration from its metadata, the tensors dequantised.

Axes: F frequencies of rotary positions (half a head's width).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.errors import CheckpointError, suggestion
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.family import WeightNames
from danlu.nn.hf.folder import build_model, find_family, read_family_config
from danlu.nn.hf.gguf_file import GGUFFile, gguf_package
from danlu.nn.hf.tensors import Readable
from danlu.nn.transformer import Transformer

EMBEDDING, OUTPUT, FREQUENCIES = "token_embd.weight", "output.weight", "rope_freqs.weight"
LLAMA3_LENGTH, LLAMA3_SLOW, LLAMA3_FAST = 8192, 1.0, 4.0
"""What every Llama 3.1, 3.2 and 3.3 has; a GGUF file holds only what follows from it."""
SCALINGS = ("none", "linear", "yarn")


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a ``general.architecture`` is here."""

    model_type: str
    name: str
    """The class of ``transformers``."""
    interleaved: bool = False
    """Whether rows of queries and keys stand pair by pair, for llama.cpp turns neighbours, not halves."""


ARCHITECTURES = {
    "llama": Architecture("llama", "LlamaForCausalLM", interleaved=True),  # and Mistral, which llama.cpp calls so
    "qwen2": Architecture("qwen2", "Qwen2ForCausalLM"),
    "qwen3": Architecture("qwen3", "Qwen3ForCausalLM"),
}
"""By ``general.architecture``."""


def load_gguf(file: GGUFFile, *, dtype: torch.dtype = torch.float32) -> Transformer:
    """The model in the file, its weights in ``dtype`` whatever they are there.

    Raises:
        CheckpointError: the architecture is not built here, a value of the metadata is missing or wrong, a
            tensor is missing, unknown, of another shape or of a type that is not read.
    """
    architecture = _architecture(file)
    config = read_family_config(ConfigFile(file.path, model_config(file)))
    names = find_family(config.family).weight_names(config)
    attention = config.stack.layers[0].attention
    found = _found(file, names, len(config.stack.layers))
    if architecture.interleaved:
        heads = {"q_proj": attention.heads, "k_proj": attention.kv_heads}
        turned = {name: heads.get(name.split(".")[-2]) for name in found}
        found |= {name: _Halves(found[name], count) for name, count in turned.items() if count}
    return build_model(config, found, dtype=dtype)


def model_config(file: GGUFFile) -> dict[str, Any]:
    """What the ``config.json`` of the model would hold.

    Raises:
        CheckpointError: as :func:`load_gguf`.
    """
    architecture, meta = _architecture(file), ConfigFile(file.path, file.metadata)
    prefix = file.metadata["general.architecture"] + "."
    dim, heads = meta.integer(prefix + "embedding_length"), meta.integer(prefix + "attention.head_count")
    head_dim = meta.integer(prefix + "attention.key_length", max(1, dim // heads))
    meta.only(prefix + "attention.value_length", head_dim)
    meta.only(prefix + "rope.dimension_count", head_dim)
    meta.only(prefix + "expert_count", 0)
    if EMBEDDING not in file.tensors:
        raise CheckpointError(f"{file.path} lacks tensor {EMBEDDING}")
    return {
        "model_type": architecture.model_type,
        "architectures": [architecture.name],
        "vocab_size": file.tensors[EMBEDDING].shape[0],
        "hidden_size": dim,
        "intermediate_size": meta.integer(prefix + "feed_forward_length"),
        "num_hidden_layers": meta.parts(prefix + "block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": meta.integer(prefix + "attention.head_count_kv", heads),
        "head_dim": head_dim,
        "max_position_embeddings": meta.integer(prefix + "context_length"),
        "rms_norm_eps": meta.number(prefix + "attention.layer_norm_rms_epsilon"),
        "rope_parameters": _rope(file, meta, prefix, head_dim),
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in file.tensors,
        "tie_word_embeddings": OUTPUT not in file.tensors,
        **token_ids(file),
    }


def token_ids(file: GGUFFile) -> dict[str, int]:
    """The special tokens that the metadata name, by their keys in ``config.json``."""
    keys = {"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"}
    given = {ours: file.metadata.get(f"tokenizer.ggml.{theirs}") for ours, theirs in keys.items()}
    return {key: value for key, value in given.items() if isinstance(value, int)}


def stored_gguf_dtype(file: GGUFFile) -> torch.dtype:
    """The type of the embedding; float32 where it is quantised, for only that holds every value exactly."""
    kind = file.tensors[EMBEDDING].kind.name if EMBEDDING in file.tensors else ""
    return {"F16": torch.float16, "BF16": torch.bfloat16}.get(kind, torch.float32)


class _Halves:
    """A tensor whose heads' rows stand pair by pair in the file and half by half in ours."""

    def __init__(self, tensor: Readable, heads: int) -> None:
        self.tensor, self.heads = tensor, heads

    @property
    def path(self) -> Path:
        return self.tensor.path

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    def read(self) -> Tensor:
        pairs = self.tensor.read().view(self.heads, -1, 2, *self.shape[1:])
        return pairs.transpose(1, 2).reshape(self.shape)


def _architecture(file: GGUFFile) -> Architecture:
    name = file.metadata.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise CheckpointError(
            f"{file.path}: unknown general.architecture {name!r}{suggestion(str(name), ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]


def _found(file: GGUFFile, names: WeightNames, layers: int) -> dict[str, Readable]:
    """The file's tensors under the names that they have in a folder."""
    package = gguf_package()
    name = file.metadata["general.architecture"]
    number = next(each for each, known in package.MODEL_ARCH_NAMES.items() if known == name)
    table = package.get_tensor_name_map(number, layers)
    there: dict[str, str] = {}
    for theirs in (name for where in names.values() for name in where.names):
        stem, _, ending = theirs.rpartition(".")
        there[theirs] = f"{table.get_name(stem)}.{ending}"
    missing = [name for name in there.values() if name not in file.tensors]
    extra = [name for name in file.tensors if name not in {*there.values(), FREQUENCIES}]
    for what, odd in (("lacks", missing), ("holds the unknown", extra)):
        if odd:
            more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
            raise CheckpointError(f"{file.path} {what} tensor {odd[0]}{more}; its metadata say otherwise")
    return {theirs: file.tensors[name] for theirs, name in there.items()}


def _rope(file: GGUFFile, meta: ConfigFile, prefix: str, head_dim: int) -> dict[str, Any]:
    """What ``rope_parameters`` would hold."""
    known: dict[str, Any] = {"rope_theta": meta.number(prefix + "rope.freq_base", 10000.0), "rope_type": "default"}
    scaling = prefix + "rope.scaling."
    meta.only(scaling + "type", *SCALINGS)
    meta.only(scaling + "attn_factor", 1.0)
    meta.only(scaling + "yarn_attn_factor", 1.0)
    meta.only(scaling + "yarn_ext_factor", -1.0, 1.0)
    kind = meta.get(scaling + "type", "none")
    old = meta.get(prefix + "rope.scale_linear")
    if old is not None and kind == "none":
        kind = "linear"
    if kind != "none":
        known["rope_type"] = kind
        known["factor"] = meta.number(scaling + "factor", old)
    original = meta.get(scaling + "original_context_length")
    if kind == "yarn":
        known["original_max_position_embeddings"] = meta.integer(
            scaling + "original_context_length", meta.integer(prefix + "context_length")
        )
        for ours in ("beta_fast", "beta_slow"):
            if meta.get(f"{scaling}yarn_{ours}") is not None:
                known[ours] = meta.number(f"{scaling}yarn_{ours}")
    if FREQUENCIES in file.tensors:
        return {**known, **_llama3(file, known["rope_theta"], head_dim, original or LLAMA3_LENGTH)}
    return known


def _llama3(file: GGUFFile, theta: float, head_dim: int, original: int) -> Mapping[str, Any]:
    """Llama 3's scaling, found again from what each frequency is divided by."""
    given_F = file.tensors[FREQUENCIES].read()
    if torch.equal(given_F, torch.ones(head_dim // 2)):
        return {}
    factor = float(given_F.max())
    frequency_F = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    share_F = (original * frequency_F / (2 * math.pi) - LLAMA3_SLOW) / (LLAMA3_FAST - LLAMA3_SLOW)
    share_F = share_F.clamp(0, 1)
    expected_F = 1 / ((1 - share_F) / factor + share_F)
    if given_F.shape != expected_F.shape or not torch.allclose(given_F.double(), expected_F, rtol=1e-4):
        raise CheckpointError(f"{file.path}: {FREQUENCIES} holds other factors than those of Llama 3's scaling")
    return {
        "rope_type": "llama3", "factor": factor, "original_max_position_embeddings": original,
        "low_freq_factor": LLAMA3_SLOW, "high_freq_factor": LLAMA3_FAST,
    }  # fmt: skip
