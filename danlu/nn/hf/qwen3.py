"""Qwen3 in Hugging Face form (``Qwen3ForCausalLM``): Llama's block, and norms with gains on queries and keys."""

from __future__ import annotations

from typing import Any

from danlu.nn.config import TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.decoder import ATTENTION, GATED_MLP, NORMS, decoder_names, read_sizes, write_sizes
from danlu.nn.hf.family import FolderFamily, WeightNames

QK_NORMS: WeightNames = {
    "attention.norm_q.weight": ("self_attn.q_norm.weight",),
    "attention.norm_k.weight": ("self_attn.k_norm.weight",),
}


def read_config(file: ConfigFile) -> TransformerConfig:
    file.only("hidden_act", "silu")
    file.only("use_sliding_window", False)
    file.only("layer_types", ["full_attention"] * file.integer("num_hidden_layers"))
    return TransformerConfig(
        **read_sizes(file, head_dim=128), activation="swiglu", norm_weight=True, qk_norm="weight", embed_norm=False,
        rope_direction=1, softcap=None,
    )  # fmt: skip


def write_config(config: TransformerConfig) -> dict[str, Any]:
    return {
        **write_sizes(config),
        "hidden_act": "silu",
        "layer_types": ["full_attention"] * config.layers,
        "use_sliding_window": False,
        "sliding_window": None,
    }


def weight_names(config: TransformerConfig) -> WeightNames:
    block = {**ATTENTION, **QK_NORMS, **NORMS, **GATED_MLP}
    return decoder_names(config, block=block, top={"norm.weight": "model.norm.weight"})


QWEN3 = FolderFamily("Qwen3ForCausalLM", read_config, write_config, weight_names)
