"""Llama in Hugging Face form (``LlamaForCausalLM``); SmolLM2, TinyLlama and others are of this form too."""

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
from danlu.nn.hf.family import FolderFamily, WeightNames, with_bias
from danlu.nn.patterns import Full


def read_config(file: ConfigFile) -> TransformerConfig:
    biased = file.flag("attention_bias", False)
    return read_decoder(
        file,
        attention=read_attention(file, bias=biased, out_bias=biased),
        mlp=MLP(file.integer("intermediate_size"), file.activation("hidden_act", "silu"), gated=True,
                bias=file.flag("mlp_bias", False)),
        norm=Norm("rms", file.number("rms_norm_eps", 1e-6)),
        patterns=[Full()] * file.parts("num_hidden_layers"),
        head=read_head(file),
    )  # fmt: skip


def write_config(config: TransformerConfig) -> dict[str, Any]:
    layer = config.stack.layers[0]
    assert isinstance(layer.mlp, MLP)
    return {
        **write_sizes(config),
        "attention_bias": layer.attention.bias,
        "hidden_act": their_activation(layer.mlp.activation),
        "mlp_bias": layer.mlp.bias,
        "pretraining_tp": 1,
    }


def weight_names(config: TransformerConfig) -> WeightNames:
    layer = config.stack.layers[0]
    assert isinstance(layer.mlp, MLP)
    mlp = with_bias(GATED_MLP) if layer.mlp.bias else GATED_MLP
    return decoder_names(config, {**attention_names(layer.attention), **NORMS, **mlp})


LLAMA = FolderFamily(read_config, write_config, architecture("Llama"), weight_names)
