"""No label of a pair can be learned from lengths and places alone, of texts of several shapes in both languages.

A logistic regression that sees nothing else tries it on half of the pieces and is asked about the others.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from danlu.corpus.batches import IGNORE
from danlu.corpus.marks import SENTENCE, Marker
from danlu.corpus.rows import Ints, Piece
from danlu.corpus.store import TokenStore
from danlu.objectives.pairs import NextSentence, Pairs, SentenceOrder
from danlu.text.words import Jieba
from danlu.tokenizers.vocabulary import Vocabulary

CORPORA = Path(__file__).parents[2] / "corpora"
EOT, CLS, SEP, MASK, FIRST = range(5)
COUNT = 4000
"""Pairs of a probe, half of which it learns from."""
ROW = 96
"""Tokens of the longest piece."""
TOKEN = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+|[^\w\s]")
"""A Chinese character, a word of others, or a mark."""


@cache
def english() -> str:
    return (CORPORA / "en" / "tinyshakespeare.txt").read_text(encoding="utf-8")[:400_000]


@cache
def chinese() -> str:
    with gzip.open(CORPORA / "zh" / "classics_zh.jsonl.gz", "rt", encoding="utf-8") as file:
        return "\n\n".join(json.loads(line)["text"] for line in file)[:250_000]


def natural(text: str) -> list[str]:
    """Documents of some paragraphs, from a few to hundreds of sentences."""
    paragraphs = re.split(r"\n{2,}|(?<=。)\n", text)
    ends = np.cumsum(np.random.default_rng(5).geometric(0.1, size=len(paragraphs)))
    return ["\n\n".join(each) for each in np.split(np.array(paragraphs, dtype=object), ends[ends < len(paragraphs)])]


def paragraphs(text: str) -> list[str]:
    """A document a paragraph."""
    return re.split(r"\n+", text)


def tiny(text: str) -> list[str]:
    """Documents of one to nine tokens, cut wherever that is."""
    return cut(text[:40_000], np.random.default_rng(6).integers(1, 10, size=40_000))


def blocks(text: str) -> list[str]:
    """Documents of equally many tokens, cut wherever that is."""
    return cut(text, np.full(len(text), 60))


def cut(text: str, lengths: Ints) -> list[str]:
    """The text in documents of so many tokens, as long as there are any."""
    begins = [found.start() for found in TOKEN.finditer(text)]
    edges = [begins[each] for each in np.cumsum(lengths) if each < len(begins)]
    return [text[start:end] for start, end in pairwise([0, *edges])]


@cache
def store_of(documents: Callable[[str], list[str]], language: str) -> TokenStore:
    """Each token is a number of its own."""
    marker = Marker(("sentences",), Jieba(), None)
    tokens, marks, starts = [EOT], [SENTENCE], [0]
    for text in documents(chinese() if language == "zh" else english()):
        ends = np.array([found.end() for found in TOKEN.finditer(text)], dtype=np.int64)
        if not len(ends):
            continue
        tokens += [*range(FIRST + len(tokens), FIRST + len(tokens) + len(ends)), EOT]
        marks += [*marker.marks(text, ends).tolist(), SENTENCE]
        starts.append(len(tokens) - 1)
    about = [{"language": language}] * (len(starts) - 1)
    known = np.array(marks, dtype=np.uint8)
    return TokenStore(np.array(tokens), np.array(starts), about, len(tokens) + FIRST, EOT, known, ("sentences",))


def pieces(store: TokenStore) -> list[Piece]:
    """All documents in chunks, as rows have them, in any order."""
    cuts = [
        (start, min(start + ROW, int(end)) + (start + ROW >= int(end)))
        for begin, end in zip(store.starts[:-1], store.starts[1:], strict=True)
        for start in range(int(begin), int(end) - 1, ROW)
    ]
    np.random.default_rng(3).shuffle(cuts)
    made = [Piece(store, start, np.asarray(store.tokens[start:end], dtype=np.int64)) for start, end in cuts]
    return [piece for piece in made if len(piece.body) > 1]


def probe(objective: Pairs, store: TokenStore) -> float:
    """The share of the labels that are told by where sides and sentences begin and end."""
    vocabulary = Vocabulary(
        store.vocab_size, EOT, {"eot": EOT, "cls": CLS, "sep": SEP, "mask": MASK}, (), np.arange(FIRST, 99),
        np.arange(FIRST),
    )  # fmt: skip
    noise, known = np.random.default_rng(7), pieces(store)
    halves: list[tuple[list[Any], list[int]]] = []
    for part in (known[::2], known[1::2]):
        seen: list[Any] = []
        labels: list[int] = []
        tried = 0
        while len(labels) < COUNT // 2:
            tried += 1
            example = objective.example(part[noise.integers(len(part))], vocabulary=vocabulary, noise=noise)
            if (label := int(example.targets["pairs"][0])) != IGNORE:
                seen.append(places(example, store))
                labels.append(label)
        assert tried < 3 * COUNT
        halves.append((seen, labels))
    model = make_pipeline(PolynomialFeatures(2), StandardScaler(), LogisticRegression(max_iter=2000))
    return float(model.fit(*halves[0]).score(*halves[1]))


def places(example: Any, store: TokenStore) -> list[float]:
    """All that can be seen of a pair without its text."""
    assert store.marks is not None
    targets, tokens = example.targets["words"], example.inputs["tokens"]
    clear = np.where(targets == IGNORE, tokens, targets)
    border = int(np.flatnonzero(clear == SEP)[0])
    found = [float(np.count_nonzero(targets != IGNORE))]
    lengths = []
    for side in (clear[1:border], clear[border + 1 : -1]):
        lengths.append(len(side))
        edges = np.array([side[0] - FIRST, side[-1] - FIRST + 1])  # a token is FIRST and where it stands
        found += [len(side), float(len(side) == 1), *((store.marks[edges] & SENTENCE) > 0)]
    return [*found, float(np.sign(lengths[0] - lengths[1])), float(sum(lengths) >= ROW - 1)]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("documents", [natural, paragraphs, tiny, blocks], ids=lambda made: made.__name__)
@pytest.mark.parametrize("objective", [NextSentence(), SentenceOrder()], ids=["nsp", "sop"])
def test_lengths_and_places_do_not_tell_the_label(
    objective: Pairs, documents: Callable[[str], list[str]], language: str
) -> None:
    told = probe(objective, store_of(documents, language))
    assert abs(told - 0.5) < 4 * 0.5 / (COUNT // 2) ** 0.5
