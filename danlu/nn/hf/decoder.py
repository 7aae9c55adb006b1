"""What folders of Llama-like decoders have in common: sizes, rotary positions, windows, most names of tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from danlu.nn.config import (
    MLP,
    AnyHead,
    Attention,
    Embedding,
    Head,
    Labels,
    Layer,
    Norm,
    Rotary,
    Scaling,
    Stack,
    TransformerConfig,
)  # fmt: skip
from danlu.nn.hf.config_file import MOST, ConfigFile
from danlu.nn.hf.family import WeightNames, in_layers, stored, with_bias
from danlu.nn.patterns import Full, Pattern, Window

QUERY_KEY_VALUE: WeightNames = {
    "attention.query.weight": stored("self_attn.q_proj.weight"),
    "attention.key.weight": stored("self_attn.k_proj.weight"),
    "attention.value.weight": stored("self_attn.v_proj.weight"),
}
OUT: WeightNames = {"attention.out.weight": stored("self_attn.o_proj.weight")}
NORMS: WeightNames = {
    "norm_attention.weight": stored("input_layernorm.weight"),
    "norm_mlp.weight": stored("post_attention_layernorm.weight"),
}
QK_NORMS: WeightNames = {
    "attention.norm_q.weight": stored("self_attn.q_norm.weight"),
    "attention.norm_k.weight": stored("self_attn.k_norm.weight"),
}
GATED_MLP: WeightNames = {
    "mlp.up.weight": stored("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "mlp.down.weight": stored("mlp.down_proj.weight"),
}
PLAIN_MLP: WeightNames = {"mlp.up.weight": stored("mlp.fc1.weight"), "mlp.down.weight": stored("mlp.fc2.weight")}
KINDS = ("full_attention", "sliding_attention")
"""What a layer of ``layer_types`` may be."""


def read_decoder(
    file: ConfigFile,
    *,
    attention: Attention,
    mlp: MLP,
    norm: Norm,
    patterns: list[Pattern],
    head: AnyHead,
    **others: Any,
) -> TransformerConfig:
    """A decoder whose layers differ in their patterns at most; ``others`` are fields of its :class:`Stack`."""
    layers = tuple(Layer(replace(attention, pattern=pattern), mlp) for pattern in patterns)
    longest, scaling = file.integer("max_position_embeddings"), _by_length(attention)
    return TransformerConfig(
        family=file.values["model_type"],
        vocab_size=file.integer("vocab_size"),
        dim=file.integer("hidden_size"),
        # As far as its factor says is what anybody tried.
        max_length=longest if scaling is None else int(min(longest * scaling.factor, MOST)),
        decoder=Stack(layers=layers, norm=norm, causal=True, **others),
        head=head,
    )


def read_attention(
    file: ConfigFile, *, kv_heads: int | None = None, head_dim: int | None = None, **others: Any
) -> Attention:
    """Heads, their width and rotary positions; ``others`` are further fields of :class:`Attention`.

    Args:
        kv_heads: where the file does not name the key; null is as many as there are query heads.
        head_dim: where the file has none; by default ``hidden_size / heads``.
    """
    dim, heads = file.integer("hidden_size"), file.integer("num_attention_heads")
    named = "num_key_value_heads" in file.values
    attention = Attention(
        heads=heads, kv_heads=file.integer("num_key_value_heads", heads if named else kv_heads or heads),
        head_dim=file.integer("head_dim", head_dim or max(1, dim // heads)),
        dropout=file.share("attention_dropout", 0.0), **{"rotary": file.rope(), **others},
    )  # fmt: skip
    if attention.head_dim == 2 and _by_length(attention):
        raise file.wrong("head_dim", 2, 'above 2 where rope_type is "dynamic"')
    return attention


def _by_length(attention: Attention) -> Scaling | None:
    """The scaling of rotary positions where it stretches as far as a text goes."""
    scaling = attention.rotary.scaling if attention.rotary is not None else None
    return scaling if scaling is not None and scaling.kind == "ntk" else None


def read_head(file: ConfigFile, *, softcap: float | None = None) -> AnyHead:
    """By the class that the folder was written by."""
    name = file.architecture()
    if name.endswith("ForSequenceClassification"):
        return Labels(file.labels(), pooling="last", bias=False)
    if name.endswith("ForTokenClassification"):
        return Labels(file.labels(), dropout=label_dropout(file))
    if name.endswith("Model"):
        return Embedding(pooling="last", normalise=False)
    if name and not name.endswith("ForCausalLM"):
        raise file.wrong(
            "architectures", name, "a Model or a class ForCausalLM, ForSequenceClassification or ForTokenClassification"
        )
    return Head(tied=file.flag("tie_word_embeddings", False), softcap=softcap)


def label_dropout(file: ConfigFile) -> float:
    """Of a decoder's scores of tokens; those of rows have none."""
    return file.share("classifier_dropout", file.share("hidden_dropout", 0.1))


def window_size(file: ConfigFile) -> int | None:
    """Of Qwen's windows; None where they are not used."""
    if not file.flag("use_sliding_window", False) or (
        "sliding_window" in file.values and file.get("sliding_window") is None
    ):
        return None
    return file.integer("sliding_window", 4096)


def windows(file: ConfigFile) -> list[Pattern]:
    """Qwen's: ``layer_types`` or, in older files, every layer from ``max_window_layers`` on, where windows are used."""
    layers = file.parts("num_hidden_layers")
    size = window_size(file)
    first = file.whole("max_window_layers", 28)
    kinds = file.words("layer_types", KINDS, count=layers) or [
        KINDS[size is not None and layer >= first] for layer in range(layers)
    ]
    if KINDS[1] not in kinds:
        return [Full()] * layers
    window = Window(file.integer("sliding_window", size) - 1)
    return [window if kind == KINDS[1] else Full() for kind in kinds]


def write_windows(stack: Stack) -> dict[str, Any]:
    """What :func:`windows` reads."""
    found = [layer.attention.pattern for layer in stack.layers]
    sizes = {pattern.before + 1 for pattern in found if isinstance(pattern, Window)}
    return {
        "layer_types": [KINDS[isinstance(each, Window)] for each in found],
        "use_sliding_window": bool(sizes),
        "sliding_window": next(iter(sizes), None),
        "max_window_layers": next((n for n, each in enumerate(found) if isinstance(each, Window)), len(found)),
    }


def write_sizes(config: TransformerConfig) -> dict[str, Any]:
    """What ``read_decoder`` and ``read_attention`` read, written in the form of ``transformers`` 5."""
    assert config.decoder is not None
    layer = config.decoder.layers[0]
    attention = layer.attention
    assert attention.rotary is not None
    mlps = [each.mlp for each in config.decoder.layers if isinstance(each.mlp, MLP)]
    scaling = _by_length(attention)
    return {
        "attention_dropout": attention.dropout,
        "head_dim": attention.head_dim,
        "hidden_size": config.dim,
        "initializer_range": 0.02,
        "intermediate_size": mlps[0].hidden if mlps else 4 * config.dim,
        "max_position_embeddings": scaling.original_length if scaling is not None else config.max_length,
        "num_attention_heads": attention.heads,
        "num_hidden_layers": len(config.decoder.layers),
        "num_key_value_heads": attention.kv_heads,
        "rms_norm_eps": config.decoder.norm.eps,
        "rope_parameters": rope_parameters(attention.rotary),
        "tie_word_embeddings": config.tied,
        "use_cache": True,
        "vocab_size": config.vocab_size,
        **write_labels(config),
        **write_label_dropout(config),
    }


def rope_parameters(rotary: Rotary) -> dict[str, Any]:
    """What ``ConfigFile.rope`` reads."""
    scaling = rotary.scaling
    if scaling is None:
        return {"rope_theta": rotary.theta, "rope_type": "default"}
    known: dict[str, Any] = {"rope_theta": rotary.theta, "factor": scaling.factor}
    if scaling.kind == "linear":
        return {**known, "rope_type": "linear"}
    if scaling.kind == "ntk":
        return {**known, "rope_type": "dynamic"}
    known["original_max_position_embeddings"] = scaling.original_length
    if scaling.kind == "yarn":
        return {
            **known, "rope_type": "yarn", "attention_factor": scaling.attention_factor,
            "beta_fast": scaling.fast, "beta_slow": scaling.slow, "truncate": scaling.whole,
        }  # fmt: skip
    return {**known, "rope_type": "llama3", "high_freq_factor": scaling.fast, "low_freq_factor": scaling.slow}


def write_label_dropout(config: TransformerConfig) -> dict[str, Any]:
    """What :func:`label_dropout` reads."""
    head = config.head
    return {"classifier_dropout": head.dropout} if isinstance(head, Labels) and head.pooling is None else {}


def write_labels(config: TransformerConfig) -> dict[str, Any]:
    """The names of labels, where the head has any."""
    head = config.head
    if not isinstance(head, Labels):
        return {}
    numbers = range(head.count)
    return {
        "id2label": {str(number): f"LABEL_{number}" for number in numbers},
        "label2id": {f"LABEL_{number}": number for number in numbers},
    }


def architecture(stem: str) -> Any:
    """The class by the head: ``stem`` is ``Llama`` for ``LlamaForCausalLM``."""

    def choose(config: TransformerConfig) -> str:
        if isinstance(config.head, Labels):
            return f"{stem}For{'Sequence' if config.head.pooling else 'Token'}Classification"
        return f"{stem}Model" if isinstance(config.head, Embedding) else f"{stem}ForCausalLM"

    return choose


def decoder_names(config: TransformerConfig, block: WeightNames) -> WeightNames:
    """Names of all tensors: embedding, head, last norm, and ``block``'s in every layer."""
    assert config.decoder is not None
    names: WeightNames = {"embedding.weight": stored("model.embed_tokens.weight")}
    if config.decoder.norm.weight:
        names["decoder.norm.weight"] = stored("model.norm.weight")
    if isinstance(config.head, Labels):
        score = {"head.out.weight": stored("score.weight")}
        names |= with_bias(score) if config.head.bias else score
    elif isinstance(config.head, Head) and not config.tied:
        names["head.weight"] = stored("lm_head.weight")
    return names | in_layers("decoder", len(config.decoder.layers), "model.layers.{}.", block)


def attention_names(attention: Attention) -> WeightNames:
    """With biases where it has them."""
    weights = with_bias(QUERY_KEY_VALUE) if attention.bias else QUERY_KEY_VALUE
    return {**weights, **(with_bias(OUT) if attention.out_bias else OUT)}
