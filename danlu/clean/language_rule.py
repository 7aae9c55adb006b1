"""Keep documents in some languages, and of a mixed document the paragraphs in them."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from danlu.clean.language_of import SCORE, SHARES
from danlu.clean.rules import Rule
from danlu.recipe import Choice
from danlu.text.document import TARGET_START, Document, main_language
from danlu.text.language import UNKNOWN, identify
from danlu.text.paragraphs import language_shares, paragraphs_and_gaps, shares_in_words


class LanguageRule(Choice):
    """Drop documents in other languages; drop mixed documents or cut what is in other languages out of them."""

    keep: tuple[str, ...] = Field(min_length=1)
    """Languages as ``meta.language`` has them (en, zh, de; und: what has no name)."""
    least: float = Field(default=0.0, ge=0, le=1)
    """Drop a document that is less surely in its language; one whose source names the language is sure."""
    others: Literal["leave", "cut", "drop"] = "leave"
    """Paragraphs in other languages: leave them, cut them out, or drop the whole document."""
    sure: float = Field(default=0.7, ge=0, le=1)
    """A paragraph is in another language if that is at least so probable; most short ones are not."""

    @field_validator("keep")
    @classmethod
    def _are_codes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if (wrong := next((code for code in value if not re.fullmatch("[a-z]{2,3}", code)), None)) is not None:
            raise ValueError(f"must be language codes such as en or zh, without script or region; got {wrong!r}")
        return value

    def make(self) -> Rule:
        other, unsure = f"language: keep only {', '.join(self.keep)}", "language: not sure"
        mixed, all_cut = "language: mixed", "language: nothing left"

        def judge(document: Document) -> str | None:
            if main_language(document) not in self.keep:
                return other
            if float(document.meta.get(SCORE, "1")) < self.least:
                return unsure
            if self.others == "leave" or (kept := self._kept(document.text)) == document.text:
                return None
            if self.others == "drop" or TARGET_START in document.meta:
                return mixed  # half a pair is no pair
            if not kept.strip():
                return all_cut
            document.text = kept
            if SHARES in document.meta:
                _name_anew(document)
            return None

        return judge

    def _kept(self, text: str) -> str:
        """The text without the paragraphs in other languages and the gaps after them."""
        pieces = paragraphs_and_gaps(text)
        if len(pieces) == 1:
            return text
        cut = {at for at in range(0, len(pieces), 2) if self._is_other(pieces[at])}
        if not cut:
            return text
        kept = [at for at in range(0, len(pieces), 2) if at not in cut]
        last = kept[-1] if kept else -1
        return "".join(pieces[at] + (pieces[at + 1] if at != last else "") for at in kept)

    def _is_other(self, paragraph: str) -> bool:
        found = identify(paragraph)
        return found.code not in (*self.keep, UNKNOWN) and found.probability >= self.sure


def _name_anew(document: Document) -> None:
    shares = language_shares(document.text)
    if len(shares) > 1:
        document.meta[SHARES] = shares_in_words(shares)
    else:
        del document.meta[SHARES]
