"""How much is masked in rows of English and Chinese, in which units, against the rules of the papers' own code."""

from __future__ import annotations

import itertools
import random
import re
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer, DataCollatorForLanguageModeling

from danlu.corpus.batches import IGNORE, Example
from danlu.corpus.marks import PHRASE, WORD, Marker, Marks
from danlu.corpus.rows import Ints, Piece
from danlu.corpus.store import TokenStore
from danlu.errors import RecipeError
from danlu.objectives.masking import Chosen, Masking, NGrams, Phrases, Spans, Tokens, Words
from danlu.objectives.mlm import MaskedLM
from danlu.text.lexicon import Lexicon
from danlu.text.words import Jieba
from danlu.tokenizers.vocabulary import Vocabulary

ENGLISH = """The furnace was lit before sunrise, and the alchemist's daughter carried charcoal up from the courtyard.
Nobody in the neighbourhood believed that anything valuable would ever come out of it; the grocer, who had lent them
money, believed it least of all. Yet every morning she weighed the cinnabar, ground it under the moon-shaped stone,
and wrote down whatever happened: the colour of the smoke, the temperature as far as her hand could tell it, and how
long the vessel had been shut. Machine learning is not so different. One measures, one changes a single thing, one
measures again, and most evenings there is nothing to show but another unremarkable entry in a notebook. In the Song
dynasty they would have called that refining, and in New York they call it engineering."""
CHINESE = """炉火在日出以前就点着了，炼丹师的女儿从院子里把木炭背上来。街坊邻居谁也不相信那里面会出什么值钱的东西；借过
钱给他们的杂货店老板最不相信。可是她每天早晨都称好朱砂，在月牙形的石头下面研磨，然后把发生的一切写下来：烟的颜色，用手
能够感觉到的温度，还有容器关了多长时间。机器学习和这个没有太大的区别。人们测量，改变一样东西，再测量，大多数晚上除了笔记
本里又一条平平常常的记录以外，什么也拿不出来。在宋朝，人们把这叫做修炼；到了今天，北京大学的学生把它叫做人工智能工程。"""
LEXICON = ["machine learning", "New York", "the Song dynasty", "机器学习", "北京大学", "人工智能", "杂货店老板"]
MARKER = Marker(("words", "phrases"), Jieba(), Lexicon.of(LEXICON))
EOT, CLS, SEP, MASK, SPECIAL = 0, 1, 2, 3, 4
SIZE = 1 << 16
CHOICES: list[Masking] = [Tokens(), Words(), Spans(), NGrams(), Phrases(), Phrases(share=0.5)]


def tokens_of(text: str) -> tuple[list[int], Ints]:
    """Ids and ends of tokens: Chinese characters, and three letters at once of all else, so that words have several."""
    spans = [found.span() for found in re.finditer(r"[\u3400-\u9fff]|[A-Za-z]{1,3}|\S", text)]
    return [SPECIAL + crc32(text[a:b].encode()) % (SIZE - SPECIAL) for a, b in spans], np.array(
        [end for _, end in spans]
    )


def store_of(text: str, *, times: int = 12) -> TokenStore:
    """The text many times in one document, with real marks."""
    ids, ends = tokens_of(text)
    marks = np.tile(MARKER.marks(text, ends), times)
    tokens = np.array([EOT, *(ids * times), EOT])
    borders = np.array([0, len(tokens) - 1])
    padded = np.pad(marks, 1, constant_values=WORD | PHRASE)
    return TokenStore(tokens, borders, [{}], SIZE, EOT, padded, ("words", "phrases"))


STORES = {"en": store_of(ENGLISH), "zh": store_of(CHINESE)}
VOCABULARY = Vocabulary(
    SIZE, EOT, {"eot": EOT, "cls": CLS, "sep": SEP, "mask": MASK}, (), np.arange(SPECIAL, SIZE), np.arange(SPECIAL)
)


def rows_of(store: TokenStore, count: int) -> list[Piece]:
    """Pieces of 60 to 250 tokens from anywhere, so that they begin within words too."""
    draw = np.random.default_rng(5)
    found = []
    for _ in range(count):
        length = int(draw.integers(60, 250))
        start = int(draw.integers(0, len(store.tokens) - length - 2))
        found.append(Piece(store, start, np.asarray(store.tokens[start : start + length + 1], dtype=np.int64)))
    return found


def examples(objective: MaskedLM, pieces: list[Piece]) -> list[Example]:
    return [
        objective.example(each, vocabulary=VOCABULARY, noise=np.random.default_rng(seed))
        for seed, each in enumerate(pieces)
    ]


def fractions(objective: MaskedLM, pieces: list[Piece]) -> np.ndarray[Any, Any]:
    """Of each row, the share of its places that are scored."""
    return np.array([(each.targets["words"] != IGNORE).mean() for each in examples(objective, pieces)])


@pytest.mark.parametrize("rate", [0.15, 0.4])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("units", CHOICES, ids=str)
def test_every_row_has_its_share_masked(units: Masking, language: str, rate: float) -> None:
    found = fractions(MaskedLM(units=units, rate=rate), rows_of(STORES[language], 150))
    histogram, _ = np.histogram(found, bins=[0, rate - 0.02, rate - 0.01, rate + 0.01, 1])
    assert histogram[0] == 0 and histogram[2] >= 145 and histogram[3] == 0
    assert found.mean() == pytest.approx(rate, abs=0.002) and found.std() < 0.005


def test_the_spread_of_transformers_in_chinese_is_everything_or_nothing() -> None:
    """What the test above would say of another rule: words that are parted by spaces."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(CHINESE) - {"\n"})]
    tokenizer = BertTokenizer({name: id for id, name in enumerate(names)})
    shares_of: dict[str, Any] = {
        "mlm_probability": 0.15,
        "mask_replace_prob": 1.0,
        "random_replace_prob": 0.0,
    }  # it can do no others
    collator = DataCollatorForLanguageModeling(tokenizer, whole_word_mask=True, **shares_of, seed=1)
    sentence = CHINESE.split("，", maxsplit=1)[0]
    row = tokenizer(sentence, return_offsets_mapping=True, return_special_tokens_mask=True)
    labels = collator([row] * 40)["labels"]
    shares = (labels[:, 1:-1] != IGNORE).float().mean(1)
    assert set(shares.tolist()) == {0.0, 1.0}


def bert(words: list[list[int]], most: int, order: list[int]) -> list[int]:
    """Whole-word masking as in google-research/bert, ``create_masked_lm_predictions``, its shuffle given."""
    masked: list[int] = []
    covered: set[int] = set()
    for index_set in (words[place] for place in order):
        if len(masked) >= most:
            break
        if len(masked) + len(index_set) > most:
            continue
        if any(index in covered for index in index_set):
            continue
        for index in index_set:
            covered.add(index)
            masked.append(index)
    return sorted(masked)


def words_of(marks: Marks, bit: int = WORD) -> list[list[int]]:
    """Places by the unit that they are of."""
    units: list[list[int]] = []
    for place, mark in enumerate(marks):
        if mark & bit or not units:
            units.append([])
        units[-1].append(place)
    return units


@pytest.mark.parametrize("language", ["en", "zh"])
def test_whole_words_are_chosen_as_by_bert(language: str) -> None:
    counts: tuple[list[int], list[int]] = ([], [])
    for seed, piece in enumerate(rows_of(STORES[language], 200)):
        marks = piece.marks
        assert marks is not None
        words, most = words_of(marks), max(1, round(0.15 * (len(piece.body) + 2)))
        chosen = Words().choose(np.arange(len(marks)), marks, most, np.random.default_rng(seed))
        order = np.random.default_rng(seed).permutation(len(words)).tolist()
        assert sorted(chosen.places.tolist()) == bert(words, most, order)
        random.Random(seed).shuffle(order)
        counts[0].append(most - len(chosen.places))
        counts[1].append(most - len(bert(words, most, order)))
    ours, theirs = (np.bincount(each, minlength=4) for each in counts)
    assert np.abs(ours - theirs).max() < 5 * 200**0.5 / 2 and ours[0] > 150


random_words = st.lists(st.integers(1, 6), min_size=1, max_size=60)


def marks_of(lengths: list[int], bit: int = WORD) -> Marks:
    marks = np.zeros(sum(lengths), dtype=np.uint8)
    marks[np.cumsum([0, *lengths[:-1]])] = bit
    return marks


@pytest.mark.parametrize("units", [Words(), Spans(), NGrams(), Phrases()], ids=str)
@settings(max_examples=60, deadline=None)
@given(lengths=random_words, budget=st.integers(1, 80), seed=st.integers(0, 9))
def test_words_stay_whole(units: Masking, lengths: list[int], budget: int, seed: int) -> None:
    marks = marks_of(lengths, WORD | PHRASE)
    chosen = units.choose(np.arange(len(marks)), marks, budget, np.random.default_rng(seed))
    taken = set(chosen.places.tolist())
    assert len(taken) == len(chosen.places)
    if min(lengths) > budget:
        whole = [word for word in words_of(marks) if taken == set(word)]
        if 2 * min(lengths) <= sum(lengths):
            assert len(whole) == 1 and 2 * len(taken) <= sum(lengths)  # one word, whole
        else:
            assert len(taken) == budget and not whole  # a part of what is nearly all: better than nothing
        return
    assert len(taken) <= budget
    partly = [word for word in words_of(marks) if 0 < len(taken.intersection(word)) < len(word)]
    free = [word for word in words_of(marks) if not taken.intersection(word)]
    assert not partly
    assert all(len(word) > budget - len(taken) for word in free)  # nothing that would still fit is left


def test_words_of_an_example_are_those_of_its_text() -> None:
    pieces = rows_of(STORES["en"], 20)
    for piece, example in zip(pieces, examples(MaskedLM(units=Words()), pieces), strict=True):
        assert piece.marks is not None
        chosen = set((np.flatnonzero(example.targets["words"] != IGNORE) - 1).tolist())  # [CLS] is before the text
        assert all(len(chosen.intersection(word)) in (0, len(word)) for word in words_of(piece.marks))


@pytest.mark.parametrize("units", [Words(), Spans(), NGrams(), Phrases()], ids=str)
def test_no_word_of_a_short_title_is_cut(units: Masking) -> None:
    """Of seven tokens and two special ones BERT's budget is one, and each of these words has two or three."""
    text = "北京 大学生 欢迎"
    ids, ends = tokens_of(text)
    assert len(ids) == 7 and max(1, round(0.15 * (len(ids) + 2))) == 1
    marks = MARKER.marks(text, ends)
    tokens, padded = np.array([EOT, *ids, EOT]), np.pad(marks, 1, constant_values=WORD | PHRASE)
    piece = Piece(TokenStore(tokens, np.array([0, 8]), [{}], SIZE, EOT, padded, ("words", "phrases")), 0, tokens)
    hidden = {
        tuple(np.flatnonzero(each.targets["words"] != IGNORE).tolist())
        for each in examples(MaskedLM(units=units), [piece] * 40)
    }
    assert hidden == {tuple(1 + place for place in word) for word in words_of(marks)}
    assert {len(word) for word in hidden} == {2, 3}


def test_what_must_not_be_masked_parts_words() -> None:
    marks = marks_of([6])
    allowed = np.array([0, 1, 3, 4, 5])
    chosen = Words().choose(allowed, marks[allowed], 3, np.random.default_rng(0))
    assert sorted(chosen.places.tolist()) == [3, 4, 5] or sorted(chosen.places.tolist()) == [0, 1]
    assert len(Words().choose(allowed[:0], marks[:0], 3, np.random.default_rng(0)).places) == 0


def run_lengths(chosen: Chosen, marks: Marks) -> list[int]:
    """Words in each group, whose places must follow each other."""
    found = []
    for group in range(int(chosen.groups.max()) + 1):
        places = chosen.places[chosen.groups == group]
        assert (np.diff(places) == 1).all()
        found.append(int((marks[places] & WORD != 0).sum()))
    return found


def chi_square(found: list[int], shares: np.ndarray[Any, Any]) -> float:
    """Of lengths 1, 2, …, in standard deviations from its mean."""
    counts = np.bincount(found, minlength=len(shares) + 1)[1:]
    expected = shares * len(found)
    freedom = len(shares) - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5)


def test_no_span_reaches_over_what_must_not_be_masked() -> None:
    """Such as from one side of a pair to the other."""
    allowed = np.concatenate([np.arange(1, 30), np.arange(31, 60)])
    for seed in range(200):
        chosen = Spans().choose(allowed, np.full(len(allowed), WORD, np.uint8), 20, np.random.default_rng(seed))
        for group in range(int(chosen.groups.max()) + 1):
            places = chosen.places[chosen.groups == group]
            assert places.max() < 30 or places.min() > 30


@pytest.mark.parametrize("units", [Spans(), NGrams()], ids=lambda units: type(units).__name__)
@pytest.mark.parametrize("words", [12, 40])
def test_the_end_of_a_text_is_hidden_as_often_as_its_middle(units: Masking, words: int) -> None:
    """Runs begin at any word alike and are cut where the text ends, as in SpanBERT's code and in ALBERT's."""
    marks, draws = marks_of([1] * words), 4000
    noise = np.random.default_rng(5)
    found = np.zeros(words)
    for _ in range(draws):
        found[units.choose(np.arange(words), marks, max(1, words * 15 // 100), noise).places] += 1
    middle = found[words // 2 - 2 : words // 2 + 2].mean()
    assert found[-4:] == pytest.approx(middle, abs=5 * middle**0.5)


def test_spans_have_geometric_lengths() -> None:
    marks = marks_of([1, 2, 1, 3] * 20_000)
    chosen = Spans().choose(np.arange(len(marks)), marks, len(marks) * 15 // 100, np.random.default_rng(3))
    found = run_lengths(chosen, marks)
    shares = 0.2 * 0.8 ** np.arange(10)
    shares /= shares.sum()
    assert chi_square(found, shares) < 5
    assert np.mean(found) == pytest.approx(3.8, abs=0.1)  # as the paper says
    starts = chosen.places[np.searchsorted(chosen.groups, np.arange(len(found)))]
    tenths = np.bincount(starts * 10 // len(marks), minlength=10)
    assert np.abs(tenths - len(found) / 10).max() < 5 * (len(found) / 10) ** 0.5  # all over the text


def test_ngrams_are_as_frequent_as_albert_says() -> None:
    """Runs that touch cannot be told apart in what is chosen, so few are drawn from a long text."""
    marks, found = marks_of([1] * 3000), []
    for seed in range(400):
        places = np.sort(NGrams().choose(np.arange(3000), marks, 30, np.random.default_rng(seed)).places)
        runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
        found += [len(run) for run in runs]
    counts = np.bincount(found, minlength=4)[1:4] / len(found)
    weights = np.array([1, 1 / 2, 1 / 3])
    assert counts == pytest.approx(weights / weights.sum(), abs=0.03)


def test_all_tokens_of_a_span_become_alike() -> None:
    pieces = rows_of(STORES["en"], 40)
    mixed = {Spans: 0, NGrams: 0}
    for units in (Spans(p=0.01), NGrams(longest=10)):
        for example in examples(MaskedLM(units=units, masked=0.5, random=0.5), pieces):
            chosen = np.flatnonzero(example.targets["words"] != IGNORE)
            hidden = example.inputs["tokens"][chosen] == MASK
            mixed[type(units)] += int((hidden[1:] != hidden[:-1])[np.diff(chosen) == 1].sum())
    assert mixed[Spans] < 40 < 200 < mixed[NGrams]  # where spans touch, and everywhere


def test_shares_are_of_spans() -> None:
    """The lots are cast once a span: 80, 10 and 10 in the mean, whatever their lengths."""
    pieces = rows_of(STORES["zh"], 400)
    hidden, scored = 0, 0
    for example in examples(MaskedLM(units=Spans()), pieces):
        chosen = example.targets["words"] != IGNORE
        hidden, scored = hidden + int((example.inputs["tokens"][chosen] == MASK).sum()), scored + int(chosen.sum())
    assert hidden / scored == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_phrases_of_the_lexicon_are_masked_whole(language: str) -> None:
    wholes = 0
    for seed, piece in enumerate(rows_of(STORES[language], 60)):
        marks = piece.marks
        assert marks is not None
        chosen = set(Phrases().choose(np.arange(len(marks)), marks, 30, np.random.default_rng(seed)).places.tolist())
        for unit in words_of(marks, PHRASE):
            assert not 0 < len(chosen.intersection(unit)) < len(unit)
            wholes += bool((marks[unit[1:]] & WORD).any()) and unit[0] in chosen
    assert wholes > 10


def test_a_share_goes_to_phrases_first() -> None:
    lengths = [3, *[1] * 27] * 40
    marks = marks_of(lengths, PHRASE) | marks_of([1] * sum(lengths))  # 40 phrases of three words, 1080 words
    counts = {}
    for share in (0.0, 0.5):
        chosen = Phrases(share=share).choose(np.arange(1200), marks, 120, np.random.default_rng(1)).places
        counts[share] = int((chosen % 30 < 3).sum())
        assert len(chosen) == 120
    assert counts[0.0] < 36 and 57 <= counts[0.5] < 57 + 36


def test_a_store_without_marks_is_refused() -> None:
    store, bare = STORES["zh"], TokenStore(np.array([EOT, 9, EOT]), np.array([0, 2]), [{}], SIZE, EOT)
    for units, key in ((Words(), "words"), (Phrases(), "phrases"), (Phrases(share=0.2), "words, phrases")):
        objective = MaskedLM(units=units)
        objective.check(VOCABULARY, store)
        with pytest.raises(RecipeError, match=rf"where {key} begin: set pack.marks to \[{key}\]"):
            objective.check(VOCABULARY, bare)
    MaskedLM().check(VOCABULARY, bare)


def test_marks_are_those_of_the_body() -> None:
    store = STORES["zh"]
    for piece in [*rows_of(store, 3), Piece(store, 0, np.asarray(store.tokens, dtype=np.int64))]:
        assert piece.marks is not None and store.marks is not None and len(piece.marks) == len(piece.body)
        assert (piece.marks == store.marks[piece.start + 1 :][: len(piece.body)]).all()


def test_groups_are_numbered() -> None:
    marks = marks_of([2] * 50)
    chosen = Spans().choose(np.arange(100), marks, 40, np.random.default_rng(2))
    assert [number for number, _ in itertools.groupby(chosen.groups)] == list(range(chosen.groups.max() + 1))
