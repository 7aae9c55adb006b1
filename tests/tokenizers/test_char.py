"""One token a character, in code point order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from danlu.recipe import build
from danlu.tokenizers.char import Char
from danlu.tokenizers.stage import TrainTokenizer

characters = st.characters(exclude_categories=["Cs"])


@given(st.lists(st.text(characters), min_size=1, max_size=5), st.text(characters))
def test_the_training_text_comes_back_and_other_characters_are_marked(texts: list[str], other: str) -> None:
    tokenizer = Char().train(texts)
    known = sorted(set("".join(texts)))
    assert [tokenizer.decode([id]) for id in range(2, tokenizer.vocab_size)] == known
    for text in texts:
        ids = tokenizer.encode(text)
        assert len(ids) == len(text)
        assert tokenizer.decode(ids) == text
    ids = tokenizer.encode(other)
    assert len(ids) == len(other)
    assert tokenizer.decode(ids) == "".join(letter if letter in known else "\ufffd" for letter in other)


def test_ids_follow_code_points() -> None:
    tokenizer = Char().train(["b a", "中\n"])
    assert (tokenizer.eot, tokenizer.unknown, tokenizer.vocab_size) == (0, 1, 7)
    assert tokenizer.encode("\n ab中") == [2, 3, 4, 5, 6]
    assert tokenizer.encode("xyz") == [1, 1, 1]


def test_text_is_never_a_special_token() -> None:
    text = "<|endoftext|>a<|unknown|>"
    tokenizer = Char().train([text])
    assert len(tokenizer.encode(text)) == len(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert not {tokenizer.eot, tokenizer.unknown} & set(tokenizer.encode(text))


def test_the_name_alone_picks_it() -> None:
    assert build(TrainTokenizer, "char", key="tokenizer").trainer == Char()
