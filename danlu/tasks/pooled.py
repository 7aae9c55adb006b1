"""What tasks share whose answer is one number or label of a whole text, or of several texts together.

Axes: B rows, T tokens, D model width, N documents of the rows, L scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.nn.transformer import Transformer
from danlu.objectives.words import hidden_states
from danlu.tasks.documents import borders, vectors
from danlu.tasks.feature import Feature
from danlu.tasks.text_reader import Read, TextReader


def features_of_texts(
    examples: Sequence[Any], reader: TextReader, golds: Mapping[str, Sequence[int | float]]
) -> list[Feature]:
    """A feature an example; what is right stands at its first token."""
    return features_of_reads(reader.read([each.texts for each in examples]), golds, types=reader.types)


def features_of_reads(
    read: Sequence[Read], golds: Mapping[str, Sequence[int | float]], *, types: bool
) -> list[Feature]:
    """The same of what is read already.

    Args:
        types: whether the model minds the token types.
    """
    features = []
    for number, each in enumerate(read):
        targets = {}
        for name, values in golds.items():
            kind = np.float32 if isinstance(values[number], float) else np.int64
            targets[name] = np.full(len(each.tokens), IGNORE, dtype=kind)
            targets[name][0] = values[number]
        features.append(Feature(number, each.tokens, targets, each.types if types else None, cut=each.cut))
    return features


def document_scores(model: Transformer, batch: Batch) -> Tensor:
    """``[N, L]`` of the head, whichever token it reads."""
    segments_BT, pooling = batch.inputs["segments"], model.config.head.pooling  # type: ignore[union-attr]
    if pooling == "mean" or len(segments_BT) > 1:
        vectors_ND = vectors(hidden_states(model, batch), segments_BT, pooling)  # type: ignore[arg-type]
    else:
        found = borders(segments_BT)
        only_N = found.first_N if pooling == "first" else found.last_N
        vectors_ND = hidden_states(model, batch, only=only_N)[0]
    scores: Tensor = model.head.scores(vectors_ND)
    return scores


def first_targets(batch: Batch, name: str) -> Tensor:
    """``[N]`` what stands at the first token of each document."""
    return batch.targets[name].flatten()[borders(batch.inputs["segments"]).first_N]
