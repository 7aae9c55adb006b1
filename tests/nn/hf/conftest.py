"""Folders to damage, and GGUF files as llama.cpp writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from danlu.errors import CheckpointError, InputError
from danlu.nn.hf.folder import load_model


class ModelFolder:
    """A folder with a model, and ways to change it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.weights = path / "config.json", path / "model.safetensors"
        self.index = path / "model.safetensors.index.json"

    def set(self, **values: Any) -> None:
        """Change keys of ``config.json``; ``"absent"`` takes one away."""
        config = {**json.loads(self.config.read_text()), **values}
        self.config.write_text(json.dumps({key: value for key, value in config.items() if value != "absent"}))

    def edit(self, change: Callable[[dict[str, Tensor]], object]) -> None:
        """Change the tensors."""
        tensors = load_file(self.weights)
        change(tensors)
        save_file(tensors, self.weights)

    def shard(self, **shards: Callable[[str], bool]) -> None:
        """Cut the weights into files by name, with an index; a tensor goes where its name is first wanted."""
        tensors = load_file(self.weights)
        self.weights.unlink()
        places: dict[str, str] = {}
        for stem, wanted in shards.items():
            part = {name: tensor for name, tensor in tensors.items() if name not in places and wanted(name)}
            places |= dict.fromkeys(part, f"{stem}.safetensors")
            save_file(part, self.path / f"{stem}.safetensors")
        self.list_files(places)

    def list_files(self, places: Any) -> None:
        """Write an index."""
        self.index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))

    def places(self) -> dict[str, str]:
        """What the index says."""
        found: dict[str, str] = json.loads(self.index.read_text())["weight_map"]
        return found

    def refused(self) -> str:
        """The one line with which it is refused."""
        with pytest.raises((CheckpointError, InputError)) as error:
            load_model(self.path)
        message = str(error.value)
        assert str(self.path) in message and "\n" not in message
        return message


@pytest.fixture
def model_folder() -> Callable[[Path], ModelFolder]:
    """``model_folder(path)``: the folder that is there, with ways to damage it."""
    return ModelFolder


@pytest.fixture
def write_gguf() -> Callable[..., Path]:
    """``write_gguf(path, stock, architecture, kind="F32", metadata={…}, tensors={…})``: as llama.cpp writes.

    Matrices of ``stock``, a model of ``transformers``, are of type ``kind`` (or, by their name, one of ``kinds``), all
    others F32. ``metadata`` are further
    values of the architecture (or of the whole file, where the key begins with a dot); ``tensors`` are further ones.
    """
    gguf = pytest.importorskip("gguf")

    def write(
        path: Path,
        stock: Any,
        architecture: str,
        *,
        kind: str = "F32",
        kinds: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        tensors: Mapping[str, np.ndarray] | None = None,
    ) -> Path:
        writer = gguf.GGUFWriter(path, architecture)
        config = stock.config
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        for key, value in (metadata or {}).items():
            _add_metadata(writer, key[1:] if key.startswith(".") else f"{architecture}.{key}", value)
        for name, tensor in stock.state_dict().items():
            if name == "lm_head.weight" and config.tie_word_embeddings:
                continue
            values = tensor.numpy()
            if architecture == "llama" and (".q_proj." in name or ".k_proj." in name):
                heads = config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
                values = _permuted(values, heads)
            own = (kinds or {}).get(_gguf_name(name), kind)
            quantisation = gguf.GGMLQuantizationType[own if values.ndim > 1 else "F32"]
            writer.add_tensor(_gguf_name(name), gguf.quants.quantize(values, quantisation), raw_dtype=quantisation)
        for name, values in (tensors or {}).items():
            writer.add_tensor(name, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
"""What ``transformers`` calls a layer -> what llama.cpp does."""


def _gguf_name(theirs: str) -> str:
    stem, _, ending = theirs.rpartition(".")
    if not stem.startswith("model.layers."):
        return f"{GGUF_NAMES[stem]}.{ending}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[part]}.{ending}"


def _permuted(values: np.ndarray, heads: int) -> np.ndarray:
    """Llama.cpp's ``permute``: halves of a head become pairs."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _add_metadata(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
