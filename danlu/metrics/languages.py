"""Which language texts are in, as far as metrics and slices need it, where nobody has said so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from danlu.text.byte_ngrams import classifier
from danlu.text.language import UNKNOWN, identify
from danlu.text.words import HAN
from danlu.ticks import ticking

_LETTER = re.compile(r"[^\W\d_]")
_LATIN = re.compile(
    "[A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a]"
)
_CHINESE = re.compile(f"[{HAN}]")
_KANA = re.compile("[\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f]")
_UNSPACED = re.compile("[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\uaa60-\uaa7f\ua9e0-\ua9ff]")
_JAPANESE = 0.1
"""Share of the letters that are kana, above which a text is Japanese, few of whose signs no Chinese text has."""
SURE = 0.9
"""So probable a language is, for a text to be an example of it."""
LEAST = 0.02
"""Share of the texts that a language has at least, for it not to be a mistake about a short text."""
OTHER = "other"
CODE = r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*$"
"""What a code of a language looks like."""
SAME = {
    "zh": ("zh", "zho", "chi", "cmn", "lzh", "wuu", "yue"), "en": ("en", "eng"), "ja": ("ja", "jpn"),
    "ko": ("ko", "kor"), "th": ("th", "tha", "lo", "lao", "km", "khm", "my", "mya"),
}  # fmt: skip
"""Codes of languages that are counted alike."""


def kind_of(language: str) -> str:
    """One of the kinds of :func:`language_of` for a code of ISO 639 or BCP 47: ``zh-Hans``, ``lzh``, ``EN_us`` …; any
    other code is its own kind.
    """
    code = re.split("[-_]", language.lower())[0]
    return next((kind for kind, codes in SAME.items() if code in codes), code)


def language_of(texts: Iterable[Sequence[str]]) -> str:
    """What most letters of the references are: ``zh``, ``ja``, ``th`` (which stands for all that have no spaces
    between words: Thai, Lao, Khmer, Burmese), ``en`` (for all in Latin letters, and for texts without any), ``und``
    (for all others, which have spaces).
    """
    text = "".join(reference for references in texts for reference in references)
    letters = len(_LETTER.findall(text))
    chinese, kana, unspaced, latin = (len(each.findall(text)) for each in (_CHINESE, _KANA, _UNSPACED, _LATIN))
    if 2 * (chinese + kana) > letters:
        return "zh" if kana <= _JAPANESE * letters else "ja"
    if 2 * unspaced > letters:
        return "th"
    return "en" if 2 * latin >= letters else "und"


def language_column(texts: Sequence[str]) -> list[str]:
    """A column for :func:`danlu.metrics.tally.slices`: the language of each text, ``en``, ``zh`` …, ``other``, ``und``.

    Short texts are easily mistaken. So languages are those that two texts, and a fiftieth of all, are surely in at
    least; a text that is surely in none of them is ``other``, any other is in the likeliest of them, and one without
    letters, or with too few to tell, is ``und``.
    """
    found = [identify(text) for text in ticking(texts)]
    counts = Counter(each.code for each in found if each.probability >= SURE and each.code != UNKNOWN)
    known = tuple(code for code, count in counts.items() if count >= max(2, LEAST * len(texts)))
    if not known:
        return [UNKNOWN] * len(texts)
    column = []
    for text, each in ticking(zip(texts, found, strict=True)):
        if each.code in (*known, UNKNOWN):
            column.append(each.code)
        elif each.probability >= SURE:
            column.append(OTHER)
        else:
            column.append(known[0] if len(known) == 1 else (classifier().most_probable(text, known) or (OTHER, 0.0))[0])
    return column
