"""Special tokens and bytes that a text spells: they are text, also where the model would make the token of them.

The tokenizers library leaves special tokens in a text to the model when it is told to take them for text. Most models
have no way from letters to such a token; but a word of WordLevel or WordPiece may be spelled like one, a piece of
Unigram (T5's ``</s>``) or of byte-pair encoding too, and a piece ``<0x0A>`` stands for a byte. Those are cut behind
their first character, after all other cuts, so that no model finds them. A token of one character cannot be cut, nor
be hidden from the model: a ``tokenizer.json`` gives an added token the number that the model has for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import Encoding, Regex, models, pre_tokenizers
from tokenizers import Tokenizer as Inner

from danlu.tokenizers.spelling import LONE_BYTE

AROUND = (("", ""), ("a", ""), ("", "a"), (" ", " "), ("1", "1"), ("\n", ""), ("", "", ""))
"""A model may find a token only where something stands beside it, or nothing."""


def cut_special_text(inner: Inner) -> None:
    """Have ``inner`` cut what spells a special token or a byte, where it would take it for one.

    It is told to take special tokens in a text for text. What it cuts is part of its ``tokenizer.json``, so that
    ``transformers`` does the same with ``split_special_tokens=True``.
    """
    inner.encode_special_tokens = True
    found = sorted(_taken_for_tokens(inner))
    if not found:
        return
    cut = pre_tokenizers.Split(Regex(_pattern(found, *_borders(inner))), behavior="isolated")
    before = inner.pre_tokenizer
    inner.pre_tokenizer = cut if before is None else pre_tokenizers.Sequence([before, cut])


def text_as_well(inner: Inner) -> dict[int, str]:
    """Special tokens of one character that the model makes of that character in a text, by id."""
    found = {id: token.content for id, token in inner.get_added_tokens_decoder().items() if token.special}
    return {id: token for id, token in found.items() if len(token) == 1 and _is_found(inner, token, id)}


def _taken_for_tokens(inner: Inner) -> Iterable[str]:
    added = {token.content: id for id, token in inner.get_added_tokens_decoder().items() if token.special}
    tokens = {token: id for token, id in inner.get_vocab(with_added_tokens=False).items() if LONE_BYTE.fullmatch(token)}
    for token, id in (tokens | added).items():
        if len(token) > 1 and _is_found(inner, token, id):
            yield token


def _is_found(inner: Inner, token: str, id: int) -> bool:
    """Whether the model makes the token of what spells it; most are quickly told from those that it knows."""
    if inner.model.token_to_id(token) != id or not _is_one(inner, token, id):
        return False
    texts = [token.join(around) for around in AROUND]
    encoded = inner.encode_batch(texts, add_special_tokens=False)
    return any(_spells(each, token, id, text) for each, text in zip(encoded, texts, strict=True))


def _is_one(inner: Inner, token: str, id: int) -> bool:
    return [each.id for each in inner.model.tokenize(token)] == [id]


def _spells(encoding: Encoding, token: str, id: int, text: str) -> bool:
    """Whether the token stands for what it is spelled with: the unknown one stands for other text too."""
    return any(
        found == id and text[start:end] == token
        for found, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
    )


def _borders(inner: Inner) -> tuple[str, str]:
    """What stands around a token where the model takes it for one: WordLevel knows whole words, WordPiece begins with
    the longest piece."""
    if isinstance(inner.model, models.WordLevel):
        return r"\A", r"\z"
    return (r"\A", "") if isinstance(inner.model, models.WordPiece) else ("", "")


def _pattern(tokens: Iterable[str], begin: str, end: str) -> str:
    """The first characters of these tokens, where the rest follows."""
    rests: dict[str, list[str]] = {}
    for token in tokens:
        rests.setdefault(token[0], []).append(re.escape(token[1:]))
    return "|".join(f"{begin}{re.escape(first)}(?=(?:{'|'.join(each)}){end})" for first, each in rests.items())
