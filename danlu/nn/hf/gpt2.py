"""GPT-2 in Hugging Face form (``GPT2LMHeadModel``): LayerNorm, biases, learned positions, matrices transposed."""

from __future__ import annotations

from typing import Any

from danlu.nn.config import (
    MLP,
    AnyHead,
    Attention,
    Embedding,
    Entry,
    Head,
    Labels,
    Layer,
    Norm,
    Positions,
    Stack,
    TransformerConfig,
)  # fmt: skip
from danlu.nn.hf.config_file import ConfigFile, their_activation
from danlu.nn.hf.decoder import label_dropout, write_label_dropout, write_labels
from danlu.nn.hf.family import FolderFamily, Stored, WeightNames, fused, in_layers, stored, with_bias

SCORE: WeightNames = {"head.out.weight": stored("score.weight")}


def read_config(file: ConfigFile) -> TransformerConfig:
    file.only("add_cross_attention", False)
    dim, heads, layers = file.integer("n_embd"), file.integer("n_head"), file.parts("n_layer")
    if dim % heads:
        raise file.wrong("n_head", heads, f"a divisor of n_embd ({dim})")
    norm = Norm("layer", file.number("layer_norm_epsilon", 1e-5), bias=True)
    mlp = MLP(file.integer("n_inner", 4 * dim), file.activation("activation_function", "gelu_new"), bias=True)
    scale = (dim // heads) ** -0.5 if file.flag("scale_attn_weights", True) else 1.0
    by_depth = file.flag("scale_attn_by_inverse_layer_idx", False)
    attention = [
        Attention(
            heads=heads, kv_heads=heads, head_dim=dim // heads, bias=True, out_bias=True,
            scale=scale / (layer + 1) if by_depth else scale, dropout=file.share("attn_pdrop", 0.1),
        )
        for layer in range(layers)
    ]  # fmt: skip
    return TransformerConfig(
        family="gpt2",
        vocab_size=file.integer("vocab_size"),
        dim=dim,
        max_length=file.integer("n_positions"),
        decoder=Stack(
            layers=tuple(Layer(each, mlp) for each in attention), norm=norm, causal=True,
            entry=Entry(positions=Positions("learned"), dropout=file.share("embd_pdrop", 0.1)),
            dropout=file.share("resid_pdrop", 0.1),
        ),
        head=_read_head(file),
    )  # fmt: skip


def _read_head(file: ConfigFile) -> AnyHead:
    name = file.architecture() or "GPT2LMHeadModel"
    heads: dict[str, AnyHead] = {
        "GPT2LMHeadModel": Head(tied=file.flag("tie_word_embeddings", True)),
        "GPT2ForSequenceClassification": Labels(file.labels(), pooling="last", bias=False),
        "GPT2ForTokenClassification": Labels(file.labels(), dropout=label_dropout(file)),
        "GPT2Model": Embedding(pooling="last", normalise=False),
    }
    if name not in heads:
        raise file.wrong("architectures", name, " or ".join(heads))
    return heads[name]


def write_config(config: TransformerConfig) -> dict[str, Any]:
    assert config.decoder is not None
    stack, first = config.decoder, config.decoder.layers[0]
    assert isinstance(first.mlp, MLP)
    scales = [layer.attention.scale or first.attention.head_dim**-0.5 for layer in stack.layers]
    return {
        "activation_function": their_activation(first.mlp.activation),
        "add_cross_attention": False,
        "attn_pdrop": first.attention.dropout,
        "embd_pdrop": stack.entry.dropout,
        "resid_pdrop": stack.dropout,
        "initializer_range": 0.02,
        "layer_norm_epsilon": stack.norm.eps,
        "n_embd": config.dim,
        "n_head": first.attention.heads,
        "n_inner": first.mlp.hidden,
        "n_layer": len(stack.layers),
        "n_positions": config.max_length,
        "scale_attn_by_inverse_layer_idx": len(set(scales)) > 1,
        "scale_attn_weights": scales[0] != 1.0,
        "tie_word_embeddings": config.tied,
        "use_cache": True,
        "vocab_size": config.vocab_size,
        **write_labels(config),
        **write_label_dropout(config),
    }


def weight_names(config: TransformerConfig) -> WeightNames:
    assert config.decoder is not None
    block = with_bias(
        {
            "norm_attention.weight": stored("ln_1.weight"),
            **fused("attn.c_attn.weight", tuple(f"attention.{part}.weight" for part in ("query", "key", "value")),
                    transposed=True),
            "attention.out.weight": Stored(("attn.c_proj.weight",), transposed=True),
            "norm_mlp.weight": stored("ln_2.weight"),
            "mlp.up.weight": Stored(("mlp.c_fc.weight",), transposed=True),
            "mlp.down.weight": Stored(("mlp.c_proj.weight",), transposed=True),
        }
    )  # fmt: skip
    names = {
        "embedding.weight": stored("transformer.wte.weight"),
        "decoder.entry.positions.weight": stored("transformer.wpe.weight"),
        **with_bias({"decoder.norm.weight": stored("transformer.ln_f.weight")}),
        **in_layers("decoder", len(config.decoder.layers), "transformer.h.{}.", block),
    }
    if isinstance(config.head, Labels):
        names |= with_bias({"head.out.weight": stored("classifier.weight")}) if config.head.bias else SCORE
    elif isinstance(config.head, Head) and not config.tied:
        names["head.weight"] = stored("lm_head.weight")
    return names


def architecture(config: TransformerConfig) -> str:
    if isinstance(config.head, Labels):
        return f"GPT2For{'Sequence' if config.head.pooling else 'Token'}Classification"
    return "GPT2Model" if isinstance(config.head, Embedding) else "GPT2LMHeadModel"


GPT2 = FolderFamily(
    read_config, write_config, architecture, weight_names, prefix="transformer.",
    ignored=(".attn.bias", ".attn.masked_bias"),
)  # fmt: skip
