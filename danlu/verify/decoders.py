"""The decoders that are compared: GPT-2, Llama, Mistral, Qwen2, Qwen3, Qwen3-MoE, nanochat.

Every setting of their configurations that changes the arithmetic is turned once.
"""

from __future__ import annotations

from typing import Any

from danlu.verify.case import Case

LONGEST = 90
"""Tokens that a model sees: a prompt, and what is drawn after it."""
LONG_ROWS = (300, 9, 280)
"""So long that attention in a window goes block by block."""
SIZES: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 36, "intermediate_size": 52, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 2, "max_position_embeddings": LONGEST,
}  # fmt: skip
GPT2 = {"vocab_size": 97, "n_embd": 36, "n_layer": 3, "n_head": 6, "n_positions": LONGEST}
WINDOW = {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}
SHORT = {"rope_theta": 5000.0, "factor": 4.0, "original_max_position_embeddings": 12}
YARN = {"rope_type": "yarn", **SHORT}
LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, **SHORT}
KINDS = ["sliding_attention", "full_attention", "sliding_attention"]


def rope(**settings: Any) -> dict[str, Any]:
    """The setting that holds those of rotary positions."""
    return {"rope_parameters": settings}


ROTARY: dict[str, dict[str, Any]] = {
    "another theta": rope(rope_type="default", rope_theta=500.0),
    "linear scaling": rope(rope_type="linear", factor=3.0, rope_theta=5000.0),
    "yarn": rope(**YARN),
    "yarn with an attention factor": rope(**YARN, attention_factor=0.7),
    "yarn with borders": rope(**YARN, beta_fast=2.5, beta_slow=0.6, truncate=False),
    "yarn with two scales": rope(**YARN, mscale=1.3, mscale_all_dim=0.8),
    "llama3 scaling": rope(**LLAMA3),
}
SWITCHES: dict[str, dict[str, dict[str, Any]]] = {
    "gpt2": {
        "a width of its own": {"n_inner": 50},
        "relu": {"activation_function": "relu"},
        "gelu": {"activation_function": "gelu"},
        "silu": {"activation_function": "silu"},
        "tanh": {"activation_function": "tanh"},
        "another epsilon": {"layer_norm_epsilon": 1e-2},
        "unscaled scores": {"scale_attn_weights": False},
        "scores by depth": {"scale_attn_by_inverse_layer_idx": True},
        "unscaled scores by depth": {"scale_attn_by_inverse_layer_idx": True, "scale_attn_weights": False},
        "reordered": {"reorder_and_upcast_attn": True},
        "untied": {"tie_word_embeddings": False},
    },
    "llama": {
        **ROTARY,
        "biases": {"attention_bias": True, "mlp_bias": True},
        "head width": {"head_dim": 8},
        "one key head": {"num_key_value_heads": 1},
        "all key heads": {"num_key_value_heads": 6},
        "gelu": {"hidden_act": "gelu"},
        "gelu_new": {"hidden_act": "gelu_new"},
        "another epsilon": {"rms_norm_eps": 1e-2},
        "tied": {"tie_word_embeddings": True},
    },
    "mistral": {
        "no window": {"sliding_window": None},
        "head width": {"head_dim": 8},
        "another theta": ROTARY["another theta"],
        "yarn": ROTARY["yarn"],
        "another epsilon": {"rms_norm_eps": 1e-2},
        "relu": {"hidden_act": "relu"},
        "tied": {"tie_word_embeddings": True},
    },
    "qwen2": {
        "window from a layer on": WINDOW,
        "window by layer": {**WINDOW, "layer_types": KINDS},
        "another theta": ROTARY["another theta"],
        "yarn": ROTARY["yarn"],
        "another epsilon": {"rms_norm_eps": 1e-2},
        "gelu": {"hidden_act": "gelu"},
        "tied": {"tie_word_embeddings": True},
    },
    "qwen3": {
        "window from a layer on": WINDOW,
        "window by layer": {**WINDOW, "layer_types": KINDS},
        "biases": {"attention_bias": True},
        "another theta": ROTARY["another theta"],
        "yarn": ROTARY["yarn"],
        "another epsilon": {"rms_norm_eps": 1e-2},
        "gelu": {"hidden_act": "gelu"},
        "tied": {"tie_word_embeddings": True},
    },
    "qwen3_moe": {
        "weights as they are": {"norm_topk_prob": False},
        "one expert a token": {"num_experts_per_tok": 1},
        "all experts": {"num_experts_per_tok": 5},
        "a dense layer": {"mlp_only_layers": [1]},
        "every second layer": {"decoder_sparse_step": 2},
        "dense layers only": {"mlp_only_layers": [0, 1, 2]},
        "window": {"use_sliding_window": True, "sliding_window": 7},
        "biases": {"attention_bias": True},
        "head width": {"head_dim": 8},
        "another theta": ROTARY["another theta"],
        "another epsilon": {"rms_norm_eps": 1e-2},
        "gelu": {"hidden_act": "gelu"},
        "tied": {"tie_word_embeddings": True},
    },
    "nanochat": {
        "no cap": {"final_logit_softcapping": None},
        "another cap": {"final_logit_softcapping": 2.0},
        "biases": {"attention_bias": True},
        "head width": {"head_dim": 8},
        "all key heads": {"num_key_value_heads": 6},
        "gelu": {"hidden_act": "gelu"},
        "another epsilon": {"rms_norm_eps": 1e-2},
        "another theta": ROTARY["another theta"],
        "yarn": ROTARY["yarn"],
        "tied": {"tie_word_embeddings": True},
    },
}
PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", GPT2),
    "llama": ("Llama", SIZES),
    "mistral": ("Mistral", {**SIZES, "sliding_window": 7}),
    "qwen2": ("Qwen2", SIZES),
    "qwen3": ("Qwen3", {**SIZES, "head_dim": 8}),
    "qwen3_moe": ("Qwen3Moe", {
        **SIZES, "moe_intermediate_size": 20, "num_experts": 5, "num_experts_per_tok": 2, "norm_topk_prob": True,
    }),
    "nanochat": ("NanoChat", SIZES),
}  # fmt: skip
"""Family -> what its classes begin with, and the settings of the plain case."""
WORDS = {"gpt2": "GPT2LMHeadModel"}
"""Classes for words that are not called ``ForCausalLM``."""
DRAWN = ("plain", "window", "no window", "window from a layer on", "scores by depth", "a dense layer")
"""The cases in which tokens are drawn."""


def _cases(family: str) -> list[Case]:
    stem, plain = PLAIN[family]
    language_model = WORDS.get(family, f"{stem}ForCausalLM")
    switches = {"plain": {}, **SWITCHES[family]}
    cases = [
        Case(family, language_model, {**plain, **turned}, name, greedy=name in DRAWN)
        for name, turned in switches.items()
    ]
    cases.append(Case(family, language_model, plain, "bare names", bare_names=True))
    cases.append(Case(family, f"{stem}Model", plain))
    if family != "nanochat":  # of which transformers has no others
        for labels in (5, 1):
            settings = {**plain, "num_labels": labels}
            cases.append(Case(family, f"{stem}ForSequenceClassification", settings, f"{labels} labels"))
        cases.append(Case(family, f"{stem}ForTokenClassification", {**plain, "num_labels": 5}))
    return cases


LONG = {**SIZES, "max_position_embeddings": 640}
DYNAMIC = {**SIZES, "max_position_embeddings": 22, **rope(rope_type="dynamic", factor=4.0, rope_theta=5000.0)}
DECODERS = [
    *(case for family in PLAIN for case in _cases(family)),
    Case("llama", "LlamaForCausalLM", DYNAMIC, "dynamic scaling", by_length=True, lengths=(30, 30), greedy=True),
    Case("mistral", "MistralForCausalLM", {**LONG, "sliding_window": 20}, "window in long rows", lengths=LONG_ROWS),
]
