"""Words with a tag each as the characters of Chinese that they are made of, whose tags go on where the word's does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from danlu.data.spans import token_places
from danlu.data.tagged import Tagged
from danlu.data.tags import PLACES, Scheme, read_tag
from danlu.data.writing import cut


def in_characters(example: Tagged, scheme: Scheme) -> Tagged:
    """The same text, its words cut as a text without tags is: Chinese into characters, all else into words and marks.

    An entity is where it was. Without a scheme each character has its word's tag.
    """
    tokens: list[str] = []
    tags: list[str] = []
    lines: list[int] = []
    written: list[str] = []
    rest = ""  # spaces at the end of a word stand before the next one
    for number, (token, piece) in enumerate(zip(example.tokens, example.pieces, strict=True)):
        places = token_places(token) or [(0, len(token))]
        before = rest + piece.removesuffix(token)
        tokens += [token[start:end] for start, end in places]
        written += cut(before + token, [(len(before) + start, len(before) + end) for start, end in places])
        rest = token[places[-1][1] :]
        lines += example.lines[number : number + 1] * len(places)
        if example.tags is not None:
            tags += continued(example.tags[number], len(places), scheme)
    if len(tokens) == len(example.tokens):
        return example
    gold = None if example.tags is None else tuple(tags)
    return replace(example, tokens=tuple(tokens), tags=gold, lines=tuple(lines), written=tuple(written))


def continued(tag: str, parts: int, scheme: Scheme) -> Sequence[str]:
    """The tags of the parts of a word, so that they are of the entity that the word was of.

    ``B-X`` of two parts is ``B-X I-X`` in BIO, and ``S-X`` of three ``B-X I-X E-X`` in BIOES.
    """
    read = read_tag(tag, scheme)
    if parts == 1 or scheme == "none" or read is None or read[0] == "O":
        return [tag] * parts
    names = {letter: name for name, letter in PLACES[scheme].items()}
    place, kind = read
    first = "B" if place in "BS" else "I"
    last = "E" if place in "ES" else "I"
    places = [first, *"I" * (parts - 2), last]
    return [f"{names[each]}-{kind}" if kind else names[each] for each in places]
