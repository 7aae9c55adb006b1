"""T5, T5 v1.1 and mT5 in Hugging Face form (``T5ForConditionalGeneration``, ``MT5ForConditionalGeneration``)."""

from __future__ import annotations

from typing import Any

from danlu.nn.config import MLP, UNBOUNDED, Attention, Entry, Head, Layer, Norm, RelativeBias, Stack, TransformerConfig
from danlu.nn.hf.config_file import ConfigFile, their_activation
from danlu.nn.hf.family import Copy, FolderFamily, WeightNames, in_layers, stored


def read_config(file: ConfigFile) -> TransformerConfig:
    stem = "MT5" if file.values["model_type"] == "mt5" else "T5"
    file.only("architectures", [f"{stem}ForConditionalGeneration"], [f"{stem}WithLMHeadModel"])
    heads, dropout = file.integer("num_heads"), file.share("dropout_rate", 0.1)
    attention = Attention(heads=heads, kv_heads=heads, head_dim=file.integer("d_kv"), scale=1.0, dropout=dropout)
    mlp = _read_mlp(file, dropout, "relu" if stem == "T5" else "gated-gelu")
    norm = Norm("rms", file.number("layer_norm_epsilon", 1e-6))
    bias = _read_bias(file)
    dropped: dict[str, Any] = {"entry": Entry(dropout=dropout), "dropout": dropout, "final_dropout": dropout}
    encoder = Stack(
        layers=(Layer(attention, mlp),) * file.parts("num_layers"), norm=norm, causal=False, bias=bias, **dropped
    )
    layers = file.parts("num_decoder_layers", file.parts("num_layers"))
    decoder = Stack(
        layers=(Layer(attention, mlp, cross=attention),) * layers, norm=norm, causal=True, bias=bias, **dropped
    )
    # The first T5 ties the head and scales what it reads; later ones, whose files say that nothing is tied, do neither.
    first = stem == "T5" and file.flag("scale_decoder_outputs", file.flag("tie_word_embeddings", True))
    dim = file.integer("d_model")
    return TransformerConfig(
        family=file.values["model_type"], vocab_size=file.integer("vocab_size"), dim=dim, max_length=UNBOUNDED,
        encoder=encoder, decoder=decoder,
        head=Head(tied=first or not file.holds("lm_head.weight"), scale=dim**-0.5 if first else 1.0),
    )  # fmt: skip


def _read_bias(file: ConfigFile) -> RelativeBias:
    buckets = file.integer("relative_attention_num_buckets", 32)
    furthest = file.integer("relative_attention_max_distance", 128)
    if buckets < 4:  # half of them behind and half ahead, half of which hold one distance each
        raise file.wrong("relative_attention_num_buckets", buckets, "at least 4")
    if furthest <= buckets // 2:
        raise file.wrong("relative_attention_max_distance", furthest, f"above half of the buckets ({buckets // 2})")
    return RelativeBias(buckets, furthest)


def _read_mlp(file: ConfigFile, dropout: float, default: str) -> MLP:
    """``feed_forward_proj`` is ``relu``, ``gated-gelu`` (which means the tanh form) or ``gated-`` and an activation."""
    name = str(file.get("feed_forward_proj", default))
    gated = name.startswith("gated-")
    known = ConfigFile(file.path, {"feed_forward_proj": name.removeprefix("gated-")})
    activation = "gelu_tanh" if name == "gated-gelu" else known.activation("feed_forward_proj", "relu")
    return MLP(file.integer("d_ff"), activation, gated=gated, dropout=dropout)


def write_config(config: TransformerConfig) -> dict[str, Any]:
    assert config.encoder is not None and config.decoder is not None and isinstance(config.head, Head)
    first, bias = config.encoder.layers[0], config.encoder.bias
    assert isinstance(first.mlp, MLP) and isinstance(bias, RelativeBias)
    name = their_activation(first.mlp.activation)
    return {
        "d_ff": first.mlp.hidden,
        "d_kv": first.attention.head_dim,
        "d_model": config.dim,
        "dropout_rate": config.encoder.dropout,
        "feed_forward_proj": ("gated-gelu" if name == "gelu_new" else f"gated-{name}") if first.mlp.gated else name,
        "initializer_factor": 1.0,
        "is_encoder_decoder": True,
        "layer_norm_epsilon": config.encoder.norm.eps,
        "num_decoder_layers": len(config.decoder.layers),
        "num_heads": first.attention.heads,
        "num_layers": len(config.encoder.layers),
        "relative_attention_max_distance": bias.max_distance,
        "relative_attention_num_buckets": bias.buckets,
        "scale_decoder_outputs": config.head.scale != 1.0,
        "tie_word_embeddings": config.head.scale != 1.0,
        "use_cache": True,
        "vocab_size": config.vocab_size,
    }


def weight_names(config: TransformerConfig) -> WeightNames:
    assert config.encoder is not None and config.decoder is not None and isinstance(config.head, Head)
    mlp = config.encoder.layers[0].mlp
    assert isinstance(mlp, MLP)
    names: WeightNames = {"embedding.weight": stored("shared.weight")}
    for stack, count, last in (("encoder", len(config.encoder.layers), 1), ("decoder", len(config.decoder.layers), 2)):
        block = _attention("attention", "layer.0.SelfAttention.") | {
            "norm_attention.weight": stored("layer.0.layer_norm.weight")
        }
        if stack == "decoder":
            block |= _attention("cross", "layer.1.EncDecAttention.")
            block["norm_cross.weight"] = stored("layer.1.layer_norm.weight")
        dense = f"layer.{last}.DenseReluDense."
        up = ("wi_0", "wi_1") if mlp.gated else ("wi",)
        block["mlp.up.weight"] = stored(*(f"{dense}{part}.weight" for part in up))
        block["mlp.down.weight"] = stored(f"{dense}wo.weight")
        block["norm_mlp.weight"] = stored(f"layer.{last}.layer_norm.weight")
        names |= in_layers(stack, count, f"{stack}.block.{{}}.", block)
        names[f"{stack}.bias.weight"] = stored(f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
        names[f"{stack}.norm.weight"] = stored(f"{stack}.final_layer_norm.weight")
    return names if config.tied else names | {"head.weight": stored("lm_head.weight")}


def _attention(ours: str, theirs: str) -> WeightNames:
    letters = {"query": "q", "key": "k", "value": "v", "out": "o"}
    return {f"{ours}.{name}.weight": stored(f"{theirs}{letter}.weight") for name, letter in letters.items()}


def copies(config: TransformerConfig) -> tuple[Copy, ...]:
    """The embedding of each side."""
    return tuple(Copy(f"{side}.embed_tokens.weight", "shared.weight") for side in ("encoder", "decoder"))


def _family(stem: str) -> FolderFamily:
    return FolderFamily(
        read_config, write_config, lambda config: f"{stem}ForConditionalGeneration", weight_names, prefix="",
        # A bias that early versions gave to cross-attention and never used.
        copies=copies, ignored=("layer.1.EncDecAttention.relative_attention_bias.weight",),
    )  # fmt: skip


T5 = _family("T5")
MT5 = _family("MT5")
