"""Texts that are longer than a model sees: all of such a text is read, in windows whose scores are pooled to its own.

The windows of a text are one feature, a part each: they stand in one row, and the loss is of what all of them say.

Axes: N windows of the rows, in order; E texts; L scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class Chunks(Settings):
    """How a long text is read in windows; its pooling alone will do."""

    short: ClassVar[str | None] = "pool"

    pool: Literal["mean", "max"] = "mean"
    """What the windows' scores become, before any softmax or sigmoid: their mean, or the greatest of each label, as in
    Sun et al. 2019 (arXiv:1905.05583, section 4.2) what goes into the head."""
    stride: int | None = Field(default=None, ge=0)
    """Tokens that two windows share (Pappagari et al. 2019, arXiv:1910.10781); by default a quarter of a window."""


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
        texts = [each.texts for each in examples]
        windows = reader.windows_of_longest(texts, shared=reader.shared(self.chunks.stride, key=STRIDE))
        counts = [len(each) for each in windows]
        features = features_of_reads(list(map(_joined, windows)), {**golds, WINDOWS: counts}, types=reader.types)
        return [
            replace(feature, parts=tuple(len(window.tokens) for window in each))
            for feature, each in zip(features, windows, strict=True)
        ]

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


def _joined(windows: Sequence[Read]) -> Read:
    """Windows of one text behind each other."""
    tokens, types, offsets, sides = (
        np.concatenate(each) for each in zip(*(window[:4] for window in windows), strict=True)
    )
    return Read(tokens, types, offsets, sides, cut=False)
