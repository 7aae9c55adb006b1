"""Qwen3 in Hugging Face form (``Qwen3ForCausalLM``): Llama's block, and norms with gains on queries and keys."""

from __future__ import annotations

from typing import Any

from danlu.nn.config import MLP, Norm, TransformerConfig
from danlu.nn.hf.config_file import ConfigFile, their_activation
from danlu.nn.hf.decoder import (
    GATED_MLP,
    NORMS,
    QK_NORMS,
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
    norm = Norm("rms", file.number("rms_norm_eps", 1e-6))
    biased = file.flag("attention_bias", False)
    return read_decoder(
        file,
        attention=read_attention(file, kv_heads=32, head_dim=128, bias=biased, out_bias=biased, qk_norm=norm),
        mlp=MLP(file.integer("intermediate_size"), file.activation("hidden_act", "silu"), gated=True),
        norm=norm,
        patterns=windows(file),
        head=read_head(file),
    )


def write_config(config: TransformerConfig) -> dict[str, Any]:
    layer = config.stack.layers[0]
    assert isinstance(layer.mlp, MLP)
    return {
        **write_sizes(config),
        **write_windows(config.stack),
        "attention_bias": layer.attention.bias,
        "hidden_act": their_activation(layer.mlp.activation),
    }


def weight_names(config: TransformerConfig) -> WeightNames:
    attention = attention_names(config.stack.layers[0].attention)
    return decoder_names(config, {**attention, **QK_NORMS, **NORMS, **GATED_MLP})


QWEN3 = FolderFamily(read_config, write_config, architecture("Qwen3"), weight_names)
