"""Words as characters: the entities stay where they were, by seqeval's own reading of the tags, in every scheme."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities

from danlu.data.characters import continued, in_characters
from danlu.data.dataset import Data, load
from danlu.data.example import Place
from danlu.data.tagged import TAG, Tagged
from danlu.data.tags import Scheme

HERE = Place(Path("x.conll"), 1)
WORDS = ["天下", "从", "人民大会堂", "iPhone", "2013年", "A-B", "，", "3.5", "…", "サッカー"]
SCHEMES: dict[Scheme, Any] = {"BIO": IOB2, "BIOES": IOBES, "BILOU": BILOU, "IOB1": IOB1}


def tags_of(spans: list[tuple[int, str]], scheme: Scheme) -> list[str]:
    """Tags of entities of so many words that follow each other; of type O they are none."""
    letters = {"BIOES": "BIES", "BILOU": "BILU", "BIO": "BIIB", "IOB1": "IIII"}[scheme]
    begin, inside, end, single = letters
    tags: list[str] = []
    for size, kind in spans:
        places = [single] if size == 1 else [begin, *inside * (size - 2), end]
        if scheme == "IOB1" and tags and tags[-1].endswith(f"-{kind}"):
            places[0] = "B"
        tags += ["O"] * size if kind == "O" else [f"{place}-{kind}" for place in places]
    return tags


def found(tokens: tuple[str, ...], tags: list[str], scheme: Scheme) -> set[tuple[str, int, int]]:
    """What seqeval finds, by place in the text, in characters."""
    ends = list(accumulate(map(len, tokens), initial=0))
    (entities,) = Entities([tags], SCHEMES[scheme]).entities
    return {(each.tag, ends[each.start], ends[each.end]) for each in entities}


@settings(max_examples=120)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["O", "人", "LOC"])), min_size=1, max_size=6),
    st.sampled_from(list(SCHEMES)),
    st.data(),
)
def test_entities_stay_where_they_were(spans: list[tuple[int, str]], scheme: Scheme, data: st.DataObject) -> None:
    tags = tags_of(spans, scheme)
    words = tuple(data.draw(st.sampled_from(WORDS)) for _ in tags)
    split = in_characters(Tagged(HERE, words, tuple(tags)), scheme)
    assert split.tags is not None and len(split.tags) == len(split.tokens)
    assert found(split.tokens, list(split.tags), scheme) == found(words, tags, scheme)
    assert split.texts == Tagged(HERE, words, None).texts  # with the spaces that it had
    assert in_characters(split, scheme) == split


@pytest.mark.parametrize(("tag", "scheme", "expected"), [
    ("B-X", "BIO", "B-X I-X I-X"), ("I-X", "BIO", "I-X I-X I-X"), ("O", "BIO", "O O O"),
    ("S-X", "BIOES", "B-X I-X E-X"), ("E-X", "BIOES", "I-X I-X E-X"), ("B-X", "BIOES", "B-X I-X I-X"),
    ("U-X", "BILOU", "B-X I-X L-X"), ("S-X", "BMES", "B-X M-X E-X"), ("S", "BMES", "B M E"),
    ("I-X", "IO", "I-X I-X I-X"), ("NOUN", "none", "NOUN NOUN NOUN"), ("B-X", "none", "B-X B-X B-X"),
])  # fmt: skip
def test_tags_go_on(tag: str, scheme: Scheme, expected: str) -> None:
    assert list(continued(tag, 3, scheme)) == expected.split()
    assert list(continued(tag, 1, scheme)) == [tag]


def test_chinese_is_cut_and_all_else_is_words_and_marks() -> None:
    example = Tagged(HERE, ("我", "买了", "iPhone5s", "，", "2013年"), None, (4, 5, 6, 7, 8))
    split = in_characters(example, "BIO")
    assert split.tokens == ("我", "买", "了", "iPhone5s", "，", "2013", "年") and split.tags is None
    assert split.lines == (4, 5, 5, 6, 7, 8, 8)
    spaced = in_characters(Tagged(HERE, ("in New York ", "天下"), None, (1, 2)), "BIO")
    assert spaced.pieces == ("in", " New", " York", " 天", "下")


def test_weibos_digits_behind_the_characters_are_taken_off(tmp_path: Path) -> None:
    file = tmp_path / "weibo.conll"
    rows = [("科0", "O"), ("技1", "O"), ("全0", "O"), ("方1", "B-PER.NOM"), ("位2", "I-PER.NOM"), ("资0", "O")]
    file.write_text("\n\n".join("\n".join("\t".join(row) for row in rows) for _ in range(4)) + "\n", encoding="utf-8")
    dataset = load(Data(train=file, dev=file), TAG)
    assert dataset.splits["train"][0].tokens == tuple("科技全方位资")
    assert "each token without the digit of its place in the word" in dataset.said[0]
