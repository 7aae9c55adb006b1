"""What ``transformers`` takes where a folder says nothing, by its class of tokenizer: names of tokens, and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Convention = Mapping[str, Any]

GPT2: Convention = {
    **dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"), "byte_level": "gpt2",
}  # fmt: skip
QWEN2: Convention = {
    **dict.fromkeys(("eos_token", "pad_token", "unk_token"), "<|endoftext|>"), "byte_level": "qwen2",
}  # fmt: skip
ROBERTA: Convention = {
    "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>",
    "pad_token": "<pad>", "mask_token": "<mask>", "byte_level": "roberta",
}  # fmt: skip
BERT: Convention = {
    "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]", "mask_token": "[MASK]",
    "do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None,
}  # fmt: skip
T5: Convention = {
    "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "extra_ids": 100, "add_eos_token": True,
}  # fmt: skip
LLAMA: Convention = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}

CONVENTIONS: dict[str, Convention] = {
    "BertTokenizer": BERT, "DistilBertTokenizer": BERT, "GPT2Tokenizer": GPT2, "LlamaTokenizer": LLAMA,
    "Qwen2Tokenizer": QWEN2, "RobertaTokenizer": ROBERTA, "BartTokenizer": ROBERTA, "T5Tokenizer": T5,
    "MT5Tokenizer": T5,
}  # fmt: skip
"""By ``tokenizer_class``, the old names beside the new ones."""
OF_FAMILIES: dict[str, Convention] = {
    "bart": ROBERTA, "bert": BERT, "gpt2": GPT2, "llama": LLAMA, "mistral": LLAMA, "mt5": T5, "qwen2": QWEN2,
    "qwen3": QWEN2, "qwen3_moe": QWEN2, "roberta": ROBERTA, "t5": T5,
}  # fmt: skip
"""By the ``model_type`` beside it, where no class is named."""


def convention(tokenizer_class: object, model_type: object) -> Convention:
    """The convention that holds; none for ``PreTrainedTokenizerFast``, whose files say everything."""
    if isinstance(tokenizer_class, str):
        return CONVENTIONS.get(tokenizer_class.removesuffix("Fast"), {})
    return OF_FAMILIES.get(model_type, {}) if isinstance(model_type, str) else {}
