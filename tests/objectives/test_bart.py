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
    assert int(widths.inputs[0]) == len(made.inputs["tokens"]) and len(source) <= int(widths.source[0])
    stays = source[(source != CLS) & (source != SEP) & (source != MASK)]
    assert source[[0, -1]].tolist() == [CLS, SEP]
    assert length - len(stays) == min(length, max(1, round(length * rate)))
    assert np.isin(stays, piece.body).all() and (np.diff(stays) > 0).all()  # in their order, each once
    assert made.targets["words"].tolist() == [CLS, *piece.body.tolist(), EOT]
    assert made.inputs["tokens"].tolist() == [START, CLS, *piece.body.tolist()]


def test_there_is_nothing_of_no_text() -> None:
    assert INFILLING.widths(np.array([0])) == (0, 0)


@pytest.mark.parametrize(("length", "draws"), [(4, 6000), (12, 6000), (40, 3000), (250, 1500)])
def test_spans_are_as_many_and_as_long_as_by_the_paper(
    make_piece: Callable[..., Piece], vocabulary: Vocabulary, length: int, draws: int
) -> None:
    """Of short texts too, whose spans are few and of which the last one drawn is shortened."""
    generator, piece, masked = np.random.default_rng(0), make_piece(length), round(0.3 * length)
    theirs = [lengths_by_the_paper(masked, 3.0, generator) for _ in range(draws)]
    ours = [INFILLING._lengths(masked, generator).tolist() for _ in range(draws)]
    assert all(sum(lengths) == masked for lengths in ours)
    masks = [
        int((INFILLING.example(piece, vocabulary=vocabulary, noise=generator).source["tokens"] == MASK).sum())
        for _ in range(draws)
    ]
    counts = [[len(lengths) for lengths in each] for each in (ours, theirs)]
    for one, other in ((counts[0], counts[1]), (masks, counts[1]), (np.hstack(ours), np.hstack(theirs))):
        share = [np.bincount(each, minlength=60)[:60] / len(each) for each in (one, other)]
        assert np.abs(np.cumsum(share[0]) - np.cumsum(share[1])).max() < 1.95 * np.sqrt(2 / min(len(one), len(other)))
    ends = np.array([(lengths[0], lengths[-1]) for lengths in ours if len(lengths) > 1])
    assert abs(ends[:, 0].mean() - ends[:, 1].mean()) < 5 * np.sqrt(2 * 3 / len(ends))  # the shortened one is anywhere


def test_a_mask_stands_for_what_is_missing_or_for_nothing(
    make_piece: Callable[..., Piece], vocabulary: Vocabulary
) -> None:
    """Of 250 tokens 75 are masked; a mask that touches no other shows how many it stands for."""
    generator, piece = np.random.default_rng(0), make_piece(250)
    found: list[int] = []
    for _ in range(600):
        found += spans_of(INFILLING.example(piece, vocabulary=vocabulary, noise=generator).source["tokens"], 250)
    theirs = [length for _ in range(600) for length in lengths_by_the_paper(75, 3.0, generator)]
    share = [np.bincount(lengths, minlength=20)[:20] / len(lengths) for lengths in (found, theirs)]
    assert np.abs(share[0] - share[1]).max() < 0.02
    assert share[0][0] == pytest.approx(np.exp(-3), abs=0.01)  # of length 0: a mask and nothing missing


def test_masks_stand_anywhere_alike(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    """28 of 40 tokens stay; of sources with 4 masks each of 32 places is one as often, and no two depend on another."""
    noise, piece = np.random.default_rng(1), make_piece(40)
    sources = [INFILLING.example(piece, vocabulary=vocabulary, noise=noise).source["tokens"] for _ in range(12_000)]
    masks = np.array([source == MASK for source in sources if len(source) == 34])
    draws = len(masks)
    assert draws > 2000 and (masks.sum(1) == 4).all() and not masks[:, [0, -1]].any()
    expected = draws * 4 / 32
    assert (((masks.sum(0)[1:-1] - expected) ** 2 / expected).sum()) < 31 + 5 * np.sqrt(2 * 31)
    touching = (masks[:, 1:] & masks[:, :-1]).sum() / draws
    assert touching == pytest.approx(31 * 4 * 3 / (32 * 31), abs=0.07)


def test_hardly_any_draw_is_drawn_again() -> None:
    generator = np.random.default_rng(4)
    for masked in (1, 3, 12, 75, 300):
        most = int(INFILLING._most(np.array(masked)))
        drawn = [len(lengths_by_the_paper(masked, 3.0, generator)) for _ in range(2000)]
        assert np.mean(np.array(drawn) > most) < 0.005
        assert most < 2 * masked / 3 + 5


def test_sentences_are_in_any_order_and_whole(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    piece = make_piece(9, sentences=[0, 2, 6])
    objective = BartDenoising(rate=0.001)  # one token is masked
    noise = np.random.default_rng(2)
    seen: Counter[tuple[int, ...]] = Counter()
    while sum(seen.values()) < 1200:
        made = objective.example(piece, vocabulary=vocabulary, noise=noise)
        inside = made.source["tokens"][1:-1].tolist()
        if len(inside) > 9:  # beside the mask for the token there is one for nothing
            continue
        assert made.targets["words"].tolist() == [CLS, *piece.body.tolist(), EOT]
        for order in permutations([piece.body[:2], piece.body[2:6], piece.body[6:]]):
            whole = np.concatenate(order).tolist()
            if sum(token != other for token, other in zip(inside, whole, strict=True)) == 1:
                seen[tuple(whole)] += 1
    assert len(seen) == 6  # each source is one of them, but for its mask
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
    assert form.room == (512, 510 - 153 + 65 + 2)  # 153 masked tokens are in 51 spans, and in 65 at most


def test_what_a_tokenizer_and_a_store_must_have(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    plain, marked = make_piece(5).store, make_piece(5, sentences=[2]).store
    INFILLING.check(vocabulary, plain)
    BartDenoising().check(vocabulary, marked)
    with pytest.raises(RecipeError, match=r"know where sentences begin: set pack.marks to \[sentences\]"):
        BartDenoising().check(vocabulary, plain)
    with pytest.raises(RecipeError, match=r"tokens mask, cls, sep, .* set tokenizer.special to \[bert\]"):
        INFILLING.check(Vocabulary.bare(50, 0), plain)
