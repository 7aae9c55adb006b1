"""Which language a text is in, by py3langid: offline, deterministic, 140 languages."""

from __future__ import annotations

SAMPLE_CHARACTERS = 1000
"""From the middle of the text, past titles and headers; more makes the answer no surer, only slower."""

_SAME_AS = {"wuu": "zh", "yue": "zh", "zxx": "und"}
"""Written Wu and Cantonese are members of zh, and plain Chinese is now and then taken for them; zxx: no language."""


def detect_language(text: str) -> str:
    """The code of the language of ``text``: ISO 639-1 (``en``, ``zh``) or, for a language without one, 639-3.

    ``und`` stands for a text without letters. Lui and Baldwin 2012, langid.py: An Off-the-shelf
    Language Identification Tool.
    """
    middle = max(0, (len(text) - SAMPLE_CHARACTERS) // 2)
    sample = text[middle : middle + SAMPLE_CHARACTERS]
    if not any(character.isalpha() for character in sample):
        return "und"
    from py3langid import classify  # loads its model on the first call

    code = str(classify(sample)[0])
    return _SAME_AS.get(code, code)
