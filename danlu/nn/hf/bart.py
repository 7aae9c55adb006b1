"""BART in Hugging Face form (``BartForConditionalGeneration``; Lewis et al. 2020, arXiv:1910.13461)."""

from __future__ import annotations

import math
from typing import Any

from danlu.nn.config import MLP, Attention, Entry, Head, Layer, Norm, Positions, Stack, TransformerConfig
from danlu.nn.hf.config_file import ConfigFile, their_activation
from danlu.nn.hf.family import Copy, FolderFamily, Stored, WeightNames, in_layers, stored, with_bias

SHARED = "model.shared.weight"
OFFSET = 2
"""Rows of the position tables before position 0."""


def read_config(file: ConfigFile) -> TransformerConfig:
    file.only("architectures", ["BartForConditionalGeneration"], ["BartModel"])
    dim = file.integer("d_model")
    return TransformerConfig(
        family="bart", vocab_size=file.integer("vocab_size"), dim=dim,
        max_length=file.integer("max_position_embeddings", 1024), encoder=_read_stack(file, "encoder", dim),
        decoder=_read_stack(file, "decoder", dim),
        head=Head(tied=file.flag("tie_word_embeddings", True), bias=file.holds("final_logits_bias")),
    )  # fmt: skip


def _read_stack(file: ConfigFile, side: str, dim: int) -> Stack:
    heads = file.integer(f"{side}_attention_heads", 16)
    if dim % heads:
        raise file.wrong(f"{side}_attention_heads", heads, f"a divisor of d_model ({dim})")
    norm = Norm("layer", 1e-5, bias=True)
    attention = Attention(
        heads=heads, kv_heads=heads, head_dim=dim // heads, bias=True, out_bias=True,
        dropout=file.share("attention_dropout", 0.0),
    )  # fmt: skip
    mlp = MLP(
        file.integer(f"{side}_ffn_dim", 4096), file.activation("activation_function", "gelu"), bias=True,
        dropout=file.share("activation_dropout", 0.0),
    )  # fmt: skip
    layer = Layer(attention, mlp, cross=attention if side == "decoder" else None)
    dropout = file.share("dropout", 0.1)
    scale = math.sqrt(dim) if file.flag("scale_embedding", False) else 1.0
    return Stack(
        layers=(layer,) * file.parts(f"{side}_layers", 12), norm=norm, causal=side == "decoder", place="post",
        final_norm=False, entry=Entry(Positions("learned", OFFSET), norm=norm, scale=scale, dropout=dropout),
        dropout=dropout, layer_drop=file.share(f"{side}_layerdrop", 0.0),
    )  # fmt: skip


def write_config(config: TransformerConfig) -> dict[str, Any]:
    assert config.encoder is not None and config.decoder is not None
    sides: dict[str, Any] = {}
    for side, stack in (("encoder", config.encoder), ("decoder", config.decoder)):
        mlp = stack.layers[0].mlp
        assert isinstance(mlp, MLP)
        sides |= {
            f"{side}_attention_heads": stack.layers[0].attention.heads,
            f"{side}_ffn_dim": mlp.hidden,
            f"{side}_layers": len(stack.layers),
            f"{side}_layerdrop": stack.layer_drop,
            "activation_dropout": mlp.dropout,
            "activation_function": their_activation(mlp.activation),
        }
    return {
        **sides,
        "attention_dropout": config.decoder.layers[0].attention.dropout,
        "d_model": config.dim,
        "dropout": config.decoder.dropout,
        "forced_eos_token_id": None,  # by default token 2, whatever that is
        "init_std": 0.02,
        "is_encoder_decoder": True,
        "max_position_embeddings": config.max_length,
        "scale_embedding": config.decoder.entry.scale != 1.0,
        "tie_word_embeddings": config.tied,
        "use_cache": True,
        "vocab_size": config.vocab_size,
    }


def weight_names(config: TransformerConfig) -> WeightNames:
    assert config.encoder is not None and config.decoder is not None and isinstance(config.head, Head)
    names: WeightNames = {"embedding.weight": stored(SHARED)}
    for side, stack in (("encoder", config.encoder), ("decoder", config.decoder)):
        block = _attention("attention", "self_attn") | {
            "mlp.up.weight": stored("fc1.weight"),
            "mlp.down.weight": stored("fc2.weight"),
            "norm_mlp.weight": stored("final_layer_norm.weight"),
        }
        if side == "decoder":
            block |= _attention("cross", "encoder_attn")
        names |= in_layers(side, len(stack.layers), f"model.{side}.layers.{{}}.", with_bias(block))
        names[f"{side}.entry.positions.weight"] = stored(f"model.{side}.embed_positions.weight")
        names |= with_bias({f"{side}.entry.norm.weight": stored(f"model.{side}.layernorm_embedding.weight")})
    if config.head.bias:
        names["head.bias"] = Stored(("final_logits_bias",), one_row=True)
    return names if config.tied else names | {"head.weight": stored("lm_head.weight")}


def _attention(ours: str, theirs: str) -> WeightNames:
    parts = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
    names = {f"{ours}.{name}.weight": stored(f"{theirs}.{part}.weight") for name, part in parts.items()}
    return names | {f"norm_{ours}.weight": stored(f"{theirs}_layer_norm.weight")}


def copies(config: TransformerConfig) -> tuple[Copy, ...]:
    """The embedding of each side; they are one, but where the head is untied ``transformers`` keeps them apart."""
    return tuple(
        Copy(f"model.{side}.embed_tokens.weight", SHARED, written=not config.tied) for side in ("encoder", "decoder")
    )


BART = FolderFamily(
    read_config, write_config, lambda config: "BartForConditionalGeneration", weight_names, prefix="model.",
    copies=copies, decoder_start="eos",
)  # fmt: skip
