"""RoBERTa in Hugging Face form (``RobertaForMaskedLM`` and its kin): BERT, its positions behind the padding's."""

from __future__ import annotations

from typing import Any

from danlu.nn.config import MLP, AnyHead, Dense, Embedding, Head, Labels, TransformerConfig
from danlu.nn.hf.bert import read_stack
from danlu.nn.hf.config_file import ConfigFile, their_activation
from danlu.nn.hf.decoder import write_labels
from danlu.nn.hf.encoder import (
    BERT_BLOCK,
    POOLER,
    embedding_names,
    kind_of,
    label_dropout,
    read_head,
    write_bert_like,
    write_label_dropout,
)  # fmt: skip
from danlu.nn.hf.family import Copy, FolderFamily, WeightNames, in_layers, stored, with_bias

POOLED = "roberta.pooler.dense.weight"
BIAS, OWN_BIAS = "lm_head.bias", "lm_head.decoder.bias"


def read_config(file: ConfigFile) -> TransformerConfig:
    offset = file.whole("pad_token_id", 1) + 1
    stack = read_stack(file, offset=offset)
    length = file.integer("max_position_embeddings") - offset
    if length < 1:
        raise file.wrong("max_position_embeddings", length + offset, f"above pad_token_id + 1 ({offset})")
    dropped = label_dropout(file, stack)
    heads: dict[str, AnyHead] = {
        "ForMaskedLM": Head(
            tied=file.flag("tie_word_embeddings", True), bias=True, transform=Dense("gelu", stack.norm)
        ),
        "Model": Embedding(pooler=POOLER if file.holds(POOLED, POOLED.removeprefix("roberta.")) else None),
        "ForSequenceClassification": Labels(file.labels(), "first", Dense("tanh", dropout=dropped), dropout=dropped),
        "ForMultipleChoice": Labels(1, "first", POOLER, dropout=stack.dropout, choice=True),
        "ForTokenClassification": Labels(file.labels(), dropout=dropped),
        "ForQuestionAnswering": Labels(2, span=True),
    }
    return TransformerConfig(
        family="roberta", vocab_size=file.integer("vocab_size"), dim=file.integer("hidden_size"),
        max_length=length, encoder=stack,
        head=read_head(file, "Roberta", heads),
    )  # fmt: skip


def write_config(config: TransformerConfig) -> dict[str, Any]:
    mlp, positions = config.stack.layers[0].mlp, config.stack.entry.positions
    assert isinstance(mlp, MLP) and positions is not None
    return {
        **write_bert_like(config),
        **write_labels(config),
        **write_label_dropout(config),
        "hidden_act": their_activation(mlp.activation),
        "max_position_embeddings": config.max_length + positions.offset,
        # Positions begin behind it, so the arithmetic hangs on it, whatever the tokenizer's is.
        "pad_token_id": positions.offset - 1,
    }


def weight_names(config: TransformerConfig) -> WeightNames:
    layers = len(config.stack.layers)
    return {
        **embedding_names("roberta."),
        **in_layers("encoder", layers, "roberta.encoder.layer.{}.", BERT_BLOCK),
        **_head_names(config.head),
    }


def _head_names(head: AnyHead) -> WeightNames:
    if isinstance(head, Head):
        transform = {"head.transform.dense.weight": stored("lm_head.dense.weight"),
                     "head.transform.norm.weight": stored("lm_head.layer_norm.weight")}  # fmt: skip
        names = with_bias(transform) | {"head.bias": stored(BIAS if head.tied else OWN_BIAS)}
        return names if head.tied else names | {"head.weight": stored("lm_head.decoder.weight")}
    if isinstance(head, Embedding):
        return with_bias({"head.pooler.dense.weight": stored(POOLED)}) if head.pooler else {}
    assert isinstance(head, Labels)
    if head.choice:  # BERT's, where sequences have a head of their own
        return with_bias(
            {"head.transform.dense.weight": stored(POOLED), "head.out.weight": stored("classifier.weight")}
        )
    if head.transform is not None:
        names = {"head.transform.dense.weight": stored("classifier.dense.weight"),
                 "head.out.weight": stored("classifier.out_proj.weight")}  # fmt: skip
        return with_bias(names)
    return with_bias({"head.out.weight": stored("qa_outputs.weight" if head.span else "classifier.weight")})


def copies(config: TransformerConfig) -> tuple[Copy, ...]:
    """The bias of the words stands at two places, of which an untied head reads its own."""
    if config.words is None:
        return ()
    return (Copy(OWN_BIAS, BIAS),) if config.tied else (Copy(BIAS, OWN_BIAS, written=True, read=False),)


ROBERTA = FolderFamily(
    read_config, write_config, lambda config: f"Roberta{kind_of(config.head)}", weight_names, prefix="roberta.",
    copies=copies, ignored=("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"),
)  # fmt: skip
