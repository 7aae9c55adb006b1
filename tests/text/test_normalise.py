"""Normalisation: what changes, what never does."""

from __future__ import annotations

import re
import unicodedata
from typing import get_args

import ftfy
import pytest
from ftfy.badness import MOJIBAKE_CATEGORIES, is_bad
from hypothesis import given
from hypothesis import strategies as st

from danlu.text.mojibake import SUSPICIOUS, repair
from danlu.text.normal_form import Form, Normalise, Spaces, Width
from danlu.text.normalise import normalise

forms = st.sampled_from(get_args(Form))
every_choice = st.builds(
    Normalise,
    form=forms,
    repair=st.booleans(),
    invisible=st.booleans(),
    width=st.sampled_from(get_args(Width)),
    spaces=st.sampled_from(get_args(Spaces)),
    join_lines=st.booleans(),
    blank_lines=st.sampled_from([None, 0, 1, 2]),
)
odd = "\r\n\t\0\x0b\x0c\x85\x93\ufeffe\u0301ﬁ，가\u1100\u1161  \xa0\u3000\xad\u200b\u200d\u2028ÃÂ©â€™œйРｶﾞ\u3099Ａ！"
odd += "\ud83d\ude00\x1b[0m🄐👩"
difficult = st.text(st.one_of(st.characters(), st.sampled_from(odd)))
wrapped = st.lists(
    st.lists(st.text(st.sampled_from("ab-é好。，"), min_size=1, max_size=9), max_size=60), max_size=5
).map(
    lambda lines: "\n".join(
        "\n".join(" ".join(words[at : at + 9]) for at in range(0, len(words), 9)) for words in lines
    )
)


@given(difficult | wrapped, every_choice)
def test_twice_is_once(text: str, settings: Normalise) -> None:
    once = normalise(text, settings)
    assert normalise(once, settings) == once


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        ("Ã\u200b©", Normalise(), "é"),  # what parted the two falls after repairing
        ("e\u200b\u0301", Normalise(), "é"),  # and after composing
        ("カ\u200bﾞ", Normalise(width="letters"), "ガ"),
        ("a \u3000\nb", Normalise(form="NFKC", spaces="single"), "a\nb"),
    ],
)
def test_what_a_late_step_leaves_to_an_early_one(text: str, settings: Normalise, expected: str) -> None:
    assert normalise(text, settings) == expected
    assert normalise(expected, settings) == expected


@given(difficult, every_choice)
def test_what_remains_has_one_form(text: str, settings: Normalise) -> None:
    result = normalise(text, settings)
    assert settings.form == "none" or unicodedata.is_normalized(settings.form, result)
    assert not any(unicodedata.category(character) == "Cc" and character not in "\n\t" for character in result)
    assert "\ufeff" not in result
    result.encode()  # no half of a surrogate pair


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"])))
def test_without_control_characters_only_the_form_changes(text: str) -> None:
    assert normalise(text, Normalise(form="none", repair=False)) == text
    assert normalise(text, Normalise(repair=False)) == unicodedata.normalize("NFC", text)


@given(st.text(st.characters(max_codepoint=126, min_codepoint=32) | st.sampled_from("\n\t")))
def test_plain_ascii_is_left_as_it_is(text: str) -> None:
    assert normalise(text) is text or normalise(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("\r\r\n\n", "\n\n\n"),
        ("\ufeffa", "a"),
        ("page\x0cpage\x0bline\u2028next", "page\npage\nline\nnext"),
        ("a\0b\x1b[0m\x7f\tc", "ab\tc"),
        ("e\0\u0301", "é"),
        ("N\bNA\bAM\bM\bME _\bf_\bo o\b_ +\bo ___\b\b\bend", "NAME fo o o ___end"),  # struck twice by nroff
        ("e\u0301", "é"),
        ("，：ＡＢ①ﬁ", "，：ＡＢ①ﬁ"),
        ("half \ud83d, whole \ud83d\ude00", "half \ufffd, whole 😀"),
        ("before their trans\xad\n  formation, co\xad\n\xad \n", "before their trans-\n  formation, co\n \n"),
        ("co\xadoperate, zero\u200bwidth, \u202eright\u202c, A\u200dB", "cooperate, zerowidth, right, AB"),
        ("می\u200cخواهم क्\u200dष 👩\u200d💻 ภาษา\u200bไทย", "می\u200cخواهم क्\u200dष 👩\u200d💻 ภาษา\u200bไทย"),
        ("a\U000e0068\U000e0069b 🏴\U000e0067\U000e0062\U000e007f", "ab 🏴\U000e0067\U000e0062\U000e007f"),
    ],
)
def test_examples(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_nfkc_is_there_for_who_asks() -> None:
    assert normalise("，：ＡＢ①ﬁ", Normalise(form="NFKC")) == ",:AB1fi"


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        ("keep", "ＡＢｃ１２，！（ﾊﾟﾋﾟ｢カﾞ｣）　①"),
        ("letters", "ABc12，！（パピ「ガ」）　①"),
        ("all", "ABc12,!(パピ「ガ」) ①"),
    ],
)
def test_width(width: Width, expected: str) -> None:
    assert normalise("ＡＢｃ１２，！（ﾊﾟﾋﾟ｢カﾞ｣）　①", Normalise(width=width)) == expected


@pytest.mark.parametrize("width", ["letters", "all"])
def test_width_is_that_of_unicode(width: Width) -> None:
    """Against the decomposition mappings <wide> and <narrow> of UnicodeData.txt."""
    for code in [*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B), *range(0xFF61, 0xFF9E)]:
        mapping = unicodedata.decomposition(chr(code)).split()
        assert mapping[0] in ("<wide>", "<narrow>")
        assert normalise(chr(code), Normalise(width=width)) == chr(int(mapping[1], 16))


def test_a_long_run_of_spaces_is_looked_at_once() -> None:
    """From each of its spaces on it would take hours."""
    run = " " * 400_000
    assert normalise(f"\n{run}x \n", Normalise(spaces="single")) == f"\n{run}x\n"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "\u3000一\xa0 b \t\n\n \n\n\n    code  = 1 \n"),
        ({"spaces": "plain"}, " 一  b \t\n\n \n\n\n    code  = 1 \n"),
        ({"spaces": "single"}, " 一 b\n\n\n\n\n    code = 1\n"),
        ({"spaces": "single", "blank_lines": 1}, " 一 b\n\n    code = 1\n"),
        ({"blank_lines": 0}, "\u3000一\xa0 b \t\n    code  = 1 \n"),
    ],
)
def test_spaces_and_blank_lines(settings: dict[str, object], expected: str) -> None:
    assert normalise("\u3000一\xa0 b \t\n\n \n\n\n    code  = 1 \n", Normalise.model_validate(settings)) == expected


def test_every_space_of_unicode_is_plain() -> None:
    spaces = "".join(chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Zs")
    assert normalise(spaces, Normalise(spaces="plain")) == " " * len(spaces)


def test_repair_mends_encodings_and_leaves_typography() -> None:
    assert normalise("cafÃ© â€œyesâ€\x9d") == "café “yes”"
    assert normalise("“曰：‘善’”，ＡＢ &amp; ﬁ…") == "“曰：‘善’”，ＡＢ &amp; ﬁ…"
    assert normalise("cafÃ©", Normalise(repair=False)) == "cafÃ©"


SENTENCES = [
    "L’été, un garçon naïf mangea des crêpes à Œuf.",
    "Die Straße führt über die Brücke – „schön“, sagte er.",
    "Привет, как дела? «Хорошо» — сказал он.",
    "Καλημέρα, τι κάνετε;",
    "他说：“你好，世界！”……于是走了。",
    "El niño comió jamón ¿verdad? ¡Sí!",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Zażółć gęślą jaźń — pięć złotych: 5 €.",
    "It’s 20 °C, “quoted” and naïve… ½ × 3 ™",
    "שלום עולם, مرحبا بالعالم",
]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp1250", "cp1251", "cp1253", "macroman", "cp437"])
def test_the_look_before_ftfy_misses_nothing_that_it_mends(encoding: str) -> None:
    """UTF-8 read as each of the encodings that ftfy knows, once and twice, beside lines that are right."""
    config = ftfy.TextFixerConfig(
        unescape_html=False, uncurl_quotes=False, fix_latin_ligatures=False, fix_character_width=False,
        fix_line_breaks=False, fix_surrogates=False, remove_control_chars=False, normalization=None,
    )  # fmt: skip
    mended = 0
    for sentence in SENTENCES:
        assert repair(sentence) == ftfy.fix_text(sentence, config) == sentence
        once = sentence.encode().decode(encoding, "replace")
        for broken in (once, once.encode().decode(encoding, "replace"), f"{sentence}\n{once}\r\nplain\n"):
            assert repair(broken) == ftfy.fix_text(broken, config)
            mended += repair(broken) != broken
    assert mended >= 9


@given(
    st.text(
        st.sampled_from(odd + " abZ")
        | st.from_regex(f"[{''.join(MOJIBAKE_CATEGORIES.values())}ВГРСΒΓΞΟÙØ√≈‚вЂ]", fullmatch=True)
    )
)
def test_what_ftfy_calls_bad_is_suspicious(text: str) -> None:
    assert SUSPICIOUS.search(text + "\n") or not is_bad(text)


def test_every_pair_that_ftfy_calls_bad_is_suspicious() -> None:
    characters = re.sub(
        "(.)-(.)",
        lambda ends: "".join(map(chr, range(ord(ends[1]), ord(ends[2]) + 1))),
        "".join(MOJIBAKE_CATEGORIES.values()),
    )
    pairs = [first + second for first in characters for second in characters]
    assert sum(map(is_bad, pairs)) > 10_000
    assert [pair for pair in pairs if not SUSPICIOUS.search(pair) and is_bad(pair)] == []


@pytest.mark.parametrize(
    "text", ["вЂ™", "Р“Р", "ГўВЂВњa", "‚Äì", "√©", "ΒΓ", "Â ", "aÃ b", "×²", "œ.", "ØµÙ‚", "à²", "a Â  ", "Π®Π"]
)
def test_the_odd_ones_are_suspicious(text: str) -> None:
    assert SUSPICIOUS.search(text) or not is_bad(text)
