"""Which language a text is in, by py3langid: offline, deterministic, 97 languages."""

from __future__ import annotations

SAMPLE_CHARACTERS = 4000
"""More text makes the answer no surer."""


def detect_language(text: str) -> str:
    """The ISO 639-1 code of the language of ``text`` (``en``, ``zh``); ``und`` where it has no letter.

    Lui and Baldwin 2012, langid.py: An Off-the-shelf Language Identification Tool.
    """
    middle = max(0, (len(text) - SAMPLE_CHARACTERS) // 2)
    sample = text[middle : middle + SAMPLE_CHARACTERS]
    if not any(character.isalpha() for character in sample):
        return "und"
    from py3langid import classify  # loads its model on the first call

    return str(classify(sample)[0])
