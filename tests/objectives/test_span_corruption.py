"""Span corruption: what is read and written, how long it is, and what a tokenizer must have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.packing import alike, fill
from danlu.corpus.rows import Piece, Widths, longest_body
from danlu.errors import RecipeError
from danlu.objectives.protocol import Shape
from danlu.objectives.span_corruption import SpanCorruption
from danlu.tokenizers.vocabulary import Vocabulary

EOT = 0


def test_the_example_of_the_paper(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    """Its 11 words with 3 of noise in 2 spans, whichever these are."""
    words = list(range(200, 211))
    objective = SpanCorruption(rate=0.3, mean=1.5)
    made = objective.example(make_piece(words), vocabulary=vocabulary, noise=np.random.default_rng(3))
    source, written = made.source["tokens"].tolist(), made.targets["words"].tolist()
    first, second = vocabulary.sentinels[:2]
    assert [token for token in source if token < 200] == [first, second, EOT]
    assert [token for token in written if token < 200] == [first, second, EOT]
    assert written[0] == first and source[0] == words[0] and source[-2] == second
    assert sorted([*source, *written])[6:] == words  # each of them on one side
    assert made.inputs["tokens"].tolist() == [vocabulary.roles["start"], *written[:-1]]


@given(length=st.integers(2, 600), closes=st.booleans(), seed=st.integers(0, 5))
@pytest.mark.parametrize("settings", [{}, {"rate": 0.5, "mean": 8}, {"rate": 0.9, "mean": 1.0}], ids=str)
def test_widths_are_those_of_the_example(
    settings: dict[str, float], make_piece: Callable[..., Piece], vocabulary: Vocabulary,
    length: int, closes: bool, seed: int,
) -> None:  # fmt: skip
    objective = SpanCorruption(**settings)  # type: ignore[arg-type]
    widths = objective.widths(np.array([length]))
    if int(widths.inputs[0]) == 0:
        assert int(widths.source[0]) == 0 and length > 100 / max(objective.rate, 1 - objective.rate)
        return
    noise = np.random.default_rng(seed)
    made = objective.example(make_piece(length, closes=closes), vocabulary=vocabulary, noise=noise)
    assert Widths(int(widths.inputs[0]), int(widths.source[0])) == (
        len(made.inputs["tokens"]), len(made.source["tokens"]),
    )  # fmt: skip
    assert len(made.targets["words"]) == len(made.inputs["tokens"])


def test_a_row_holds_what_t5s_does() -> None:
    form = Shape(SpanCorruption(), 512)
    assert form.room == (114, 512)
    assert longest_body(form) == 568


@pytest.mark.parametrize(("sequence", "longest"), [(1024, 1137), (4096, 2010)])
def test_no_document_has_more_spans_than_sentinels(sequence: int, longest: int) -> None:
    """2,010 tokens have 302 of noise, 301.5 rounded to even, in 101 spans; one less 301, in 100."""
    form = Shape(SpanCorruption(), sequence)
    spans = round(round(longest * 0.15) / 3)
    assert longest_body(form) == longest - (spans > 100)
    few = Shape(SpanCorruption(sentinels=3), sequence)
    assert round(round(longest_body(few) * 0.15) / 3) == 3
    assert round(round((longest_body(few) + 1) * 0.15) / 3) == 4


def test_whole_documents_fill_rows() -> None:
    """Of documents of 20 to 500 tokens, hardly any of the encoder's places stay empty."""
    objective = SpanCorruption()
    bodies = np.random.default_rng(0).integers(20, 501, size=2000)
    widths = objective.widths(bodies)
    room = alike(widths, objective.room(512))
    rows = fill(widths, np.ones(len(bodies), dtype=np.int64), room)
    assert widths.source.sum() > 0.98 * 512 * len(rows)
    assert room.inputs <= 120


def test_a_row_that_is_too_short_is_told() -> None:
    with pytest.raises(RecipeError, match=r"pretrain.sequence is too small: .*; got 2$"):
        longest_body(Shape(SpanCorruption(), 2))


def test_what_a_tokenizer_must_have(
    make_vocabulary: Callable[..., Vocabulary], make_piece: Callable[..., Piece]
) -> None:
    store = make_piece(5).store
    SpanCorruption().check(make_vocabulary(sentinels=100), store)
    with pytest.raises(RecipeError, match=r"pretrain.objective.sentinels must be at most 99, .* got 100"):
        SpanCorruption().check(make_vocabulary(sentinels=99), store)
    with pytest.raises(RecipeError, match=r"needs the special tokens sentinels.*set tokenizer.special to \[t5\]"):
        SpanCorruption().check(Vocabulary.bare(50, 0), store)
    with pytest.raises(RecipeError, match=r"set tokenizer.special to \[bert, fim, t5\]"):  # what is there stays
        SpanCorruption().check(make_vocabulary(sentinels=0), store)
