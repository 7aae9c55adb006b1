"""What one document is: the whole record, or the lines, paragraphs or blocks in it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Protocol

from pydantic import Field, field_validator

from danlu.recipe import Choice


class Cut(Protocol):
    """How a record is cut into documents."""

    def pieces(self, text: str) -> Iterator[str]:
        """The documents in ``text`` (line ends ``\\n``), in order; blank ones may be left out."""


class Whole(Choice):
    """Every record is one document; a .txt file is one record."""

    def pieces(self, text: str) -> Iterator[str]:
        yield text


class Lines(Choice):
    """Every line is one document, without its line end; blank lines are left out."""

    def pieces(self, text: str) -> Iterator[str]:
        return (line for line in text.split("\n") if line.strip())


class Paragraphs(Choice):
    """Paragraphs are parted by blank lines; each is one document, without the blank lines around it."""

    def pieces(self, text: str) -> Iterator[str]:
        for is_blank, lines in groupby(text.split("\n"), key=lambda line: not line.strip()):
            if not is_blank:
                yield "\n".join(lines)


class Separated(Choice):
    """Documents are parted by lines of one kind, which fall: ``%`` in files of sayings, ``***`` between stories."""

    line: str = "%"
    """The line; white space around it does not count."""

    @field_validator("line")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.strip() or len(value.splitlines()) > 1:
            raise ValueError(f"must be one line, and not blank; got {value!r}")
        return value.strip()

    def pieces(self, text: str) -> Iterator[str]:
        for parts, lines in groupby(text.split("\n"), key=self.ends):
            if not parts and (piece := "\n".join(lines).strip("\n")).strip():
                yield piece

    def ends(self, line: str) -> bool:
        """Whether ``line`` parts documents."""
        return line.strip() == self.line


class Blocks(Choice):
    """Cut a long record at blank lines into blocks of about one size, so that a held-out share spreads over it.

    Nothing is lost: the blocks joined are the record.
    """

    characters: int = Field(default=4000, ge=1)
    """A block ends at the first blank line after this many characters, or at the first line end after twice as many."""

    def pieces(self, text: str) -> Iterator[str]:
        start = end = 0
        for line in text.splitlines(keepends=True):
            end += len(line)
            if self.ends(end - start, line):
                yield text[start:end]
                start = end
        if start < len(text):
            yield text[start:]

    def ends(self, characters: int, line: str) -> bool:
        """Whether a block of so many characters ends with ``line``, its last so far."""
        return characters >= (self.characters if not line.strip() else 2 * self.characters)
