"""Llama in Hugging Face form (``LlamaForCausalLM``); SmolLM2, TinyLlama and others are of this form too."""

from __future__ import annotations

from typing import Any

from danlu.nn.config import TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.decoder import ATTENTION, GATED_MLP, NORMS, decoder_names, read_sizes, write_sizes
from danlu.nn.hf.family import FolderFamily, WeightNames


def read_config(file: ConfigFile) -> TransformerConfig:
    file.only("hidden_act", "silu")
    file.only("mlp_bias", False)
    return TransformerConfig(
        **read_sizes(file), activation="swiglu", norm_weight=True, qk_norm="none", embed_norm=False,
        rope_direction=1, softcap=None,
    )  # fmt: skip


def write_config(config: TransformerConfig) -> dict[str, Any]:
    return {**write_sizes(config), "hidden_act": "silu", "mlp_bias": False, "pretraining_tp": 1}


def weight_names(config: TransformerConfig) -> WeightNames:
    return decoder_names(config, block={**ATTENTION, **NORMS, **GATED_MLP}, top={"norm.weight": "model.norm.weight"})


LLAMA = FolderFamily("LlamaForCausalLM", read_config, write_config, weight_names)
