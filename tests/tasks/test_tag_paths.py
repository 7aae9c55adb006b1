"""Viterbi against all paths, and the transitions against what the data's own check allows."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.tags import PLACES, Scheme, impossible, may_follow
from danlu.tasks.tag_paths import TagPaths

SCHEMES: list[Scheme] = ["IO", "IOB1", "BIO", "BIOES", "BILOU", "BMES"]


def tags_of(scheme: Scheme) -> list[str]:
    return ["O", *(f"{place}-{kind}" for kind in ("X", "Y") for place in PLACES[scheme])]


@given(st.sampled_from(SCHEMES), st.data())
def test_tags_are_possible_if_each_may_follow_the_one_before(scheme: Scheme, data: Any) -> None:
    tags = data.draw(st.lists(st.sampled_from(tags_of(scheme)), min_size=1, max_size=6))
    steps = itertools.pairwise([None, *tags, None])
    assert all(may_follow(before, tag, scheme) for before, tag in steps) == (not list(impossible(tags, scheme)))


@given(st.sampled_from(SCHEMES), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_best_path_is_the_best_of_all_that_are_possible(scheme: Scheme, length: int, seed: int) -> None:
    labels = tags_of(scheme)
    scores_WL = np.random.default_rng(seed).normal(size=(length, len(labels)))
    possible = (
        path
        for path in itertools.product(range(len(labels)), repeat=length)
        if not list(impossible([labels[place] for place in path], scheme))
    )
    best = max(possible, key=lambda path: sum(scores_WL[word, place] for word, place in enumerate(path)))
    assert TagPaths.of(labels, scheme).best(scores_WL) == list(best)


def test_characters_of_words_are_cut_without_an_outside() -> None:
    paths = TagPaths.of("BMES", "BMES")
    scores_WL = np.log(np.array([[0.1, 0.7, 0.1, 0.1], [0.4, 0.3, 0.1, 0.2], [0.1, 0.7, 0.1, 0.1]]))
    assert ["BMES"[place] for place in paths.best(scores_WL)] in (["B", "M", "E"], ["S", "B", "E"], ["B", "E", "S"])


@pytest.mark.parametrize(
    ("labels", "complete"),
    [("BMES", True), ("BME", False), (["O", "B-X"], True), (["B-X", "E-X"], False)],
)
def test_whether_sentences_of_any_length_can_be_made(labels: list[str], complete: bool) -> None:
    assert TagPaths.of(labels, "BMES").complete is complete
