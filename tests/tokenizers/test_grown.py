"""What each kind of model needs to grow: scores, merges and places, on vocabularies small enough to read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import AddedToken, models, pre_tokenizers

from danlu.errors import InputError
from danlu.tokenizers.grown import splitter, state_of, with_characters, with_joins
from danlu.tokenizers.joining import Join, learn_joins


def built(state: dict[str, object]) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(json.dumps(state))


def unigram(**scores: float) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.Unigram([("<unk>", 0.0), *scores.items()], 0))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return inner


def test_a_join_takes_the_place_of_its_pieces_and_of_no_others() -> None:
    """``bd`` is no reason to cut ``abd`` otherwise than into ``ab`` and ``d``, which is likelier."""
    inner = unigram(a=-2.0, b=-3.0, d=-3.0, ab=-1.0)
    grown = built(with_joins(state_of(inner, where="it"), [Join((2,), (3,))], most=9))
    assert inner.encode("abd bd dbd").tokens == ["ab", "d", "b", "d", "d", "b", "d"]
    assert grown.encode("abd bd dbd").tokens == ["ab", "d", "bd", "d", "bd"]


def test_of_as_likely_rows_the_one_with_more_joins_is_taken() -> None:
    inner = unigram(a=-2.0, b=-2.0, c=-2.0)
    grown = built(with_joins(state_of(inner, where="it"), [Join((1,), (2,)), Join((1, 2), (3,))], most=9))
    assert grown.encode("abc ab bc").tokens == ["abc", "ab", "b", "c"]


def test_merges_come_after_those_that_are_there() -> None:
    vocabulary = {token: id for id, token in enumerate(["a", "b", "c", "ab"])}
    inner = tokenizers.Tokenizer(models.BPE(vocabulary, [("a", "b")]))
    grown = built(with_joins(state_of(inner, where="it"), [Join((1,), (2,))], most=9))
    assert grown.encode("abcbc").tokens == ["ab", "c", "bc"]
    assert grown.get_vocab() == {**vocabulary, "bc": 4}


def test_a_join_that_is_written_like_an_old_token_is_left_out_and_what_is_built_on_it() -> None:
    vocabulary = {token: id for id, token in enumerate(["a", "b", "c", "ab"])}
    inner = tokenizers.Tokenizer(models.BPE(vocabulary, []))
    joins = [Join((0,), (1,)), Join((0, 1), (2,)), Join((1,), (2,)), Join((2,), (2,))]
    grown = built(with_joins(state_of(inner, where="it"), joins, most=1))
    assert grown.get_vocab() == {**vocabulary, "bc": 4}
    assert grown.encode("abc").tokens == ["a", "bc"]


def test_added_tokens_keep_their_places() -> None:
    for inner in (
        tokenizers.Tokenizer(models.BPE({"a": 0, "b": 1}, [])),
        tokenizers.Tokenizer(models.WordPiece({"a": 0, "##b": 1}, unk_token="a")),
        unigram(b=-1.0),
    ):
        inner.add_special_tokens(["<s>"])
        inner.add_tokens([AddedToken("<x>", normalized=False)])
        before = inner.get_vocab(with_added_tokens=True)
        grown = built(with_characters(state_of(inner, where="it"), ["z"]))
        assert grown.get_vocab(with_added_tokens=True) == {**before, "z": 4}
        assert grown.get_added_tokens_decoder().keys() == inner.get_added_tokens_decoder().keys()


def test_unigram_has_no_gaps() -> None:
    state = json.loads(unigram(a=-1.0).to_str())
    state["added_tokens"] = [
        {"id": 7, "content": "<x>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
    ]  # fmt: skip

    class Odd:
        def to_str(self) -> str:
            return json.dumps(state)

    with pytest.raises(InputError, match=r"^it has no token 2, but one 7; a Unigram model cannot have such gaps$"):
        state_of(Odd(), where="it")  # type: ignore[arg-type]


def test_pieces_of_a_token_within_a_word() -> None:
    vocabulary = {token: id for id, token in enumerate(["[UNK]", "pl", "##ay", "##in", "##g", "##a", "ing"])}
    split = splitter(tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]")))
    assert split("play") == (1, 2) and split("##aying") == (2, 3, 4)
    assert split("##ing") == (3, 4) and split("ing") == (6,) and split("##axe") == (0,)


def test_words_are_not_joined_across_spaces_lines_or_unknown_text(kinds: dict[str, Path]) -> None:
    inner = tokenizers.Tokenizer.from_file(str(kinds["byte fallback"] / "tokenizer.json"))
    inner.no_truncation()
    joins = learn_joins(inner, {"eos_token": "</s>"}, ["qa wo qa wo\nqa鳥wo qa" * 9], count=99, min_frequency=2)
    names = {id: token for token, id in inner.get_vocab().items()}
    words = {"".join(names[id] for id in join.ids) for join in joins}
    assert words and all("▁" not in word[1:] and "<0x" not in word and "\n" not in word for word in words)


def test_words_without_end_are_cut() -> None:
    """So that what is held in memory does not grow with text without spaces."""
    inner = tokenizers.Tokenizer(models.BPE({"a": 0, "b": 1, "</s>": 2}, []))
    joins = learn_joins(inner, {"eos_token": "</s>"}, ["ab" * 1000], count=99, min_frequency=1)
    assert max(len(join.ids) for join in joins) == 32
