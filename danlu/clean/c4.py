"""C4's rules: Raffel et al. 2020 (JMLR 21:140, section 2.2) and the code they were run by, in any script.

First lines fall, which changes the document's text; what is left decides about the document.
"""

from __future__ import annotations

import math
import re
from functools import cache

from pydantic import Field

from danlu.clean.ends import CHINESE_ELLIPSES, QUOTES, STOPS, UNMARKED
from danlu.clean.figures import KANA_CLASS, THAI_CLASS, UNSPACED_CLASS
from danlu.clean.rules import Rule
from danlu.clean.scripts import HAN_PER_WORD, KANA_PER_WORD, THAI_PER_WORD
from danlu.recipe import Choice
from danlu.text.document import TARGET_START, Document, pair
from danlu.text.sentences import sentence_starts
from danlu.text.words import HAN

POLICIES = (
    *("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"),
    *(
        "使用条款",
        "服务条款",
        "隐私政策",
        "隐私条款",
        "用户协议",
        "cookie政策",
        "cookie 政策",
        "使用cookie",
        "使用 cookie",
    ),
    *("使用條款", "服務條款", "隱私政策", "隱私權政策", "用戶協議"),
    *("利用規約", "プライバシーポリシー"),
)
"""A line with one of these is about the site: those of C4's code, and the same in Chinese and Japanese."""
_PLAIN_POLICIES = tuple(filter(str.isascii, POLICIES))
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_ENDS = STOPS | UNMARKED | frozenset(QUOTES)
_BREAKS = re.compile(rf"[\s{UNSPACED_CLASS}]+")
_HAN = re.compile(f"[{HAN}]")
_KANA = re.compile(f"[{KANA_CLASS}]")
_THAI = re.compile(f"[{THAI_CLASS}]")
_LOOKED_AT = 4000
"""Characters of a line whose sentences are counted, unless they are too few: most lines that long have enough."""


class C4(Choice):
    """Keep the lines that are sentences, and the documents with enough of them, by C4's rules.

    A line stays if it ends with a mark that ends a sentence or closes a quotation (not ``...``; in Thai and Lao, which
    have no such mark, with a letter), has ``min_line_words`` and no longer word than ``max_word_length``, and says
    nothing of JavaScript, cookies and terms of use; marks of citations are taken out. A document falls that has ``lorem
    ipsum``, a curly bracket, or too few sentences in those lines. Words of scripts without spaces:
    :mod:`danlu.clean.scripts`. C4's list of bad words is the rule ``bad_words``.
    """

    min_sentences: int = Field(default=5, ge=0)
    """Sentences of a document at least."""
    min_line_words: int = Field(default=3, ge=0)
    """Words of a line at least."""
    max_word_length: int = Field(default=1000, ge=1)
    """Characters of a word at most, in a line that stays."""

    def make(self) -> Rule:
        def drop(document: Document) -> str | None:
            kept = []
            for side in document.sides:
                lines = self._sentences(side)
                lowered = "\n".join(lines).lower()
                if "lorem ipsum" in lowered:
                    return "c4: lorem ipsum"
                if "javascript" in lowered:
                    lines = [line for line in lines if "javascript" not in line.lower()]
                if "{" in lowered and any("{" in line for line in lines):
                    return "c4: curly bracket"
                if _is_policy(lowered):
                    lines = [line for line in lines if not _is_policy(line.lower())]
                kept.append(lines)
            if not all(kept) or not self._enough_sentences([line for lines in kept for line in lines]):
                return "c4: sentences"
            texts = ["\n".join(lines).strip() for lines in kept]
            if TARGET_START in document.meta:
                document.text, where = pair(*texts)
                document.meta.update(where)
            else:
                (document.text,) = texts
            return None

        return drop

    def _sentences(self, text: str) -> list[str]:
        """The lines that are sentences."""
        kept = []
        for line in map(str.strip, text.split("\n")):
            if len(line) > self.max_word_length and max(map(len, _BREAKS.split(line))) > self.max_word_length:
                continue
            clean = _CITATION.sub("", line) if "[" in line else line
            ended = clean[-1:] in _ENDS or clean.endswith(CHINESE_ELLIPSES)
            if ended and not clean.endswith("...") and has_words(line, self.min_line_words):
                kept.append(clean)
        return kept

    def _enough_sentences(self, lines: list[str]) -> bool:
        """Whether there are ``min_sentences`` in all; a line has at least one."""
        if len(lines) >= self.min_sentences:
            return True
        missing = self.min_sentences
        for line in lines:
            missing -= self._sentences_in(line, missing)
            if missing <= 0:
                return True
        return missing <= 0

    def _sentences_in(self, line: str, enough: int) -> int:
        """The sentences of a line, or more than ``enough`` of them; Thai and Lao part them, and clauses, by spaces."""
        if line[-1:] in UNMARKED:
            return max(1, sum(has_words(piece, self.min_line_words) for piece in line.split()))
        found = len(sentence_starts(line[:_LOOKED_AT]))
        if len(line) > _LOOKED_AT and found <= enough:  # the last one found may be none
            found = len(sentence_starts(line))
        return found


def _is_policy(lowered: str) -> bool:
    """Whether a text in small letters says one of ``POLICIES``; each alone is found faster than all by a pattern."""
    return any(said in lowered for said in (_PLAIN_POLICIES if lowered.isascii() else POLICIES))


def has_words(line: str, least: int) -> bool:
    """Whether ``line`` has so many words: between spaces, or by characters of scripts without them."""
    if least <= 0 or len(line.split(None, least - 1)) >= least:
        return True
    if line.isascii():
        return False
    if _han_begins(math.ceil(least * HAN_PER_WORD)).match(line):
        return True
    spaced = len(re.findall(rf"[^\s{UNSPACED_CLASS}]*[^\W_{UNSPACED_CLASS}][^\s{UNSPACED_CLASS}]*", line))
    han, kana, thai = (len(letters.findall(line)) for letters in (_HAN, _KANA, _THAI))
    return spaced + han / HAN_PER_WORD + kana / KANA_PER_WORD + thai / THAI_PER_WORD >= least


@cache
def _han_begins(characters: int) -> re.Pattern[str]:
    """Text with so many Chinese characters."""
    return re.compile(rf"(?:[^{HAN}]*[{HAN}]){{{characters}}}")
