"""The language of references, by letters that Unicode's own names tell, and of a column of texts."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sacrebleu.metrics.bleu import BLEU as Reference  # noqa: N811 (a class)

from danlu.metrics.bleu import BLEU
from danlu.metrics.languages import OTHER, language_column, language_of
from danlu.metrics.meteor import METEOR
from danlu.metrics.rouge import ROUGE
from danlu.metrics.tally import overall

SCRIPTS = {"CJK UNIFIED": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "THAI": "th", "LATIN": "en", "CYRILLIC": "und",
           "HANGUL": "und", "ARABIC": "und"}  # fmt: skip
LETTERS = {
    script: [chr(code) for code in range(0x20, 0xD7A4)
             if unicodedata.category(chr(code)) in ("Ll", "Lo") and unicodedata.name(chr(code), "").startswith(script)]
    for script in SCRIPTS
}  # fmt: skip


@given(st.sampled_from(list(SCRIPTS)), st.data())
def test_it_is_known_by_most_letters(script: str, data: st.DataObject) -> None:
    """Two thirds of one script, a third of any other: the first says it, whatever the case and the marks between."""
    own = data.draw(st.text(st.sampled_from(LETTERS[script]), min_size=4, max_size=4))
    others = data.draw(st.text(st.sampled_from(LETTERS["LATIN" if script != "LATIN" else "CYRILLIC"]), max_size=2))
    assert language_of([[f"{own} 12, {others}!"], [""]]) == SCRIPTS[script]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("今日は良い天気です", "ja"),
        ("東京の天気", "ja"),
        ("今天天气很好，很适合の的人", "zh"),
        ("", "en"),
        ("12 + 3", "en"),
        ("GPT-4 模型 is good", "en"),
    ],
)
def test_a_few_kana_make_no_japanese(text: str, language: str) -> None:
    assert language_of([[text]]) == language


@pytest.mark.parametrize(
    ("reference", "answer", "tokenize"),
    [
        ("今日は良い天気です", "今日は天気です", "char"),
        ("วันนี้อากาศดี", "วันนี้อากาศ", "char"),
        ("Сегодня хорошая погода", "Сегодня погода", "13a"),
        ("今天天气很好", "今天天气好", "zh"),
        ("오늘 날씨가 좋다", "오늘 좋다", "13a"),
    ],
)
def test_texts_of_other_scripts_are_not_counted_as_english(reference: str, answer: str, tokenize: str) -> None:
    """As English words ROUGE would find nothing in them, and BLEU one word a sentence where no spaces are."""
    tally = BLEU().tally([reference], [answer])
    assert overall(tally)["bleu"] == Reference(tokenize=tokenize).corpus_score([answer], [[reference]]).score
    assert f"tok:{tokenize}|" in tally.notes["bleu.signature"]
    assert overall(ROUGE().tally([reference], [answer]))["rouge1.f1"] > 0.5
    assert overall(METEOR().tally([reference], [answer]))["meteor_exact_stem"] > 0.2


def test_a_column_has_the_languages_that_several_texts_are_in() -> None:
    english = ["The weather is lovely today and we go out.", "She has read the whole book in one evening."] * 40
    chinese, unsure = ["今天天气很好，我们出去走走。"] * 20, ["très", "sehr gut"]
    column = language_column([*english, *chinese, *unsure, "Сегодня хорошая погода, и мы идём гулять.", "123", "ok"])
    assert column[:100] == ["en"] * 80 + ["zh"] * 20
    assert set(column[100:102]) <= {"en", "zh"}, "a short text is in one of them"
    assert column[102:] == [OTHER, "und", "und"]
    assert language_column(["12", "34"]) == ["und", "und"]


@pytest.mark.parametrize(
    ("code", "tokenize", "units"),
    [
        ("zh-CN", "zh", "characters"),
        ("zh_Hant", "zh", "characters"),
        ("lzh", "zh", "characters"),
        ("EN-us", "13a", "english"),
        ("km", "char", "characters"),
        ("ru", "13a", "characters"),
    ],
)
def test_a_code_may_name_a_script_or_a_country(code: str, tokenize: str, units: str) -> None:
    assert f"tok:{tokenize}|" in BLEU(language=code).tally(["天下 大势"], ["天下"]).notes["bleu.signature"]
    assert ROUGE(language=code).tally(["天下"], ["天下"]).notes["rouge.units"] == units


def test_a_name_is_no_code() -> None:
    for metric in (BLEU, ROUGE, METEOR):
        with pytest.raises(ValidationError, match="String should match pattern"):
            metric(language="Chinese")
