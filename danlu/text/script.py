"""Which scripts a text is written in, and Chinese characters that only one of the two Chinese scripts has."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

_RANGES: dict[str, str] = {
    "Latin": "0041-005A 0061-007A 00AA 00BA 00C0-00D6 00D8-00F6 00F8-02B8 1E00-1EFF 2C60-2C7F A722-A7FF FF21-FF3A "
    "FF41-FF5A",
    "Greek": "0370-0373 0376-037D 037F 0386 0388-03E1 03F0-03FF 1F00-1FFF",
    "Cyrillic": "0400-0481 048A-052F 1C80-1C8A 2DE0-2DFF A640-A69F",
    "Armenian": "0531-0556 0559 0560-0588",
    "Hebrew": "05D0-05EA 05EF-05F2 FB1D-FB4F",
    "Arabic": "0620-064A 066E-06D3 06D5-06DC 06EE-06EF 06FA-06FF 0750-077F 0870-08C9 FB50-FDFF FE70-FEFC",
    "Devanagari": "0904-0950 0958-0963 0971-097F",
    "Bengali": "0980-09E3 09F0-09F1",
    "Gurmukhi": "0A01-0A5E 0A70-0A75",
    "Gujarati": "0A81-0AE3",
    "Oriya": "0B01-0B63",
    "Tamil": "0B82-0BD7",
    "Telugu": "0C00-0C63",
    "Kannada": "0C80-0CE3",
    "Malayalam": "0D00-0D63 0D7A-0D7F",
    "Sinhala": "0D81-0DDF",
    "Thai": "0E01-0E3A 0E40-0E4E",
    "Lao": "0E81-0ECD 0EDC-0EDF",
    "Tibetan": "0F00 0F40-0FBC",
    "Burmese": "1000-103F 1050-108F",
    "Georgian": "10A0-10FF 1C90-1CBF 2D00-2D2D",
    "Ethiopic": "1200-135A 1380-138F 2D80-2DDE",
    "Khmer": "1780-17D3",
    "Hangul": "1100-11FF 3131-318E A960-A97C AC00-D7FB",
    "Kana": "3041-3096 309D-309F 30A1-30FA 30FC-30FF 31F0-31FF FF66-FF9F",
    "Han": "3005-3007 3400-4DBF 4E00-9FFF F900-FAFF 20000-323AF",
    "Simplified": "",
    "Traditional": "",
    "other": "0700-074F 0780-07B1 07CA-07EA 0800-0858 13A0-167F 1681-169A 16A0-16EA 1700-1731 1820-1878 18B0-18F5 "
    "1950-19AB 1A00-1A16 1B05-1B33 1BC0-1BE5 1C00-1C23 1C5A-1C7D 2C00-2C5F 2C80-2CEE 2D30-2D67 A000-A48C A4D0-A4FD "
    "A500-A62B A6A0-A6E5 A800-A822 A840-A873 A882-A8B3 A90A-A925 A984-A9B2 AA00-AA28 AA80-AAAF ABC0-ABE2 "
    "10280-103D5 10400-104FB 10800-10CFF 1E900-1E943",
}
SCRIPTS = list(_RANGES)
"""``Han`` is what both Chinese scripts (and Japanese) have; ``Simplified`` and ``Traditional`` what one has alone."""

_WEIGHTS = {"Han": 3.0, "Simplified": 3.0, "Traditional": 3.0, "Kana": 2.0, "Hangul": 2.0}
"""A character of these says as much as so many letters of an alphabet: the bytes of Chinese and English texts that
say the same are about as many."""

_NO_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())


def letters_by_script(text: str) -> dict[str, float]:
    """How much of ``text`` is written in each script, in letters of an alphabet; scripts that it lacks are left out."""
    if text.isascii():
        letters = len(text.encode().translate(None, _NO_LETTERS))
        return {"Latin": float(letters)} if letters else {}
    counts = _count(text)
    return {
        SCRIPTS[kind - 1]: float(counts[kind]) * _WEIGHTS.get(SCRIPTS[kind - 1], 1.0)
        for kind in np.flatnonzero(counts).tolist()
        if kind
    }


def without_other_letters(text: str, script: str) -> str:
    """``text`` without the letters of all scripts but one."""
    codes = _codes(text)
    kinds = _table()[codes]
    kept: bytes = codes[(kinds == 0) | (kinds == 1 + SCRIPTS.index(script))].tobytes()
    return kept.decode("utf-32-le", "surrogatepass")


def letters_of(script: str) -> str:
    """Every letter of ``script``, in the order of Unicode."""
    return "".join(map(chr, np.flatnonzero(_table() == 1 + SCRIPTS.index(script)).tolist()))


def _count(text: str) -> npt.NDArray[np.int64]:
    return np.bincount(_table()[_codes(text)], minlength=2)


def _codes(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


@cache
def _table() -> npt.NDArray[np.uint8]:
    """For every code point 1 + the place of its script in ``SCRIPTS``, 0 for what is no letter; 1.1 MB."""
    table = np.zeros(0x110000, dtype=np.uint8)
    for number, ranges in enumerate(_RANGES.values(), start=1):
        for first, _, last in (each.partition("-") for each in ranges.split()):
            table[int(first, 16) : int(last or first, 16) + 1] = number
    in_gb2312, in_big5 = _encodable("gb2312"), _encodable("big5")
    han = range(0x4E00, 0xA000)
    table[[code for code in han if in_gb2312(code) and not in_big5(code)]] = 1 + SCRIPTS.index("Simplified")
    table[[code for code in han if in_big5(code) and not in_gb2312(code)]] = 1 + SCRIPTS.index("Traditional")
    return table


def _encodable(encoding: str) -> Callable[[int], bool]:
    """Whether a character is in the character set: GB 2312 is that of simplified texts, Big5 of traditional ones."""

    def holds(code: int) -> bool:
        return bool(chr(code).encode(encoding, "ignore"))

    return holds
