"""Texts with damaged bytes: what is damage and what is another encoding, and which lines of a text hold the damage.

A line is what is lost: in GB 18030, Big5 and the like a byte too few makes other characters of those behind it, up to
the end of the line and no further. A text of which more is damaged than :func:`is_damage` says is in no encoding that
is known for certain, and is lost whole.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

_BAD_OF_UTF8 = 0.1
"""Share of the characters beyond ASCII that may be bad in UTF-8; the same as for telling the encoding. Text in another
encoding is hardly ever valid UTF-8: nearly all of these are bad in it, and what is kept is certain."""
_BAD = 0.01
"""The same in other encodings: text of one often decodes in another without error, and more may be garbage unseen."""
_FEW = 0.05
"""Share of a text of UTF-8 or ASCII that may be in lines with bad bytes, however many these are. English has less in
lines that go beyond ASCII; a language that writes such letters has them in a fifth of its lines and mostly in far more.
"""
_MOST = 0.5
"""Share of any text that may be lost; what is left of a text that lost more is another one."""
_ESCAPE, _DIGITS = "\ufffc", "".join(map(chr, range(0x2801, 0x2811)))
"""A bad byte in marked text is an object that is not there, and in braille its place: signs that no search for the main
text takes away, and that stand together in no text."""
_MARK = re.compile(f"{_ESCAPE}([{_DIGITS}]+)")
_TO_HEX = str.maketrans(_DIGITS, "0123456789abcdef")
_FROM_HEX = str.maketrans("0123456789abcdef", _DIGITS)
_NEVER = b"\xff"
"""A byte that is in no character of UTF-8 and of the encodings with two bytes each."""
_ERRORS = "danlu.readers.damage"


class Damage(NamedTuple):
    """How much of a text is damaged."""

    bad: int
    """Bytes, or pieces of bytes, that are no characters."""
    beyond: int
    """Characters beyond ASCII, and these."""
    lost: int
    """Bytes or characters in the lines to be lost."""
    total: int


def is_damage(damage: Damage, encoding: str | None) -> bool:
    """Whether it is so little that the other lines are certainly in ``encoding``; None where only ASCII and UTF-8 are
    kept."""
    if damage.lost > _MOST * damage.total or damage.lost == damage.total:
        return False
    certain = encoding in (None, "utf-8")
    if damage.bad <= (_BAD_OF_UTF8 if certain else _BAD) * damage.beyond:
        return True
    return certain and damage.lost <= _FEW * damage.total


def beyond_ascii(text: str) -> int:
    """How many characters of it are not ASCII."""
    return 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return _ESCAPE + f"{error.start:x}".translate(_FROM_HEX), error.end


def marked(content: bytes, encoding: str) -> str | None:
    """The text of ``content`` with a mark for each bad byte and NUL; None where these are not told from others."""
    codecs.register_error(_ERRORS, _mark)
    if b"\0" in content:
        if _NEVER.decode(encoding, "ignore"):
            return None
        content = content.replace(b"\0", _NEVER)
    if _MARK.search(content.decode(encoding, "ignore")) is not None:
        return None
    return content.decode(encoding, _ERRORS)


def marks(text: str) -> list[int]:
    """The places in bytes of the marks in a text, in order."""
    return [int(mark[1].translate(_TO_HEX), 16) for mark in _MARK.finditer(text)]


def without_marks(text: str) -> str:
    """The text without them."""
    return _MARK.sub("", text)
