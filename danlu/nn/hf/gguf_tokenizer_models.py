"""The four kinds of tokenizers in GGUF files, each as the ``tokenizers`` library has it.

Byte-level BPE (``gpt2``) with the pre-tokenizers below, SentencePiece's BPE (``llama``) and Unigram (``t5``), and
WordPiece (``bert``). Which text a pre-tokenizer cuts where is a part of the tokenizer: one that is not known here is
refused, not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

from danlu.errors import CheckpointError
from danlu.nn.hf.gguf_vocabulary import BYTE, KEY, NORMAL, SPACE, USER_DEFINED, Vocabulary
from danlu.tokenizers.byte_level import QWEN2
from danlu.tokenizers.charsmap import check_charsmap
from danlu.tokenizers.sentencepiece import merges_of, without_extra_spaces

GPT2 = "gpt-2"
DIGITS = "digits"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CUTS = {
    "gpt-2": GPT2, "modern-bert": GPT2,
    "smollm": DIGITS, "starcoder": DIGITS, "refact": DIGITS, "codeshell": DIGITS,
    "llama-bpe": LLAMA3, "llama3": LLAMA3, "llama-v3": LLAMA3, "falcon3": LLAMA3,
    "qwen2": QWEN2, "deepseek-r1-qwen": QWEN2,
    "tekken": TEKKEN,
}  # fmt: skip
"""``tokenizer.ggml.pre`` -> GPT-2's cuts, those behind a cut at every digit, or a pattern of their own."""
COMPOSED = ("qwen2", "modern-bert")
"""Pre-tokenizers before which letters and their accents become one."""
WHOLE_WORDS = (LLAMA3, TEKKEN)
"""A word that is a token stays whole, whatever the merges make of it."""


def byte_level(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """Byte-level BPE (Radford et al. 2019, GPT-2)."""
    meta = vocabulary.meta
    pre = meta.get(KEY + "pre")
    if not isinstance(pre, str) or pre not in CUTS:
        raise meta.wrong(KEY + "pre", pre, " or ".join(CUTS))
    cut = CUTS[pre]
    merges = [tuple(merge.split(" ", 1)) for merge in meta.get(KEY + "merges", [])]
    inner = tokenizers.Tokenizer(
        models.BPE(vocab=vocabulary.numbers(), merges=merges, ignore_merges=cut in WHOLE_WORDS)
    )
    if pre in COMPOSED:
        inner.normalizer = normalizers.NFC()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=cut in (GPT2, DIGITS))
    if cut == DIGITS:
        inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    elif cut == GPT2:
        inner.pre_tokenizer = byte_level
    else:
        inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(cut), "isolated"), byte_level])
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.ByteLevel(trim_offsets=False)
    return inner


def sentencepiece(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """SentencePiece's BPE (Kudo & Richardson 2018, arXiv:1808.06226), bytes for what it has no piece for."""
    tokens, scores, kinds = vocabulary.tokens, vocabulary.scores(), vocabulary.kinds
    merges = merges_of((tokens[id], scores[id]) for id, kind in enumerate(kinds) if kind in (NORMAL, USER_DEFINED))
    unknown = vocabulary.special.get("unk_token") or tokens[0]
    inner = tokenizers.Tokenizer(
        models.BPE(vocab=vocabulary.numbers(), merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    prefix = vocabulary.flag("add_space_prefix", True)
    inner.normalizer = normalizers.Sequence(
        [*([normalizers.Prepend(SPACE)] if prefix else []), normalizers.Replace(" ", SPACE)]
    )
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    inner.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return inner


def unigram(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """SentencePiece's Unigram (Kudo 2018, arXiv:1804.10959): the pieces that are likeliest together."""
    unknown = vocabulary.special.get("unk_token")
    inner = tokenizers.Tokenizer(
        models.Unigram(
            list(zip(vocabulary.tokens, vocabulary.scores(), strict=True)),
            unk_id=None if unknown is None else vocabulary.tokens.index(unknown),
            byte_fallback=BYTE in vocabulary.kinds,
        )
    )
    prefix, plain = vocabulary.flag("add_space_prefix", True), vocabulary.flag("remove_extra_whitespaces", True)
    rules = vocabulary.meta.get(KEY + "precompiled_charsmap")
    before = [normalizers.Precompiled(check_charsmap(bytes(each % 256 for each in rules)))] if rules else []
    scheme = "always" if prefix else "never"
    if plain and prefix:  # one space where there are several, as T5's own tokenizer.json has it
        if before:
            inner.normalizer = before[0]
        inner.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme)]
        )
    else:
        prepend = [normalizers.Prepend(SPACE)] if prefix else []
        inner.normalizer = normalizers.Sequence(
            [*before, *(without_extra_spaces() if plain else prepend), normalizers.Replace(" ", SPACE)]
        )
    inner.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(SPACE, prepend_scheme=scheme)])
    return inner


def word_piece(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """WordPiece (Devlin et al. 2018, arXiv:1810.04805); cased where a piece has a capital letter."""
    if "unk_token" not in vocabulary.special:
        raise CheckpointError(f"{vocabulary.meta.path}: {KEY}unknown_token_id is missing")
    pieces = (token.removeprefix("##") for token in vocabulary.tokens)
    cased = any(piece != piece.lower() for piece in pieces if piece.isalnum())  # [UNK] and <S> tell nothing
    inner = tokenizers.Tokenizer(
        models.WordPiece(vocab=vocabulary.numbers(), unk_token=vocabulary.special["unk_token"])
    )
    inner.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=not cased
    )
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece(prefix="##")
    return inner


BUILDERS: Mapping[str, Callable[[Vocabulary], tokenizers.Tokenizer]] = {
    "gpt2": byte_level, "llama": sentencepiece, "bert": word_piece, "t5": unigram,
}  # fmt: skip
"""By ``tokenizer.ggml.model``."""
