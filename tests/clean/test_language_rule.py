"""Documents and paragraphs in other languages."""

from __future__ import annotations

import pytest

from danlu.catalog import load
from danlu.clean.language_of import Language
from danlu.clean.language_rule import LanguageRule
from danlu.errors import RecipeError
from danlu.recipe import build, build_choice
from danlu.text.document import TARGET_START, Document

ENGLISH = "All human beings are born free and equal in dignity and rights, and nobody doubts it."
CHINESE = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。"
GERMAN = "Alle Menschen sind frei und gleich an Würde und Rechten geboren, und niemand zweifelt daran."
MIXED = f"{ENGLISH}\n\n{GERMAN}\n\n1789\n\n{CHINESE}\n\n{ENGLISH}"


def document(text: str, settings: Language | None = None, **meta: str) -> Document:
    return Document("a#0", text, {**(settings or Language()).describe(text), **meta})


def test_it_is_in_the_catalog() -> None:
    assert load("rule", "language", key="rules") is LanguageRule
    assert build_choice("rule", {"use": "language", "keep": "en"}, key="rules").keep == ("en",)


@pytest.mark.parametrize("code", ["english", "EN", "zh-Hant", ""])
def test_what_no_document_can_be_in_is_refused(code: str) -> None:
    with pytest.raises(RecipeError, match=rf"rules\.keep: must be language codes such as en or zh, .*; got '{code}'"):
        build_choice("rule", {"use": "language", "keep": ["en", code]}, key="rules")


@pytest.mark.parametrize(("text", "reason"), [(ENGLISH, None), (CHINESE, None), (GERMAN, "language: keep only en, zh")])
def test_only_some_languages_are_kept(text: str, reason: str | None) -> None:
    assert LanguageRule(keep=("en", "zh")).make()(document(text)) == reason


def test_what_is_not_sure_is_dropped() -> None:
    rule = LanguageRule(keep=("en",), least=0.9).make()
    assert rule(document(ENGLISH)) is None
    half = document(f"{ENGLISH} {CHINESE[:20]}")
    assert half.meta["language"] == "en" and 0.5 < float(half.meta["language_score"]) < 0.9
    assert rule(half) == "language: not sure"
    assert rule(Document("a#0", "Hm", {"language": "en"})) is None, "its source says so"


def test_paragraphs_are_left_cut_or_their_document_dropped() -> None:
    left, dropped = document(MIXED, language="en"), document(MIXED, language="en")
    cut = document(MIXED, Language(paragraphs=True), language="en")
    assert cut.meta["languages"].startswith("en 0.")
    assert LanguageRule(keep=("en", "zh")).make()(left) is None and left.text == MIXED
    assert LanguageRule(keep=("en",), others="cut").make()(cut) is None
    assert cut.text == f"{ENGLISH}\n\n1789\n\n{ENGLISH}" and "languages" not in cut.meta
    assert LanguageRule(keep=("en", "zh"), others="drop").make()(dropped) == "language: mixed"


def test_a_cut_text_keeps_what_stood_at_its_end_and_short_lines() -> None:
    text = f"OK\n{ENGLISH}\nNo.\n{GERMAN}\n"
    given = document(text, language="en")
    assert LanguageRule(keep=("en",), others="cut").make()(given) is None
    assert given.text == f"OK\n{ENGLISH}\nNo.\n"


def test_a_pair_is_never_cut() -> None:
    given = document(f"{ENGLISH}\n{GERMAN}", language="en", **{TARGET_START: str(len(ENGLISH) + 1)})
    assert LanguageRule(keep=("en",), others="cut").make()(given) == "language: mixed"
    assert LanguageRule(keep=("en",)).make()(given) is None


def test_nothing_left() -> None:
    given = document(f"{GERMAN}\n\n{GERMAN}", language="en")
    assert LanguageRule(keep=("en",), others="cut").make()(given) == "language: nothing left"


def test_what_meta_says() -> None:
    assert Language().describe(CHINESE) == {"language": "zh", "language_score": "1.00", "language_variant": "zh-Hans"}
    assert Language(least=0.9).describe("ab") | {"language_score": ""} == {"language": "und", "language_score": ""}
    assert Language().describe("12") == {"language": "und", "language_score": "0.00"}


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "rules.keep is required"),
        ({"keep": []}, "rules.keep must be a list of at least 1; got []"),
        ({"keep": "en", "least": 2}, "rules.least must be at most 1.0; got 2"),
        (
            {"keep": "en", "others": "cuts"},
            "rules.others must be 'leave', 'cut' or 'drop'; got 'cuts'; did you mean 'cut'?",
        ),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, object], line: str) -> None:
    with pytest.raises(RecipeError) as error:
        build(LanguageRule, settings, key="rules")
    assert str(error.value) == line
