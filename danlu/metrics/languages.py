"""Whether texts are Chinese, whose words no spaces part, where nobody has said so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_LETTER = re.compile(r"[^\W\d_]")
_HAN, _KANA = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"), re.compile("[\u3040-\u30ff]")
_JAPANESE = 0.1
"""Share of the letters that are kana, above which a text is Japanese, few of whose signs no Chinese text has."""


def language_of(texts: Iterable[Sequence[str]]) -> str:
    """``zh`` where most letters of the references are Chinese, else ``en``, which stands for all with spaces."""
    text = "".join(reference for references in texts for reference in references)
    letters, kana = len(_LETTER.findall(text)), len(_KANA.findall(text))
    return "zh" if 2 * len(_HAN.findall(text)) > letters and kana <= _JAPANESE * letters else "en"
