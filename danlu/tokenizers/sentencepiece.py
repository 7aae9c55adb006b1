"""Tokenizers from a SentencePiece file: ``spiece.model`` or ``tokenizer.model`` (Kudo & Richardson 2018).

Built of the parts that ``transformers`` builds T5's and Llama's of, by what the file itself says of spaces and bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from danlu.errors import InputError
from danlu.tokenizers.charsmap import check_charsmap
from danlu.tokenizers.protobuf import fields

SPACE = "▁"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
"""Types of pieces."""
MOST_LETTERS = 1024
"""Of a piece; SentencePiece learns pieces of 16, and the work on one grows with the square."""
MOST_SENTINELS = 100_000
"""T5 has a hundred."""


class Piece(NamedTuple):
    """One token of the file."""

    text: str
    score: float
    type: int


@dataclass(frozen=True, slots=True)
class SentencePieceFile:
    """What of ``sentencepiece_model.proto`` a tokenizer depends on."""

    pieces: list[Piece]
    model_type: int
    byte_fallback: bool
    charsmap: bytes
    """How characters are normalised; empty where they stay."""
    dummy_prefix: bool
    """A space is put before the text."""
    remove_extra_spaces: bool

    @classmethod
    def parse(cls, content: bytes) -> SentencePieceFile:
        """The file's content.

        Raises:
            ValueError: it is no such file.
        """
        pieces, trainer, normaliser = [], dict[int, Any](), dict[int, Any]()
        for number, value in fields(content):
            if number == 1 and isinstance(value, bytes):
                piece: dict[int, Any] = dict(fields(value))
                pieces.append(Piece(piece[1].decode(), piece.get(2, 0.0), piece.get(3, NORMAL)))
            elif number in (2, 3) and isinstance(value, bytes):
                (trainer if number == 2 else normaliser).update(fields(value))
        if not pieces:
            raise ValueError("it holds no pieces")
        return cls(
            pieces, trainer.get(3, 1), bool(trainer.get(35, 0)), normaliser.get(2, b""), bool(normaliser.get(3, 1)),
            bool(normaliser.get(4, 1)),
        )  # fmt: skip

    def vocabulary(self) -> dict[str, int]:
        """The pieces' numbers."""
        return {piece.text: id for id, piece in enumerate(self.pieces)}

    @property
    def unknown(self) -> int:
        """The piece for what no other piece is for.

        Raises:
            ValueError: there is none.
        """
        for id, piece in enumerate(self.pieces):
            if piece.type == UNKNOWN:
                return id
        raise ValueError("it has no unknown piece")


def read_sentencepiece(path: Path, config: dict[str, Any]) -> tokenizers.Tokenizer:
    """The tokenizer in the file, with what its class adds: T5's sentinels, and the tokens around a text.

    Raises:
        InputError: it is of another kind than Unigram and BPE, or ``extra_ids`` is none that can be.
    """
    file = SentencePieceFile.parse(path.read_bytes())
    if file.model_type not in MODELS:
        raise InputError(f"{path} has the model type {file.model_type}; Danlu reads 1 (Unigram) and 2 (BPE)")
    extra = config.get("extra_ids", 0)
    if not isinstance(extra, int) or not 0 <= extra <= MOST_SENTINELS:
        raise InputError(f"extra_ids beside {path} must be a number from 0 to {MOST_SENTINELS:,}; got {extra!r}")
    sentinels = [f"<extra_id_{number}>" for number in reversed(range(extra))]
    inner = tokenizers.Tokenizer(MODELS[file.model_type](file, sentinels))
    if file.charsmap:
        inner.normalizer = normalizers.Precompiled(check_charsmap(file.charsmap))
    _set_spaces(inner, file)
    inner.add_special_tokens([*(piece.text for piece in file.pieces if piece.type == CONTROL), *sentinels])
    user_defined = [piece.text for piece in file.pieces if piece.type == USER_DEFINED]
    inner.add_tokens([AddedToken(text, normalized=False, special=False) for text in user_defined])
    _set_template(inner, config)
    return inner


def _unigram(file: SentencePieceFile, sentinels: list[str]) -> models.Model:
    scored = [(piece.text, piece.score) for piece in file.pieces] + [(text, 0.0) for text in sentinels]
    return models.Unigram(scored, file.unknown, byte_fallback=file.byte_fallback)


def _byte_pairs(file: SentencePieceFile, sentinels: list[str]) -> models.Model:
    vocabulary = file.vocabulary()
    merges = merges_of([(piece.text, piece.score) for piece in file.pieces if piece.type == NORMAL])
    for text in sentinels:
        vocabulary[text] = len(vocabulary)
    unknown = file.pieces[file.unknown].text
    return models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=file.byte_fallback)


def merges_of(scored: Iterable[tuple[str, float]]) -> list[tuple[str, str]]:
    """All ways to cut a piece into two others, the best piece first.

    SentencePiece has no merges: it joins the two neighbours whose piece scores best.

    Raises:
        ValueError: a piece is longer than any that SentencePiece learns.
    """
    best_first = sorted(scored, key=lambda piece: -piece[1])
    joined = {text for text, _ in best_first}
    longest = max(map(len, joined), default=0)
    if longest > MOST_LETTERS:
        raise ValueError(f"it has a piece of {longest:,} characters; Danlu takes {MOST_LETTERS:,}")
    return [
        (text[:cut], text[cut:])
        for text, _ in best_first
        for cut in range(1, len(text))
        if text[:cut] in joined and text[cut:] in joined
    ]


def without_extra_spaces() -> list[normalizers.Normalizer]:
    """One space where there are several, none at the ends; for texts that get none put before them.

    Where one is put before, the words can be cut apart instead, for each has its own.
    """
    return [normalizers.Replace(Regex(" +"), " "), normalizers.Replace(Regex(rf"\A |[ {SPACE}]+\z"), "")]


MODELS: dict[int, Callable[[SentencePieceFile, list[str]], models.Model]] = {1: _unigram, 2: _byte_pairs}
"""By ``trainer_spec.model_type``."""


def _set_spaces(inner: tokenizers.Tokenizer, file: SentencePieceFile) -> None:
    """Spaces become ``▁``, and come back."""
    scheme = "never"
    if file.dummy_prefix:
        scheme = "always" if file.remove_extra_spaces else "first"
    by_words = file.dummy_prefix and file.remove_extra_spaces
    marks = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme, split=by_words)
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), marks]) if by_words else marks
    if file.remove_extra_spaces and not file.dummy_prefix:
        before = [] if inner.normalizer is None else [inner.normalizer]
        inner.normalizer = normalizers.Sequence([*before, *without_extra_spaces()])
    inner.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme=scheme)
    if file.byte_fallback:
        strip = [decoders.Strip(" ", 1, 0)] if file.dummy_prefix else []
        inner.decoder = decoders.Sequence(
            [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
        )


def _set_template(inner: tokenizers.Tokenizer, config: dict[str, Any]) -> None:
    before, after = (
        [str(config[f"{name}_token"])] if config.get(f"add_{name}_token", False) else [] for name in ("bos", "eos")
    )
    if before or after:
        inner.post_processor = processors.TemplateProcessing(
            single=[*before, "$A", *after], pair=[*before, "$A", *after, *before, "$B", *after],
            special_tokens=[(token, inner.token_to_id(token)) for token in {*before, *after}],
        )  # fmt: skip
