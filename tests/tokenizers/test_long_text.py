"""A long text encoded in parts: the tokens are those of the whole, and no part is long."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers

from danlu.tokenizers import long_text
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.byte import Byte
from danlu.tokenizers.char import Char
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.unigram import Unigram
from danlu.tokenizers.word import Word
from danlu.tokenizers.wordpiece import WordPiece

ENGLISH = (
    'It was the best of times, it was the worst of times; we\'d 1,000 of them.\n\n  He said: "No" ...\tthen left. '
)
CHINESE = "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦；及秦灭之后，楚、汉分争，又并入于汉。\n"
TEXTS = [ENGLISH, CHINESE] * 4
KINDS: dict[str, Any] = {
    "bpe": BPE(vocab_size=400), "byte": Byte(), "char": Char(), "wordpiece": WordPiece(vocab_size=300),
    "unigram": Unigram(vocab_size=400), "word": Word(),
}  # fmt: skip
SPACES = st.sampled_from([" ", "\n", "  ", "\t\n ", "\u3000", "", "，", "。", "...", "\u0301", "\r\n"])
WORDS = st.sampled_from(
    ["times", "it", "大势", "分久必合", "1,000", "we'd", "é", "e\u0301", "😀", "𝒳", "a" * 40, "<s>"]
)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    trained: Tokenizer = KINDS[request.param].train(TEXTS)
    return trained


def llama() -> tokenizers.Tokenizer:
    """As Llama 2's: no words, a space put before the text."""
    vocabulary = {token: id for id, token in enumerate(["<unk>", "▁", "i", "t", "▁i", "▁it"])}
    inner = tokenizers.Tokenizer(models.BPE(vocabulary, [("▁", "i"), ("▁i", "t")], unk_token="<unk>"))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Replace("▁", " ")
    return inner


def metaspace() -> tokenizers.Tokenizer:
    """As T5's: a space put before the text, words from space to space."""
    pieces = [("<unk>", 0.0), ("▁", -3.0), ("▁it", -2.0), ("i", -4.0), ("t", -4.0), ("m", -4.0), ("▁times", -5.0)]
    inner = tokenizers.Tokenizer(models.Unigram(pieces, 0))
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return inner


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_text, "PART", 600)
    monkeypatch.setattr(long_text, "AT_ONCE", 1200)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("text", [ENGLISH * 60, CHINESE * 120, (ENGLISH + CHINESE) * 40], ids=["en", "zh", "both"])
def test_parts_have_the_tokens_and_ends_of_the_whole(tokenizer: Tokenizer, text: str) -> None:
    whole = tokenizer._inner.encode(text, add_special_tokens=False)
    (ids, ends), short = tokenizer.encode_with_ends([text, "it"])
    assert ids.tolist() == whole.ids
    assert ends.tolist() == [end for _, end in whole.offsets]
    assert short[0].tolist() == tokenizer.encode("it")
    arrays = tokenizer.encode_arrays(["times", text, ""], np.dtype(np.uint16))
    assert [array.tolist() for array in arrays] == [tokenizer.encode("times"), whole.ids, []]
    cut = long_text.parts(tokenizer._inner, text)
    assert "".join(cut) == text
    assert max(map(len, cut)) < 1500 and len(cut) > 4


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(WORDS, SPACES), min_size=60, max_size=120))
def test_any_text_in_parts(tokenizer: Tokenizer, pieces: list[tuple[str, str]]) -> None:
    text = "".join(word + space for word, space in pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_text, "PART", 40)
        patch.setattr(long_text, "REACH", 24)
        cut = long_text.parts(tokenizer._inner, text)
    joined = [id for part in cut for id in tokenizer.encode(part)]
    assert joined == tokenizer.encode(text)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("inner", [llama(), metaspace()], ids=["llama", "t5"])
@pytest.mark.parametrize("text", [ENGLISH * 60, CHINESE * 60, "it times " * 900, "it" * 4000])
def test_others_tokenizers_give_the_same_tokens(inner: tokenizers.Tokenizer, text: str) -> None:
    cut = long_text.parts(inner, text)
    joined = [id for part in cut for id in inner.encode(part, add_special_tokens=False).ids]
    assert joined == inner.encode(text, add_special_tokens=False).ids


@pytest.mark.usefixtures("small")
def test_nothing_is_cut_where_some_token_could_stand() -> None:
    """Near the cut it never does, but nobody knows what far away would change."""
    pieces = [("<unk>", 0.0), *((letter, -1.0) for letter in "it ")]
    text = "it " * 900
    assert len(long_text.parts(tokenizers.Tokenizer(models.Unigram(pieces, 0)), text)) > 3
    reaching = tokenizers.Tokenizer(models.Unigram([*pieces, ("t it", -99.0)], 0))
    assert long_text.parts(reaching, text) == [text]


@pytest.mark.usefixtures("small")
def test_no_more_is_encoded_at_once_than_is_said() -> None:
    inner, seen = KINDS["bpe"].train(TEXTS)._inner, []

    def encode(texts: list[str]) -> list[int]:
        seen.append(sum(map(len, texts)))
        return [len(text) for text in texts]

    texts = ["short", ENGLISH * 100, "short", ENGLISH * 50]
    found = list(long_text.in_parts(inner, texts, encode))
    assert [sum(parts) for parts in found] == [len(text) for text in texts]
    assert max(seen) < 2000
