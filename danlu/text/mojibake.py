"""Text that was decoded wrongly, mended by ftfy where it may be; looking comes first, for ftfy is slow."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ftfy

_ANY = "\x80-\u266b\uf8ff\ufb01\ufb02\ufffd"
_TELLING = "\x80-\x9f\xa2-\xaf\xb1-\xb3\xb5-\xb9\xba\xbc-\xbf\xc0-\xd1\xd7-\xf1\xf7\xfc\u0100-\u02df\u0402\u0490\u0491"
_TELLING += "\u201a\u2020\u2021\u2030\u2044\u20a7\u20ac\u2116\u2122\u2202-\u2265\u2310\u2500-\u25ff\ufb01\ufb02\ufffd"
SUSPICIOUS = re.compile(
    f"[{_ANY}](?:[{_TELLING}]|(?<=[{_TELLING}])[{_ANY}]"
    "|(?<=[ŒœÃÂ\x80-\x9f])"
    "|(?<=[ВГРС])[^\0-\x7f\u0400-\u04ff](?=[ВГРС])|(?<=[ΒΓΞΟ])[^\0-\x7f\u0370-\u03ff](?=[ΒΓΞΟ]))"
)
"""Whatever ``ftfy.badness.is_bad`` finds bad has this in it: two odd characters side by side, or a few alone.

ftfy 6.3 leaves every line alone that is not bad, so that what is not suspicious need not be shown to it.
"""


def repair(text: str) -> str:
    """Mend the lines that are suspicious; what ftfy finds nothing wrong with stays as it is."""
    if not SUSPICIOUS.search(text):
        return text
    import ftfy

    config = _config()
    # ftfy looks at one line at a time, too; a line end counts as what stands behind its last character
    lines = text.split("\n")
    last = len(lines) - 1
    for number, line in enumerate(lines):
        if SUSPICIOUS.search(line):
            end = "\n" if number < last else ""
            lines[number] = ftfy.fix_text(line + end, config=config).removesuffix(end)
    return "\n".join(lines)


@cache
def _config() -> ftfy.TextFixerConfig:
    """Encoding repairs alone: ftfy's defaults would also make ASCII of curly quotes and of full-width ``，``."""
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False,
        remove_terminal_escapes=False,
        uncurl_quotes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        fix_line_breaks=False,
        fix_surrogates=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )
