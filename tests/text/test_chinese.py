"""Traditional and simplified Chinese: converted by words, and only in documents in Chinese."""

from __future__ import annotations

import opencc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.text.chinese import convert, convert_document
from danlu.text.document import TARGET_START, Document, pair
from danlu.text.language import identify
from danlu.text.normal_form import Chinese

PAIRS = """\
乾燥 干燥|乾坤 乾坤|乾隆 乾隆|乾杯 干杯|干涉 干涉|幹部 干部|以後 以后
皇后 皇后|頭髮 头发|發現 发现|著作 著作|看著 看着|著名 著名|裡面 里面
公里 公里|麵包 面包|表面 表面|複雜 复杂|恢復 恢复|鐘錶 钟表|一隻 一只
只有 只有|雲彩 云彩|徵求 征求|出征 出征|宮商角徵羽 宫商角徵羽|瞭望 瞭望|遊覽 游览
游泳 游泳|藉口 借口|狼藉 狼藉|前仆後繼 前仆后继|松樹 松树|放鬆 放松|批准 批准
製造 制造|制度 制度|關係 关系|試卷 试卷|佔領 占领|占卜 占卜|山谷 山谷
穀物 谷物|日曆 日历|歷史 历史|收穫 收获|獲得 获得|飢餓 饥饿|饑荒 饥荒
茶几 茶几|戰鬥 战斗|斗笠 斗笠|划船 划船"""
WORDS = [word.split() for word in PAIRS.replace("\n", "|").split("|")]


@pytest.mark.parametrize(("traditional", "simplified"), WORDS)
def test_one_character_of_many_by_the_word_it_is_in(traditional: str, simplified: str) -> None:
    assert convert(traditional, "simplified") == simplified
    assert convert(simplified, "traditional") == traditional


@pytest.mark.parametrize(("to", "config"), [("simplified", "t2s"), ("traditional", "s2t")])
def test_the_words_are_those_of_opencc(to: Chinese, config: str) -> None:
    """OpenCC in C++; its tables lack two words that ours knows (看着, 穿着) and write 裏, 麪 in the other standard."""
    converter = opencc.OpenCC(config)
    same = [converter.convert(word) == convert(word, to) for pair in WORDS for word in pair]
    assert sum(same) >= len(same) - 6


@pytest.mark.parametrize("to", ["simplified", "traditional"])
@given(
    text=st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF) | st.sampled_from("乾干發后里面着著 a，"))
)
def test_twice_is_once(to: Chinese, text: str) -> None:
    once = convert(text, to)
    assert convert(once, to) == once


def test_keep_changes_nothing() -> None:
    assert convert("乾燥", "keep") == "乾燥"


def test_only_documents_in_chinese() -> None:
    japanese = Document("a#0", "頭髪を乾燥する。", {"language": "ja"})
    convert_document(japanese, "simplified")
    assert japanese.text == "頭髪を乾燥する。"
    chinese = Document("a#1", "頭髮乾燥。", {"language": "zh", "language_variant": "zh-Hant"})
    convert_document(chinese, "simplified")
    assert (chinese.text, chinese.meta) == ("头发干燥。", {"language": "zh", "language_variant": "zh-Hans"})


def test_the_sides_of_a_pair_stay_apart() -> None:
    text, meta = pair("乾燥\n的頭髮", "後來")
    document = Document("a#0", text, {"language": "zh", **meta})
    convert_document(document, "simplified")
    assert document.sides == ("干燥\n的头发", "后来") and document.meta[TARGET_START] == "7"


def test_the_script_is_told_by_characters_of_one_script_alone() -> None:
    told = [(identify(t * 3).variant, identify(s * 3).variant) for t, s in WORDS if t != s]
    assert all(t == "zh-Hant" for t, _ in told if t is not None) and all(
        s == "zh-Hans" for _, s in told if s is not None
    )
    assert sum(t is not None for t, _ in told) >= 0.8 * len(told)
    assert identify("人山人海").variant is None
