"""FineWeb's own quality rules: Penedo et al. 2024 (arXiv:2406.17557), section 3.6, in any script."""

from __future__ import annotations

from pydantic import Field

from danlu.clean.ends import ends_sentence
from danlu.clean.figures import figures_of
from danlu.clean.gopher_repetition import duplicates
from danlu.clean.rules import Rule
from danlu.clean.scripts import DUPLICATE_LINE_CHARACTERS, OTHER_DUPLICATE_LINE_CHARACTERS
from danlu.recipe import Choice
from danlu.text.document import Document, main_language


class FineWeb(Choice):
    """Drop lists, menus and cut-off pieces by FineWeb's rules; the defaults are the paper's.

    In Chinese a short line has a third of the characters, and words are counted as :mod:`danlu.clean.scripts` says.
    What closes a quotation may stand behind the mark that ends a line, and Thai and Lao have no such mark. Blank lines
    are no lines. FineWeb is English; what FineWeb-2 does otherwise for all other languages holds here for texts that
    are in another script or said to be in another language.
    """

    min_ended_lines: float = Field(default=0.12, ge=0, le=1)
    """Share of lines with a mark at the end that ends a sentence, at least."""
    max_short_lines: float = Field(default=0.67, ge=0, le=1)
    """Share of short lines at most."""
    short_line: int = Field(default=30, ge=0)
    """Characters of a short line at most, in English."""
    max_duplicate_line_characters: float | None = Field(default=None, ge=0)
    """Share of characters in lines that stood before, at most; by default 0.01 in English and 0.1 in others."""
    max_line_ends: float = Field(default=0.3, ge=0)
    """Line ends, of blank lines too, for each word, at most."""

    def make(self) -> Rule:
        def drop(document: Document) -> str | None:
            wrong = self._wrong(document.text, main_language(document) or "en")
            return f"fineweb: {wrong}" if wrong else None

        return drop

    def _wrong(self, text: str, language: str) -> str | None:
        figures = figures_of(text)
        lines = figures.lines
        if not lines:
            return "lines"
        if sum(map(ends_sentence, lines)) < self.min_ended_lines * len(lines):
            return "lines with an end mark"
        width = self.short_line * figures.script.short_line
        if sum(len(line) <= width for line in lines) > self.max_short_lines * len(lines):
            return "short lines"
        line_ends = text.count("\n")
        most = self.max_duplicate_line_characters
        if most is None:
            english = language == "en" and figures.script_name == "spaced"
            most = DUPLICATE_LINE_CHARACTERS if english else OTHER_DUPLICATE_LINE_CHARACTERS
        if duplicates(lines)[1] > most * (len(text) - line_ends):
            return "characters in duplicate lines"
        return "line ends to words" if line_ends > self.max_line_ends * figures.tokens else None
