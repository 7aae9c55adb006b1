"""Tokens cut between characters: each part has the tokens that its text has alone, wherever it is cut."""

from __future__ import annotations

from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.tokenizers import cutter
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.byte import Byte
from danlu.tokenizers.char import Char
from danlu.tokenizers.cutter import Cutter
from danlu.tokenizers.tokenizer import Tokenizer

ENGLISH = "It was the best of times, it was the worst of times; in 1594 and 1595 they're 12345 men's words.\n\n\tEnd. "
CHINESE = "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦👩🏽‍🚀。"
TOKENIZER = BPE(vocab_size=440).train([(ENGLISH + CHINESE) * 3])
CUTTER = Cutter(TOKENIZER)
difficult = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" \n\t0123，。天下the'sé\u0301👩\u200d<|>")),
    max_size=40,
)


def ids_of(text: str, tokenizer: Tokenizer = TOKENIZER) -> np.ndarray:
    return np.array(tokenizer.encode(text), dtype=np.int64)


def lists(parts: list[np.ndarray] | None) -> list[list[int]]:
    assert parts is not None
    return [part.tolist() for part in parts]


@given(text=difficult, data=st.data())
def test_parts_are_the_tokens_of_their_own_text(text: str, data: st.DataObject) -> None:
    ids = ids_of(text)
    assert CUTTER.characters(ids) == len(text)
    one, other = sorted(data.draw(st.integers(0, len(text))) for _ in range(2))
    parts = [text[:one], text[one:other], text[other:]]
    assert lists(CUTTER.parts(ids, [one, other])) == [TOKENIZER.encode(part) for part in parts]


@pytest.mark.parametrize("around", [4, 16])
def test_what_stands_far_from_a_cut_is_not_encoded_anew(around: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutter, "AROUND", around)
    text = (ENGLISH + "龘🀄鱻" + CHINESE) * 2
    ids, longest, encode = ids_of(text), [0], Tokenizer.encode

    def noted(self: Tokenizer, part: str) -> list[int]:
        longest[0] = max(longest[0], len(part))
        return encode(self, part)

    for place in range(len(text) + 1):
        expected = [TOKENIZER.encode(text[:place]), TOKENIZER.encode(text[place:])]
        with monkeypatch.context() as patch:
            patch.setattr(Tokenizer, "encode", noted)
            found = CUTTER.parts(ids, [place])
        assert lists(found) == expected, text[place - 5 : place]
    assert longest[0] < len(text) // 2


def test_two_cuts_of_one_word_and_of_two() -> None:
    text = ENGLISH
    ids = ids_of(text)
    for one, other in combinations_with_replacement(range(0, len(text) + 1, 3), 2):
        expected = [TOKENIZER.encode(text[a:b]) for a, b in ((0, one), (one, other), (other, len(text)))]
        assert lists(CUTTER.parts(ids, [one, other])) == expected


def test_tokens_that_are_not_those_of_their_text_are_left_alone() -> None:
    of_byte = {TOKENIZER.token_bytes(id): id for id in range(TOKENIZER.vocab_size)}
    broken = np.array([of_byte[bytes([byte])] for byte in "下势".encode()])
    assert CUTTER.parts(broken[1:], [1]) is None  # it begins within a character
    letters = np.array([TOKENIZER.encode(letter)[0] for letter in "times"])
    assert len(letters) > len(TOKENIZER.encode("times")) and CUTTER.parts(letters, [2]) is None


def test_borders_are_of_tokens_and_of_characters() -> None:
    text = ENGLISH + CHINESE + "龘🀄é"
    ids = ids_of(text)
    ends = [len(TOKENIZER.decode(ids[:count])) for count in range(len(ids) + 1)
            if "\ufffd" not in TOKENIZER.decode(ids[:count])]  # fmt: skip
    assert len(ends) < len(ids)  # some tokens are parts of characters
    for place in range(len(text) + 1):
        (border,) = CUTTER.borders(ids, [place])
        assert TOKENIZER.decode(ids[:border]) == text[: max(end for end in ends if end <= place)]


@pytest.mark.parametrize("make", [Byte(), Char()], ids=["byte", "char"])
def test_bytes_and_characters_need_no_more_tokens(make: Byte | Char) -> None:
    tokenizer = make.train([ENGLISH + CHINESE])
    ids, cuts = ids_of(CHINESE, tokenizer), Cutter.of(tokenizer)
    assert cuts is not None and cuts.characters(ids) == len(CHINESE)
    for place in range(len(CHINESE) + 1):
        first, second = lists(cuts.parts(ids, [place]))
        assert [*first, *second] == ids.tolist() and tokenizer.decode(first) == CHINESE[:place]


def test_words_that_are_others_at_the_beginning_cannot_be_cut(kinds: dict[str, Path]) -> None:
    assert Cutter.of(Tokenizer.load(kinds["byte level"])) is not None
    assert {kind: Cutter.of(Tokenizer.load(kinds[kind])) for kind in ("WordPiece", "Unigram")} == dict.fromkeys(
        ("WordPiece", "Unigram")
    )
