"""Which language a text is in, offline and deterministic, of 140: by its script, then by py3langid's classifier.

A script that one language has (Han without kana, Hangul, Thai …) says it all; where several share it
(Latin, Cyrillic, Arabic …), the classifier chooses among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import islice

from danlu.text.byte_ngrams import classifier
from danlu.text.script import letters_by_script, without_other_letters

SAMPLE_CHARACTERS = 1000
"""From the middle of the text, past titles and headers; more makes the answer no surer, only slower."""

UNKNOWN = "und"
"""ISO 639's code for a text without letters, or in a script that no language here is written in."""

ONE_LANGUAGE = {
    "Armenian": "hy", "Burmese": "my", "Ethiopic": "am", "Georgian": "ka", "Gujarati": "gu", "Gurmukhi": "pa",
    "Hangul": "ko", "Kannada": "kn", "Khmer": "km", "Lao": "lo", "Malayalam": "ml", "Oriya": "or", "Sinhala": "si",
    "Tamil": "ta", "Telugu": "te", "Thai": "th", "Tibetan": "bo",
}  # fmt: skip
SHARED = {
    "Arabic": ("ar", "ary", "arz", "fa", "ps", "sdh", "ug", "ur", "uzs"),
    "Bengali": ("as", "bn"),
    "Cyrillic": ("ba", "be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "tt", "uk"),
    "Devanagari": ("gom", "hi", "mr", "ne", "sa"),
    "Greek": ("el", "grc"),
    "Hebrew": ("hbo", "he"),
}
_EAST = {"zh", "ja", "wuu", "yue", "dz", "zxx"}
_LATIN_TOO = {"sr", "kk", "tt"}
_SAME_AS = {"uzs": "uz"}

_CHINESE, _JAPANESE = 0.05, 0.25
"""Below the first share of kana a text in Han is Chinese, above the second Japanese; between, the classifier says."""

_FIRST_LOOK, _CERTAIN = 250, 0.95
"""So many characters are enough where the classifier is so sure after them; else it sees the whole sample."""

_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Identified:
    """What a text is in.

    ``probability`` is the share of its letters in the language's script (a Chinese character counts as
    three) times the classifier's probability among the languages of that script. ``variant`` is ``zh-Hans``
    or ``zh-Hant`` where characters of a text in Chinese tell simplified and traditional apart.
    """

    code: str
    probability: float
    variant: str | None = None


def detect_language(text: str) -> str:
    """The code of the language of ``text``: ISO 639-1 (``en``, ``zh``) or, for a language without one, 639-3.

    ``und`` stands for a text without letters. Lui and Baldwin 2012, langid.py: An Off-the-shelf
    Language Identification Tool.
    """
    return identify(text).code


def identify(text: str) -> Identified:
    """The language of ``text``, how sure that is, and of Chinese in which script.

    Looks at ``SAMPLE_CHARACTERS`` from the middle; where they hold no letter, at as many in words of the whole text.
    """
    middle = max(0, (len(text) - SAMPLE_CHARACTERS) // 2)
    sample = text[middle : middle + SAMPLE_CHARACTERS]
    letters = letters_by_script(sample)
    if not letters and len(text) > len(sample):
        sample = " ".join(word[0] for word in islice(_WORD.finditer(text), SAMPLE_CHARACTERS // 5))[:SAMPLE_CHARACTERS]
        letters = letters_by_script(sample)
    if not letters:
        return Identified(UNKNOWN, 0.0)
    simplified, traditional = letters.pop("Simplified", 0.0), letters.pop("Traditional", 0.0)
    kana = letters.pop("Kana", 0.0)
    if han := letters.get("Han", 0.0) + simplified + traditional + kana:
        letters["Han"] = han
    shares = {script: weight / sum(letters.values()) for script, weight in letters.items()}
    best = Identified(UNKNOWN, 0.0)
    for script in sorted(shares, key=lambda script: (-shares[script], script)):
        if shares[script] <= best.probability:
            break  # no language of this script can be surer
        if script == "Han":
            named = _east(sample, shares[script], kana / han, simplified, traditional)
        else:
            named = _of_script(sample, script, shares[script])
        best = max(best, named, key=lambda each: each.probability)
    return best


def _of_script(sample: str, script: str, share: float) -> Identified:
    if script in ONE_LANGUAGE:
        return Identified(ONE_LANGUAGE[script], share)
    if script == "other":
        return Identified(UNKNOWN, 0.0)
    return _among(sample if share == 1 else without_other_letters(sample, script), _languages(script), share)


def _east(sample: str, share: float, kana: float, simplified: float, traditional: float) -> Identified:
    """Chinese or Japanese."""
    if kana > _JAPANESE:
        return Identified("ja", share)
    if kana > _CHINESE and (named := _among(sample, ("zh", "ja"), share)).code == "ja":
        return named
    variant = None if simplified == traditional else "zh-Hans" if simplified > traditional else "zh-Hant"
    return Identified("zh", share, variant)


def _among(sample: str, languages: tuple[str, ...], share: float) -> Identified:
    middle = (len(sample) - _FIRST_LOOK) // 2
    for part in (sample[middle : middle + _FIRST_LOOK], sample) if middle > 0 else (sample,):
        code, probability = classifier().most_probable(part, languages) or (UNKNOWN, 0.0)
        if probability >= _CERTAIN:
            break
    return Identified(_SAME_AS.get(code, code), share * probability)


@cache
def _languages(script: str) -> tuple[str, ...]:
    """Those of the classifier that are written in ``script``."""
    if script in SHARED:
        return SHARED[script]
    elsewhere = {language for languages in SHARED.values() for language in languages} - _LATIN_TOO
    elsewhere |= set(ONE_LANGUAGE.values()) | _EAST
    return tuple(dict.fromkeys(language for language in classifier().languages if language not in elsewhere))
