"""Gopher's quality rules: Rae et al. 2021 (arXiv:2112.11446), appendix A.1.1, and what they are for other scripts."""

from __future__ import annotations

import re
from itertools import islice

from pydantic import Field, model_validator

from danlu.clean.figures import Figures, figures_of
from danlu.clean.rules import Rule
from danlu.clean.scripts import STOP_WORDS, WORD_LENGTH, WORD_LENGTHS
from danlu.recipe import Choice
from danlu.text.document import Document, main_language

BULLETS = ("•", "-", "*", "‣", "◦", "●", "○", "▪", "■", "·")
"""What a line of a list begins with."""
ELLIPSES = ("...", "…")
_BEGINNING = 2000
"""Characters in which most texts already have their stop words."""
_WORD = re.compile(r"\w+'?")


class GopherQuality(Choice):
    """Drop texts that are no prose by Gopher's rules; the defaults are the paper's.

    What is counted in words counts in Korean and in scripts without spaces what a translation into English would have
    (:mod:`danlu.clean.scripts`). There, in place of a word's mean length stands that of what punctuation and spaces
    part, in place of words with a letter the characters that are letters, each with its own bounds; Korean, and some
    languages with long words or short ones, have their own mean length. Blank lines are no lines.
    """

    min_words: float = Field(default=50, ge=0)
    """Words of a text at least."""
    max_words: float = Field(default=100_000, ge=0)
    """Words of a text at most."""
    min_word_length: float | None = Field(default=None, ge=0)
    """Characters of the mean word at least (scripts with spaces); by default 3, in some languages fewer."""
    max_word_length: float | None = Field(default=None, ge=0)
    """Characters of the mean word at most (scripts with spaces); by default 10, in some languages more."""
    max_symbols: float = Field(default=0.1, ge=0)
    """Hash signs, and ellipses, for each word at most."""
    max_bullet_lines: float = Field(default=0.9, ge=0, le=1)
    """Share of lines that begin with a bullet at most."""
    max_ellipsis_lines: float = Field(default=0.3, ge=0, le=1)
    """Share of lines that end with an ellipsis at most."""
    min_lettered_words: float = Field(default=0.8, ge=0, le=1)
    """Share of words with a letter at least (scripts with spaces)."""
    min_stop_words: int = Field(default=2, ge=0)
    """Different stop words at least, where there is a list for the language or the script."""

    @model_validator(mode="after")
    def _in_order(self) -> GopherQuality:
        shortest, longest = self.min_word_length, self.max_word_length
        if self.min_words > self.max_words or (shortest is not None and longest is not None and shortest > longest):
            raise ValueError("min_words and min_word_length must not be above max_words and max_word_length")
        return self

    def make(self) -> Rule:
        def drop(document: Document) -> str | None:
            figures = figures_of(document.text)
            language = main_language(document) or "en"
            wrong = (
                self._words(figures, language)
                or self._symbols(figures)
                or self._lines(figures)
                or self._letters(figures, language)
            )
            return f"gopher_quality: {wrong}" if wrong else None

        return drop

    def _words(self, figures: Figures, language: str) -> str | None:
        """What is wrong with how many words there are, and how long they are."""
        if figures.words < self.min_words:
            return "too few words"
        if figures.words > self.max_words:
            return "too many words"
        shortest, longest = figures.script.length or self._lengths(language)
        return None if shortest <= figures.mean_length <= longest else "mean word length"

    def _lengths(self, language: str) -> tuple[float, float]:
        """The bounds of a word's mean length in a script with spaces."""
        shortest, longest = WORD_LENGTHS.get(language, WORD_LENGTH)
        return (
            shortest if self.min_word_length is None else self.min_word_length,
            longest if self.max_word_length is None else self.max_word_length,
        )

    def _symbols(self, figures: Figures) -> str | None:
        """What is wrong with the signs of cut or tagged text."""
        text, most = figures.text, self.max_symbols * figures.tokens
        if text.count("#") > most:
            return "hash signs to words"
        ellipses = text.count("...") + text.count("…") - text.count("……")  # the Chinese ellipsis is two signs wide
        return "ellipses to words" if ellipses > most else None

    def _lines(self, figures: Figures) -> str | None:
        """What is wrong with how lines begin and end."""
        lines = figures.lines
        bullets = sum(line.lstrip().startswith(BULLETS) for line in lines)
        if bullets > self.max_bullet_lines * len(lines):
            return "bullet lines"
        ended = sum(line.rstrip().endswith(ELLIPSES) for line in lines)
        return "lines ending in an ellipsis" if ended > self.max_ellipsis_lines * len(lines) else None

    def _letters(self, figures: Figures, language: str) -> str | None:
        """What is wrong with what words are made of, and which there are."""
        least = figures.script.letters
        if figures.letters < (self.min_lettered_words if least is None else least):
            return "words with a letter"
        return None if self._has_stop_words(figures, language) else "stop words"

    def _has_stop_words(self, figures: Figures, language: str) -> bool:
        """Whether enough different ones are in the text, or there is no list of them."""
        if not figures.script.spaces:
            found = (word for word in figures.script.stop_words if word in figures.text)
            return sum(1 for _ in islice(found, self.min_stop_words)) >= self.min_stop_words
        wanted = STOP_WORDS.get(language)
        if wanted is None or figures.script_name == "hangul":
            return True
        if len(wanted.intersection(figures.text[:_BEGINNING].lower().split())) >= self.min_stop_words:
            return True
        lowered = figures.text.lower()
        return len(wanted.intersection(_WORD.findall(lowered))) >= self.min_stop_words
