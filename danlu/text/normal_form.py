"""Settings of normalisation: what every text is brought to, step by step."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from danlu.recipe import Settings

Form = Literal["NFC", "NFKC", "none"]
Width = Literal["keep", "letters", "all"]
Spaces = Literal["keep", "plain", "single"]
Chinese = Literal["keep", "simplified", "traditional"]


class Normalise(Settings):
    """The steps in the order in which they are taken; line ends and control characters are always seen to, first."""

    repair: bool = True
    """Mend text that was decoded wrongly (``cafÃ©``) with ftfy; only lines that look it are looked at."""
    form: Form = "NFC"
    """The Unicode normal form. NFKC also makes half-width what is full-width, which harms Chinese punctuation."""
    invisible: bool = True
    """Drop soft hyphens, zero-width characters and marks of direction that change nothing in their script."""
    width: Width = "keep"
    """``letters``: ＡＢ１２ to AB12 and ｶﾞ to ガ, punctuation as it is; ``all``: also ，！ to ,! (bad for Chinese)."""
    spaces: Spaces = "keep"
    """``plain``: every kind of space is the ordinary one; ``single``: also one in a row, and none at a line's end."""
    join_lines: bool = False
    """Join lines that were broken at a width (novels at 70 columns); verse, lists, tables and code stay."""
    blank_lines: int | None = Field(default=None, ge=0)
    """At most so many blank lines in a row; all where it is null."""
    chinese: Chinese = "keep"
    """One script for documents in Chinese, whatever they are in."""
