"""Encoders in GGUF files, BERT and ModernBERT, and T5, which has a decoder besides.

Llama.cpp takes encoders for embeddings: the files hold no head, and of the pooling only its kind.
"""

from __future__ import annotations

from typing import Any

from danlu.errors import CheckpointError
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.decoder import KINDS
from danlu.nn.hf.gguf_architecture import EMBEDDING, OUTPUT, Architecture, Key, Metadata
from danlu.nn.hf.tensors import same

TYPES = "token_types.weight"
GATE = "enc.blk.0.ffn_gate.weight"
PATTERN = "attention.sliding_window_pattern"

SIZES = {
    "hidden_size": Key("embedding_length"),
    "num_hidden_layers": Key("block_count", ConfigFile.parts),
    "num_attention_heads": Key("attention.head_count"),
    "intermediate_size": Key("feed_forward_length"),
    "max_position_embeddings": Key("context_length"),
}


def _types(meta: Metadata) -> dict[str, Any]:
    if TYPES not in meta.file.tensors:
        raise CheckpointError(f"{meta.file.path} lacks tensor {TYPES}")
    return {"type_vocab_size": meta.file.tensors[TYPES].shape[0]}


def _windows(meta: Metadata) -> dict[str, Any]:
    """Which layers have a window, and the rotary positions of both kinds."""
    window = meta.integer("attention.sliding_window")
    return {
        "local_attention": window,
        "layer_types": _layer_types(meta),
        "global_rope_theta": meta.known.number(meta.prefix + "rope.freq_base"),
        "local_rope_theta": meta.known.number(meta.prefix + "rope.freq_base_swa"),
    }


def _layer_types(meta: Metadata) -> list[str]:
    """The pattern is one flag a layer, or a period whose first layer has no window."""
    layers, pattern = meta.integer("block_count"), meta.get(PATTERN)
    if isinstance(pattern, list):
        if len(pattern) != layers or not all(isinstance(each, bool) for each in pattern):
            raise meta.known.wrong(meta.prefix + PATTERN, pattern, f"{layers} times true or false")
        return [KINDS[each] for each in pattern]
    period = meta.integer(PATTERN, 3)
    return [KINDS[bool(layer % period)] for layer in range(layers)]


def _t5(meta: Metadata) -> dict[str, Any]:
    """The first T5 has no gates, one matrix for embedding and head, and a head that scales; later ones differ in all.

    Raises:
        CheckpointError: there are no gates and a head of its own, which no T5 has.
    """
    tensors = meta.file.tensors
    gated = GATE in tensors
    tied = OUTPUT not in tensors or (not gated and same(tensors[OUTPUT], tensors[EMBEDDING]))
    if not gated and not tied:
        raise CheckpointError(
            f"{meta.file.path}: {OUTPUT} differs from {EMBEDDING} in a T5 without gates; "
            "a GGUF file does not say whether such a head scales"
        )
    return {"feed_forward_proj": "gated-gelu" if gated else "relu", "tie_word_embeddings": tied}


BERT = Architecture(
    "bert", "BertModel",
    keys={**SIZES, "layer_norm_eps": Key("attention.layer_norm_epsilon", ConfigFile.number)},
    more=_types, plain={"attention.causal": (False,)},
)  # fmt: skip
MODERN_BERT = Architecture(
    "modernbert", "ModernBertModel",
    keys={**SIZES, "norm_eps": Key("attention.layer_norm_epsilon", ConfigFile.number)},
    more=_windows, plain={"attention.causal": (False,), "attention.sliding_window": (), "rope.scaling.type": ("none",)},
    ignored=("cls.weight", "cls.norm.weight"),  # half of the head that it was pretrained with
)  # fmt: skip
T5 = Architecture(
    "t5", "T5ForConditionalGeneration",
    keys={
        "d_model": Key("embedding_length"),
        "num_layers": Key("block_count", ConfigFile.parts),
        "num_decoder_layers": Key("decoder_block_count", ConfigFile.parts, otherwise="block_count"),
        "num_heads": Key("attention.head_count"),
        "d_kv": Key("attention.key_length"),
        "d_ff": Key("feed_forward_length"),
        "relative_attention_num_buckets": Key("attention.relative_buckets_count"),
        "layer_norm_epsilon": Key("attention.layer_norm_rms_epsilon", ConfigFile.number,
                                  otherwise="attention.layer_norm_epsilon"),
    },
    fixed={"relative_attention_max_distance": 128},
    more=_t5,
    ignored=("dec.blk.0.cross_attn_rel_b.weight",),  # which early versions had and never used
)  # fmt: skip
