"""Learned merges: by definition, and those of the ``tokenizers`` library."""

from __future__ import annotations

import gzip
import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Inner

from danlu.tokenizers import pair_index, word_counts
from danlu.tokenizers.bpe import BPE, WORDS
from danlu.tokenizers.merges import BREAK, CountedWords, learn_merges

CORPORA = Path(__file__).parents[2] / "corpora"


def by_definition(words: Counter[str], letters: str, vocab_size: int, least: int) -> list[tuple[str, str]]:
    """All pairs are counted anew at every step (Sennrich et al. 2016)."""
    spelled, merges = list(letters), []
    cut = [([spelled.index(letter) for letter in word], count) for word, count in words.items()]
    while len(spelled) < vocab_size:
        counts = Counter[tuple[int, int]]()
        for word, count in cut:
            for pair in itertools.pairwise(word):
                counts[pair] += count
        if not counts or max(counts.values()) < least:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append((spelled[best[0]], spelled[best[1]]))
        new = len(spelled)
        spelled.append("".join(merges[-1]))
        for word, _ in cut:
            place = 0
            while place < len(word) - 1:
                if (word[place], word[place + 1]) == best:
                    word[place : place + 2] = [new]
                place += 1
    return merges


def counted(words: Counter[str], letters: str) -> CountedWords:
    symbols, bounds, weights = [BREAK], [], []
    for word, count in sorted(words.items(), key=lambda item: item[1]):
        if not weights or weights[-1] != count:
            bounds.append(len(symbols) if weights else 0)
            weights.append(count)
        symbols += [*map(letters.index, word), BREAK]
    return CountedWords(np.array(symbols, dtype=np.int32), np.array(bounds or [0]), np.array(weights or [1]))


words = st.one_of(
    st.dictionaries(st.text("abc", min_size=1, max_size=25), st.integers(1, 5), max_size=12),
    st.dictionaries(st.text("a", min_size=1, max_size=60), st.integers(1, 3), max_size=4),
    st.dictionaries(st.text("abcdefghij", min_size=1, max_size=8), st.integers(1, 9), max_size=60),
).map(Counter)


@given(words, st.integers(1, 3), st.sampled_from([4, 64, 1 << 22]))
def test_they_are_those_of_the_definition(words: Counter[str], least: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_index, "BLOCK", block)  # so that a few words are many blocks, and are often cleared
        spelled = list("abcdefghij")
        merges = learn_merges(counted(words, "abcdefghij"), spelled, vocab_size=60, min_frequency=least)
    assert merges == by_definition(words, "abcdefghij", 60, least)
    assert spelled == [*"abcdefghij", *("".join(pair) for pair in merges)]
    assert len(set(spelled)) == len(spelled)


def test_no_merge_spells_a_token_that_is_there() -> None:
    words, spelled = Counter({"abc": 9, "bc": 1}), ["ab", "bc", *"abc"]
    symbols = counted(words, "??abc")
    assert learn_merges(symbols, spelled, vocab_size=9, min_frequency=1) == []
    assert spelled == ["ab", "bc", *"abc"]


def library(texts: list[str], vocab_size: int) -> dict[str, object]:
    inner = Inner(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    inner.train_from_iterator(texts, trainer)
    model: dict[str, object] = json.loads(inner.to_str())["model"]
    return model


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("small", [False, True])
def test_the_model_is_the_librarys(language: str, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if small:  # nothing fits, all is cut up, written out and cleared
        monkeypatch.setattr(pair_index, "BLOCK", 2000)
        monkeypatch.setattr(word_counts, "MOST_WORDS", 100)
        monkeypatch.setattr(word_counts, "PART", 50)
    texts = corpus(language)
    assert json.loads(BPE(vocab_size=1500).train(texts).to_json())["model"] == library(texts, 1500)


def corpus(language: str) -> list[str]:
    if language == "en":
        return [(CORPORA / "en/tinyshakespeare.txt").read_text(encoding="utf-8")[:300_000]]
    with gzip.open(CORPORA / "zh/classics_zh.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in itertools.islice(lines, 6)]
