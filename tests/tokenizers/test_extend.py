"""A tokenizer with more tokens: what it had stays, what is new is what it had, joined."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import tokenizers
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers

from danlu.errors import InputError
from danlu.recipe import build
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.byte import Byte
from danlu.tokenizers.char import Char
from danlu.tokenizers.extend import Extend
from danlu.tokenizers.folder import read_tokenizer
from danlu.tokenizers.grown import splitter
from danlu.tokenizers.stage import TrainTokenizer
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.unigram import Unigram
from danlu.tokenizers.word import Word

OLD = "It was the best of times, it was the worst of times, they said.\nIt's 1594 – “yes”!  \n\n"
NEW = [
    "滕王高阁临江渚，佩玉鸣鸾罢歌舞。画栋朝飞南浦云，珠帘暮卷西山雨。\n" * 4,
    "zebra crossings crossed by zebras\tand zebra finches 落霞与孤鹜齐飞，秋水共长天一色。\n" * 5,
    "落霞与孤鹜齐飞，秋水共长天一色。滕王高阁临江渚。 the worst zebra of all times <unk> </s>\n" * 3,
]
KINDS = ("WordPiece", "Unigram", "byte fallback", "byte level")
EXACT = ("byte fallback", "byte level")


@pytest.fixture(scope="module")
def grown(kinds: dict[str, Path]) -> dict[str, tuple[Tokenizer, Tokenizer]]:
    """Of each kind the old one and the new one."""
    found = {kind: (Tokenizer.load(kinds[kind]), Extend(path=kinds[kind], add=60).train(NEW)) for kind in KINDS}
    return found


def split_up(old: Tokenizer, new: Tokenizer, ids: list[int]) -> list[int]:
    """The same with the old tokens that each new one is made of."""
    split = splitter(old._inner)
    names = {id: token for token, id in new.tokens().items()}
    return [each for id in ids for each in ((id,) if id < old.vocab_size else split(names[id]))]


@pytest.mark.parametrize("kind", KINDS)
def test_old_tokens_keep_their_ids_and_new_ones_come_behind(
    kind: str, grown: dict[str, tuple[Tokenizer, Tokenizer]]
) -> None:
    old, new = grown[kind]
    assert new.tokens().items() >= old.tokens().items()
    added = {token: id for token, id in new.tokens().items() if token not in old.tokens()}
    assert sorted(added.values()) == list(range(old.vocab_size, old.vocab_size + 60))
    assert new.eot == old.eot and new.unknown == old.unknown and new.template() == old.template()
    text = "".join(NEW)
    if kind in EXACT:
        assert len(new.encode(text)) < 0.7 * len(old.encode(text))
    else:
        assert new.encode(text).count(new.unknown or 0) < 0.1 * old.encode(text).count(old.unknown or 0)
    assert new.encode(OLD) == old.encode(OLD), "old text without new words is as it was"


@pytest.mark.parametrize("kind", ["byte fallback", "byte level", "Unigram"])
def test_what_it_encodes_is_the_old_encoding_with_rows_joined(
    kind: str, grown: dict[str, tuple[Tokenizer, Tokenizer]]
) -> None:
    old, new = grown[kind]
    pieces = st.sampled_from(
        ["滕王", "高阁", "临江渚", "落霞", "孤", "zebra", "cros", "sed", " the", "wor", "s", " ", "\n", "é", "\u3000",
         "鳥", "</s>", "，", "it", "was", "times", "1594", "<unk>", "the worst", "best of"]
    )  # fmt: skip

    @given(st.lists(pieces, max_size=12).map("".join))
    def check(text: str) -> None:
        if kind == "Unigram":  # a character that is new now stood in a run that was one unknown token
            text = "".join(letter for letter in text if letter in old.tokens() or letter == " ")
        ids = new.encode(text)
        assert split_up(old, new, ids) == old.encode(text)
        assert kind not in EXACT or new.decode(ids) == old.decode(old.encode(text))

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_words_without_new_tokens_are_unchanged(kind: str, grown: dict[str, tuple[Tokenizer, Tokenizer]]) -> None:
    old, new = grown[kind]
    added = [token.removeprefix("##").strip("▁Ġ") for token, id in new.tokens().items() if id >= old.vocab_size]

    @given(st.lists(st.sampled_from(["it", "was", "best", "of", "they", "said", "yes", "zeb", "x", "qu"]), max_size=6))
    def check(words: list[str]) -> None:
        text = " ".join(words)
        if not any(token in text for token in added if token):
            assert new.encode(text) == old.encode(text)

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_stock_transformers_reads_it_alike(
    kind: str, kinds: dict[str, Path], grown: dict[str, tuple[Tokenizer, Tokenizer]], tmp_path: Path
) -> None:
    _, new = grown[kind]
    new.save(tmp_path)
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path)
    before = transformers.AutoTokenizer.from_pretrained(kinds[kind])
    for text in [OLD, *NEW, "<|im_start|>zebra 👩 </s>"]:
        assert stock(text, add_special_tokens=False, split_special_tokens=True).input_ids == new.encode(text)
    assert stock.all_special_ids == before.all_special_ids
    assert stock("it").input_ids == before("it").input_ids  # with what is put around
    assert stock.get_added_vocab() == before.get_added_vocab()
    assert Tokenizer.load(tmp_path).to_json() == new.to_json()


def test_bytes_are_joined_to_characters_and_words(grown: dict[str, tuple[Tokenizer, Tokenizer]]) -> None:
    old, new = grown["byte level"]
    assert len(old.encode("落霞与孤鹜齐飞")) == 21
    assert len(new.encode("落霞与孤鹜齐飞")) <= 3
    assert all(
        b"\n" not in new.token_bytes(id) and b" " not in new.token_bytes(id)[1:]
        for id in range(old.vocab_size, new.vocab_size)
    )


def test_what_the_tokenizer_cuts_apart_is_never_joined(kinds: dict[str, Path]) -> None:
    """Such a token would never be met: words and commas are encoded one by one."""
    for kind in ("byte level", "WordPiece"):
        old = Tokenizer.load(kinds[kind])
        new = Extend(path=kinds[kind], add=40).train(["best,was,best,was,best,was," * 9])
        added = [token for token, id in new.tokens().items() if id >= old.vocab_size]
        assert not any("," in token for token in added), added
        assert kind == "WordPiece" or sorted(added) == ["best", "was"]


def test_characters_that_were_unknown_are_known(grown: dict[str, tuple[Tokenizer, Tokenizer]]) -> None:
    for kind in ("WordPiece", "Unigram"):
        old, new = grown[kind]
        assert old.unknown in old.encode("落霞与孤鹜") and new.unknown not in new.encode("落霞与孤鹜")
        assert new.unknown in new.encode("鳥")


def test_the_order_of_texts_changes_nothing(kinds: dict[str, Path]) -> None:
    for kind in KINDS:
        first, second = (Extend(path=kinds[kind], add=50).train(texts) for texts in (NEW, NEW[::-1]))
        assert first.to_json() == second.to_json()


def test_more_tokens_begin_with_the_same(kinds: dict[str, Path]) -> None:
    """A prefix of what is learned is what fewer tokens would be."""
    few, many = (Extend(path=kinds["byte level"], add=add).train(NEW).tokens() for add in (20, 40))
    assert few.items() <= many.items() and len(many) == len(few) + 20


def test_ours_too(tmp_path: Path) -> None:
    for number, trainer in enumerate((BPE(vocab_size=300, special=["bert"]), Char(), Byte(), Unigram(vocab_size=400))):
        folder = tmp_path / str(number)
        folder.mkdir()
        old = trainer.train([OLD])
        old.save(folder)
        new = Extend(path=folder, add=30).train(NEW)
        assert new.vocab_size == old.vocab_size + 30
        assert new.decode(new.encode("滕王高阁 zebra")) == "滕王高阁 zebra"
        assert split_up(old, new, new.encode(OLD)) == old.encode(OLD)
        assert new.template() == old.template()


def test_a_small_text_gives_fewer(kinds: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old = Tokenizer.load(kinds["byte level"])
    new = Extend(path=kinds["byte level"], add=500).train(["zzz zzz"])
    assert 0 < new.vocab_size - old.vocab_size < 5
    assert "of tokenizer.add 500: the text has no more" in capsys.readouterr().out
    assert (
        Extend(path=kinds["byte level"]).train([]).to_json() == Extend(path=kinds["byte level"]).train(["a"]).to_json()
    )


def test_coverage_leaves_rare_characters_out(kinds: dict[str, Path]) -> None:
    text = "鳥" * 90 + "獸" * 8 + "蟲" * 2
    for coverage, known in ((0.9, "鳥"), (0.98, "鳥獸"), (1.0, "鳥獸蟲")):
        new = Extend(path=kinds["byte fallback"], add=99, coverage=coverage).train([text])
        assert {letter for letter in "鳥獸蟲" if letter in new.tokens()} == set(known)


def test_words_that_were_unknown_are_words(tmp_path: Path) -> None:
    old = Word(min_frequency=1).train([OLD, "霞与鹜齐飞"])
    old.save(tmp_path)
    new = Extend(path=tmp_path, add=200, min_frequency=4).train(NEW)
    assert new.tokens().items() >= old.tokens().items()
    added = {token: id for token, id in new.tokens().items() if token not in old.tokens()}
    assert sorted(added.values()) == list(range(old.vocab_size, old.vocab_size + len(added)))
    counts = Counter(word for text in NEW for word in re.findall("[a-z]+", text))
    expected = {word for word, count in counts.items() if count >= 4 and word not in old.tokens()}
    assert {token for token in added if token.isascii() and token.isalpha()} == expected
    by_id = {id: token for token, id in new.tokens().items()}
    assert [by_id[id] for id in new.encode("zebra finches 落霞与孤鹜齐飞")] == ["zebra", "finches", "落霞与孤鹜齐飞"]
    assert old.unknown in old.encode("落霞与孤鹜齐飞")
    assert new.encode(OLD) == old.encode(OLD) and new.template() == old.template()
    assert new.encode("<|endoftext|>")[0] != new.eot


def test_new_words_stock_transformers_reads_alike(tmp_path: Path) -> None:
    for folder in (tmp_path / "old", tmp_path / "new"):
        folder.mkdir()
    Word(special=["bert"]).train([OLD * 2]).save(tmp_path / "old")
    new = Extend(path=tmp_path / "old", add=25).train(NEW)
    new.save(tmp_path / "new")
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path / "new")
    for text in [OLD, *NEW, "[MASK] zebra 孤鹜落霞 👩"]:
        assert stock(text, add_special_tokens=False, split_special_tokens=True).input_ids == new.encode(text)
    assert Tokenizer.load(tmp_path / "new").to_json() == new.to_json()
    # Its rows in a model begin as those of the words that it was cut into; of what was unknown nothing is known.
    split = splitter(read_tokenizer(tmp_path / "old")[0])
    assert split("zebra") == (new.unknown,) and split("the") == (new.tokens()["the"],)


def test_others_word_level_tokenizers_too(tmp_path: Path) -> None:
    """Their own rule says what a word is; with no rule the whole text is one."""
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "unk_token": "<unk>"}))
    inner = tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "a": 2}, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match=r"cannot be extended: it takes a whole text for one word$"):
        Extend(path=tmp_path).train(NEW)
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.save(str(tmp_path / "tokenizer.json"))
    new = Extend(path=tmp_path, add=3).train(["B-b b-B c 天下天下 天下天下 天下天下 a"] * 2)
    assert new.tokens() == {"<unk>": 0, "</s>": 1, "a": 2, "天下天下": 3, "b-b": 4, "c": 5}
    assert new.encode("c B-B 天下") == [5, 4, 0]


def test_its_files_are_part_of_what_it_is_made_from(kinds: dict[str, Path], tmp_path: Path) -> None:
    stage = build(TrainTokenizer, {"use": "extend", "path": str(kinds["Unigram"])}, key="tokenizer")
    assert kinds["Unigram"] / "tokenizer.json" in stage.external_files()
    with pytest.raises(InputError, match=r"^tokenizer.path: there is no tokenizer in "):
        build(TrainTokenizer, {"use": "extend", "path": str(tmp_path)}, key="tokenizer").external_files()
