"""The tokenizer in a GGUF file's metadata, as the Hugging Face files that it was made from.

Byte-level BPE (``gpt2``) with the pre-tokenizers below, and SentencePiece's BPE (``llama``). Which text a
pre-tokenizer cuts where is a part of the tokenizer: one that is not known here is refused, not guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from danlu.errors import CheckpointError
from danlu.files import atomic_write
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.gguf_file import GGUFFile
from danlu.tokenizers.tokenizer import tokenizer_config

KEY = "tokenizer.ggml."
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Kinds of tokens in ``tokenizer.ggml.token_type``."""

GPT2 = "gpt-2"
DIGITS = "digits"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CUTS = {
    "gpt-2": GPT2,
    "smollm": DIGITS, "starcoder": DIGITS, "refact": DIGITS, "codeshell": DIGITS,
    "llama-bpe": LLAMA3, "llama3": LLAMA3, "llama-v3": LLAMA3, "falcon3": LLAMA3,
    "qwen2": QWEN2, "deepseek-r1-qwen": QWEN2,
    "tekken": TEKKEN,
}  # fmt: skip
"""``tokenizer.ggml.pre`` -> GPT-2's cuts, those behind a cut at every digit, or a pattern of their own."""
WHOLE_WORDS = (LLAMA3, TEKKEN)
"""A word that is a token stays whole, whatever the merges make of it."""


def write_tokenizer(file: GGUFFile, folder: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``, with the chat template, into ``folder``.

    Raises:
        CheckpointError: the file holds no tokenizer, or one of a kind that is not built here, or it is damaged.
    """
    meta = ConfigFile(file.path, file.metadata)
    tokens = _tokens(meta)
    kind = meta.get(KEY + "model")
    if kind not in BUILDERS:
        raise meta.wrong(KEY + "model", kind, " or ".join(BUILDERS))
    try:
        inner = BUILDERS[kind](meta, tokens)
    except CheckpointError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise CheckpointError(f"{file.path}: its tokenizer is damaged: {error}") from None
    named = {name: _named(meta, tokens, key) for name, key in NAMED.items()}
    special = {name: token for name, token in named.items() if token is not None}
    _add_tokens(inner, meta, tokens, set(special.values()))
    _add_ends(inner, meta, special, by_default=kind == "llama" or CUTS.get(meta.get(KEY + "pre")) in WHOLE_WORDS)
    if kind == "gpt2":  # every text has bytes: there is nothing unknown
        special.pop("unk_token", None)
    config: dict[str, Any] = tokenizer_config(**special)
    config["model_max_length"] = meta.integer(f"{meta.get('general.architecture')}.context_length")
    if isinstance(template := meta.get("tokenizer.chat_template"), str):
        config["chat_template"] = template
    atomic_write(folder / "tokenizer.json", inner.to_str(pretty=True).encode())
    atomic_write(folder / "tokenizer_config.json", (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode())


NAMED = {
    "bos_token": "bos_token_id", "eos_token": "eos_token_id", "pad_token": "padding_token_id",
    "unk_token": "unknown_token_id",
}  # fmt: skip
"""What ``tokenizer_config.json`` calls a token -> what the metadata call its number."""


def _tokens(meta: ConfigFile) -> list[str]:
    """The tokens by number; those behind the last that is used only fill up the embedding."""
    tokens = meta.get(KEY + "tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise CheckpointError(f"{meta.path} holds no tokenizer: {KEY}tokens is missing")
    kinds = _kinds(meta, tokens)
    used = max((number + 1 for number, kind in enumerate(kinds) if kind != UNUSED), default=0)
    if len(set(tokens[:used])) != used:
        raise CheckpointError(f"{meta.path}: {KEY}tokens holds a token twice")
    return tokens[:used]


def _kinds(meta: ConfigFile, tokens: Sequence[str]) -> list[int]:
    kinds: list[int] = meta.get(KEY + "token_type", [NORMAL] * len(tokens))
    if not isinstance(kinds, list) or len(kinds) < len(tokens):
        raise CheckpointError(f"{meta.path}: {KEY}token_type must have as many entries as {KEY}tokens ({len(tokens)})")
    return kinds


def _byte_level(meta: ConfigFile, tokens: list[str]) -> tokenizers.Tokenizer:
    """Byte-level BPE (Radford et al. 2019, GPT-2)."""
    pre = meta.get(KEY + "pre")
    if pre not in CUTS:
        raise meta.wrong(KEY + "pre", pre, " or ".join(CUTS))
    cut = CUTS[pre]
    merges = [tuple(merge.split(" ", 1)) for merge in meta.get(KEY + "merges", [])]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    inner = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=cut in WHOLE_WORDS))
    if pre == "qwen2":
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


def _sentencepiece(meta: ConfigFile, tokens: list[str]) -> tokenizers.Tokenizer:
    """SentencePiece's BPE (Kudo & Richardson 2018, arXiv:1808.06226), bytes for what it has no piece for.

    It joins the two neighbours whose piece scores best; as merges: all ways to cut a piece, best piece first.
    """
    scores = meta.get(KEY + "scores")
    if not isinstance(scores, list) or len(scores) < len(tokens):
        raise CheckpointError(f"{meta.path}: {KEY}scores must have as many entries as {KEY}tokens ({len(tokens)})")
    kinds = _kinds(meta, tokens)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pieces = [number for number in range(len(tokens)) if kinds[number] in (NORMAL, USER_DEFINED)]
    joined = {tokens[number] for number in pieces}
    pieces.sort(key=lambda number: -scores[number])
    merges = [
        (token[:cut], token[cut:])
        for token in (tokens[number] for number in pieces)
        for cut in range(1, len(token))
        if token[:cut] in joined and token[cut:] in joined
    ]
    unknown = _named(meta, tokens, "unknown_token_id") or tokens[0]
    inner = tokenizers.Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    prefix = meta.flag(KEY + "add_space_prefix", True)
    inner.normalizer = normalizers.Sequence(
        [*([normalizers.Prepend("▁")] if prefix else []), normalizers.Replace(" ", "▁")]
    )
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return inner


BUILDERS: dict[str, Callable[[ConfigFile, list[str]], tokenizers.Tokenizer]] = {
    "gpt2": _byte_level, "llama": _sentencepiece,
}  # fmt: skip
"""By ``tokenizer.ggml.model``."""


def _named(meta: ConfigFile, tokens: Sequence[str], key: str) -> str | None:
    number = meta.get(KEY + key)
    if number is None:
        return None
    if not isinstance(number, int) or not 0 <= number < len(tokens):
        raise meta.wrong(KEY + key, number, f"the number of one of {len(tokens)} tokens")
    return tokens[number]


def _add_tokens(inner: tokenizers.Tokenizer, meta: ConfigFile, tokens: list[str], special: set[str]) -> None:
    """Tokens that no merge makes: they are matched in the text as a whole."""
    for token, kind in zip(tokens, _kinds(meta, tokens), strict=False):
        if kind == CONTROL or token in special:
            inner.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif kind == USER_DEFINED:
            inner.add_tokens([AddedToken(token, special=False, normalized=False)])


def _add_ends(inner: tokenizers.Tokenizer, meta: ConfigFile, special: dict[str, str], *, by_default: bool) -> None:
    """What ``tokenizer(text)`` puts before and after a text."""
    first = special.get("bos_token") if meta.flag(KEY + "add_bos_token", by_default) else None
    last = special.get("eos_token") if meta.flag(KEY + "add_eos_token", False) else None
    if first is None and last is None:
        return
    ends = [token for token in (first, last) if token is not None]

    def around(text: str) -> list[str]:
        return [*([first] if first else []), text, *([last] if last else [])]

    inner.post_processor = processors.TemplateProcessing(
        single=around("$A"), pair=[*around("$A"), *around("$B")],
        special_tokens=[(token, inner.token_to_id(token)) for token in dict.fromkeys(ends)],
    )  # fmt: skip
