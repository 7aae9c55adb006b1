"""Tokens with a tag each: named entities, parts of speech; and words that a text without spaces is cut into."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from danlu.data import names
from danlu.data.columns import Field
from danlu.data.example import Place, Record
from danlu.data.form import Cells, Form, Mended
from danlu.data.literals import literal
from danlu.data.spans import are_spans, is_running, tag_spans, token_places
from danlu.data.tags import PLACES, Scheme, begun, find_scheme, impossible, read_tag
from danlu.data.writing import cut, pieces
from danlu.errors import InputError, did_you_mean, shown

_FEW = 10
"""Sentences below which all may have a single token."""


@dataclass(frozen=True, slots=True)
class Tagged(Record):
    """The tokens of a sentence, words or characters, with a tag each; None where the file did not say."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...] | None
    lines: tuple[int, ...] = ()
    """The line of each token, where each has one."""
    written: tuple[str, ...] = ()
    """Each token with what stands before it in the file's text; none where the file has tokens alone."""

    @property
    def pieces(self) -> tuple[str, ...]:
        """Each token with the space before it, where there is one."""
        return self.written or pieces(self.tokens)

    @property
    def texts(self) -> tuple[str, ...]:
        return ("".join(self.pieces),)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.tags or ()

    @property
    def gold(self) -> tuple[str, ...] | None:
        return self.tags

    def place_of(self, token: int) -> Place:
        """Where a token stands: in its own line, where it has one."""
        return replace(self.place, number=self.lines[token]) if self.lines else self.place

    def error(self, token: int, reason: str) -> InputError:
        """The error that names a token's line, or its number from 1."""
        if self.lines:
            return self.place_of(token).error(reason)
        return self.place.error(f"token {token + 1} ({shown(self.tokens[token])!r}): {reason}")


@dataclass(frozen=True, slots=True)
class Segmented(Record):
    """A text of characters, and the words that it is cut into; None where the file did not say."""

    characters: tuple[str, ...]
    words: tuple[str, ...] | None

    @property
    def pieces(self) -> tuple[str, ...]:
        """Its characters, between which there is nothing."""
        return self.characters

    @property
    def texts(self) -> tuple[str, ...]:
        return ("".join(self.characters),)

    @property
    def gold(self) -> tuple[str, ...] | None:
        return self.words

    @property
    def tags(self) -> tuple[str, ...] | None:
        """Each character's place in its word: B M E, or S where it is one alone (Xue 2003)."""
        if self.words is None:
            return None
        return tuple(tag for word in self.words for tag in ("S" if len(word) == 1 else f"B{'M' * (len(word) - 2)}E"))


def _tagged(cells: Cells) -> Tagged:
    said, found = _said(cells), cells.listed("tags")
    if isinstance(said, str) and found is not None and are_spans(found):
        text = cells.checked("tokens", said)
        return Tagged(cells.place, *tag_spans(cells, "tags", text, found), written=cut(text, token_places(text)))
    tags = _tags(cells, found)
    tokens, written = _tokens(cells, said, None if tags is None else len(tags))
    example = Tagged(cells.place, tokens, tags, cells.row.lines, written)
    for token, text in enumerate(tokens):
        if not text or (not text.strip() and not cells.row.lines):
            raise cells.error("tokens", f"has an empty token, number {token + 1}")
        cells.characters("tokens", text)
    if tags is not None:
        if len(tags) != len(tokens):
            first = min(len(tags), len(tokens))
            side = f"token {first + 1} ({shown(tokens[first])!r}) has no tag" if len(tokens) > len(tags) else (
                f"tag {first + 1} ({shown(tags[first])!r}) has no token"
            )  # fmt: skip
            raise cells.place.error(f"{len(tags)} tags for {len(tokens)} tokens: {side}")
        for token, tag in enumerate(tags):
            if not tag.strip():
                raise example.error(token, "the tag is empty")
    return example


def _said(cells: Cells) -> Any:
    """The tokens, or their text, which may begin with a bracket."""
    value = cells.value("tokens")
    text = cells.row.cells.get("text")
    if isinstance(value, list) and any(isinstance(each, dict) for each in value) and isinstance(text, str):
        return text  # Prodigy's, beside tokens as objects
    found = literal(value) if isinstance(value, str) else None
    return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else value


def _tags(cells: Cells, value: Any) -> tuple[str, ...] | None:
    if value is None and not cells.gold:
        return None
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list) or not value:
        raise cells.error("tags", f"must be a list of tags; got {shown(repr(value))}")
    odd = [tag for tag in value if not isinstance(tag, str)]
    if odd:
        raise cells.error("tags", f"must be a list of texts, the tags' names; it has {shown(repr(odd[0]))}")
    return tuple(value)


def _tokens(cells: Cells, value: Any, count: int | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tokens of a list; of a text, what spaces part, or its characters where only those are as many as the tags and
    spaces do not part most of them.

    A text without tags that is running text, not tokens with spaces between, is parted into words and marks. Beside
    the tokens of a text: each with what stands before it there.
    """
    if isinstance(value, str):
        text = cells.checked("tokens", value)
        words = [match.span() for match in re.finditer(r"\S+", text)]
        bare = [(place, place + 1) for place, letter in enumerate(text) if not letter.isspace()]
        if count is None:
            places = token_places(text) if is_running(text) else words
        elif len(words) != count and count in _letters(words=len(words), bare=len(bare), text=len(text)):
            places = bare if len(bare) == count else [(place, place + 1) for place in range(count)]
        else:
            places = words
        return tuple(text[start:end] for start, end in places), cut(text, places)
    if not isinstance(value, list) or not value:
        raise cells.error("tokens", f"must be a list of tokens; got {shown(repr(value))}")
    odd = [token for token in value if not isinstance(token, str)]
    if odd:
        raise cells.error("tokens", f"must be a list of texts; it has {shown(repr(odd[0]))}")
    return tuple(value), ()


def _letters(*, words: int, bare: int, text: int) -> Collection[int]:
    """How many characters a text has, with its spaces and without; of one that is parted into words, with them alone:
    where one of seven words has two characters, a tag too many is no tag of a character."""
    return (text,) if words > 2 and 2 * (words - 1) >= bare - 1 else (bare, text)


def _segmented(cells: Cells) -> Segmented:
    value = cells.listed("words")
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list):
        raise cells.error("words", f"must be a text with spaces between its words, or a list; got {shown(repr(value))}")
    if not words:
        raise cells.error("words", "is empty")
    parts = tuple(cells.checked("words", word) for word in words)
    return Segmented(cells.place, tuple("".join(parts)), parts if cells.gold else None)


def check_tags(examples: Sequence[Tagged], mended: Mended | None) -> Sequence[Tagged]:
    """Refuse a tag that is none of the file's scheme, and one that cannot follow the tag before it.

    Where it may mend, an ``I`` of BIO that continues nothing becomes a ``B``, and other such sentences are left out.

    Raises:
        InputError: line, tag, and what it would need; or nothing parts the tokens into sentences.
    """
    all_tags = [example.tags for example in examples if example.tags is not None]
    scheme = find_scheme(all_tags)
    if len(all_tags) >= _FEW and all(len(tags) == 1 for tags in all_tags):
        raise InputError(
            f"{examples[0].place.file}: every sentence has one token; leave a blank line between sentences and none "
            f"within them, or have a column sentence_id that says which one each token is of"
        )
    if scheme == "none":
        return examples
    known = sorted({tag for tags in all_tags for tag in tags if read_tag(tag, scheme) is not None})
    kept = []
    for example in examples:
        try:
            _check_known(example, scheme, known)
            found = next(impossible(example.tags or (), scheme), None)
            if found is not None:
                raise example.error(found[0], f"the tag {found[1]} ({scheme})")
            kept.append(example)
        except InputError:
            if mended is None:
                raise
            if scheme == "BIO" and all(read_tag(tag, scheme) for tag in example.tags or ()):
                mended.add("tag I of an entity that has no beginning, made B", example.place)
                kept.append(replace(example, tags=begun(example.tags or ())))
            else:
                mended.add(f"tags that {scheme} does not allow, left out", example.place)
    return kept


def _check_known(example: Tagged, scheme: Scheme, known: Sequence[str]) -> None:
    for token, tag in enumerate(example.tags or ()):
        if read_tag(tag, scheme) is None:
            places = ", ".join(f"{place}-TYPE" for place in PLACES[scheme])
            near = did_you_mean(tag, known)
            raise example.error(token, f"the tag {shown(tag)!r} is none of {scheme}, which has O, {places}{near}")


def said_of_tags(examples: Sequence[Tagged]) -> str:
    """The scheme, in words."""
    scheme = find_scheme([example.tags for example in examples if example.tags is not None])
    return "" if scheme == "none" else f"tags of the scheme {scheme}"


_TOKENS, _TAGS = Field("tokens", names.TOKENS, "tokens"), Field("tags", names.TAGS, "tags", gold=True)

TAG = Form("tag", (_TOKENS, _TAGS), _tagged, check_tags, said=said_of_tags, sentences=True)
SEGMENT = Form("segment", (Field("words", names.WORDS, "tokens"),), _segmented, sentences=True)
