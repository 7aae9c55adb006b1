"""What ``meta`` says of a document's language, and the settings of that."""

from __future__ import annotations

from pydantic import Field

from danlu.recipe import Settings
from danlu.text.language import UNKNOWN, identify
from danlu.text.paragraphs import language_shares, shares_in_words

SCORE, VARIANT, SHARES = "language_score", "language_variant", "languages"
"""The entries of ``meta`` beside ``language``: how sure it is; zh-Hans or zh-Hant; the shares of a mixed document."""


class Language(Settings):
    """How the language of each document is named where its source does not name it."""

    least: float = Field(default=0.0, ge=0, le=1)
    """A document that is less surely in the language it looks most like is ``und``."""
    paragraphs: bool = False
    """Look at every paragraph too: ``meta.languages`` of a mixed document has the shares. Reads all of the text."""

    def describe(self, text: str) -> dict[str, str]:
        """``language`` and what else is known of it, for ``meta``."""
        found = identify(text)
        sure = found.probability >= self.least
        meta = {"language": found.code if sure else UNKNOWN, SCORE: f"{found.probability:.2f}"}
        if found.variant is not None and sure:
            meta[VARIANT] = found.variant
        if self.paragraphs and len(shares := language_shares(text)) > 1:
            meta[SHARES] = shares_in_words(shares)
        return meta
