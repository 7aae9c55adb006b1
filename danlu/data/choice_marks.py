"""Marks of choices as people write them: ``Option B``, ``选项B``, ``(B)``, ``B. green``; ``A. red B. green``."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence

from danlu.data.alike import IDEOGRAPHS

_NAMED = re.compile(
    r"(?:the\s+)?(?:(?:correct|right)\s+)?(?:answer|option|choice|ending|正确答案|正确选项|答案|选项|选择|选)?"
    r"\s*(?:is|是|为|[:._-])?\s*[(\[【「]?\s*([a-z]|\d{1,2})\s*[)\]】」]?\s*[.、,:)。项]?"
)
_MARK_AND_TEXT = re.compile(
    r"[(\[【]?\s*([a-z]|\d{1,2})\s*(?:[)\]】]\s*[.、:]?|(?<!\d)[.、:]|[.、:](?!\d))\s*(.+)", re.DOTALL
)
_MARK_WITHIN = (
    rf"(?:(?<=[\s,;，；。{IDEOGRAPHS}])|^)"
    r"(?:[(\[（【]\s*{mark}\s*[)\]）】]|{mark}\s*(?P<sign>[.、:)．：）]){no_decimal})"
)
_SERIES = (string.ascii_uppercase[:10], string.ascii_lowercase[:10], [str(number) for number in range(1, 10)])
_BETWEEN = " \t\r\n\u3000\xa0,;，；"


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def bare_mark(answer: str) -> str | None:
    """``b`` of ``Option B``, ``选项B``, ``(B)`` and ``B.``; None where it is more than a mark."""
    found = _NAMED.fullmatch(_plain(answer))
    return None if found is None else found[1]


def mark_and_text(answer: str) -> tuple[str, str] | None:
    """``b`` and ``green`` of ``B. Green``, ``(B) green`` and ``B、Green``; None where it is anything else."""
    found = _MARK_AND_TEXT.fullmatch(_plain(answer))
    return None if found is None else (found[1], found[2].strip())


def is_text_of(text: str, choice: str) -> bool:
    """Whether ``text``, of :func:`mark_and_text`, is that of a choice, with its mark there or without."""
    own = mark_and_text(choice)
    return text in (_plain(choice), None if own is None else own[1])


def _sign(mark: re.Match[str]) -> str:
    """What stands behind it; nothing where it is in brackets."""
    return _plain(mark["sign"] or "")


def parted_by_marks(cell: str) -> Sequence[str]:
    """``red`` and ``green`` of ``A. red B. green``: what stands behind marks in order, all with the same sign, the
    first at the beginning; none where there are not two such marks."""
    cell = cell.strip()
    for series in _SERIES:
        places: list[re.Match[str]] = []
        for mark in series:
            pattern = _MARK_WITHIN.format(mark=mark, no_decimal=r"(?!\d)" if mark.isdecimal() else "")
            later = re.compile(pattern).finditer(cell, places[-1].end() if places else 0)
            found = next((each for each in later if not places or _sign(each) == _sign(places[0])), None)
            if found is None or (not places and found.start() > 0):
                break
            places.append(found)
        if len(places) > 1:
            ends = [each.start() for each in places[1:]] + [len(cell)]
            return [cell[each.end() : end].strip(_BETWEEN) for each, end in zip(places, ends, strict=True)]
    return ()
