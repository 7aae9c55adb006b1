"""Held-out text that the tokenizer does not know: one token stands for all of it, so that it costs a model nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from danlu import log
from danlu.corpus.store import TokenStore
from danlu.evaluate.protocol import Subject

AT_ONCE = 1 << 20
"""Targets that are looked through together."""


def unknown_shares(subject: Subject) -> dict[str, float]:
    """The share of such tokens among the held-out ones of ``all`` and of each language, from 0 to 1; nothing where the
    tokenizer knows every text. What it means is said where there are any, once however many measures ask."""
    unknown = subject.tokenizer.unknown
    return {} if unknown is None else subject.once(("unknown_shares",), lambda: _shares(subject.heldout, unknown))


def _shares(store: TokenStore, unknown: int) -> dict[str, float]:
    counts, tokens = unknown_targets(store, unknown), np.diff(np.asarray(store.starts)).astype(np.float64)
    if counts.any():
        log.say(
            f"evaluate: {counts.sum():,.0f} of {tokens.sum():,.0f} held-out tokens stand for text that the tokenizer "
            "does not know, which then costs nothing: loss, perplexity and bits per byte are too low by it, and do not "
            "compare with those of another tokenizer"
        )
    languages = np.array([document["language"] for document in store.documents])
    chosen = {"all": np.ones(len(counts), dtype=bool)}
    chosen |= {name: languages == name for name in sorted(set(languages.tolist()))}
    return {name: round(float(counts[those].sum() / tokens[those].sum()), 6) for name, those in chosen.items()}


def unknown_targets(store: TokenStore, unknown: int) -> NDArray[np.float64]:
    """Of each document, how many of its targets are the token ``unknown``: ``[documents]``."""
    counts = np.zeros(len(store.documents))
    for start in range(0, store.targets, AT_ONCE):
        targets = store.tokens[start + 1 : min(start + AT_ONCE, store.targets) + 1]
        places = start + np.flatnonzero(targets == unknown)
        counts += np.bincount(np.searchsorted(store.starts, places, side="right") - 1, minlength=len(counts))
    return counts
