"""Figures of a comparison, against what stock ``transformers`` says of the same texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import transformers

from danlu.errors import InputError
from danlu.tokenizers.compare import compare_tokenizers
from danlu.tokenizers.named import NamedTokenizer

TEXTS = {
    "en": ["It was the best of times, zebra!", "they said  yes\n", ""],
    "th": ["话 ท่าน กา"],
    "zh": ["话说天下大势，分久必合。", "鳥 </s> 👩"],
}
SIGNS = {"th": len("话ท่านกา"), "zh": len("话说天下大势，分久必合。鳥</s>👩")}
KINDS = ("WordPiece", "Unigram", "byte fallback", "byte level")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", TEXTS)
def test_the_figures_are_those_of_transformers(kinds: dict[str, Path], kind: str, language: str) -> None:
    texts = TEXTS[language]
    if kind == "Unigram":  # of which transformers takes "</s>" in a text for the token, and Danlu for text
        texts = [text.replace("</s>", "<s/>") for text in texts]
    encoder = NamedTokenizer.open(kinds[kind])
    (found,) = compare_tokenizers([encoder], {language: texts}, passes=1)[language]
    stock = transformers.AutoTokenizer.from_pretrained(kinds[kind])
    stock.backend_tokenizer.no_truncation()  # MiniLM's file cuts, which is no part of the tokenizer
    ids = [stock(text, add_special_tokens=False, split_special_tokens=True).input_ids for text in texts]
    tokens = sum(map(len, ids))
    assert found.cost.tokens == tokens
    assert found.bytes_per_token == sum(len(text.encode()) for text in texts) / tokens
    units = SIGNS.get(language, 10)  # of English the words
    assert (found.unit, found.fertility) == ("character" if language in SIGNS else "word", tokens / units)
    back = [stock.decode(each, clean_up_tokenization_spaces=False) for each in ids]
    assert found.exact_share == sum(map(str.__eq__, back, texts)) / len(ids)
    if kind == "byte level":  # whose config names an unknown token that its model never gives
        assert found.unknown_rate is None
    else:
        assert found.unknown_rate == sum(each.count(stock.unk_token_id) for each in ids) / tokens


def test_some_text_is_unknown_and_some_does_not_come_back(kinds: dict[str, Path]) -> None:
    """Else the figures above would be the same for a tokenizer that loses nothing."""
    found = compare_tokenizers([NamedTokenizer.open(kinds[kind]) for kind in KINDS], TEXTS, passes=1)
    assert [(each.unknown_rate or 0.0) > 0 for each in found["zh"]] == [True, True, False, False]
    assert [each.exact_share for each in found["zh"]] == [0.0, 0.0, 1.0, 1.0]


def test_speed_is_the_median_of_passes_in_turn(kinds: dict[str, Path]) -> None:
    encoders = [NamedTokenizer.open(kinds[kind]) for kind in ("byte level", "WordPiece")]
    durations = iter([1.0, 5.0, 2.0, 50.0, 9.0, 6.0])  # of the passes: first the one, then the other
    now = 0.0
    ends: Iterator[float] = iter(())

    def clock() -> float:
        nonlocal now, ends
        end = next(ends, None)
        if end is None:
            ends = iter([now + next(durations)])
            return now
        now = end
        return now

    first, second = compare_tokenizers(encoders, {"en": TEXTS["en"]}, passes=3, clock=clock)["en"]
    assert (first.seconds, second.seconds) == ([1.0, 2.0, 9.0], [5.0, 50.0, 6.0])
    assert first.megabytes_per_second == first.cost.bytes / 1e6 / 2.0
    assert second.tokens_per_second == second.cost.tokens / 6.0


def test_a_tokenizer_that_cannot_read_a_text_is_one_line(kinds: dict[str, Path]) -> None:
    encoder = NamedTokenizer.open(kinds["WordPiece"])
    encoder.inner.model.unk_token = "[GONE]"
    with pytest.raises(InputError, match=r"cannot read text in zh: .*UNK"):
        compare_tokenizers([encoder], {"zh": ["鳥"]}, passes=1)
