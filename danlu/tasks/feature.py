"""What a model reads of an example and what is right in it, token by token; and many of them as a token store.

Axes: T tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from danlu.corpus.batches import Array, Example
from danlu.corpus.rows import Ints
from danlu.corpus.store import TokenStore
from danlu.train.fingerprint import REFERENCES

DOCUMENT = {"language": "und", "source": ""}
"""What a store says of its documents, which are those of a task."""
REFERENCE = "reference"
"""The name of what the model that begins makes of an example, beside its targets."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A text as a model reads it. A long example may have several, an example of several texts all in one."""

    example: int
    """Its number among the examples."""
    tokens: Ints
    """``[T]``, special ones included; of a model with two sides, the decoder's."""
    targets: dict[str, Array] = field(default_factory=dict)
    """``[T]`` each, by the name of the loss; ``IGNORE`` where nothing is scored."""
    types: Ints | None = None
    """``[T]`` token types; all 0 where None."""
    parts: tuple[int, ...] = ()
    """Tokens of each of several documents, which do not see each other; none where it is one."""
    source: Ints | None = None
    """``[S]``: what an encoder reads beside a decoder."""
    cut: bool = False
    """Whether a part of its text is not read, as it is too long."""
    words: Any = None
    """What the answer is read by: where each token stands in the text."""

    @property
    def longest(self) -> int:
        """Tokens of its longest document."""
        return max(self.parts, default=len(self.tokens))

    @property
    def size(self) -> int:
        """Tokens of both sides."""
        return len(self.tokens) + (0 if self.source is None else len(self.source))

    def as_example(self) -> Example:
        """For a batch."""
        inputs = {"tokens": self.tokens} | ({} if self.types is None else {"types": self.types})
        source = {} if self.source is None else {"tokens": self.source}
        return Example(inputs, self.targets, source, self.parts)


def fingerprint(read: Iterable[Mapping[str, Sequence[Feature]]], golds: Iterable[Any] = ()) -> dict[str, Any]:
    """What tells trainings on other examples apart, which checkpoints carry as pretraining's do.

    What a model has made of the examples is none of it: its last bits hang on the machine, and on how many threads it
    has, and a training may go on with others.

    Args:
        read: the features of each task by split: of train, which is learned, and of dev, which chooses the best
            weights. Test decides nothing.
        golds: what is right in each example of dev, which figures compare answers with: of several references one is
            in a feature at most.
    """
    found, documents, tokens = hashlib.sha256(), 0, 0
    for features in read:
        documents += len(features["train"])
        tokens += sum(each.size for each in features["train"])
        for each in (*features["train"], *features["dev"]):
            arrays = {"tokens": each.tokens, "types": each.types, "source": each.source, **each.targets}
            for name, array in arrays.items():
                if array is not None and name != REFERENCE:
                    found.update(f"{name} {array.dtype.str} {array.shape} {each.parts} ".encode())
                    found.update(np.ascontiguousarray(array).tobytes())
    said = hashlib.sha256(json.dumps(list(golds), default=str).encode())
    return {"documents": documents, "tokens": tokens, "features": found.hexdigest(), REFERENCES: said.hexdigest()}


@dataclass(frozen=True)
class FeatureStore(TokenStore):
    """Features as a store, a document each: whatever reads documents reads them."""

    features: Sequence[Feature] = ()


def stored(features: Sequence[Feature], *, vocab_size: int, eot: int) -> FeatureStore:
    """The store of ``features``; what stands in it between the documents is ``eot``."""
    bodies = [each.tokens if each.source is None else np.concatenate([each.source, each.tokens]) for each in features]
    starts = np.cumsum([0, *(len(body) + 1 for body in bodies)])
    tokens = np.full(starts[-1] + 1, eot, dtype=np.int64)
    for start, body in zip(starts.tolist(), bodies, strict=False):
        tokens[start + 1 : start + 1 + len(body)] = body
    documents = [DOCUMENT] * len(features)
    return FeatureStore(tokens, starts, documents, vocab_size, eot, features=features)
