"""Our Unigram as a SentencePiece file, ``spiece.model``, for what reads no ``tokenizer.json``.

The file says of ``sentencepiece_model.proto`` what encoding depends on. ``SentencePieceProcessor`` makes of it the same
ids, and the same text of ids, with one exception that the format has no room for: a space is ``▁`` there, so that a
``▁`` in a text is a space.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer as Inner

from danlu.tokenizers.protobuf import message
from danlu.tokenizers.sentencepiece import BYTE, CONTROL, NORMAL, SPACE, UNKNOWN
from danlu.tokenizers.spelling import LONE_BYTE

SPIECE = "spiece.model"
"""T5's name for it. Llama's, ``tokenizer.model``, is taken by converters for BPE that is merged by score."""
GRID = 1 / 1024
"""What scores are multiples of: SentencePiece adds them up in 32 bits, which is exact up to some 2000 tokens: two ways
to cut a text that are as likely are so there too."""
UNIGRAM = 1
"""``trainer_spec.model_type``."""
PIECES = {"bos": "bos_token", "eos": "eos_token", "pad": "pad_token"}
"""What SentencePiece has a name for, and its key in ``tokenizer_config.json``."""


def as_sentencepiece(inner: Inner, config: Mapping[str, Any]) -> bytes | None:
    """The file's content; None where such a file would encode otherwise: of other kinds, or with tokens added.

    Args:
        config: what ``tokenizer_config.json`` says.
    """
    state = json.loads(inner.to_str())
    special = {token["content"] for token in state["added_tokens"] if token["special"]}
    if not _fits(state, special):
        return None
    vocabulary: list[tuple[str, float]] = [(piece, score) for piece, score in state["model"]["vocab"]]
    unknown: int = state["model"]["unk_id"]
    pieces = [
        (1, message([(1, text.replace(" ", SPACE)), (2, score), (3, _type(text, id == unknown, special))]))
        for id, (text, score) in enumerate(vocabulary)
    ]
    ids = {text: id for id, (text, _) in enumerate(vocabulary)}
    named = {role: name for role, key in PIECES.items() if (name := config.get(key)) in ids}
    trainer = message(
        [
            (3, UNIGRAM), (4, len(vocabulary)), (35, 1), (40, unknown),
            *((number, ids[named[role]] if role in named else -1) for number, role in enumerate(PIECES, start=41)),
            (45, vocabulary[unknown][0]),
            *((number, named[role]) for number, role in enumerate(PIECES, start=46) if role in named),
        ]
    )  # fmt: skip
    # Nothing is put before a text, no space is taken away, and every one is escaped.
    normaliser = message([(1, "identity"), (3, 0), (4, 0), (5, 1)])
    return message([*pieces, (2, trainer), (3, normaliser)])


def _fits(state: Mapping[str, Any], special: set[str]) -> bool:
    """Whether it is such a Unigram as is trained here, and nothing was added that scores or matches otherwise."""
    model, cut, decoder = state["model"], state["pre_tokenizer"], state["decoder"]
    if model["type"] != "Unigram" or not model["byte_fallback"] or state["normalizer"] is not None:
        return False
    as_trained = (
        cut is not None
        and (cut["type"], cut.get("pattern"), cut.get("behavior")) == ("Split", {"String": " "}, "MergedWithNext")
        and decoder is not None
        and [each["type"] for each in decoder.get("decoders", [])] == ["ByteFallback", "Fuse"]
    )
    names = {text for text, _ in model["vocab"]}
    return (
        as_trained
        and all(token["content"] in special & names for token in state["added_tokens"])
        and not any(SPACE in text for text in names)
        and all((score / GRID).is_integer() for _, score in model["vocab"])
    )


def _type(text: str, unknown: bool, special: set[str]) -> int:
    if unknown:
        return UNKNOWN
    if text in special:
        return CONTROL
    return BYTE if LONE_BYTE.fullmatch(text) else NORMAL
