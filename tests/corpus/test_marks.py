"""Marks of tokens: where a word's first character is, whatever the tokenizer makes of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Inner

from danlu.corpus.marks import PHRASE, SENTENCE, WORD, Marker, Unit
from danlu.text.lexicon import Lexicon
from danlu.text.sentences import sentence_starts
from danlu.text.words import Characters, Jieba, word_starts
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.char import Char
from danlu.tokenizers.tokenizer import Tokenizer

CORPUS = [
    "It was the best of times, it was the worst of times.\r\n\tIt's 1594 – “yes”, they said!  \n\n" * 2,
    "话说天下大势，分久必合，合久必分。话说天下大势，分久必合，合久必分。\n",
    "a cafe\u0301 and a café 👩\u200d👩\u200d👧 ﷺ do n't , why ?",
]
JIEBA = Jieba()
KINDS = ["bpe", "bytes", "char", "Unigram", "byte fallback", "byte level"]
texts = st.lists(
    st.sampled_from(
        [
            "It was",
            "the",
            "best",
            "t",
            "s",
            "of times",
            ".",
            ",",
            " ",
            "  ",
            "\n",
            "\n\n",
            "'",
            "!",
            "话说",
            "天下",
            "大势",
            "合久必分",
            "，",
            "。",
            "👩",
            "👩\u200d👧",
            "café",
            "9",
        ]
    ),
    max_size=30,
).map("".join)
anything = st.one_of(texts, st.text(st.characters(exclude_categories=["Cs"])))


@pytest.fixture(scope="module")
def tokenizers(kinds: dict[str, Path]) -> dict[str, Tokenizer]:
    trained = {"bpe": BPE(vocab_size=400), "bytes": BPE(vocab_size=257), "char": Char()}
    known = {kind: trainer.train(CORPUS) for kind, trainer in trained.items()}
    return known | {kind: Tokenizer.load(folder) for kind, folder in kinds.items()}


def mark(tokenizer: Tokenizer, text: str, *units: Unit, phrases: Iterable[str] = ()) -> tuple[list[int], list[int]]:
    """The ids of ``text`` and their marks."""
    ((ids, ends),) = tokenizer.encode_with_ends([text])
    marks = Marker(units, JIEBA, Lexicon.of(phrases) if "phrases" in units else None).marks(text, ends)
    assert marks.dtype == np.uint8
    return ids.tolist(), marks.tolist()


def solid(text: bytes) -> bytes:
    """Without white space."""
    return b"".join(text.split())


@pytest.mark.parametrize("kind", KINDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts)
def test_a_token_begins_a_word_where_its_first_character_does(
    tokenizers: dict[str, Tokenizer], kind: str, text: str
) -> None:
    """Told by the bytes that tokens stand for, white space apart; offsets play no part in that."""
    tokenizer = tokenizers[kind]
    ids, marks = mark(tokenizer, text, "words")
    assert ids == tokenizer.encode(text)
    if tokenizer.unknown in ids:
        return
    written = [solid(tokenizer.token_bytes(id, first=place == 0)) for place, id in enumerate(ids)]
    form = (lambda part: unicodedata.normalize("NFKC", part)) if kind == "Unigram" else str
    assert b"".join(written) == solid(form(text).encode())
    firsts = {len(solid(form(text[:start]).encode())) for start in word_starts(text, JIEBA.make())}
    behind, begun = 0, False
    for token, bits in zip(written, marks, strict=True):
        rest = next((place for place, byte in enumerate(token) if byte not in range(0x80, 0xC0)), len(token))
        is_first = (
            rest < len(token) and behind + rest in firsts
        )  # what ends a character that was begun is not looked at
        assert bits == WORD * is_first or not begun  # the document's first word may begin at a space of its own
        begun = begun or bool(token)
        behind += len(token)
    assert marks[:1] in ([], [WORD])


@given(text=st.text(st.sampled_from("It was theбes\u0301é.,'-!天下大势，合。\n ")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_word_piece_begins_words_where_bert_says(kinds: dict[str, Path], text: str) -> None:
    """``create_pretraining_data.py`` of Devlin et al.: a piece that begins with ``##`` goes on with a word."""
    tokenizer = Tokenizer.load(kinds["WordPiece"])
    token_of = Inner.from_file(str(kinds["WordPiece"] / "tokenizer.json")).id_to_token
    ((ids, ends),) = tokenizer.encode_with_ends([text])
    marks = Marker(("words",), Characters(), None).marks(text, ends)
    assert marks.tolist() == [int(not token_of(id).startswith("##")) for id in ids.tolist()]


@given(kind=st.sampled_from([*KINDS, "WordPiece"]), text=anything)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_beginnings_are_nested_and_no_more_than_there_are(
    tokenizers: dict[str, Tokenizer], kind: str, text: str
) -> None:
    ids, marks = mark(tokenizers[kind], text, "words", "phrases", "sentences", phrases=["天下", "best of", "说天"])
    assert len(marks) == len(ids)
    assert marks[:1] in ([], [WORD | PHRASE | SENTENCE])
    assert set(marks) <= {0, WORD, WORD | PHRASE, WORD | PHRASE | SENTENCE}
    assert sum(bits & SENTENCE > 0 for bits in marks) <= max(1, len(sentence_starts(text)) + 1)


def groups(tokenizer: Tokenizer, text: str, bit: int, *units: Unit, phrases: Iterable[str] = ()) -> list[str]:
    """The text between marks of one kind."""
    ids, marks = mark(tokenizer, text, *units, phrases=phrases)
    firsts = [place for place, bits in enumerate(marks) if bits & bit]
    return [tokenizer.decode(ids[start:end]) for start, end in pairwise([*firsts, len(ids)])]


TEXT = "It's the best. 话说天下大势，分久必合。\nYes, 👩\u200d👧 said so"
WORDS = "It|'|s |the |best|. |话|说|天下|大势|，|分久必合|。\n|Yes|, |👩\u200d👧 |said |so"


@pytest.mark.parametrize("kind", ["bytes", "char"])
def test_groups_of_small_tokens_are_words_phrases_and_sentences(tokenizers: dict[str, Tokenizer], kind: str) -> None:
    tokenizer = tokenizers["bytes"] if kind == "bytes" else Char().train([TEXT])
    assert groups(tokenizer, TEXT, WORD, "words") == WORDS.split("|")
    assert groups(tokenizer, TEXT, SENTENCE, "sentences") == [
        "It's the best. ", "话说天下大势，分久必合。\n", "Yes, 👩\u200d👧 said so",
    ]  # fmt: skip
    phrases = ["the best", "下大", "Yes, 👩\u200d👧 said"]
    expected = WORDS.replace("the |best", "the best").replace("天下|大势", "天|下大|势")
    assert groups(tokenizer, TEXT, PHRASE, "phrases", phrases=phrases) == (
        expected.replace("Yes|, |👩\u200d👧 |said", "Yes, 👩\u200d👧 said").split("|")
    )
    both = groups(tokenizer, TEXT, WORD, "words", "phrases", phrases=phrases)
    assert both == WORDS.replace("天下|大势", "天|下|大|势").split("|")  # a phrase begins and ends a word


def test_a_token_of_several_words_begins_one_and_spaces_go_on() -> None:
    ends = np.array([3, 4, 4, 7, 8, 9, 11])
    assert Marker(("words",), Characters(), None).marks(" a b,c\n d 中", ends).tolist() == [1, 1, 0, 1, 0, 1, 1]


def test_words_that_share_a_token_are_one() -> None:
    """``表了`` ends one word and begins another: neither could be hidden without a part of the other."""
    text = "我们发表了论文。他们 发表了"
    assert [text[a:b] for a, b in pairwise([*word_starts(text, JIEBA.make()), len(text)])] == [
        "我们", "发表", "了", "论文", "。", "他们 ", "发表", "了",
    ]  # fmt: skip
    pieces = ["我们", "发", "表了", "论", "文。他", "们", " 发", "表", "了"]
    ends = np.cumsum([len(piece) for piece in pieces])
    marks = Marker(("words", "sentences"), JIEBA, None).marks(text, ends)
    assert (marks & WORD > 0).tolist() == [True, True, False, True, True, False, True, False, True]
    assert (marks & SENTENCE > 0).tolist() == [True, False, False, False, True, False, False, False, False]
    alone = Marker(("words",), JIEBA, None).marks(text, ends)
    assert (alone & WORD > 0).tolist() == [True, True, False, True, False, False, True, False, True]


def test_only_what_is_asked_for_is_marked(tokenizers: dict[str, Tokenizer]) -> None:
    everything = mark(tokenizers["char"], TEXT, "words", "phrases", "sentences", phrases=["the best"])[1]
    alone = mark(tokenizers["char"], TEXT, "sentences")[1]
    assert alone == [bits & SENTENCE for bits in everything]
