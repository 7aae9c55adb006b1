"""BERT in Hugging Face form (``BertForMaskedLM`` and its kin); so are MiniLM and Chinese whole-word BERT."""

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
    Positions,
    Pretraining,
    Stack,
    TransformerConfig,
)  # fmt: skip
from danlu.nn.hf.config_file import ConfigFile, their_activation
from danlu.nn.hf.decoder import write_labels
from danlu.nn.hf.encoder import (
    BERT_BLOCK,
    POOLER,
    bert_like_sizes,
    embedding_names,
    kind_of,
    label_dropout,
    layer_norm,
    read_head,
    write_bert_like,
    write_label_dropout,
)  # fmt: skip
from danlu.nn.hf.family import Copy, FolderFamily, WeightNames, in_layers, stored, with_bias

POOLED = "bert.pooler.dense.weight"
BIAS, OWN_BIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"


def read_stack(file: ConfigFile, *, offset: int = 0) -> Stack:
    """BERT's encoder, which is RoBERTa's too but for the ``offset`` of its positions."""
    for key in ("is_decoder", "add_cross_attention"):
        file.only(key, False)
    file.only("position_embedding_type", "absolute")
    sizes = bert_like_sizes(file)
    norm, dropout = layer_norm(file), file.share("hidden_dropout_prob", 0.1)
    attention = Attention(
        heads=sizes["heads"], kv_heads=sizes["heads"], head_dim=sizes["dim"] // sizes["heads"], bias=True,
        out_bias=True, dropout=file.share("attention_probs_dropout_prob", 0.1),
    )  # fmt: skip
    mlp = MLP(file.integer("intermediate_size"), file.activation("hidden_act", "gelu"), bias=True)
    return Stack(
        layers=(Layer(attention, mlp),) * sizes["layers"], norm=norm, causal=False, place="post", final_norm=False,
        entry=Entry(Positions("learned", offset), types=file.integer("type_vocab_size", 2), norm=norm, dropout=dropout),
        dropout=dropout,
    )  # fmt: skip


def read_config(file: ConfigFile) -> TransformerConfig:
    stack = read_stack(file)
    words = Head(
        tied=file.flag("tie_word_embeddings", True), bias=True,
        transform=Dense(file.activation("hidden_act", "gelu"), stack.norm),
    )  # fmt: skip
    heads: dict[str, AnyHead] = {
        "ForMaskedLM": words,
        "ForPreTraining": Pretraining(words, Labels(2, "first", POOLER)),
        "Model": Embedding(pooler=POOLER if file.holds(POOLED, POOLED.removeprefix("bert.")) else None),
        "ForNextSentencePrediction": Labels(2, "first", POOLER, pair=True),
        "ForSequenceClassification": Labels(file.labels(), "first", POOLER, dropout=label_dropout(file, stack)),
        "ForMultipleChoice": Labels(1, "first", POOLER, dropout=label_dropout(file, stack), choice=True),
        "ForTokenClassification": Labels(file.labels(), dropout=label_dropout(file, stack)),
        "ForQuestionAnswering": Labels(2, span=True),
    }
    return TransformerConfig(
        family="bert", vocab_size=file.integer("vocab_size"), dim=file.integer("hidden_size"),
        max_length=file.integer("max_position_embeddings"), encoder=stack, head=read_head(file, "Bert", heads),
    )  # fmt: skip


def write_config(config: TransformerConfig) -> dict[str, Any]:
    mlp = config.stack.layers[0].mlp
    assert isinstance(mlp, MLP)
    return {
        **write_bert_like(config),
        **write_labels(config),
        **write_label_dropout(config),
        "hidden_act": their_activation(mlp.activation),
        "max_position_embeddings": config.max_length,
        "position_embedding_type": "absolute",
    }


def weight_names(config: TransformerConfig) -> WeightNames:
    layers = len(config.stack.layers)
    return {
        **embedding_names("bert."),
        **in_layers("encoder", layers, "bert.encoder.layer.{}.", BERT_BLOCK),
        **_head_names(config.head),
    }


def _head_names(head: AnyHead) -> WeightNames:
    if isinstance(head, Head):
        return _word_names("head.", head)
    if isinstance(head, Pretraining):
        pair = {"head.pair.transform.dense.weight": stored(POOLED),
                "head.pair.out.weight": stored("cls.seq_relationship.weight")}  # fmt: skip
        return _word_names("head.words.", head.words) | with_bias(pair)
    if isinstance(head, Embedding):
        return with_bias({"head.pooler.dense.weight": stored(POOLED)}) if head.pooler else {}
    out = "cls.seq_relationship" if head.pair else "qa_outputs" if head.span else "classifier"
    names = {"head.out.weight": stored(f"{out}.weight")}
    if head.transform is not None:
        names["head.transform.dense.weight"] = stored(POOLED)
    return with_bias(names)


def _word_names(ours: str, head: Head) -> WeightNames:
    transform = {
        f"{ours}transform.dense.weight": stored("cls.predictions.transform.dense.weight"),
        f"{ours}transform.norm.weight": stored("cls.predictions.transform.LayerNorm.weight"),
    }
    bias = BIAS if head.tied else OWN_BIAS
    names = with_bias(transform) | {f"{ours}bias": stored(bias)}
    return names if head.tied else names | {f"{ours}weight": stored("cls.predictions.decoder.weight")}


def copies(config: TransformerConfig) -> tuple[Copy, ...]:
    """The bias of the words stands at two places, of which an untied head reads its own."""
    if config.words is None:
        return ()
    return (Copy(OWN_BIAS, BIAS),) if config.tied else (Copy(BIAS, OWN_BIAS, written=True, read=False),)


BERT = FolderFamily(
    read_config, write_config, lambda config: f"Bert{kind_of(config.head)}", weight_names, prefix="bert.",
    copies=copies,
    # Of the heads that BERT was pretrained with, most folders keep those that their class has not.
    ignored=("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias",
             "cls.seq_relationship.weight", "cls.seq_relationship.bias"),
    renamed={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
)  # fmt: skip
