"""Joins of old tokens are the merges that the trainer of ``tokenizers`` learns where a character stands for each."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.joining import Join, _Words, learn_joins
from danlu.tokenizers.merges import BREAK
from danlu.tokenizers.tokenizer import Tokenizer

OLD = BPE(vocab_size=272).train(["It was the best of times, it was the worst of times.\n“é”"])
FIRST = 0x10000
PIECES = ["滕王", "高阁", "ab", "a", "b", " ", "\n", "aaa", "zebra ", "，", "é", " the", "times"]


def theirs(tokenizer: Tokenizer, texts: Iterable[str], *, count: int, min_frequency: int) -> list[Join]:
    words = _Words.of(tokenizer._inner, tokenizer._config)
    lines = [
        "".join("\n" if id == BREAK else chr(FIRST + id) for id in symbols.tolist()) for symbols in words.lines(texts)
    ]
    learner = tokenizers.Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Split("\n", behavior="removed")
    alphabet = set().union(*lines) - {"\n"}
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + count, min_frequency=min_frequency, show_progress=False, special_tokens=[],
        initial_alphabet=[],
    )  # fmt: skip
    learner.train_from_iterator(lines, trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return [Join(*(tuple(ord(letter) - FIRST for letter in side) for side in merge)) for merge in merges]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=120).map("".join), max_size=5), st.integers(1, 3))
def test_joins_are_those_of_the_library(texts: list[str], least: int) -> None:
    found = learn_joins(OLD._inner, OLD._config, texts, count=40, min_frequency=least)
    assert found == theirs(OLD, texts, count=40, min_frequency=least)


def test_words_stand_apart() -> None:
    words = _Words.of(OLD._inner, OLD._config)
    symbols = np.concatenate([*words.lines(["ab the\nb", "", "a"])]).tolist()
    assert "".join("|" if id == BREAK else OLD.decode([id]) for id in symbols).replace("||", "|") == "ab| the|\n|b|a|"
