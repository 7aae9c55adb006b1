"""Traditional to simplified Chinese and back, by OpenCC's tables: words first, so that 乾燥 is 干燥 and 乾坤 stays."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from danlu.text.document import TARGET_START, Document
from danlu.text.normal_form import Chinese
from danlu.text.script import letters_of

_CONFIG = {"simplified": "t2s", "traditional": "s2t"}
_VARIANT = {"simplified": "zh-Hans", "traditional": "zh-Hant"}
_SCRIPT = {"simplified": "Simplified", "traditional": "Traditional"}
_OTHER = {"simplified": "Traditional", "traditional": "Simplified"}
_ROUNDS = 4


def convert(text: str, to: Chinese) -> str:
    """``text``, all of it, in one script; the same where it is in it already.

    It is where it has characters that this script alone has and none that the other alone has: OpenCC's words are
    looked up in the other script, so that converting what is converted would do harm (前仆後繼 to 前僕後繼).
    """
    if to == "keep":
        return text
    of_this, of_other = _telling(to)
    for _ in range(_ROUNDS):
        before = text
        if of_other.search(text) or not of_this.search(text):
            text = _converter(to).convert(text)
        if text == before:
            break
    return text


def convert_document(document: Document, to: Chinese) -> None:
    """Convert the text of a document in Chinese; one in another language (Japanese, too) stays as it is."""
    if to == "keep" or document.meta["language"] != "zh":
        return
    sides = [convert(side, to) for side in document.sides]
    document.text = "\n".join(sides)
    if TARGET_START in document.meta:
        document.meta[TARGET_START] = str(len(sides[0]) + 1)
    if "language_variant" in document.meta:
        document.meta["language_variant"] = _VARIANT[to]


@cache
def _telling(to: Chinese) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The characters that only this script has, and those of the other one alone that converting changes."""
    of_this, of_other = letters_of(_SCRIPT[to]), letters_of(_OTHER[to])
    changed = "".join(c for c in of_other if _converter(to).convert(c) != c)
    return re.compile(f"[{of_this}]"), re.compile(f"[{changed}]")


@cache
def _converter(to: Chinese) -> Any:
    from opencc_pyo3 import OpenCC  # its tables, 30 MB, are for those who convert

    return OpenCC(_CONFIG[to])
