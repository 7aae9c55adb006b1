"""One form for every text: line ends, control characters, Unicode normal form.

Normalising twice is normalising once.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import ftfy

Form = Literal["NFC", "NFKC", "none"]

_LINE_ENDS = {0x0B: "\n", 0x0C: "\n", 0x0D: "\n", 0x85: "\n"}  # vertical tab, form feed, carriage return, next line
_DROPPED = {code: None for code in [*range(0x20), *range(0x7F, 0xA0), 0xFEFF] if chr(code) not in "\n\t"}
_TABLE: dict[int, str | None] = {**_DROPPED, **_LINE_ENDS}
_TO_CHANGE = re.compile("[" + "".join(map(re.escape, map(chr, _TABLE))) + "]")


def normalise(text: str, *, form: Form = "NFC", repair: bool = False) -> str:
    r"""Make line ends ``\n``, drop control characters but ``\n`` and tab, drop byte order marks, apply ``form``.

    A vertical tab, form feed or next-line character becomes ``\n``, for it parted words. ``repair``
    mends mis-decoded text (``cafÃ©``) with ftfy first.
    """
    if repair:
        text = _repair(text)
    if _TO_CHANGE.search(text):  # most texts need none of it, and looking is faster than doing
        text = text.replace("\r\n", "\n").translate(_TABLE)
    return text if form == "none" else unicodedata.normalize(form, text)


def _repair(text: str) -> str:
    import ftfy

    return ftfy.fix_text(text, config=_repair_config())


@cache
def _repair_config() -> ftfy.TextFixerConfig:
    """Encoding repairs alone: ftfy's defaults would also make ASCII of curly quotes and of full-width ``，``."""
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False,
        uncurl_quotes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        fix_line_breaks=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )
