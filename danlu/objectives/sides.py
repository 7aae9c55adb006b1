"""What an encoder reads and a decoder writes, as an example."""

from __future__ import annotations

import numpy as np

from danlu.corpus.batches import Example
from danlu.corpus.rows import Ints
from danlu.tokenizers.vocabulary import Vocabulary


def two_sides(source: Ints, written: Ints, *, vocabulary: Vocabulary) -> Example:
    """The decoder sees its own tokens one place later, as ``transformers`` shifts labels.

    It starts from end-of-text, which folders name as ``decoder_start_token_id`` and, for T5 starts from padding, as
    ``pad_token_id``.
    """
    seen = np.concatenate([[vocabulary.eot], written[:-1]])
    return Example({"tokens": seen}, {"words": written}, {"tokens": source})
