"""Texts that are longer than a model sees: all of such a text is read, in windows whose scores are pooled to its own.

The windows of a text are one feature, a part each: they stand in one row, and the loss is of what all of them say.

Axes: N windows of the rows, in order; E texts; L scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.nn.transformer import Transformer
from danlu.recipe import Settings
from danlu.tasks.feature import Feature
from danlu.tasks.pooled import document_scores, features_of_reads, features_of_texts, first_targets
from danlu.tasks.task import Task
from danlu.tasks.text_reader import Read, TextReader

WINDOWS = "windows"
"""The name of what says how many there are, at the first token of each text."""
STRIDE = "finetune.task.chunks.stride"
TOKENS, FEWEST = 8192, 4
"""In the windows of a text, and how many windows it has at least, unless it is said how many there may be."""
CHARACTERS_AT_ONCE = 2**20
"""Of texts that are parted into tokens together, which take some hundred bytes each while they are."""


class Chunks(Settings):
    """How a long text is read in windows; its pooling alone will do."""

    short: ClassVar[str | None] = "pool"

    pool: Literal["mean", "max"] = "mean"
    """What the windows' scores become, before any softmax or sigmoid: their mean, or the greatest of each label, as in
    Sun et al. 2019 (arXiv:1905.05583, section 4.2) what goes into the head."""
    stride: int | None = Field(default=None, ge=0)
    """Tokens that two windows share (Pappagari et al. 2019, arXiv:1910.10781); by default a quarter of a window."""
    windows: int | None = Field(default=None, ge=1)
    """Windows of a text at most, in training as in answers, by default as many as hold 8,192 tokens, but four at least:
    they go through the model together, and need the memory for that. Of a text that has more, so many are read, spread
    evenly from its beginning to its end; with 1 its beginning."""

    def most(self, max_tokens: int) -> int:
        """Windows of a text at most, where one holds ``max_tokens``."""
        return max(FEWEST, TOKENS // max_tokens) if self.windows is None else self.windows


class TextTask(Task):
    """A task whose answer is about a whole text, or pair of texts."""

    chunks: Chunks | None = None
    """Read all of a text that is longer than max_tokens, in windows whose scores are pooled (mean, max), in training as
    in answers; of a pair the longer text, with the shorter one in every window. By default cut says what is read."""

    @property
    def reads_all(self) -> bool:
        return self.chunks is not None

    def read(
        self, examples: Sequence[Any], reader: TextReader, golds: Mapping[str, Sequence[int | float]]
    ) -> list[Feature]:
        """A feature an example; what is right stands at its first token."""
        if self.chunks is None:
            return features_of_texts(examples, reader, golds)
        windows = self._windows([each.texts for each in examples], reader, self.chunks)
        counts = [len(each) for each in windows]
        features = features_of_reads(list(map(_joined, windows)), {**golds, WINDOWS: counts}, types=reader.types)
        return [
            replace(feature, parts=tuple(len(window.tokens) for window in each))
            for feature, each in zip(features, windows, strict=True)
        ]

    def _windows(self, texts: Sequence[tuple[str, ...]], reader: TextReader, chunks: Chunks) -> list[list[Read]]:
        """Those of each text that are read; that there are more is told."""
        shared, most = reader.shared(chunks.stride, key=STRIDE), chunks.most(reader.max_tokens)
        found: list[list[Read]] = []
        longer = 0
        for part in _parts(texts):
            for windows in reader.windows_of_longest(part, shared=shared):
                longer += len(windows) > most
                found.append(_spread(windows, most))
        if longer:
            reader.say_once(
                f"{longer:,} of {len(texts):,} texts have more than {most:,} windows (task.chunks.windows): so many of "
                "each are read, spread evenly over all of it",
                about=WINDOWS,
            )
        return found

    def scores(self, model: Transformer, batch: Batch) -> Tensor:
        """``[E, L]`` in float32: the head's scores, of a text in windows what they become together."""
        scores_NL = document_scores(model, batch).float()
        if self.chunks is None:
            return scores_NL
        counts_N = first_targets(batch, WINDOWS)
        parts = torch.split(scores_NL, counts_N[counts_N != IGNORE].tolist())
        return torch.stack([each.mean(0) if self.chunks.pool == "mean" else each.amax(0) for each in parts])

    def right(self, batch: Batch, name: str) -> Tensor:
        """``[E]`` what stands at the first token of each text."""
        targets_N = first_targets(batch, name)
        return targets_N if self.chunks is None else targets_N[first_targets(batch, WINDOWS) != IGNORE]


def _parts(texts: Sequence[tuple[str, ...]]) -> Iterator[Sequence[tuple[str, ...]]]:
    """Texts in their order, so many at once that there are not too many characters; a single one may have more."""
    first, characters = 0, 0
    for place, each in enumerate(texts):
        length = sum(map(len, each))
        if place > first and characters + length > CHARACTERS_AT_ONCE:
            yield texts[first:place]
            first, characters = place, 0
        characters += length
    yield texts[first:]


def _spread(windows: Sequence[Read], most: int) -> list[Read]:
    """All, or ``most`` of them at even distances, the first and the last among them."""
    if len(windows) <= most:
        return list(windows)
    return [windows[place] for place in np.linspace(0, len(windows) - 1, most).round().astype(int)]


def _joined(windows: Sequence[Read]) -> Read:
    """Windows of one text behind each other."""
    tokens, types, offsets, sides = (
        np.concatenate(each) for each in zip(*(window[:4] for window in windows), strict=True)
    )
    return Read(tokens, types, offsets, sides, cut=False)
