"""BLEU and chrF against sacreBLEU's own command of the same texts, and any choice of items against it too."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu

from danlu.errors import InputError
from danlu.metrics.bleu import BLEU, ChrF
from danlu.metrics.tally import overall

WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", ",", ".", "Don't", "12.5", "你好", "世界", "很大", "！"]


def texts(count: int, *, seed: int, language: str) -> list[str]:
    generator = np.random.default_rng(seed)
    joint = "" if language == "zh" else " "
    return [joint.join(generator.choice(WORDS, size=size)) for size in generator.integers(0, 12, size=count)]


@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_equal_to_sacrebleu(language: str) -> None:
    gold, predicted = texts(40, seed=1, language=language), texts(40, seed=2, language=language)
    predicted[:20] = gold[1:21]
    predicted[5] = gold[5]
    tally = BLEU(language=language).tally(gold, predicted)
    tokenize = "zh" if language == "zh" else "13a"
    expected = sacrebleu.corpus_bleu(predicted, [gold], tokenize=tokenize)
    assert overall(tally) == {"bleu": expected.score}
    assert tally.notes["bleu.signature"].startswith(f"nrefs:1|case:mixed|eff:no|tok:{tokenize}|smooth:exp|version:2.")
    chrf = ChrF(word_order=2).tally(gold, predicted)
    assert overall(chrf) == {"chrf": sacrebleu.corpus_chrf(predicted, [gold], word_order=2).score}
    assert chrf.notes["chrf.signature"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|version:2.")


def test_a_choice_of_items_is_scored_as_if_it_were_all() -> None:
    gold, predicted = texts(30, seed=3, language="en"), texts(30, seed=4, language="en")
    times = np.random.default_rng(5).integers(3, size=30)
    chosen = [place for place, count in enumerate(times) for _ in range(count)]
    right, answers = [gold[place] for place in chosen], [predicted[place] for place in chosen]
    weights = times[None].astype(float)
    assert BLEU().tally(gold, predicted).figures(weights)["bleu"][0] == sacrebleu.corpus_bleu(answers, [right]).score
    assert ChrF().tally(gold, predicted).figures(weights)["chrf"][0] == sacrebleu.corpus_chrf(answers, [right]).score


def test_items_may_have_several_references() -> None:
    gold = [["the cat sat on the mat", "a cat sat on a mat"], "the dog sat there then"]
    predicted = ["a cat sat on the mat", "the dog"]  # nearer in length to no reference than to its own
    streams = [["the cat sat on the mat", "the dog sat there then"], ["a cat sat on a mat", None]]
    assert overall(BLEU().tally(gold, predicted))["bleu"] == sacrebleu.corpus_bleu(predicted, streams).score
    assert overall(ChrF().tally(gold, predicted))["chrf"] == sacrebleu.corpus_chrf(predicted, streams).score


def test_case_counts_unless_it_is_said_not_to() -> None:
    gold, predicted = ["The Cat Sat On Mats"], ["the cat sat on mats"]
    assert overall(BLEU(lowercase=True).tally(gold, predicted))["bleu"] == pytest.approx(100)
    assert overall(ChrF(lowercase=True).tally(gold, predicted))["chrf"] == pytest.approx(100)
    assert overall(BLEU().tally(gold, predicted))["bleu"] < 50


def test_chinese_is_cut_into_characters() -> None:
    gold, predicted = ["今天天气很好我们去公园"], ["今天天气很好我们去学校"]
    assert overall(BLEU(language="zh").tally(gold, predicted))["bleu"] > 50
    assert overall(BLEU(language="en").tally(gold, predicted))["bleu"] == 0


@pytest.mark.parametrize(("gold", "predicted"), [("a cat", ""), ("", "a cat"), ("", ""), ("a", "b")])
def test_without_a_match_both_are_0(gold: str, predicted: str) -> None:
    assert overall(BLEU().tally([gold], [predicted])) == {"bleu": 0}
    assert overall(ChrF().tally([gold], [predicted])) == {"chrf": 0}


def test_what_is_no_text_is_named_with_its_item() -> None:
    with pytest.raises(InputError, match=r"^item 2: there is no reference$"):
        BLEU().tally(["a", []], ["a", "b"])
    with pytest.raises(InputError, match=r"^item 1: prediction and references must be texts$"):
        ChrF().tally(["a"], [None])  # type: ignore[list-item]


def test_a_language_whose_words_need_a_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "MeCab", None)
    with pytest.raises(InputError, match=r"^BLEU with words by ja-mecab needs .*: pip install sacrebleu\[ja\]$"):
        BLEU(language="ja").tally(["猫"], ["猫"])


@pytest.mark.parametrize(
    ("reference", "tokenize"),
    [
        ("三人在下棋，OK？", "zh"),
        ("Three men play chess, 好", "13a"),
        ("二人がチェスをしている", "char"),
        ("1, 2.", "13a"),
    ],
)
def test_chinese_is_known_by_its_letters(reference: str, tokenize: str) -> None:
    """Against sacreBLEU with a tokenizer for it; a sentence of Chinese or Japanese is one word to that of English."""
    said, gold = reference.replace("三", "两"), [reference]
    expected = sacrebleu.metrics.BLEU(tokenize=tokenize, force=True).corpus_score([said], [gold])
    tally = BLEU().tally(gold, [said])
    assert overall(tally)["bleu"] == pytest.approx(expected.score)
    assert f"tok:{tokenize}" in tally.notes["bleu.signature"]
