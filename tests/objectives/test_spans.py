"""Spans of noise against T5's published procedure, written out as its code describes it, and its published sizes."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.rows import Ints
from danlu.objectives.spans import Noise, composition

SENTINELS = range(10_000, 11_000)
T5 = Noise(0.15, 3.0)


def mask_of_t5(length: int, rate: float, mean: float, generator: np.random.Generator) -> Ints:
    """``random_spans_noise_mask``: numbers rounded one after the other, lengths by shuffled beginnings of segments."""
    noise_tokens = min(max(round(length * rate), 1), length - 1)
    noise_spans = max(round(noise_tokens / mean), 1)

    def segmentation(items: int, segments: int) -> Ints:
        first = np.array([0, *generator.permutation(np.arange(items - 1) < segments - 1)])
        return np.bincount(np.cumsum(first))

    lengths = np.stack(
        [segmentation(length - noise_tokens, noise_spans), segmentation(noise_tokens, noise_spans)], axis=1
    )
    starts = np.cumsum(lengths.reshape(-1))[:-1]
    indicator = np.zeros(length, dtype=np.int64)
    indicator[starts] = 1
    return np.cumsum(indicator) % 2


def our_mask(length: int, noise: Noise, generator: np.random.Generator) -> Ints:
    stays, _ = noise.cut(np.arange(length), SENTINELS, noise=generator)
    mask = np.ones(length, dtype=np.int64)
    mask[stays[stays < length]] = 0
    return mask


def runs(mask: Ints) -> list[int]:
    """Lengths of the stretches of ones."""
    borders = np.flatnonzero(np.diff(mask, prepend=0, append=0))
    return [int(length) for length in np.diff(borders)[::2]]


@pytest.mark.parametrize(("rate", "mean"), [(0.15, 3.0), (0.15, 8.0), (0.5, 3.0), (0.5, 64.0), (0.15, 64.0)])
def test_tokens_and_spans_are_as_many_as_t5s(rate: float, mean: float) -> None:
    noise, generator = Noise(rate, mean), np.random.default_rng(0)
    for length in range(2, 500, 7):
        theirs = mask_of_t5(length, rate, mean, generator)
        tokens, spans = noise.counts(np.array(length))
        assert (tokens, spans) == (theirs.sum(), len(runs(theirs))), length
        ours = our_mask(length, noise, generator)
        assert (ours.sum(), len(runs(ours))) == (tokens, spans), length
        assert ours[0] == 0 and ours[-1] == 1  # it begins with what stays and ends with what does not


@pytest.mark.parametrize(
    ("source", "raw", "target"), [(512, 568, 114), (256, 284, 58), (1024, 1137, 229), (128, 141, 29)]
)
def test_sizes_are_those_of_compute_input_and_target_lengths(source: int, raw: int, target: int) -> None:
    """568 and 114 stand in T5's own configuration; the others by its loop, which adds tokens while they fit."""
    lengths = [
        (count, count - round(count * 0.15) + round(round(count * 0.15) / 3.0) + 1) for count in range(2, 2 * source)
    ]
    assert max(count for count, fits in lengths if fits <= source) == raw
    assert T5.longest(source, most=100) == raw
    widths = T5.widths(np.array(raw), most=100)
    assert (int(widths.source), int(widths.inputs)) == (source, target)


def test_all_masks_are_equally_likely() -> None:
    """15 of them have 4 tokens of noise in 2 spans among 10 tokens: chi-square below its mean by 5 deviations."""
    noise, generator = Noise(0.4, 2.0), np.random.default_rng(1)
    counts = Counter(tuple(our_mask(10, noise, generator).tolist()) for _ in range(6000))
    theirs = {tuple(mask_of_t5(10, 0.4, 2.0, generator).tolist()) for _ in range(2000)}
    assert counts.keys() == theirs and len(counts) == 15
    chi_square = sum((count - 400) ** 2 / 400 for count in counts.values())
    assert chi_square < 14 + 5 * np.sqrt(2 * 14)


def test_lengths_of_spans_are_distributed_as_t5s() -> None:
    """Kolmogorov-Smirnov over 800 documents of 200 tokens, of noise and of what stays between."""
    generator = np.random.default_rng(2)
    ours = [our_mask(200, T5, generator) for _ in range(800)]
    theirs = [mask_of_t5(200, 0.15, 3.0, generator) for _ in range(800)]
    for flip in (0, 1):
        one, other = ([length for mask in masks for length in runs(flip ^ mask)] for masks in (ours, theirs))
        assert len(one) == len(other)
        longest = max(one + other)
        share = [np.cumsum(np.bincount(part, minlength=longest + 1)) / len(part) for part in (one, other)]
        assert np.abs(share[0] - share[1]).max() < 1.95 * np.sqrt(2 / len(one))  # one in a thousand is above


@pytest.mark.parametrize(("total", "parts"), [(6, 3), (5, 1), (4, 4)])
def test_compositions_are_equally_likely(total: int, parts: int) -> None:
    generator = np.random.default_rng(3)
    every = [each for each in product(range(1, total + 1), repeat=parts) if sum(each) == total]
    counts = Counter(tuple(composition(total, parts, noise=generator).tolist()) for _ in range(200 * len(every)))
    assert counts.keys() == set(every)
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < len(every) + 5 * np.sqrt(2 * len(every))


@given(
    length=st.integers(2, 400),
    rate=st.floats(0.01, 0.95),
    mean=st.one_of(st.none(), st.floats(1, 70)),
    seed=st.integers(0, 9),
)
def test_what_was_cut_fits_its_gaps_and_the_widths(length: int, rate: float, mean: float | None, seed: int) -> None:
    noise = Noise(rate, mean)
    stays, goes = noise.cut(np.arange(length), SENTINELS, noise=np.random.default_rng(seed))
    whole: list[int] = []
    gaps = np.split(goes, np.flatnonzero(goes >= length)[1:])
    for token in stays:
        whole.extend(gaps[token - SENTINELS[0]][1:] if token >= length else [token])
    assert whole == list(range(length))
    assert goes[goes >= length].tolist() == stays[stays >= length].tolist() == [*SENTINELS[: len(gaps)]]
    assert all(len(gap) > 1 for gap in gaps)
    assert noise.widths(np.array(length), most=len(gaps)) == (len(goes) + 1, len(stays) + 1)
    assert noise.widths(np.array(length), most=len(gaps) - 1) == (0, 0)


@given(rate=st.floats(0.01, 0.95), mean=st.one_of(st.none(), st.floats(1, 70)))
def test_widths_of_many_are_those_of_each_and_never_shrink(rate: float, mean: float | None) -> None:
    noise, bodies = Noise(rate, mean), np.arange(300)
    widths = noise.widths(bodies, most=1000)
    assert all(noise.widths(np.array(body), most=1000) == (widths.inputs[body], widths.source[body]) for body in bodies)
    assert (np.diff(widths.inputs) >= 0).all() and (np.diff(widths.source) >= 0).all()
    assert widths.inputs[:2].tolist() == widths.source[:2].tolist() == [0, 0]


def test_without_a_mean_it_is_the_end_of_the_text() -> None:
    stays, goes = Noise(0.25, None).cut(np.arange(8), SENTINELS, noise=np.random.default_rng(0))
    assert stays.tolist() == [0, 1, 2, 3, 4, 5, 10_000] and goes.tolist() == [10_000, 6, 7]
