"""What every kind of tokenizer promises: the same one from the same texts, text that stays text, and a whole folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from danlu import catalog
from danlu.errors import InputError, RecipeError
from danlu.recipe import build, plain
from danlu.tokenizers.stage import TrainTokenizer
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary

CORPUS = [
    "It was the best of times, it was the worst of times; they're 12345 men's words  and\tspaces.\r\n\n" * 3,
    "话说天下大势，分久必合，合久必分。话说天下大势，分久必合，合久必分。\n" * 3,
    "\0 a cafe\u0301 and a café 👩\u200d👩\u200d👧\u00a0\u3000 ﷺ ▁▁ Ġ <0xE4> ## คนไทย ひらがな\n"
    "<|endoftext|> [UNK] <unk> <|unknown|>\n",
] * 2
KINDS = [
    name for name in catalog.names("tokenizer") if name not in ("folder", "extend")
]  # which read one that is there
ANY_BYTES = [name for name in KINDS if name in ("bpe", "byte", "unigram")]
"""Any text comes back."""
SMALL = {"bpe": {"vocab_size": 400}, "unigram": {"vocab_size": 420}, "wordpiece": {"vocab_size": 300}}
SPECIAL = [
    "<|endoftext|>",
    "<|unknown|>",
    "<unk>",
    "[UNK]",
    "[MASK]",
    "<pad>",
    "<extra_id_7>",
    "<|fim_middle|>",
    "<0xE4>",
]

LETTERS = " \0\r\n\t0123，。天下the'sé\u0301👩\u200d<|>▁ĠĊ#"
any_text = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]), st.sampled_from(" \0\r\n\t0123，。天下the'sé\u0301👩\u200d<|>▁ĠĊ#")
    )
)
texts = st.lists(st.one_of(any_text, st.sampled_from([*SPECIAL, *CORPUS])), max_size=4).map("".join)
kinds = st.sampled_from(KINDS)


@cache
def trained(kind: str, *sets: str) -> Tokenizer:
    return make(kind, *sets)


def make(kind: str, *sets: str) -> Tokenizer:
    settings = {"use": kind, **SMALL.get(kind, {}), **({"special": list(sets)} if sets else {})}
    if sets and "vocab_size" in settings:
        settings["vocab_size"] += 120
    stage = build(TrainTokenizer, settings, key="tokenizer")
    assert build(TrainTokenizer, plain(stage), key="tokenizer") == stage
    return stage.trainer.train(iter(CORPUS))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_texts_give_the_same_tokenizer(kind: str) -> None:
    assert make(kind).to_json() == trained(kind).to_json()


@given(st.sampled_from(ANY_BYTES), texts)
def test_any_text_comes_back(kind: str, text: str) -> None:
    tokenizer = trained(kind)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.unknown not in ids


@given(kinds, texts)
def test_what_is_decoded_is_encoded_as_it_was(kind: str, text: str) -> None:
    """Kinds for models that read lose spaces, and no more than that of what they know."""
    tokenizer = trained(kind)
    ids = tokenizer.encode(text)
    assert len(ids) <= 4 * len(text.encode()) + 1
    if tokenizer.unknown is None or tokenizer.unknown not in ids:
        assert tokenizer.encode(tokenizer.decode(ids)) == ids


@given(kinds, texts, st.sampled_from([(), ("bert",), ("t5",), ("fim",)]))
def test_special_tokens_in_text_are_text(kind: str, text: str, sets: tuple[str, ...]) -> None:
    tokenizer = trained(kind, *sets)
    vocabulary = Vocabulary.of(tokenizer)
    special = set(vocabulary.special.tolist()) - {tokenizer.unknown}
    for spelled in (text, *(each + text for each in SPECIAL)):
        assert not special & set(tokenizer.encode(spelled))


@pytest.mark.parametrize("kind", KINDS)
def test_a_special_token_is_one_when_it_is_asked_for(kind: str, tmp_path: Path) -> None:
    tokenizer = trained(kind)
    tokenizer.save(tmp_path)
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert stock("the<|endoftext|>", add_special_tokens=False).input_ids == [*tokenizer.encode("the"), tokenizer.eot]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], transformers.PreTrainedTokenizerBase]:
    @cache
    def load(kind: str) -> transformers.PreTrainedTokenizerBase:
        folder = tmp_path_factory.mktemp(kind)
        trained(kind).save(folder)
        return transformers.AutoTokenizer.from_pretrained(folder)

    return load


@given(kinds, texts)
def test_transformers_has_the_same_tokens_and_text(
    stock: Callable[[str], transformers.PreTrainedTokenizerBase], kind: str, text: str
) -> None:
    tokenizer, theirs = trained(kind), stock(kind)
    ids = tokenizer.encode(text)
    assert theirs(text, add_special_tokens=False, split_special_tokens=True).input_ids == ids
    assert tokenizer.encode_batch([text, ""]) == [ids, []]
    if tokenizer.unknown not in ids:
        assert theirs.decode(ids) == tokenizer.decode(ids)


@given(kinds, texts)
def test_ends_lie_in_the_text_and_rise(kind: str, text: str) -> None:
    [(ids, ends)] = trained(kind).encode_with_ends([text])
    assert ids.tolist() == trained(kind).encode(text)
    assert ends.tolist() == sorted(ends.tolist())
    assert not len(ends) or 0 <= ends[0] <= ends[-1] <= len(text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_the_tokenizer(kind: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    trained(kind).save(tmp_path / "one")
    loaded = Tokenizer.load(tmp_path / "one")
    loaded.save(tmp_path / "two")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert all(loaded.encode(text) == trained(kind).encode(text) for text in CORPUS)
    assert json.loads((tmp_path / "one/tokenizer_config.json").read_text())["eos_token"] == "<|endoftext|>"


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_surrogate_pair_is_told_in_one_line(kind: str) -> None:
    line = re.escape("a text has U+D83D, half a surrogate pair, at character 2")
    for encode in (trained(kind).encode, lambda text: trained(kind).encode_batch(["fine", text])):
        with pytest.raises(InputError, match=f"^{line}$"):
            encode("ab\ud83d")


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_at_all(kind: str) -> None:
    settings = {"use": kind, **SMALL.get(kind, {})}
    tokenizer = build(TrainTokenizer, settings, key="tokenizer").trainer.train(iter([]))
    assert tokenizer.eot == 0
    if kind in ANY_BYTES:
        assert tokenizer.decode(tokenizer.encode(CORPUS[2])) == CORPUS[2]
    else:
        assert set(tokenizer.encode("word")) == {tokenizer.unknown}


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_setting_is_told_in_one_line(kind: str) -> None:
    for section in ({"vocab": 3}, {"special": ["brt"]}):
        with pytest.raises(RecipeError) as error:
            build(TrainTokenizer, {"use": kind, **section}, key="tokenizer")
        assert str(error.value).startswith("tokenizer.")
        assert "\n" not in str(error.value)
