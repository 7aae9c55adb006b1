"""Licence plates of vehicles: of mainland China by their shape, of some others behind a word."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from danlu.clean.private_page import ALONE, ENDS, Found, Page, words

_PROVINCES = frozenset("京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使")
_CHINESE = re.compile(
    r"[A-HJ-NP-Z][ ·•・.-]?(?=(?:[^0-9]{0,2}[0-9]){3})"  # three digits or more, two letters at most
    r"(?:[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9学警挂港澳领]|[DF][A-HJ-NP-Z0-9][0-9]{4}|[0-9]{5}[DF])(?![0-9A-Za-z_])"
)
"""Behind the sign of a province (GA 36-2018); the longer two are of electric vehicles."""
_BRITISH = rf"{ALONE}[A-Z]{{2}}[0-9]{{2}} ?[A-Z]{{3}}{ENDS}"
_GERMAN = rf"{ALONE}[A-ZÄÖÜ]{{1,3}}[- ][A-Z]{{1,2}} ?[0-9]{{1,4}}[EH]?{ENDS}"
_AMERICAN = rf"{ALONE}(?:[0-9][A-Z]{{3}}[0-9]{{3}}|[A-Z]{{3}}[- ]?[0-9]{{3,4}}){ENDS}"
_OTHERS = re.compile(f"{_BRITISH}|{_GERMAN}|{_AMERICAN}")
_WORDS = ("plate", "kennzeichen", "immatriculation", "车牌", "車牌")
_SAID = words(
    "(?:licen[cs]e|number|registration|car) plates?", "plates?", "kennzeichen", "immatriculation", "车牌", "車牌"
)


def find_plates(page: Page) -> Iterator[Found]:
    """Licence plates, each as the kind ``plate``."""
    if not page.text.isascii() and page.has_run(4):
        yield from _chinese(page)
    for word in _WORDS:
        place = page.lower.find(word)
        while place >= 0:
            for found in _OTHERS.finditer(page.text, place, place + 60):
                if page.said_before(_SAID, found.start()):
                    yield Found(*found.span(), "plate")
            place = page.lower.find(word, place + 1)


def _chinese(page: Page) -> Iterator[Found]:
    codes = page.codes
    letters = (codes[1:] - 65 < 26) & (codes[:-1] >= 0x4E00)  # unsigned: what is below A is large
    for before in np.flatnonzero(letters).tolist():
        if page.text[before] in _PROVINCES and (found := _CHINESE.match(page.text, before + 1)):
            yield Found(before, found.end(), "plate")
