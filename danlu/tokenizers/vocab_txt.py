"""BERT's tokenizer from its ``vocab.txt``: one token a line (Devlin et al. 2018; WordPiece, Wu et al. 2016)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

PREFIX = "##"
"""Begins a piece that goes on with a word."""


def read_vocab_txt(path: Path, config: dict[str, Any]) -> tokenizers.Tokenizer:
    """What ``transformers`` makes of the file and of ``do_lower_case`` and its like in ``tokenizer_config.json``."""
    cls, sep = config["cls_token"], config["sep_token"]
    vocabulary = models.WordPiece.read_file(str(path))
    normaliser = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=config["tokenize_chinese_chars"], strip_accents=config["strip_accents"],
        lowercase=config["do_lower_case"],
    )  # fmt: skip
    inner = build_wordpiece(vocabulary, normaliser, unknown=config["unk_token"])
    inner.post_processor = processors.BertProcessing((sep, vocabulary[sep]), (cls, vocabulary[cls]))
    return inner


def build_wordpiece(
    vocabulary: dict[str, int], normaliser: normalizers.Normalizer, *, unknown: str
) -> tokenizers.Tokenizer:
    """BERT's tokenizer with this vocabulary, which puts nothing around a text."""
    inner = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    inner.normalizer = normaliser
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece(prefix=PREFIX)
    return inner
