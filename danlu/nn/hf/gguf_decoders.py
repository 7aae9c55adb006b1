"""Decoders in GGUF files: Llama, Mistral, Qwen2, Qwen3, Qwen3-MoE and GPT-2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.gguf_architecture import Architecture, Key, Metadata
from danlu.nn.hf.gguf_file import GGUFFile
from danlu.nn.hf.gguf_rope import FREQUENCIES, rope_parameters

SIZES = {
    "hidden_size": Key("embedding_length"),
    "num_hidden_layers": Key("block_count", ConfigFile.parts),
    "num_attention_heads": Key("attention.head_count"),
    "num_key_value_heads": Key("attention.head_count_kv", otherwise="attention.head_count"),
    "max_position_embeddings": Key("context_length"),
    "rms_norm_eps": Key("attention.layer_norm_rms_epsilon", ConfigFile.number),
}
DENSE = {**SIZES, "intermediate_size": Key("feed_forward_length")}
WINDOW = "attention.sliding_window"


def _rotary(meta: Metadata) -> dict[str, Any]:
    """The width of a head, rotary positions on all of it, and which matrices have biases."""
    dim, heads = meta.integer("embedding_length"), meta.integer("attention.head_count")
    head_dim = meta.integer("attention.key_length", max(1, dim // heads))
    meta.only("attention.value_length", head_dim)
    meta.only("rope.dimension_count", head_dim)
    return {
        "head_dim": head_dim,
        "rope_parameters": rope_parameters(meta.file, meta.known, meta.prefix, head_dim),
        "attention_bias": "blk.0.attn_q.bias" in meta.file.tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in meta.file.tensors,
    }


def _window(meta: Metadata) -> dict[str, Any]:
    """Mistral's; a file that names none has none, whatever the model was trained with."""
    return {**_rotary(meta), "sliding_window": meta.integer(WINDOW) if meta.get(WINDOW) else None}


def _mixture(meta: Metadata) -> dict[str, Any]:
    """No layer is dense, so that the width of a dense one may be missing."""
    return {**_rotary(meta), "intermediate_size": meta.integer("feed_forward_length", 1)}


LLAMA = Architecture("llama", "LlamaForCausalLM", DENSE, more=_rotary, interleaved=True, ignored=(FREQUENCIES,))
MISTRAL = replace(LLAMA, model_type="mistral", name="MistralForCausalLM", more=_window, plain={WINDOW: ()})
QWEN2 = Architecture("qwen2", "Qwen2ForCausalLM", DENSE, more=_rotary, ignored=(FREQUENCIES,))
QWEN3 = replace(QWEN2, model_type="qwen3", name="Qwen3ForCausalLM")
QWEN3_MOE = Architecture(
    "qwen3_moe", "Qwen3MoeForCausalLM",
    keys={
        **SIZES,
        "num_experts": Key("expert_count", ConfigFile.parts),
        "num_experts_per_tok": Key("expert_used_count"),
        "moe_intermediate_size": Key("expert_feed_forward_length"),
    },
    fixed={"norm_topk_prob": True, "decoder_sparse_step": 1},
    more=_mixture,
    plain={"expert_count": (), "expert_weights_norm": (True,), "expert_weights_scale": (0.0, 1.0),
           "expert_gating_func": (0, 1)},
    ignored=(FREQUENCIES,),
)  # fmt: skip
GPT2 = Architecture(
    "gpt2", "GPT2LMHeadModel",
    keys={
        "n_embd": Key("embedding_length"),
        "n_layer": Key("block_count", ConfigFile.parts),
        "n_head": Key("attention.head_count"),
        "n_inner": Key("feed_forward_length"),
        "n_positions": Key("context_length"),
        "layer_norm_epsilon": Key("attention.layer_norm_epsilon", ConfigFile.number),
    },
)  # fmt: skip


def llama_or_mistral(file: GGUFFile) -> Architecture:
    """Llama.cpp calls both ``llama``: Mistral is what has a window, or a name that says so and no biases."""
    names = [str(file.metadata.get(f"general.{key}", "")).lower() for key in ("name", "basename")]
    biased = any(name.startswith("blk.0.") and name.endswith(".bias") for name in file.tensors)
    mistral = file.metadata.get(f"llama.{WINDOW}") or (any("mistral" in name for name in names) and not biased)
    return MISTRAL if mistral else LLAMA
