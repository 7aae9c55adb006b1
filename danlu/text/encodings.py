"""Which encoding bytes of text are in, where that is certain; else which ones it could be.

A byte order mark says it, and so does valid UTF-8, which text in another encoding is not by chance. For the rest, each
encoding that can decode the bytes at all is judged by what it makes of them: a right decoding gives the frequent
characters of a language, a wrong one rare ones. One that stands far above all others is certain.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from danlu.text.frequent import CYRILLIC, HANGUL, KANA, LATIN, SIGNS, SIMPLIFIED, TRADITIONAL

MARKS = (  # UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
SAMPLE_BYTES = 65_536
"""Enough to be sure of; more says the same."""
_FREQUENT = {
    "gb18030": SIMPLIFIED,
    "cp950": TRADITIONAL,
    "big5hkscs": TRADITIONAL,
    "cp932": KANA,
    "euc_jp": KANA,
    "cp949": HANGUL,
}
_ENCODINGS = (*_FREQUENT, "cp1251", "koi8-r", "cp1252")
SEVEN_BIT = ("iso2022_jp_ext", "iso2022_kr", "hz")
"""Of mail and news: bytes of ASCII alone, which shifts make other characters of (RFC 1468, RFC 1557, RFC 1843)."""
ENCODINGS = (
    *("utf-8", *WIDE, "utf-16", "utf-32", *_ENCODINGS, "big5", "gbk", "shift_jis", "euc_kr", "latin-1"),
    *SEVEN_BIT,
)
"""Names to choose from; Python knows more."""
_OF_PROGRAMS = ("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape")
"""Codecs of Python's that no text is written in; some of them raise errors of their own."""
_BYTE_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_SHIFT = re.compile(rb"\x1b\$(?:[@B]|\([@BD]|\)C)|~\{")
_ODD = re.compile(
    r"(?!ç[ãõáàâóú]|Ç[ÃÕÁÀÂÓÚ]|éé|ÉÉ|[äöåÄÖÅ]{2})[^\x00-\x7f“”‘’„–—…«»‹›\u00a0ß]{2,}"  # together
    r"|(?<=[a-zß-ÿ])[À-ÖØ-Þ]|(?<=[^\W\d_])[¿¡£©®§]|(?<=[^\W\d_])(?<![lL])·|¿(?=\s)"  # capitals and signs within a word
    r"|[Ññ](?![aeiouáéíóúAEIOUÁÉÍÓÚ])|[Ãã](?![oeOE\W]|$)|[Õõ](?![eE])|[ìò](?=[^\W\d_])|(?<!voc)(?<!qu)ê\b|œ(?![uide])"
)
"""What Western languages do not write, where quotes, ß and some vowels may stand together; bytes of Eastern Europe's,
of Turkish and East Asian text look so."""
_CYRILLIC_WORD = re.compile(r"\b[\u0400-\u04ff]?(?:[\u0430-\u045f\u0491]+|[\u0400-\u042f\u0490]+)\b")
_ALL = 0.95
_SURE = 0.35
"""Share of the letters beyond ASCII that have to be frequent ones."""
_TELLING = 6
"""Bytes: two Chinese characters in UTF-8, as which three of an encoding with two bytes each hardly ever are valid."""
_LONG = re.compile(rb"[\xe0-\xff]")
"""Begins a character of more than two bytes in UTF-8."""
_ASCII = bytes(range(128))
_ALONE = 0.2
"""The same where no other encoding gives a single frequent one."""
_DAMAGED = 0.01
"""Share of the characters beyond ASCII that may be damaged in an encoding with two bytes each: a novel or a page with a
byte too few is still in its encoding, and who reads it says which bytes are not."""
_AHEAD = {"euc_jp": 1.3}
"""How many times as large that share has to be as that of any other encoding, where not twice: read as Big5, kana are
frequent signs, while hardly any Big5 can be read as EUC-JP."""


@dataclass(frozen=True, slots=True)
class Detected:
    """What bytes are in: an encoding that is certain; or none, and those that are likely, the likeliest first."""

    encoding: str | None
    likely: tuple[str, ...] = ()
    binary: bool = False
    """It holds NULs and is no text in any encoding."""


def detect(sample: bytes, *, whole: bool = True) -> Detected:
    """What ``sample``, the beginning of a text or a part that begins with a line, is in.

    ``utf-8`` is said of ASCII too, and of UTF-8 in which a few bytes are damaged; so is any other encoding of Chinese,
    Japanese and Korean.

    Args:
        whole: whether the text ends where the sample does; else its last character may be cut.
    """
    for mark, name in MARKS:
        if sample.startswith(mark):
            return Detected(name)
    if b"\0" in sample:
        return _wide(sample, whole=whole)
    if (shifted := _shifted(sample, whole=whole)) is not None:
        return Detected(shifted)
    if sample.isascii() or _decoded(sample, "utf-8", whole=whole) is not None or _is_mostly_utf8(sample):
        return Detected("utf-8")
    # Lines of UTF-8 among others, as where files were joined, say nothing of the others.
    sample = b"\n".join(line for line in sample.split(b"\n") if not is_utf8(line, not_in="gb18030"))
    texts = {name: _decoded(sample, name, whole=whole) for name in _ENCODINGS}
    found = _likeliest(texts)
    if found.encoding is not None:
        return found
    damaged = _likeliest({**texts, **{name: _mended(sample, name, whole=whole) for name in _FREQUENT}})
    return found if damaged.encoding is None else damaged


def _likeliest(texts: Mapping[str, str | None]) -> Detected:
    """The encoding that has made text of the bytes, of what each has made of them; None where one cannot be it."""
    scores = {name: _score(text, name) for name, text in texts.items()}
    if scores["cp950"] is not None:
        scores["big5hkscs"] = None  # its extension, which is looked at where that fails
    found = sorted(((score, name) for name, score in scores.items() if score is not None), reverse=True)
    (best, name), second = found[0] if found else (0.0, ""), found[1][0] if len(found) > 1 else 0.0
    if best >= (_SURE if second else _ALONE) and best >= _AHEAD.get(name, 2.0) * second:
        return Detected(name)
    return Detected(None, tuple(name for score, name in found[:3] if score > 0) or ("cp1252",))


def detect_whole(content: bytes) -> Detected:
    """What a whole text is in, by a part of it that goes beyond ASCII."""
    beginning = detect(content[:SAMPLE_BYTES], whole=len(content) <= SAMPLE_BYTES)
    beyond = _BYTE_BEYOND_ASCII.search(content) or _SHIFT.search(content)
    if beginning.encoding in WIDE or beginning.binary or beyond is None:
        return beginning
    start = max(content.rfind(b"\n", 0, beyond.start()) + 1, beyond.start() - SAMPLE_BYTES // 2)
    return detect(content[start : start + SAMPLE_BYTES], whole=start + SAMPLE_BYTES >= len(content))


def contradicts(found: Detected, stated: str) -> bool:
    """Whether what bytes are in is certain, and not what is ``stated`` of them, which would make other signs of them.

    Of encodings that are never found here, nothing is known but that Chinese, Japanese or Korean is none of them.
    """
    if found.encoding is None or found.encoding in WIDE or found.encoding == "utf-8":
        return False
    stated = codecs.lookup(stated).name
    family = {"big5hkscs": "cp950", "gbk": "gb18030", "gb2312": "gb18030"}
    if family.get(stated, stated) == family.get(found.encoding, found.encoding):
        return False
    return found.encoding in _FREQUENT or stated in _ENCODINGS


def is_known(encoding: str) -> bool:
    """Whether Python has an encoding of text of this name."""
    try:
        codec = codecs.lookup(encoding)
    except (LookupError, ValueError):  # a NUL in the name
        return False
    return bool(getattr(codec, "_is_text_encoding", True)) and codec.name not in _OF_PROGRAMS


def is_utf8(content: bytes, *, not_in: str | None) -> bool:
    """Whether it is valid UTF-8, and no chance, by the number of bytes beyond ASCII, that text in ``not_in`` is."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return not_in not in _FREQUENT or not is_short(content)


def is_line_of_utf8(line: bytes, *, within: str | None) -> bool:
    """Whether a line of a text in ``within`` is in UTF-8, as where files were joined.

    It is where it is valid UTF-8 and ``within`` makes no text of it that a language writes; within an encoding of
    Chinese, Japanese or Korean it also has to have six bytes beyond ASCII, or twelve where none of its characters
    has more than two bytes. A line that could be either, such as a short one, is in ``within``; but where that has a
    byte for each letter, it is in UTF-8 if that makes as good a text of it. Of None, nothing is known.
    """
    if not is_utf8(line, not_in=within):
        return False
    if within is None:
        return True
    if within in _FREQUENT and len(line.translate(None, _ASCII)) < 2 * _TELLING and not _LONG.search(line):
        return False
    own = _score(_decoded(line, within, whole=True), within) or 0.0
    if own < _SURE:
        return True
    text = line.decode()
    return within not in _FREQUENT and any((_score(text, each) or 0.0) >= own for each in _ENCODINGS)


def may_tell(line: bytes) -> bool:
    """Whether a line says something of what it is in: it goes beyond ASCII, or shifts to other characters."""
    return not line.isascii() or _SHIFT.search(line) is not None


def is_shifted(line: bytes) -> bool:
    """Whether a line is Japanese as mail has it, whatever the lines around it are in."""
    return b"\x1b$" in line and _shifted(line, whole=True) == "iso2022_jp_ext"


def is_short(content: bytes) -> bool:
    """Whether it has so few bytes beyond ASCII that what they could be is chance."""
    return len(content.translate(None, _ASCII)) < _TELLING


def of_marked(head: bytes, encoding: str) -> str:
    """``encoding`` by its plain name; of UTF-16 and UTF-32 with the order that a mark says, else little-endian."""
    name = codecs.lookup(encoding).name
    if name not in ("utf-16", "utf-32"):
        return name.removesuffix("-sig")
    return next((known for mark, known in MARKS if known.startswith(name) and head.startswith(mark)), f"{name}-le")


def line_end(encoding: str) -> bytes:
    """The bytes of a newline: one, or in UTF-16 and UTF-32 as many as of any character there."""
    return "\n".encode(encoding) if encoding in WIDE else b"\n"


def _decoded(sample: bytes, encoding: str, *, whole: bool) -> str | None:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        return decoder.decode(sample, final=whole)
    except UnicodeDecodeError:
        return None


def _shifted(sample: bytes, *, whole: bool) -> str | None:
    """The encoding whose shifts are in the sample, where it is ASCII otherwise and makes text of all of it."""
    if not sample.isascii() or (shift := _SHIFT.search(sample)) is None:
        return None
    name = "hz" if shift[0] == b"~{" else "iso2022_kr" if shift[0].endswith(b"C") else "iso2022_jp_ext"
    text = _decoded(sample, name, whole=whole)
    if text is None or text.isascii() or (name == "hz" and (_score(text, "gb18030") or 0.0) < _SURE):
        return None
    return name


def _mended(sample: bytes, encoding: str, *, whole: bool) -> str | None:
    """What the bytes that ``encoding`` has give; None where it lacks more than a few of them."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(sample, final=whole)
    lacking = text.count("\ufffd")
    beyond = len(_BEYOND_ASCII.findall(text))
    return text.replace("\ufffd", "") if lacking <= _DAMAGED * beyond else None


def _is_mostly_utf8(sample: bytes) -> bool:
    """Whether it is UTF-8 that was damaged or cut."""
    text = sample.decode("utf-8", "replace")
    return text.count("\ufffd") * 10 <= sum(ord(letter) > 127 for letter in text)


def _score(text: str | None, encoding: str) -> float | None:
    """How much of the text is as a language writes it, from 0 to 1; None where it cannot be that encoding."""
    if text is None:
        return None
    beyond = Counter(_BEYOND_ASCII.findall(text))
    unused = sum(count for each, count in beyond.items() if unicodedata.category(each) in ("Cc", "Co", "Cn"))
    if unused > 0.01 * beyond.total():
        return 0.0
    if encoding == "cp1252":
        return _western(text, beyond)
    letters = Counter({each: count for each, count in beyond.items() if each.isalpha()})
    if encoding in ("cp1251", "koi8-r"):
        return _cyrillic(text, letters) if all(each in SIGNS for each in beyond - letters) else 0.0
    return _share(letters, _FREQUENT[encoding])


def _share(letters: Counter[str], among: Collection[str]) -> float:
    return sum(count for each, count in letters.items() if each in among) / max(1, letters.total())


def _western(text: str, beyond: Counter[str]) -> float:
    """The share that one language accounts for, where the letters stand as they do in these languages."""
    letters = Counter({each: count for each, count in beyond.items() if each not in SIGNS})
    best = max(_share(letters, language) for language in LATIN) if letters else 1.0
    odd = len(_ODD.findall(text))
    return best if best >= _ALL and odd <= (1 - _ALL) * beyond.total() else 0.0


def _cyrillic(text: str, letters: Counter[str]) -> float:
    """The share in words of Cyrillic letters alone, with capitals only in front or throughout."""
    words = list(map(len, _CYRILLIC_WORD.findall(text)))
    in_words = sum(words) / max(1, letters.total())
    long = sum(length for length in words if length > 2) >= 0.5 * letters.total()  # the Italian è alone is и
    return in_words if in_words >= _ALL and long and _share(letters, CYRILLIC) >= 0.5 else 0.0


def _wide(sample: bytes, *, whole: bool) -> Detected:
    """UTF-16 or UTF-32 without its mark, told by the characters that text is made of; else it is no text."""
    found = []
    for name in WIDE:
        text = _decoded(sample, name, whole=whole)
        if text is None or any(unicodedata.category(each) in ("Cn", "Co") or each < "\t" for each in set(text)):
            continue
        usual = sum(each < "\x7f" or each in _USUAL for each in text)
        found.append((usual / max(1, len(text)), name))
    found.sort(reverse=True)
    if found and found[0][0] >= _SURE and (len(found) == 1 or found[0][0] >= 2 * found[1][0]):
        return Detected(found[0][1])
    return Detected(None, binary=True)


_USUAL = SIMPLIFIED | TRADITIONAL | KANA | HANGUL | CYRILLIC
