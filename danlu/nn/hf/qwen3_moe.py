"""Qwen3-MoE in Hugging Face form (``Qwen3MoeForCausalLM``): Qwen3 with experts in place of most MLPs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from danlu.nn.config import MLP, Experts, Layer, Norm, TransformerConfig
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
    window_size,
    write_sizes,
)  # fmt: skip
from danlu.nn.hf.family import FolderFamily, WeightNames, in_layers, stored
from danlu.nn.patterns import Full, Window

MOST_EXPERTS = 2**17
"""In all layers together; each has names before a single weight is looked at."""


def read_config(file: ConfigFile) -> TransformerConfig:
    norm = Norm("rms", file.number("rms_norm_eps", 1e-6))
    biased = file.flag("attention_bias", False)
    layers = file.parts("num_hidden_layers")
    activation = file.activation("hidden_act", "silu")
    size = window_size(file)
    dense = MLP(file.integer("intermediate_size"), activation, gated=True)
    config = read_decoder(
        file,
        attention=read_attention(file, kv_heads=4, bias=biased, out_bias=biased, qk_norm=norm),
        mlp=dense,
        norm=norm,
        patterns=[Full() if size is None else Window(size - 1)] * layers,
        head=read_head(file),
    )
    experts = Experts(
        count=file.parts("num_experts", file.get("num_local_experts", 128)),
        per_token=file.integer("num_experts_per_tok", 8), hidden=file.integer("moe_intermediate_size", 768),
        activation=activation, normalise=file.flag("norm_topk_prob", False),
        balance=file.share("router_aux_loss_coef", 0.001),
    )  # fmt: skip
    if layers * experts.count > MOST_EXPERTS:
        raise file.wrong("num_experts", experts.count, f"at most {MOST_EXPERTS // layers} in {layers} layers")
    step, plain = file.integer("decoder_sparse_step", 1), file.get("mlp_only_layers") or []
    if not isinstance(plain, list):
        raise file.wrong("mlp_only_layers", plain, "a list of numbers of layers")
    assert config.decoder is not None
    mixed = tuple(
        Layer(layer.attention, dense if number in plain or (number + 1) % step else experts)
        for number, layer in enumerate(config.decoder.layers)
    )
    return replace(config, decoder=replace(config.decoder, layers=mixed))


def write_config(config: TransformerConfig) -> dict[str, Any]:
    layers = config.stack.layers
    experts = next((layer.mlp for layer in layers if isinstance(layer.mlp, Experts)), Experts(1, 1, 1))
    first = layers[0].attention
    return {
        **write_sizes(config),
        "attention_bias": first.bias,
        "decoder_sparse_step": 1,
        "hidden_act": their_activation(layers[0].mlp.activation),
        "mlp_only_layers": [number for number, layer in enumerate(layers) if isinstance(layer.mlp, MLP)],
        "moe_intermediate_size": experts.hidden,
        "norm_topk_prob": experts.normalise,
        "num_experts": experts.count,
        "num_experts_per_tok": experts.per_token,
        "router_aux_loss_coef": experts.balance,
        "sliding_window": first.pattern.before + 1 if isinstance(first.pattern, Window) else None,
        "use_sliding_window": isinstance(first.pattern, Window),
    }


def weight_names(config: TransformerConfig) -> WeightNames:
    attention = attention_names(config.stack.layers[0].attention)
    names = decoder_names(config, {**attention, **QK_NORMS, **NORMS})
    for number, layer in enumerate(config.stack.layers):
        mlp = _experts(layer.mlp.count) if isinstance(layer.mlp, Experts) else GATED_MLP
        one = in_layers("decoder", 1, f"model.layers.{number}.", mlp)
        names |= {ours.replace("blocks.0.", f"blocks.{number}."): where for ours, where in one.items()}
    return names


def _experts(count: int) -> WeightNames:
    """Expert by expert: in ours they lie in one tensor."""
    gates = [
        name for n in range(count) for name in (f"mlp.experts.{n}.gate_proj.weight", f"mlp.experts.{n}.up_proj.weight")
    ]
    return {
        "mlp.router.weight": stored("mlp.gate.weight"),
        "mlp.up": stored(*gates),
        "mlp.down": stored(*(f"mlp.experts.{n}.down_proj.weight" for n in range(count))),
    }


QWEN3_MOE = FolderFamily(read_config, write_config, architecture("Qwen3Moe"), weight_names)
