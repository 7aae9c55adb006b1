"""The models with an encoder that are compared: BERT and its kin, T5 and its kin, BART.

Every setting of their configurations that changes the arithmetic is turned once.
"""

from __future__ import annotations

from typing import Any

from danlu.verify.case import Case
from danlu.verify.decoders import LONG_ROWS, LONGEST, rope

SIZES: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 36, "intermediate_size": 52, "num_hidden_layers": 3, "num_attention_heads": 6,
    "max_position_embeddings": LONGEST,
}  # fmt: skip
CHINESE: dict[str, Any] = {  # as the whole-word-masking BERT of HFL is written, but narrower
    **SIZES, "vocab_size": 21128, "directionality": "bidi", "pooler_fc_size": 768, "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3, "pooler_size_per_head": 128, "pooler_type": "first_token_transform",
}  # fmt: skip
MODERN: dict[str, Any] = {
    **SIZES, "local_attention": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1,
    "sep_token_id": 2,
}  # fmt: skip
T5: dict[str, Any] = {
    "vocab_size": 97, "d_model": 36, "d_kv": 8, "d_ff": 52, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 6,
    "relative_attention_num_buckets": 10, "relative_attention_max_distance": 20,
}  # fmt: skip
T5_V11 = {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
MT5 = {**T5, "feed_forward_proj": "gated-gelu"}
BART: dict[str, Any] = {
    "vocab_size": 97, "d_model": 36, "encoder_layers": 3, "decoder_layers": 2, "encoder_attention_heads": 6,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 50, "decoder_ffn_dim": 44, "max_position_embeddings": LONGEST,
}  # fmt: skip
MODERN_KINDS = ["sliding_attention", "full_attention", "full_attention"]
BERT_SWITCHES: dict[str, dict[str, Any]] = {
    "relu": {"hidden_act": "relu"},
    "gelu_new": {"hidden_act": "gelu_new"},
    "another epsilon": {"layer_norm_eps": 1e-2},
    "one token type": {"type_vocab_size": 1},
    "untied": {"tie_word_embeddings": False},
}
SWITCHES: dict[str, dict[str, dict[str, Any]]] = {
    "bert": {**BERT_SWITCHES, "three token types": {"type_vocab_size": 3}},
    "roberta": {**BERT_SWITCHES, "another padding token": {"pad_token_id": 3}},
    "modernbert": {
        "biases": {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True},
        "no bias of the words": {"decoder_bias": False},
        "another rhythm": {"global_attn_every_n_layers": 2},
        "kinds by layer": {"layer_types": MODERN_KINDS},
        "an odd window": {"local_attention": 5},
        "gelu_new": {"hidden_activation": "gelu_new"},
        "another activation of the head": {"classifier_activation": "silu"},
        "another epsilon": {"norm_eps": 1e-2},
        "other thetas": rope(
            full_attention={"rope_type": "default", "rope_theta": 700.0},
            sliding_attention={"rope_type": "default", "rope_theta": 90.0},
        ),
        "linear scaling": rope(
            full_attention={"rope_type": "linear", "factor": 3.0, "rope_theta": 700.0},
            sliding_attention={"rope_type": "default", "rope_theta": 90.0},
        ),
        "untied": {"tie_word_embeddings": False},
    },
    "t5": {
        "gated": {"feed_forward_proj": "gated-gelu"},
        "gelu": {"feed_forward_proj": "gelu"},
        "as many layers on each side": {"num_decoder_layers": None},
        "other buckets": {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128},
        "another epsilon": {"layer_norm_epsilon": 1e-2},
    },
    "t5-v1.1": {
        "silu": {"feed_forward_proj": "gated-silu"},
        "ungated": {"feed_forward_proj": "relu"},
    },
    "mt5": {
        "ungated": {"feed_forward_proj": "relu"},
        "other buckets": {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128},
    },
    "bart": {
        "scaled embedding": {"scale_embedding": True},
        "relu": {"activation_function": "relu"},
        "as many heads on each side": {"decoder_attention_heads": 6},
        "untied": {"tie_word_embeddings": False},
    },
}
PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertForMaskedLM", SIZES),
    "roberta": ("RobertaForMaskedLM", SIZES),
    "modernbert": ("ModernBertForMaskedLM", MODERN),
    "t5": ("T5ForConditionalGeneration", T5),
    "t5-v1.1": ("T5ForConditionalGeneration", T5_V11),
    "mt5": ("MT5ForConditionalGeneration", MT5),
    "bart": ("BartForConditionalGeneration", BART),
}
"""Family -> its class for words, and the settings of the plain case."""
OWN_HEADS = ("t5-v1.1", "mt5")
"""Families whose published folders hold a head, although ``transformers`` ties one that is missing."""
WRITERS = ("t5", "t5-v1.1", "mt5", "bart")
"""Families with an encoder and a decoder."""
DRAWN = ("plain", "scaled embedding", "untied")
"""The cases in which tokens are drawn."""


def _words(family: str) -> list[Case]:
    model, plain = PLAIN[family]
    speaks, own = family in WRITERS, family in OWN_HEADS
    cases = [
        Case(family, model, {**plain, **turned}, name, own_head=own, greedy=speaks and name in DRAWN)
        for name, turned in {"plain": {}, **SWITCHES[family]}.items()
    ]
    if own:
        cases.append(Case(family, model, plain, "no head of its own", greedy=True))
    elif family != "t5":  # whose names have no prefix
        cases.append(Case(family, model, plain, "bare names", bare_names=True))
    return cases


def _labels(family: str, stem: str, plain: dict[str, Any]) -> list[Case]:
    several = {"num_labels": 4, "problem_type": "multi_label_classification"}
    return [
        Case(family, f"{stem}Model", plain),
        Case(family, f"{stem}ForSequenceClassification", {**plain, "num_labels": 5}, "5 labels"),
        Case(family, f"{stem}ForSequenceClassification", {**plain, "num_labels": 1}, "a number"),
        Case(family, f"{stem}ForSequenceClassification", {**plain, **several}, "several labels at once"),
        Case(family, f"{stem}ForMultipleChoice", plain),
        Case(family, f"{stem}ForTokenClassification", {**plain, "num_labels": 5}),
        Case(family, f"{stem}ForQuestionAnswering", plain),
    ]


MEAN = {**MODERN, "num_labels": 4, "classifier_pooling": "mean"}
BIASED = {**MODERN, "num_labels": 4, "classifier_bias": True, "norm_bias": True}
LONG = {**MODERN, "max_position_embeddings": 640, "local_attention": 20}
ENCODERS = [
    *_words("bert"),
    *_labels("bert", "Bert", SIZES),
    Case("bert", "BertForPreTraining", SIZES),
    Case("bert", "BertForPreTraining", {**SIZES, "tie_word_embeddings": False}, "untied"),
    Case("bert", "BertForNextSentencePrediction", SIZES),
    Case("bert-chinese", "BertForMaskedLM", CHINESE),
    Case("bert-chinese", "BertForPreTraining", CHINESE),
    Case("bert-chinese", "BertModel", CHINESE),
    Case("bert-chinese", "BertForSequenceClassification", {**CHINESE, "num_labels": 5}, "5 labels"),
    Case("bert-chinese", "BertForTokenClassification", {**CHINESE, "num_labels": 7}),
    Case("bert-chinese", "BertForQuestionAnswering", CHINESE),
    *_words("roberta"),
    *_labels("roberta", "Roberta", SIZES),
    *_words("modernbert"),
    *_labels("modernbert", "ModernBert", MODERN),
    Case("modernbert", "ModernBertForSequenceClassification", MEAN, "pooled by the mean"),
    Case("modernbert", "ModernBertForSequenceClassification", BIASED, "biases"),
    Case("modernbert", "ModernBertForMaskedLM", LONG, "windows in long rows", lengths=LONG_ROWS),
]
ENCODER_DECODERS = [case for family in WRITERS for case in _words(family)]
