"""What the folders of Llama-like decoders have in common: sizes, and the names of most tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from danlu.nn.config import TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.family import WeightNames

ATTENTION: WeightNames = {
    "attention.query.weight": ("self_attn.q_proj.weight",),
    "attention.key.weight": ("self_attn.k_proj.weight",),
    "attention.value.weight": ("self_attn.v_proj.weight",),
    "attention.out.weight": ("self_attn.o_proj.weight",),
}
NORMS: WeightNames = {
    "norm_attention.weight": ("input_layernorm.weight",),
    "norm_mlp.weight": ("post_attention_layernorm.weight",),
}
GATED_MLP: WeightNames = {
    "mlp.up.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "mlp.down.weight": ("mlp.down_proj.weight",),
}


def read_sizes(file: ConfigFile, *, head_dim: int | None = None) -> dict[str, Any]:
    """The fields of :class:`TransformerConfig` that every decoder's ``config.json`` has.

    ``head_dim`` is the family's default where the file has none; by default ``hidden_size / heads``.
    """
    file.only("attention_bias", False)
    dim, heads = file.integer("hidden_size"), file.integer("num_attention_heads")
    return {
        "family": file.values["model_type"],
        "vocab_size": file.integer("vocab_size"),
        "layers": file.integer("num_hidden_layers"),
        "dim": dim,
        "heads": heads,
        "kv_heads": file.integer("num_key_value_heads", heads),
        "head_dim": file.integer("head_dim", head_dim or dim // heads),
        "hidden": file.integer("intermediate_size"),
        "max_length": file.integer("max_position_embeddings"),
        "norm_eps": file.number("rms_norm_eps", 1e-6),
        "rope_theta": file.rope_theta(),
        "tied": file.flag("tie_word_embeddings", False),
    }


def write_sizes(config: TransformerConfig) -> dict[str, Any]:
    """What ``read_sizes`` reads, written in the form of ``transformers`` 5."""
    return {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "head_dim": config.head_dim,
        "hidden_size": config.dim,
        "initializer_range": 0.02,
        "intermediate_size": config.hidden,
        "max_position_embeddings": config.max_length,
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "num_key_value_heads": config.kv_heads,
        "rms_norm_eps": config.norm_eps,
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},
        "tie_word_embeddings": config.tied,
        "use_cache": True,
        "vocab_size": config.vocab_size,
    }


def decoder_names(config: TransformerConfig, *, block: WeightNames, top: Mapping[str, str]) -> WeightNames:
    """Names of all tensors: embedding, head, those at the ``top``, and ``block``'s in every layer."""
    names: WeightNames = {"embedding.weight": ("model.embed_tokens.weight",)}
    names |= {ours: (theirs,) for ours, theirs in top.items()}
    if not config.tied:
        names["head.weight"] = ("lm_head.weight",)
    for layer in range(config.layers):
        for ours, theirs in block.items():
            names[f"blocks.{layer}.{ours}"] = tuple(f"model.layers.{layer}.{name}" for name in theirs)
    return names
