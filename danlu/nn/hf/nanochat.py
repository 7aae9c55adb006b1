"""nanochat in Hugging Face form (``NanoChatForCausalLM``): norms without gains, ReLU², soft-capped logits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from danlu.nn.config import MLP, Entry, Head, Norm, Rotary, TransformerConfig
from danlu.nn.hf.config_file import ConfigFile, their_activation
from danlu.nn.hf.decoder import (
    PLAIN_MLP,
    architecture,
    attention_names,
    decoder_names,
    read_attention,
    read_decoder,
    read_head,
    write_sizes,
)  # fmt: skip
from danlu.nn.hf.family import FolderFamily, WeightNames
from danlu.nn.patterns import Full


def read_rotary(file: ConfigFile) -> Rotary:
    """Turned the other way round; before queries and keys are normed, which undoes what YaRN multiplies them by."""
    rotary = file.rope()
    scaling = replace(rotary.scaling, attention_factor=1.0) if rotary.scaling is not None else None
    return replace(rotary, direction=-1, scaling=scaling)


def read_config(file: ConfigFile) -> TransformerConfig:
    uncapped = "final_logit_softcapping" in file.values and file.get("final_logit_softcapping") is None
    softcap = None if uncapped else file.number("final_logit_softcapping", 15.0)
    norm = Norm("rms", file.number("rms_norm_eps", 1e-6), weight=False)
    biased = file.flag("attention_bias", False)
    return read_decoder(
        file,
        attention=read_attention(file, bias=biased, out_bias=biased, qk_norm=norm, rotary=read_rotary(file)),
        mlp=MLP(file.integer("intermediate_size"), file.activation("hidden_act", "relu2")),
        norm=norm,
        patterns=[Full()] * file.parts("num_hidden_layers"),
        head=read_head(file, softcap=softcap),
        entry=Entry(norm=norm),
    )


def write_config(config: TransformerConfig) -> dict[str, Any]:
    # NanoChatConfig has no head_dim of its own, but keeps it and NanoChatAttention reads it.
    layer = config.stack.layers[0]
    assert isinstance(layer.mlp, MLP)
    return {
        **write_sizes(config),
        "attention_bias": layer.attention.bias,
        "hidden_act": their_activation(layer.mlp.activation),
        "final_logit_softcapping": config.head.softcap if isinstance(config.head, Head) else None,
    }


def weight_names(config: TransformerConfig) -> WeightNames:
    return decoder_names(config, {**attention_names(config.stack.layers[0].attention), **PLAIN_MLP})


NANOCHAT = FolderFamily(read_config, write_config, architecture("NanoChat"), weight_names)
