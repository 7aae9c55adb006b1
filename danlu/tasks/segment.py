"""Segmentation: where the words of a text without spaces end, by a tag for each character: B M E, or S (Xue 2003)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import field_validator

from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.data.tagged import SEGMENT
from danlu.metrics.segmentation import Words
from danlu.nn.config import TransformerConfig
from danlu.tasks.tag import Tag
from danlu.tasks.tag_paths import Numbers
from danlu.tasks.task import Answer, Known

PLACES = ("B", "M", "E", "S")


class Segment(Tag):
    """The words of a text without spaces, such as Chinese."""

    form: ClassVar[Form[Any]] = SEGMENT

    @field_validator("characters")
    @classmethod
    def _is_of_characters(cls, characters: bool) -> bool:
        if characters:
            raise ValueError("cannot be set: the tags that part words are of characters anyhow")
        return characters

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        return Known(PLACES, "BMES")

    def metric(self, known: Known) -> Words:
        return Words()

    @property
    def criterion(self) -> str:
        return "f1"

    def _answer(self, example: Any, tags: Sequence[str], shares: Numbers, known: Known) -> Answer:
        return Answer(words(example.characters, tags), float(shares.prod()))


def words(characters: Sequence[str], tags: Sequence[str]) -> tuple[str, ...]:
    """The words that ``tags`` cut the characters into; a word begins wherever one can be meant."""
    found: list[str] = []
    before = "E"
    for character, tag in zip(characters, tags, strict=True):
        if tag in "BS" or before in "ES":
            found.append(character)
        else:
            found[-1] += character
        before = tag
    return tuple(found)
