"""Tokens to text as they come, without half a character."""

from __future__ import annotations

import codecs

from danlu.tokenizers.spelling import Spelling
from danlu.tokenizers.tidy import Tidy

REPLACEMENT = "\ufffd"
"""What is decoded for an unknown character and for bytes that are no UTF-8."""


class TokenStream:
    """Turns tokens into text, and holds back what later tokens may change.

    Args:
        begun: whether the text goes on from other text.
        tidy: what takes spaces out of the text, where there is such a thing.
    """

    def __init__(self, spelling: Spelling, *, begun: bool = False, tidy: Tidy | None = None) -> None:
        self._spelling, self._begun, self._tidy = spelling, begun, tidy
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._spaces = 0 if begun else spelling.leading_spaces
        self._row = bytearray()
        """Lone bytes that have come one after the other: as ``tokenizers`` has it, one that is no UTF-8 spoils all."""

    def push(self, id: int) -> str:
        """The text that is certain after this token; may be empty."""
        if id in self._spelling.silent:
            return ""
        token = (self._spelling.within if self._begun else self._spelling.first)[id]
        self._begun = True
        if id in self._spelling.lone_bytes:
            self._row += token
            return ""
        return self._show(self._close_row() + self._decoder.decode(token))

    def flush(self) -> str:
        """What is left at the end: U+FFFD where the last character was not completed."""
        text = self._show(self._close_row() + self._decoder.decode(b"", final=True))
        return text + self._tidy.flush() if self._tidy is not None else text

    def _close_row(self) -> str:
        row, self._row = bytes(self._row), bytearray()
        try:
            return row.decode()
        except UnicodeDecodeError:
            return REPLACEMENT * len(row)

    def _show(self, text: str) -> str:
        while self._spaces and text.startswith(" "):
            text, self._spaces = text[1:], self._spaces - 1
        if text:
            self._spaces = 0
        return self._tidy.push(text) if self._tidy is not None else text
