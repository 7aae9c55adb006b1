"""Byte-level BPE: any text comes back, and training gives the same merges every time."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import RecipeError
from danlu.recipe import build
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.stage import TrainTokenizer
from danlu.tokenizers.tokenizer import Tokenizer

CORPUS = [
    "It was the best of times, it was the worst of times, it was the age of wisdom.\n" * 3,
    "话说天下大势，分久必合，合久必分。话说天下大势，分久必合，合久必分。\n",
    "In 1594 and 1595, they're 12345 men's words  and  spaces.\n\n\tEnd." * 2,
]
TOKENIZER = BPE(vocab_size=400).train(CORPUS)

difficult = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" \n\t0123，。天下the'sé\u0301👩\u200d<|>"))
)


@given(difficult)
def test_every_text_comes_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(difficult)
def test_text_is_never_the_special_token(text: str) -> None:
    for spelled in (text, "<|endoftext|>" + text, text + "<|endoftext|>"):
        ids = TOKENIZER.encode(spelled)
        assert TOKENIZER.eot not in ids
        assert TOKENIZER.decode(ids) == spelled


@given(st.lists(difficult, max_size=5))
def test_a_batch_is_its_texts(texts: list[str]) -> None:
    assert TOKENIZER.encode_batch(texts) == [TOKENIZER.encode(text) for text in texts]


def test_the_vocabulary_is_the_separator_the_bytes_and_the_merges() -> None:
    assert TOKENIZER.eot == 0
    assert sorted(TOKENIZER.token_bytes(id) for id in range(1, 257)) == [bytes([byte]) for byte in range(256)]
    assert all(len(TOKENIZER.token_bytes(id)) > 1 for id in range(257, TOKENIZER.vocab_size))
    assert len({TOKENIZER.token_bytes(id) for id in range(TOKENIZER.vocab_size)}) == TOKENIZER.vocab_size


def pieces(text: str) -> list[str]:
    """Where merges may not cross, seen through a vocabulary that has merged all that it may."""
    tokenizer = BPE(vocab_size=5000, min_frequency=1).train([text])
    return [tokenizer.decode([id]) for id in tokenizer.encode(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two words", ["two", " words"]),
        ("they're", ["they", "'re"]),
        ("1234567 89", ["123", "456", "7", " ", "89"]),
        ("合久，必分。", ["合久", "，必分", "。"]),
        ("a  b\n\nc", ["a", " ", " b", "\n\n", "c"]),
        ("end!?\n", ["end", "!?\n"]),
    ],
)
def test_merges_stay_within_words(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


def test_the_most_frequent_pairs_are_merged_first() -> None:
    tokenizer = BPE(vocab_size=260).train(["abab abab abc abc abc"])
    assert [tokenizer.token_bytes(id) for id in range(257, 260)] == [b"ab", b" ab", b" abc"]


def merges(text: str, vocab_size: int) -> list[bytes]:
    """The tokens that are learned, by definition: all pairs are counted anew at every step (Sennrich et al. 2016)."""
    spelled = {id: TOKENIZER.token_bytes(id) for id in range(257)}
    id_of = {token: id for id, token in spelled.items()}
    words = [[id_of[bytes([byte])] for byte in word.encode()] for word in re.findall(" ?[a-f]+", text)]
    while len(spelled) < vocab_size:
        counts = Counter(pair for word in words for pair in itertools.pairwise(word))
        if not counts or max(counts.values()) < 2:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))  # of as frequent ones that of the lowest ids
        new = len(spelled)
        spelled[new] = spelled[best[0]] + spelled[best[1]]
        for word in words:
            place = 0
            while place < len(word) - 1:
                if (word[place], word[place + 1]) == best:
                    word[place : place + 2] = [new]
                place += 1
    return [spelled[id] for id in range(257, len(spelled))]


@given(st.lists(st.text("abcdef", min_size=1, max_size=6), min_size=1, max_size=40).map(" ".join))
def test_nothing_is_left_to_chance_where_pairs_are_as_frequent(text: str) -> None:
    learned = BPE(vocab_size=300).train([text])
    assert [learned.token_bytes(id) for id in range(257, learned.vocab_size)] == merges(text, 300)


def test_rare_pairs_are_not_merged() -> None:
    assert BPE(vocab_size=300, min_frequency=2).train(["xy xy zw"]).vocab_size == 258
    assert BPE(vocab_size=300, min_frequency=3).train(["xy xy zw"]).vocab_size == 257


def test_too_little_text_is_told_and_gives_what_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = BPE(vocab_size=5000).train(["ab ab"])
    assert tokenizer.vocab_size == 258
    assert "the text has pairs for 258 tokens only, of tokenizer.vocab_size 5000" in capsys.readouterr().out
    BPE(vocab_size=258).train(["ab ab"])
    assert "tokens only" not in capsys.readouterr().out


def test_documents_are_read_one_at_a_time() -> None:
    waiting = 0

    def texts() -> object:
        nonlocal waiting
        for _ in range(20_000):
            waiting += 1
            yield Text("word " * 10)

    class Text(str):
        def __del__(self) -> None:
            nonlocal waiting
            waiting -= 1

    held = []

    def watched() -> object:
        for text in texts():  # type: ignore[attr-defined]
            held.append(waiting)
            yield text
            del text

    BPE(vocab_size=260).train(watched())  # type: ignore[arg-type]
    assert len(held) == 20_000
    assert max(held) < 2_000


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"use": "bpe", "vocab_size": 12}, "tokenizer.vocab_size must be at least 257; got 12"),
        ({"use": "bpe", "vocab": 12}, "tokenizer.vocab: unknown key; did you mean 'vocab_size'?"),
        ({"use": "bpe", "min_frequency": 0}, "tokenizer.min_frequency must be at least 1; got 0"),
        (
            {"use": "bep"},
            "tokenizer.use: unknown tokenizer 'bep'; did you mean 'bpe'? (choices: bpe, byte, char, wordpiece, ",
        ),
        (
            {"vocab_size": 4096},
            "tokenizer needs 'use: NAME' (choices: bpe, byte, char, wordpiece, unigram, word, folder, extend)",
        ),
        (None, "tokenizer needs 'use: NAME' (choices: bpe, byte, char, wordpiece, unigram, word, folder, extend)"),
    ],
)
def test_wrong_settings_are_told_by_their_key(section: object, line: str) -> None:
    with pytest.raises(RecipeError) as error:
        build(TrainTokenizer, section, key="tokenizer")
    assert line in str(error.value)


def test_training_does_not_depend_on_threads(tmp_path: Path) -> None:
    program = (
        "import random, sys; from pathlib import Path; from danlu.tokenizers.bpe import BPE\n"
        "chance = random.Random(0)\n"
        "texts = [''.join(chance.choice('abcdefgh天下 ') for _ in range(200)) for _ in range(300)]\n"
        "BPE(vocab_size=1000, min_frequency=1).train(texts).save(Path(sys.argv[1]))\n"
    )
    written = []
    for threads in ("1", "4", "4"):
        folder = tmp_path / f"run{len(written)}"
        folder.mkdir()
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", program, folder], env=environment, check=True)
        written.append((folder / "tokenizer.json").read_bytes())
    assert written[0] == written[1] == written[2]
    assert Tokenizer.load(tmp_path / "run0").vocab_size == 1000
