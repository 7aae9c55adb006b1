"""Mistral in Hugging Face form (``MistralForCausalLM``): Llama's block with a sliding window in all layers."""

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
    write_sizes,
)  # fmt: skip
from danlu.nn.hf.family import FolderFamily, WeightNames
from danlu.nn.patterns import Full, Window


def read_config(file: ConfigFile) -> TransformerConfig:
    named = "sliding_window" in file.values
    size = file.get("sliding_window") if named else 4096
    pattern = Full() if size is None else Window(file.integer("sliding_window", 4096) - 1)
    return read_decoder(
        file,
        attention=read_attention(file, kv_heads=8),
        mlp=MLP(file.integer("intermediate_size"), file.activation("hidden_act", "silu"), gated=True),
        norm=Norm("rms", file.number("rms_norm_eps", 1e-6)),
        patterns=[pattern] * file.parts("num_hidden_layers"),
        head=read_head(file),
    )


def write_config(config: TransformerConfig) -> dict[str, Any]:
    layer = config.stack.layers[0]
    assert isinstance(layer.mlp, MLP)
    pattern = layer.attention.pattern
    return {
        **write_sizes(config),
        "hidden_act": their_activation(layer.mlp.activation),
        "sliding_window": pattern.before + 1 if isinstance(pattern, Window) else None,
    }


def weight_names(config: TransformerConfig) -> WeightNames:
    return decoder_names(config, {**attention_names(config.stack.layers[0].attention), **NORMS, **GATED_MLP})


MISTRAL = FolderFamily(read_config, write_config, architecture("Mistral"), weight_names)
