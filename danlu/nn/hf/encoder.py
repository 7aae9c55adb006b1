"""What folders of BERT-like encoders have in common: which head a class means, and the names of most tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from danlu.nn.config import AnyHead, Dense, Embedding, Head, Labels, Norm, Pretraining, Stack, TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.family import WeightNames, stored, with_bias

POOLER = Dense("tanh")
"""BERT's: a linear layer and tanh on the first token."""


def kind_of(head: AnyHead) -> str:
    """What follows ``Bert`` in the name of the class with such a head."""
    if isinstance(head, Head):
        return "ForMaskedLM"
    if isinstance(head, Pretraining):
        return "ForPreTraining"
    if isinstance(head, Embedding):
        return "Model"
    if head.pair:
        return "ForNextSentencePrediction"
    if head.pooling is not None:
        return "ForMultipleChoice" if head.choice else "ForSequenceClassification"
    return "ForQuestionAnswering" if head.span else "ForTokenClassification"


def read_head(file: ConfigFile, stem: str, heads: Mapping[str, AnyHead]) -> AnyHead:
    """The head of the class that wrote the folder; the bare model's where no class is named.

    Args:
        heads: by what follows ``stem`` in the name of the class.
    """
    name = file.architecture()
    kind = name.removeprefix(stem) if name else "Model"
    if (not name.startswith(stem) and name) or kind not in heads:
        raise file.wrong("architectures", name, " or ".join(f"{stem}{known}" for known in heads))
    return heads[kind]


def bert_like_sizes(file: ConfigFile) -> dict[str, Any]:
    """Numbers that BERT, RoBERTa and ModernBERT call alike."""
    dim, heads = file.integer("hidden_size"), file.integer("num_attention_heads")
    if dim % heads:
        raise file.wrong("num_attention_heads", heads, f"a divisor of hidden_size ({dim})")
    return {"dim": dim, "heads": heads, "layers": file.parts("num_hidden_layers")}


def label_dropout(file: ConfigFile, stack: Stack) -> float:
    """Of what BERT's and RoBERTa's scores of labels are made of: that of the stack where none is named."""
    return file.share("classifier_dropout", stack.dropout)


def write_label_dropout(config: TransformerConfig) -> dict[str, Any]:
    """What :func:`label_dropout` reads; spans and pairs of sentences have none."""
    head = config.head
    if not isinstance(head, Labels) or head.span or head.pair:
        return {}
    return {"classifier_dropout": None if head.dropout == config.stack.dropout else head.dropout}


def embedding_names(prefix: str) -> WeightNames:
    """BERT's and RoBERTa's embeddings."""
    names = {
        "embedding.weight": stored(f"{prefix}embeddings.word_embeddings.weight"),
        "encoder.entry.positions.weight": stored(f"{prefix}embeddings.position_embeddings.weight"),
        "encoder.entry.types.weight": stored(f"{prefix}embeddings.token_type_embeddings.weight"),
    }
    return names | with_bias({"encoder.entry.norm.weight": stored(f"{prefix}embeddings.LayerNorm.weight")})


BERT_BLOCK = with_bias(
    {
        "attention.query.weight": stored("attention.self.query.weight"),
        "attention.key.weight": stored("attention.self.key.weight"),
        "attention.value.weight": stored("attention.self.value.weight"),
        "attention.out.weight": stored("attention.output.dense.weight"),
        "norm_attention.weight": stored("attention.output.LayerNorm.weight"),
        "mlp.up.weight": stored("intermediate.dense.weight"),
        "mlp.down.weight": stored("output.dense.weight"),
        "norm_mlp.weight": stored("output.LayerNorm.weight"),
    }
)


def write_bert_like(config: TransformerConfig) -> dict[str, Any]:
    """What ``bert_like_sizes`` and the readers of BERT and RoBERTa read."""
    assert config.encoder is not None
    first = config.encoder.layers[0]
    return {
        "attention_probs_dropout_prob": first.attention.dropout,
        "hidden_dropout_prob": config.encoder.dropout,
        "hidden_size": config.dim,
        "initializer_range": 0.02,
        "intermediate_size": first.mlp.hidden,
        "layer_norm_eps": config.encoder.norm.eps,
        "num_attention_heads": first.attention.heads,
        "num_hidden_layers": len(config.encoder.layers),
        "tie_word_embeddings": config.tied or config.words is None,
        "type_vocab_size": config.encoder.entry.types,
        "vocab_size": config.vocab_size,
    }


def layer_norm(file: ConfigFile, key: str = "layer_norm_eps", default: float = 1e-12) -> Norm:
    return Norm("layer", file.number(key, default), bias=True)
