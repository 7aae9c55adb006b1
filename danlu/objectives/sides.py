"""What an encoder reads and a decoder writes, as an example."""

from __future__ import annotations

import numpy as np

from danlu.corpus.batches import Example
from danlu.corpus.rows import Ints
from danlu.tokenizers.vocabulary import Vocabulary


def two_sides(source: Ints, written: Ints, *, vocabulary: Vocabulary) -> Example:
    """The decoder sees its own tokens one place later, as ``transformers`` shifts labels.

    It starts from the token that the model's family starts from: padding for T5, end-of-text for BART.
    """
    seen = np.concatenate([[vocabulary.roles["start"]], written[:-1]])
    return Example({"tokens": seen}, {"words": written}, {"tokens": source})
