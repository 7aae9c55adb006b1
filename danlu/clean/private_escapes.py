"""Characters that a text spells out, as JSON and HTML do: ``\\u5bc6``, ``&#49;``, ``&#x40;``."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_ESCAPE = re.compile(
    r"\\u(?P<json>[0-9A-Fa-f]{4})|&#(?:(?P<decimal>[0-9]{2,6})|[xX](?P<hexadecimal>[0-9A-Fa-f]{2,5}));"
)

Places = NDArray[np.int64]


def unescaped(text: str) -> tuple[str, tuple[Places, Places] | None]:
    """``text`` with such characters in their place, and where each of its characters begins and ends in ``text``;
    None where nothing moved.

    Control characters and halves of surrogate pairs stay spelt out.
    """
    if "&#" not in text and "\\u" not in text:
        return text, None
    pieces: list[str] = []
    begins = np.ones(len(text), bool)  # whether a character of what comes out begins there
    place = 0
    for found in _ESCAPE.finditer(text):
        sign = _sign(found)
        if sign is not None:
            pieces += text[place : found.start()], sign
            begins[found.start() + 1 : found.end()] = False
            place = found.end()
    if not place:
        return text, None
    starts = np.flatnonzero(begins)
    return "".join([*pieces, text[place:]]), (starts, np.append(starts[1:], len(text)))


def _sign(found: re.Match[str]) -> str | None:
    digits = found["json"] or found["hexadecimal"]
    code = int(digits, 16) if digits else int(found["decimal"])
    if code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        return None
    return chr(code)
