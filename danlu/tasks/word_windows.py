"""Words as a model reads them: in windows, and of each word the first token in the window that shows most around it.

Axes: T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from danlu.corpus.batches import IGNORE
from danlu.corpus.rows import Ints
from danlu.tasks.feature import Feature
from danlu.tasks.text_reader import TextReader, Window


class Scored(NamedTuple):
    """Words whose labels are read from a window, and where."""

    words: Ints
    """Their numbers in the sentence."""
    places: Ints
    """Of the first token of each, in the window."""


def features_of_words(
    sentences: Sequence[Sequence[str]],
    golds: Sequence[Sequence[int] | None],
    reader: TextReader,
    *,
    shared: int,
    loss: str,
) -> list[Feature]:
    """The windows of each sentence in turn; the target of a word stands once, at its first token.

    Args:
        sentences: words, each with the space before it, if there is one.
        golds: the label of each word, None where a sentence has none.
        shared: tokens that two windows share.
    """
    features = []
    for number, windows in enumerate(reader.word_windows(sentences, shared=shared)):
        gold = golds[number]
        for place, (window, scored) in enumerate(zip(windows, best_places(windows), strict=True)):
            if place and not len(scored.words):  # the middle of a word that is longer than a window
                continue
            targets = np.full(len(window.tokens), IGNORE, dtype=np.int64)
            if gold is not None:
                targets[scored.places] = np.asarray(gold, dtype=np.int64)[scored.words]
            features.append(Feature(number, window.tokens, {loss: targets}, words=scored))
    return features


def best_places(windows: Sequence[Window]) -> list[Scored]:
    """Of each window the words whose first token has most tokens on its poorer side there; of equal ones the first.

    Words without a token are in none (as BERT's own code for long contexts, Devlin et al. 2019, arXiv:1810.04805).
    """
    best: dict[int, tuple[int, int, int]] = {}
    for number, window in enumerate(windows):
        text = np.flatnonzero(window.words >= 0)
        words, firsts = np.unique(window.words[text], return_index=True)
        for word, first in zip(words.tolist(), firsts.tolist(), strict=True):
            # Where a window begins within a word, this is 0, as it is at worst where the word begins, in one before.
            around = min(first, len(text) - 1 - first)
            if word not in best or around > best[word][0]:
                best[word] = (around, number, int(text[first]))
    found: list[list[tuple[int, int]]] = [[] for _ in windows]
    for word, (_, number, place) in best.items():
        found[number].append((word, place))
    return [Scored(*np.array(each, dtype=np.int64).reshape(-1, 2).T) for each in found]


def of_words(numbers: Sequence[Any], features: Sequence[Feature], counts: Sequence[int]) -> list[Any]:
    """``[W, L]`` for each sentence, from the ``[T, L]`` of all windows; NaN where a word has no token.

    Args:
        counts: words of each sentence.
    """
    found = [np.full((count, numbers[0].shape[1]), np.nan) for count in counts]
    for each, feature in zip(numbers, features, strict=True):
        scored: Scored = feature.words
        found[feature.example][scored.words] = each.numpy()[scored.places]
    return found
