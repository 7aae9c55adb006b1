"""Words: counted, cut by longest match, unknown as a whole."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pytest
import rjieba
from hypothesis import given
from hypothesis import strategies as st

from danlu.text.words import HAN
from danlu.tokenizers import word
from danlu.tokenizers.word import Word

CORPUS = ["the cat, the cat's dog; they're state-of-the-art.\n" * 2, "今天天气很好，今天我们去公园。" * 2]
TOKENIZER = Word().train(CORPUS)
ZH = Path(__file__).parents[2] / "corpora/zh/classics_zh.jsonl.gz"


def cut(text: str) -> list[str]:
    by_id = {id: token for token, id in TOKENIZER.tokens().items()}
    return [by_id[id] for id in TOKENIZER.encode(text)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("the cat's dog, they're", ["the", "cat's", "dog", ",", "they're"]),
        ("cats dogthe", ["[UNK]", "[UNK]"]),
        ("state-of-the-art", ["state", "-", "of", "-", "the", "-", "art"]),
        ("今天我们很好", ["今天", "我们", "很", "好"]),
        ("今天龘公园the", ["今天", "[UNK]", "公园", "the"]),
        ("[UNK] <|endoftext|>", ["[UNK]"] * 3 + ["[UNK]"] * 5),
        (" \n\t", []),
    ],
)
def test_words_are_whole_or_unknown(text: str, tokens: list[str]) -> None:
    assert cut(text) == tokens


def test_the_most_frequent_words_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["b b b a a c c d", "好 好"]
    assert list(sorted_tokens(Word(vocab_size=5).train(texts))) == ["<|endoftext|>", "[UNK]", "b", "a", "c"]
    assert list(sorted_tokens(Word(min_frequency=3).train(texts)))[2:] == ["b"]
    assert list(sorted_tokens(Word(min_frequency=1).train(texts)))[2:] == ["b", "a", "c", "好", "d"]


def sorted_tokens(tokenizer: word.Tokenizer) -> list[str]:
    tokens = tokenizer.tokens()
    return sorted(tokens, key=lambda token: tokens[token])


@given(st.lists(st.sampled_from("abcdefghij"), max_size=200), st.integers(1, 12))
def test_a_table_that_is_too_small_errs_by_no_more_than_it_may(letters: list[str], most: int) -> None:
    exact = Counter(letters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word, "MOST_WORDS", most)
        counts = Word()._count(letters)
    assert len(counts) <= most
    bound = len(letters) // (most + 1)
    assert all(exact[each] - bound <= counts[each] <= exact[each] for each in exact)


def test_longest_match_is_near_to_the_segmenter() -> None:
    with gzip.open(ZH, "rt", encoding="utf-8") as lines:
        texts = [json.loads(next(lines))["text"] for _ in range(4)]
    tokenizer = Word(min_frequency=1).train(texts)
    right = found = wanted = 0
    for run in re.findall(f"[{HAN}]+", "".join(texts)):
        [(_, ends)] = tokenizer.encode_with_ends([run])
        truth, place = set(), 0
        for each in rjieba.cut(run, True):
            place += len(each)
            truth.add(place)
        right += len(truth & set(ends.tolist()))
        found, wanted = found + len(ends), wanted + len(truth)
    assert right / found > 0.95
    assert right / wanted > 0.95
