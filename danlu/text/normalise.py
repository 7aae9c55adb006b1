"""One form for every text: line ends, control characters, Unicode normal form and what else the settings ask for.

Normalising twice is normalising once: the steps are taken again until they change nothing.
"""

from __future__ import annotations

import re
import unicodedata

from danlu.text.mojibake import repair
from danlu.text.normal_form import Normalise
from danlu.text.spaces import few_blank_lines, plain_spaces, single_spaces
from danlu.text.wrapped import join_lines

_ROUNDS = 8
"""Two are enough for all but made-up texts: one step rarely gives an earlier one something to do."""

_ODD = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What the steps for control and invisible characters look for: most texts have none; to look is faster."""

_ESCAPES = re.compile("\x1b\\[[0-9;]*[a-zA-Z]")
_OVERSTRUCK = re.compile("_\x08(?=[^\x08\n])|([^\x08\n])\x08(?=\\1)|\\+\x08(?=o)|(?<=[^\x08\n])\x08_")
"""Bold and underlined letters and bullets, as ``man`` and ``nroff`` print them: struck twice at one place."""
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_DROPPED = re.compile("[\0-\x08\x0e-\x1f\x7f-\x9f\ufeff]")

_BROKEN_WORD = re.compile(r"(?<=[^\W\d_])\xad(?=\n[ \t]*[^\W\d_])")
"""A soft hyphen that shows, for a line ends with it: so ``groff`` writes Latin-1."""
_INVISIBLE = re.compile(
    "[\xad\u180e\u202a-\u202e\u2060-\u2069]"  # soft hyphens, marks that embed a direction, word joiners
    "|(?<![\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])\u200b"  # parts words in Thai, Lao, Burmese and Khmer
    "|(?<![\u0590-\u109f\u1780-\u18af\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])[\u200c\u200d]"  # Persian, Hindi, emoji
    "|(?<![\u0590-\u08ff])[\u200e\u200f](?![\u0590-\u08ff])"  # marks beside Hebrew and Arabic
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+"  # tags that are no part of a flag
)

_KATAKANA = "[\u3041-\u3096\u30a1-\u30fa]?[\uff61-\uff9f]+"  # with the kana before that a mark of voice may belong to
_WIDE = {
    "letters": re.compile(f"[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]+|{_KATAKANA}"),
    "all": re.compile(f"[\uff01-\uff5e\uffe0-\uffe6\u3000]+|{_KATAKANA}"),
}


def normalise(text: str, settings: Normalise | None = None) -> str:
    r"""Take the steps of ``settings`` in their order, until they change nothing.

    Always: line ends (also vertical tab, form feed, next line, U+2028 and U+2029, which parted words) are
    ``\n``; control characters but ``\n`` and tab, escapes that colour terminals, and byte order marks
    fall; a surrogate pair is its character and half a pair U+FFFD. ``settings.chinese`` is not seen to
    here, for it asks for the language: ``danlu.text.chinese.convert``.
    """
    settings = settings or _DEFAULT
    for _ in range(_ROUNDS):
        before, text = text, _once(text, settings)
        if text == before:
            break
    return text


_DEFAULT = Normalise()


def _once(text: str, settings: Normalise) -> str:
    plain = text.isascii()
    if settings.repair and not plain:
        text = repair(text)
    is_odd = _ODD.search(text) is not None
    if is_odd:
        text = _one_kind_of_line_end(text)
    if not plain and settings.form != "none":
        text = unicodedata.normalize(settings.form, text)
    if is_odd and settings.invisible:
        text = _INVISIBLE.sub("", _BROKEN_WORD.sub("-", text))
    if not plain and settings.width != "keep":
        text = _WIDE[settings.width].sub(lambda run: unicodedata.normalize("NFKC", run[0]), text)
    if settings.spaces != "keep":
        text = plain_spaces(text)
        text = single_spaces(text) if settings.spaces == "single" else text
    if settings.join_lines:
        text = join_lines(text)
    return text if settings.blank_lines is None else few_blank_lines(text, settings.blank_lines)


def _one_kind_of_line_end(text: str) -> str:
    if _SURROGATE.search(text):
        text = _SURROGATE_PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
        text = _SURROGATE.sub("\ufffd", text)
    text = _ESCAPES.sub("", text)
    if "\x08" in text:
        text = _OVERSTRUCK.sub("", text)
    return _DROPPED.sub("", _LINE_ENDS.sub("\n", text))
