"""Letters by script, against Unicode's property Script as the package regex has it."""

from __future__ import annotations

import pytest
import regex

from danlu.text.script import SCRIPTS, letters_by_script, letters_of, without_other_letters

UNICODE = {"Burmese": "Myanmar", "Kana": r"Hiragana}\p{Katakana"}
COMMON = "".join(
    chr(code) for code in [*range(0x1D00), *range(0x1E00, 0x2C00), *range(0x3000, 0xA000), *range(0xAC00, 0xD7A4)]
)


@pytest.mark.parametrize(
    "script", [each for each in SCRIPTS if each not in ("Han", "Simplified", "Traditional", "other")]
)
def test_the_letters_of_a_script_are_those_of_unicode(script: str) -> None:
    name = UNICODE.get(script, script)
    letters = "".join(regex.findall(rf"[[\p{{{name}}}]&&\p{{L}}]", COMMON, regex.V1))
    found = letters_by_script(letters)
    assert max(found, key=found.__getitem__) == script
    missing = set(letters) - set(letters_of(script))
    assert len(missing) <= 0.05 * len(letters), missing
    others = "".join(regex.findall(rf"[\p{{L}}--[\p{{{name}}}]]", COMMON, regex.V1))
    known = "".join(letters_of(each) for each in SCRIPTS)
    wrong = set(without_other_letters(others, script)) & set(known)
    assert len(wrong) <= 0.03 * len(letters) + 2, wrong


def test_han_of_both_one_and_the_other_script() -> None:
    assert letters_by_script("人们們 ab") == {"Latin": 2, "Han": 3, "Simplified": 3, "Traditional": 3}
    assert letters_by_script("12 — £ \ud800 🙂") == letters_by_script("") == {}
