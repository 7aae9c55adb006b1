"""Characters that are spelt out: their values by ``html`` and ``json``, their places by hand."""

from __future__ import annotations

import html
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.clean.private import find_private
from danlu.clean.private_escapes import unescaped


@pytest.mark.parametrize("escape", ["&#49;", "&#x31;", "&#X31;", "&#000049;", "&#x1f600;", "&#30005;"])
def test_those_of_html_are_what_html_says(escape: str) -> None:
    assert unescaped(f"a{escape}b")[0] == f"a{html.unescape(escape)}b"


def test_those_of_json_are_what_json_says() -> None:
    text = json.dumps("电话 éa")[1:-1]
    assert unescaped(text)[0] == json.loads(f'"{text}"')


@pytest.mark.parametrize("text", ["&#;", "&#10;", "&#xd800;", "\\ud83d", "\\u00zz", "&#9999999;", "C:\\users", "plain"])
def test_what_is_no_such_character_stays(text: str) -> None:
    assert unescaped(text) == (text, None)


@settings(max_examples=100)
@given(st.lists(st.sampled_from(["a", "é", "𠀀", "&#49;", "\\u7535", "&#x2D;", "&#", "\\u"]), max_size=12))
def test_every_character_knows_where_it_stands(parts: list[str]) -> None:
    text = "".join(parts)
    plain, places = unescaped(text)
    if places is None:
        return
    starts, ends = (each.tolist() for each in places)
    assert starts == [0, *ends[:-1]] and ends[-1] == len(text), "nothing lies between them"
    assert [unescaped(text[start:end])[0] for start, end in zip(starts, ends, strict=True)] == list(plain)


def test_a_value_is_hidden_with_all_that_spells_it() -> None:
    text = "tel &#49;&#51;\\u00388&#x31;&#50;345678, a\u200b b 1️⃣3️⃣8️⃣1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣7️⃣8️⃣ c"
    first, second = (text[found.start : found.end] for found in find_private(text))
    assert first == "&#49;&#51;\\u00388&#x31;&#50;345678"
    assert second == "1️⃣3️⃣8️⃣1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣7️⃣8️⃣"
