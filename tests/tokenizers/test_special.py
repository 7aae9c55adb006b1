"""Special tokens of trained tokenizers: ids and names that ``transformers`` reads, and text that looks like them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import RecipeError
from danlu.recipe import build
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.char import Char
from danlu.tokenizers.special import SpecialSet
from danlu.tokenizers.stage import TrainTokenizer
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.tokenizers.wordpiece import WordPiece

TEXTS = [
    "To be, or not to be: that is the [MASK] question <|endoftext|>.\n",
    "话说天下大势，分久必合 <pad> <extra_id_0>",
] * 3
SETS: list[list[SpecialSet]] = [["bert"], ["t5"], ["fim"], ["t5", "bert", "fim"]]
LOOKALIKES = ["[MASK]", "[PAD]", "<pad>", "<extra_id_0>", "<extra_id_99>", "<|fim_middle|>", "<|endoftext|>", " ", "be"]
TRAINERS: dict[str, Any] = {
    "bpe": lambda sets: BPE(vocab_size=420, special=sets),
    "char": lambda sets: Char(special=sets),
    "wordpiece": lambda sets: WordPiece(vocab_size=420, special=sets),
}


@pytest.fixture(scope="module")
def trained() -> dict[tuple[str, ...], Tokenizer]:
    """By kind and sets."""
    return {(kind, *sets): make(sets).train(TEXTS) for kind, make in TRAINERS.items() for sets in SETS}


@pytest.mark.parametrize("sets", SETS, ids="-".join)
@pytest.mark.parametrize("kind", TRAINERS)
def test_transformers_knows_the_same_tokens_by_the_same_names(
    trained: dict[tuple[str, ...], Tokenizer], kind: str, sets: list[SpecialSet], tmp_path: Path
) -> None:
    ours = trained[(kind, *sets)]
    ours.save(tmp_path)
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(stock) == ours.vocab_size
    vocabulary, again = Vocabulary.of(ours), Vocabulary.of(Tokenizer.load(tmp_path))
    assert (vocabulary.roles, vocabulary.sentinels) == (again.roles, again.sentinels)
    named = {"bos": stock.bos_token_id, "eos": stock.eos_token_id, "pad": stock.pad_token_id,
             "unk": stock.unk_token_id, "cls": stock.cls_token_id, "sep": stock.sep_token_id,
             "mask": stock.mask_token_id}  # fmt: skip
    assert {role: id for role, id in vocabulary.roles.items() if role in named} == {
        role: id for role, id in named.items() if id is not None
    }
    assert vocabulary.eot == vocabulary.roles["eot"] == 0
    assert vocabulary.special.tolist() == sorted(stock.all_special_ids)
    assert sorted([*vocabulary.special, *vocabulary.ordinary]) == list(range(vocabulary.size))
    if "bert" in sets:
        assert [stock.convert_ids_to_tokens(vocabulary.roles[role]) for role in ("cls", "sep", "mask")] == [
            "[CLS]", "[SEP]", "[MASK]",
        ]  # fmt: skip
    if sets != ["fim"]:
        assert vocabulary.roles["pad"] == 1  # where RoBERTa's positions want it
        assert stock.pad_token == ("[PAD]" if sets[0] == "bert" else "<pad>")
    sentinels = [f"<extra_id_{number}>" for number in range(100)] if "t5" in sets else []
    assert stock.convert_ids_to_tokens(list(vocabulary.sentinels)) == sentinels
    if "fim" in sets:
        ids = [vocabulary.roles[role] for role in ("fim_prefix", "fim_middle", "fim_suffix")]
        assert stock.convert_ids_to_tokens(ids) == ["<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"]


texts = st.lists(st.one_of(st.sampled_from(LOOKALIKES), st.text("To be，话[]<>|_#", max_size=4))).map("".join)


@given(st.sampled_from(sorted(TRAINERS)), st.sampled_from(SETS), texts)
def test_text_is_never_a_special_token(
    trained: dict[tuple[str, ...], Tokenizer], kind: str, sets: list[SpecialSet], text: str
) -> None:
    tokenizer = trained[(kind, *sets)]
    ids, vocabulary = tokenizer.encode(text), Vocabulary.of(tokenizer)
    assert not set(ids) & (set(vocabulary.special.tolist()) - {vocabulary.roles.get("unk")})
    if kind == "bpe":
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize(
    ("sets", "single", "pair"),
    [
        (["bert"], "[CLS] a [SEP]", "[CLS] a [SEP] b [SEP]"),
        (["t5"], "a <|endoftext|>", "a <|endoftext|> b <|endoftext|>"),
        (["fim"], "a", "a b"),
        (["fim", "bert"], "a", "a b"),
    ],
)
def test_the_first_set_says_what_stands_around_a_text(
    sets: list[SpecialSet], single: str, pair: str, tmp_path: Path
) -> None:
    BPE(vocab_size=420, special=sets).train(["a b"]).save(tmp_path)
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for texts, expected in ((["a"], single), (["a", "b"], pair)):
        assert " ".join(stock.convert_ids_to_tokens(stock(*texts).input_ids)) == expected
    if sets == ["bert"]:
        assert stock("a", "b", return_token_type_ids=True).token_type_ids == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (
            {"use": "bpe", "vocab_size": 300, "special": ["bert", "t5"]},
            "tokenizer: vocab_size must be at least 361 (256 bytes and 105 special tokens); got 300",
        ),
        (
            {"use": "wordpiece", "vocab_size": 100, "alphabet": 60},
            "tokenizer: vocab_size must be at least 126 (two for each of 60 characters and 6 special tokens); got 100",
        ),
        (
            {"use": "char", "special": ["brt"]},
            "tokenizer.special.0 must be 'bert', 't5' or 'fim'; got 'brt'; did you mean 'bert'?",
        ),
    ],
)
def test_what_does_not_fit_is_told(section: dict[str, Any], line: str) -> None:
    with pytest.raises(RecipeError) as error:
        build(TrainTokenizer, section, key="tokenizer")
    assert str(error.value) == line


def test_one_set_needs_no_list() -> None:
    assert build(TrainTokenizer, {"use": "bpe", "special": "fim"}, key="tokenizer").trainer == BPE(special=["fim"])


def test_as_small_as_it_may_be() -> None:
    tokenizer = BPE(vocab_size=361, special=["bert", "t5"]).train(TEXTS)
    assert tokenizer.vocab_size == 361
    assert len(Vocabulary.of(tokenizer).ordinary) == 256
    assert tokenizers.Tokenizer.from_str(tokenizer.to_json()).get_vocab_size() == 361
