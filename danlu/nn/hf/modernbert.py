"""ModernBERT (Warner et al. 2024, arXiv:2412.13663) in Hugging Face form: rotary positions, GeGLU, windows."""

from __future__ import annotations

from typing import Any

from danlu.nn.config import (
    MLP,
    AnyHead,
    Attention,
    Dense,
    Embedding,
    Entry,
    Head,
    Labels,
    Layer,
    Norm,
    Pooling,
    Stack,
    TransformerConfig,
)  # fmt: skip
from danlu.nn.hf.config_file import ConfigFile, their_activation
from danlu.nn.hf.decoder import KINDS, rope_parameters, write_labels
from danlu.nn.hf.encoder import bert_like_sizes, kind_of, read_head
from danlu.nn.hf.family import FolderFamily, WeightNames, fused, in_layers, stored, with_bias
from danlu.nn.patterns import Full, Window


def read_config(file: ConfigFile) -> TransformerConfig:
    sizes = bert_like_sizes(file)
    norm = Norm("layer", file.number("norm_eps", 1e-5), bias=file.flag("norm_bias", False))
    mlp = MLP(
        file.integer("intermediate_size"), file.activation("hidden_activation", "gelu"), gated=True,
        bias=file.flag("mlp_bias", False), dropout=file.share("mlp_dropout", 0.0),
    )  # fmt: skip
    layers = tuple(
        Layer(attention, mlp, first_norm=number > 0) for number, attention in enumerate(_attentions(file, sizes))
    )
    entry = Entry(norm=norm, dropout=file.share("embedding_dropout", 0.0))
    stack = Stack(layers=layers, norm=norm, causal=False, entry=entry)
    before_scores = file.share("classifier_dropout", 0.0)
    dense = Dense(file.activation("classifier_activation", "gelu"), norm, bias=file.flag("classifier_bias", False))
    pooling: Pooling = "mean" if file.word("classifier_pooling", "cls", ("cls", "mean")) == "mean" else "first"
    heads: dict[str, AnyHead] = {
        "ForMaskedLM": Head(
            tied=file.flag("tie_word_embeddings", True), bias=file.flag("decoder_bias", True), transform=dense
        ),
        "Model": Embedding(),
        "ForSequenceClassification": Labels(file.labels(), pooling, dense, dropout=before_scores),
        "ForMultipleChoice": Labels(1, pooling, dense, dropout=before_scores, choice=True),
        "ForTokenClassification": Labels(file.labels(), None, dense, dropout=before_scores),
        "ForQuestionAnswering": Labels(2, None, dense, dropout=before_scores, span=True),
    }
    return TransformerConfig(
        family="modernbert", vocab_size=file.integer("vocab_size"), dim=sizes["dim"],
        max_length=file.integer("max_position_embeddings", 8192), encoder=stack,
        head=read_head(file, "ModernBert", heads),
    )  # fmt: skip


def _attentions(file: ConfigFile, sizes: dict[str, Any]) -> list[Attention]:
    """Layer by layer: all of the row in every third, a window in the others, and for each kind its rotary positions."""
    every = file.integer("global_attn_every_n_layers", 3)
    kinds = file.words("layer_types", KINDS, count=sizes["layers"]) or [
        KINDS[bool(layer % every)] for layer in range(sizes["layers"])
    ]
    nested = file.mapping("rope_parameters")
    if not set(KINDS).issuperset(nested):
        raise file.wrong("rope_parameters", nested, f"a mapping of {' and '.join(KINDS)}")
    bases = (file.number("global_rope_theta", 160000.0), file.number("local_rope_theta", 10000.0))
    stretched = file.mapping("rope_scaling")
    rotary = {
        kind: file.rope({**ConfigFile(file.path, nested).mapping(kind), **stretched}, theta=base)
        for kind, base in zip(KINDS, bases, strict=True)
    }
    half = file.integer("local_attention", 128) // 2
    biased, dropout = file.flag("attention_bias", False), file.share("attention_dropout", 0.0)
    return [
        Attention(
            heads=sizes["heads"], kv_heads=sizes["heads"], head_dim=sizes["dim"] // sizes["heads"], bias=biased,
            out_bias=biased, rotary=rotary[kind], dropout=dropout, out_dropout=dropout,
            pattern=Full() if kind == KINDS[0] else Window(half, half),
        )
        for kind in kinds
    ]  # fmt: skip


def write_config(config: TransformerConfig) -> dict[str, Any]:
    assert config.encoder is not None
    layers, first = config.encoder.layers, config.encoder.layers[0]
    assert isinstance(first.mlp, MLP)
    found = {KINDS[isinstance(layer.attention.pattern, Window)]: layer.attention for layer in layers}
    local = found.get(KINDS[1])
    head = config.head
    dense = head.transform if isinstance(head, Head | Labels) else None
    return {
        "attention_bias": first.attention.bias,
        "attention_dropout": first.attention.dropout,
        "classifier_activation": their_activation(dense.activation if dense else "gelu"),
        "classifier_bias": dense.bias if dense else False,
        "classifier_dropout": head.dropout if isinstance(head, Labels) else 0.0,
        "classifier_pooling": "mean" if isinstance(head, Labels) and head.pooling == "mean" else "cls",
        "decoder_bias": head.bias if isinstance(head, Head) else True,
        "embedding_dropout": config.encoder.entry.dropout,
        "hidden_activation": their_activation(first.mlp.activation),
        "hidden_size": config.dim,
        "intermediate_size": first.mlp.hidden,
        "layer_types": [KINDS[isinstance(layer.attention.pattern, Window)] for layer in layers],
        "local_attention": max(1, 2 * local.pattern.before) if local and isinstance(local.pattern, Window) else 128,
        "max_position_embeddings": config.max_length,
        "mlp_bias": first.mlp.bias,
        "mlp_dropout": first.mlp.dropout,
        "norm_bias": config.encoder.norm.bias,
        "norm_eps": config.encoder.norm.eps,
        "num_attention_heads": first.attention.heads,
        "num_hidden_layers": len(layers),
        "rope_parameters": {kind: rope_parameters(each.rotary) for kind, each in found.items() if each.rotary},
        "tie_word_embeddings": config.tied or config.words is None,
        "vocab_size": config.vocab_size,
        **write_labels(config),
    }


def weight_names(config: TransformerConfig) -> WeightNames:
    assert config.encoder is not None
    first, norm = config.encoder.layers[0], config.encoder.norm
    assert isinstance(first.mlp, MLP)

    def biased(names: WeightNames, bias: bool) -> WeightNames:
        return with_bias(names) if bias else names

    queries = fused("attn.Wqkv.weight", tuple(f"attention.{part}.weight" for part in ("query", "key", "value")))
    block = {
        **biased({**queries, "attention.out.weight": stored("attn.Wo.weight")}, first.attention.bias),
        **biased({"mlp.up.weight": stored("mlp.Wi.weight"), "mlp.down.weight": stored("mlp.Wo.weight")},
                 first.mlp.bias),
        **biased({"norm_attention.weight": stored("attn_norm.weight"), "norm_mlp.weight": stored("mlp_norm.weight")},
                 norm.bias),
    }  # fmt: skip
    names = in_layers("encoder", len(config.encoder.layers), "model.layers.{}.", block)
    for bare in ("weight", "bias"):
        names.pop(f"encoder.blocks.0.norm_attention.{bare}", None)
    top = {"encoder.entry.norm.weight": stored("model.embeddings.norm.weight"),
           "encoder.norm.weight": stored("model.final_norm.weight")}  # fmt: skip
    names |= {"embedding.weight": stored("model.embeddings.tok_embeddings.weight"), **biased(top, norm.bias)}
    return names | _head_names(config)


def _head_names(config: TransformerConfig) -> WeightNames:
    head = config.head
    if not isinstance(head, Head | Labels) or head.transform is None:
        return {}
    names = {"head.transform.dense.weight": stored("head.dense.weight")}
    if head.transform.bias:
        names = with_bias(names)
    norm = {"head.transform.norm.weight": stored("head.norm.weight")}
    names |= with_bias(norm) if head.transform.norm and head.transform.norm.bias else norm
    if isinstance(head, Labels):
        return names | with_bias({"head.out.weight": stored("classifier.weight")})
    if head.bias:
        names["head.bias"] = stored("decoder.bias")
    return names if head.tied else names | {"head.weight": stored("decoder.weight")}


MODERNBERT = FolderFamily(
    read_config, write_config, lambda config: f"ModernBert{kind_of(config.head)}", weight_names, prefix="model.",
    takes_keys=False,
)  # fmt: skip
