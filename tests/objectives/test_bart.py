"""BART's noise against the paper's description, written out token by token, and the lengths that it foretells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.rows import Ints, Piece, longest_body
from danlu.errors import RecipeError
from danlu.objectives.bart import BartDenoising, permuted
from danlu.objectives.protocol import Shape
from danlu.tokenizers.vocabulary import Vocabulary

CLS, SEP, MASK, EOT, START = 2, 3, 4, 0, 8
INFILLING = BartDenoising(permute=False)


def spans_of(source: Ints, length: int, first: int = 121) -> list[int]:
    """Tokens behind each mask, of masks that stand alone: what is missing between their neighbours."""
    inside = [first - 1, *source[1:-1].tolist(), first + length]
    places = [place for place, token in enumerate(inside) if token == MASK]
    alone = [place for place in places if MASK not in (inside[place - 1], inside[place + 1])]
    return [inside[place + 1] - inside[place - 1] - 1 for place in alone]


def lengths_by_the_paper(masked: int, mean: float, generator: np.random.Generator) -> list[int]:
    """Poisson lengths, one after the other, until so many tokens are masked; the last is cut."""
    lengths: list[int] = []
    while sum(lengths) < masked:
        lengths.append(min(int(generator.poisson(mean)), masked - sum(lengths)))
    return lengths


@given(length=st.integers(1, 250), seed=st.integers(0, 9), rate=st.floats(0.05, 0.95), mean=st.floats(1, 10))
def test_widths_and_what_stays(
    make_piece: Callable[..., Piece], vocabulary: Vocabulary, length: int, seed: int, rate: float, mean: float
) -> None:
    objective = BartDenoising(permute=False, rate=rate, mean=mean)
    piece = make_piece(length)
    made = objective.example(piece, vocabulary=vocabulary, noise=np.random.default_rng(seed))
    source = made.source["tokens"]
    widths = objective.widths(np.array([length]))
    assert (int(widths.inputs[0]), int(widths.source[0])) == (len(made.inputs["tokens"]), len(source))
    stays = source[(source != CLS) & (source != SEP) & (source != MASK)]
    assert source[[0, -1]].tolist() == [CLS, SEP]
    assert length - len(stays) == min(length, max(1, round(length * rate)))
    assert np.isin(stays, piece.body).all() and (np.diff(stays) > 0).all()  # in their order, each once
    assert made.targets["words"].tolist() == [CLS, *piece.body.tolist(), EOT]
    assert made.inputs["tokens"].tolist() == [START, CLS, *piece.body.tolist()]


def test_there_is_nothing_of_no_text() -> None:
    assert INFILLING.widths(np.array([0])) == (0, 0)


def test_lengths_of_spans_are_poisson(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    """Of 250 tokens 75 are masked in 25 spans; each length as often as by the paper's own way within a fiftieth."""
    generator, piece = np.random.default_rng(0), make_piece(250)
    ours: list[int] = []
    ends: list[tuple[int, int]] = []
    for _ in range(600):
        made = INFILLING.example(piece, vocabulary=vocabulary, noise=generator)
        assert (made.source["tokens"] == MASK).sum() == 25
        found = spans_of(made.source["tokens"], 250)
        ours += found
        ends.append((found[0], found[-1]))
    theirs = [length for _ in range(600) for length in lengths_by_the_paper(75, 3.0, generator)]
    share = [np.bincount(lengths, minlength=20)[:20] / len(lengths) for lengths in (ours, theirs)]
    assert np.abs(share[0] - share[1]).max() < 0.02
    assert share[0][0] == pytest.approx(np.exp(-3), abs=0.01)  # of length 0: a mask and nothing missing
    assert np.abs(np.mean(ends, axis=0) - 3).max() < 5 * np.sqrt(3 / 600)  # wherever they stand
    assert len(theirs) / 600 == pytest.approx(25, abs=1)


def test_masks_stand_anywhere_alike(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    """28 of 40 tokens stay, and 4 masks: each of 32 places is a mask as often, and no two depend on each other."""
    noise, piece, draws = np.random.default_rng(1), make_piece(40), 4000
    masks = np.array(
        [INFILLING.example(piece, vocabulary=vocabulary, noise=noise).source["tokens"] == MASK for _ in range(draws)]
    )
    assert masks.shape == (draws, 34) and (masks.sum(1) == 4).all() and not masks[:, [0, -1]].any()
    expected = draws * 4 / 32
    assert (((masks.sum(0)[1:-1] - expected) ** 2 / expected).sum()) < 31 + 5 * np.sqrt(2 * 31)
    touching = (masks[:, 1:] & masks[:, :-1]).sum() / draws
    assert touching == pytest.approx(31 * 4 * 3 / (32 * 31), abs=0.05)


def test_sentences_are_in_any_order_and_whole(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    piece = make_piece(9, sentences=[0, 2, 6])
    objective = BartDenoising(rate=0.001)  # one token is masked
    noise = np.random.default_rng(2)
    seen: Counter[tuple[int, ...]] = Counter()
    for _ in range(1200):
        made = objective.example(piece, vocabulary=vocabulary, noise=noise)
        inside = made.source["tokens"][1:-1].tolist()
        assert made.targets["words"].tolist() == [CLS, *piece.body.tolist(), EOT]
        for order in permutations([piece.body[:2], piece.body[2:6], piece.body[6:]]):
            whole = np.concatenate(order).tolist()
            if sum(token != other for token, other in zip(inside, whole, strict=True)) == 1:
                seen[tuple(whole)] += 1
    assert sum(seen.values()) == 1200 and len(seen) == 6  # each source is one of them, but for its mask
    assert sum((count - 200) ** 2 / 200 for count in seen.values()) < 5 + 5 * np.sqrt(2 * 5)


def test_a_chunk_may_begin_within_a_sentence(make_piece: Callable[..., Piece]) -> None:
    stretches = {tuple(permuted(np.arange(5), np.array([0, 3]), np.random.default_rng(seed))) for seed in range(9)}
    assert stretches == {(0, 1, 2, 3, 4), (3, 4, 0, 1, 2)}
    whole = make_piece(6, sentences=[4])
    within = Piece(whole.store, 2, whole.tokens[2:])  # its sentences: 2 tokens and 2
    objective = BartDenoising(rate=0.001)
    assert len(objective._shuffled(within, np.random.default_rng(0))) == 4
    found = {tuple(objective._shuffled(within, np.random.default_rng(seed)).tolist()) for seed in range(9)}
    assert found == {(123, 124, 125, 126), (125, 126, 123, 124)}


def test_a_row_has_room_for_its_longest_document() -> None:
    form = Shape(BartDenoising(), 512)
    assert longest_body(form) == 510
    assert form.room == (512, 510 - 153 + 51 + 2)


def test_what_a_tokenizer_and_a_store_must_have(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    plain, marked = make_piece(5).store, make_piece(5, sentences=[2]).store
    INFILLING.check(vocabulary, plain)
    BartDenoising().check(vocabulary, marked)
    with pytest.raises(RecipeError, match=r"know where sentences begin: set pack.marks to \[sentences\]"):
        BartDenoising().check(vocabulary, plain)
    with pytest.raises(RecipeError, match=r"tokens mask, cls, sep, .* set tokenizer.special to \[bert\]"):
        INFILLING.check(Vocabulary.bare(50, 0), plain)
