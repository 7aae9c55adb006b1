"""Byte-level BPE from ``vocab.json`` and ``merges.txt``, as GPT-2, RoBERTa, BART and Qwen 2 were published.

The files hold no rule for where text is cut: that is known by the class of tokenizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

from danlu.errors import InputError

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where Qwen 2 cuts: Llama 3's pattern, but every digit stands alone."""
MERGES = "merges.txt"


def read_vocab_json(path: Path, config: dict[str, Any]) -> tokenizers.Tokenizer:
    """What ``transformers`` makes of the two files, by ``byte_level`` of the class's convention.

    Raises:
        InputError: ``merges.txt`` is missing, or the class is not known.
    """
    kind, spaced = config.get("byte_level"), bool(config.get("add_prefix_space"))
    if kind not in ("gpt2", "qwen2", "roberta"):
        raise InputError(
            f"{path} needs a tokenizer_class or a model_type that says how text is cut before it, such as "
            "GPT2Tokenizer, RobertaTokenizer, BartTokenizer or Qwen2Tokenizer"
        )
    if not path.with_name(MERGES).is_file():
        raise InputError(f"{path} needs {MERGES} beside it, which is missing")
    vocabulary, merges = models.BPE.read_file(str(path), str(path.with_name(MERGES)))
    inner = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced, use_regex=kind != "qwen2")
    if kind == "qwen2":
        inner.normalizer = normalizers.NFC()
        inner.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(QWEN2), "isolated"), inner.pre_tokenizer]
        )
    inner.decoder = decoders.ByteLevel()
    if kind == "roberta":
        sep, cls = str(config["sep_token"]), str(config["cls_token"])
        inner.post_processor = processors.RobertaProcessing(
            (sep, vocabulary[sep]), (cls, vocabulary[cls]), trim_offsets=True, add_prefix_space=spaced
        )
    return inner
