"""Normalisation: what changes, what never does."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.text.normalise import Form, normalise

forms = st.sampled_from(["NFC", "NFKC", "none"])
difficult = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]), st.sampled_from("\r\n\t\0\x0b\x0c\x85\ufeffe\u0301ﬁ，가\u1100\u1161")
    )
)


@given(difficult, forms)
def test_twice_is_once(text: str, form: Form) -> None:
    once = normalise(text, form=form)
    assert normalise(once, form=form) == once


@given(difficult, forms)
def test_what_remains_has_one_form(text: str, form: Form) -> None:
    result = normalise(text, form=form)
    assert form == "none" or unicodedata.is_normalized(form, result)
    assert not any(unicodedata.category(character) == "Cc" and character not in "\n\t" for character in result)
    assert "\ufeff" not in result


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff")))
def test_without_control_characters_only_the_form_changes(text: str) -> None:
    assert normalise(text, form="none") == text
    assert normalise(text) == unicodedata.normalize("NFC", text)


@given(st.text(st.characters(max_codepoint=126, min_codepoint=32) | st.sampled_from("\n\t")))
def test_plain_ascii_is_left_as_it_is(text: str) -> None:
    assert normalise(text) is text or normalise(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("\r\r\n\n", "\n\n\n"),
        ("\ufeffa", "a"),
        ("page\x0cpage\x0bline\x85next", "page\npage\nline\nnext"),
        ("a\0b\x1b[0m\x7f\x9f\tc", "ab[0m\tc"),
        ("e\0\u0301", "é"),
        ("e\u0301", "é"),
        ("，：ＡＢ①ﬁ", "，：ＡＢ①ﬁ"),
    ],
)
def test_examples(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_nfkc_is_there_for_who_asks() -> None:
    assert normalise("，：ＡＢ①ﬁ", form="NFKC") == ",:AB1fi"


def test_repair_mends_encodings_and_leaves_typography() -> None:
    assert normalise("cafÃ© â€œyesâ€\x9d", repair=True) == "café “yes”"
    assert normalise("“曰：‘善’”，ＡＢ &amp; ﬁ…", repair=True) == "“曰：‘善’”，ＡＢ &amp; ﬁ…"
    assert normalise("cafÃ©") == "cafÃ©"
