"""Which part of the text is held out: whole documents by hash, or the tail of each document."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, Protocol

from pydantic import Field

from danlu.errors import InputError
from danlu.recipe import Choice
from danlu.text.document import Document

Part = Literal["train", "heldout"]
PARTS: tuple[Part, Part] = ("train", "heldout")


class Split(Protocol):
    """A choice that sends each document, or pieces of it, to a part."""

    def parts(self, document: Document) -> Iterator[tuple[Part, Document]]: ...


class HashSplit(Choice):
    """Whole documents, by the hash of their text: the same text is always on the same side."""

    fraction: float = Field(default=0.02, gt=0, lt=1)
    """Share of the documents held out."""

    def parts(self, document: Document) -> Iterator[tuple[Part, Document]]:
        place = int.from_bytes(hashlib.sha256(document.text.encode()).digest()[:8], "big") / 2**64
        yield ("heldout" if place < self.fraction else "train"), document


class TailSplit(Choice):
    """The end of every document, counted in characters (as nanoGPT splits Shakespeare, with 0.1)."""

    fraction: float = Field(default=0.1, gt=0, lt=1)
    """Share of each document held out."""

    def parts(self, document: Document) -> Iterator[tuple[Part, Document]]:
        if len(document.sides) > 1:
            raise InputError("pack.split: tail would tear pairs of texts apart; choose 'use: hash'")
        border = int(len(document.text) * (1 - self.fraction))
        for part, text in (("train", document.text[:border]), ("heldout", document.text[border:])):
            if text:
                yield part, replace(document, text=text)  # type: ignore[misc]
