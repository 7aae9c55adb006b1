"""Qwen2 and 2.5 in Hugging Face form (``Qwen2ForCausalLM``): Llama's block; queries, keys, values with biases."""

from __future__ import annotations

from typing import Any

from danlu.nn.config import MLP, Norm, TransformerConfig
from danlu.nn.hf.config_file import ConfigFile, their_activation
from danlu.nn.hf.decoder import (
    GATED_MLP,
    NORMS,
    architecture,
    attention_names,
    decoder_names,
    read_attention,
    read_decoder,
    read_head,
    windows,
    write_sizes,
    write_windows,
)  # fmt: skip
from danlu.nn.hf.family import FolderFamily, WeightNames


def read_config(file: ConfigFile) -> TransformerConfig:
    return read_decoder(
        file,
        attention=read_attention(file, kv_heads=32, bias=True),
        mlp=MLP(file.integer("intermediate_size"), file.activation("hidden_act", "silu"), gated=True),
        norm=Norm("rms", file.number("rms_norm_eps", 1e-6)),
        patterns=windows(file),
        head=read_head(file),
    )


def write_config(config: TransformerConfig) -> dict[str, Any]:
    mlp = config.stack.layers[0].mlp
    assert isinstance(mlp, MLP)
    return {**write_sizes(config), **write_windows(config.stack), "hidden_act": their_activation(mlp.activation)}


def weight_names(config: TransformerConfig) -> WeightNames:
    return decoder_names(config, {**attention_names(config.stack.layers[0].attention), **NORMS, **GATED_MLP})


QWEN2 = FolderFamily(read_config, write_config, architecture("Qwen2"), weight_names)
