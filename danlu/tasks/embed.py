"""Sentences to vectors: batches of about equal length, so that little is padded, in the fastest number type there is.

Axes: N texts, B batch, T tokens, D model width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import tokenizers
import torch
from torch import Tensor

from danlu.errors import CheckpointError
from danlu.machine import fast_bfloat16
from danlu.nn.config import Embedding
from danlu.nn.hf.folder import load_model
from danlu.nn.sight import PADDING
from danlu.nn.transformer import Transformer
from danlu.tokenizers.folder import read_tokenizer

BATCH_TOKENS = 4096
"""Tokens, padding included, that go through the model together."""
TEXTS_AT_ONCE = 4096
"""Texts that are tokenised and sorted together."""


class Embedder:
    """An encoder with its tokenizer.

    Args:
        tokenizer: of the ``tokenizers`` library; it puts the special tokens around a text.
    """

    def __init__(self, model: Transformer, tokenizer: tokenizers.Tokenizer) -> None:
        if not isinstance(model.config.head, Embedding):
            raise CheckpointError(
                f"a model of {type(model.config.head).__name__} embeds no texts; it needs a bare model"
            )
        self.model = model.eval()
        tokenizer.no_padding()
        tokenizer.enable_truncation(model.config.max_length)
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path, *, dtype: torch.dtype | None = None) -> Embedder:
        """The embedder in a Hugging Face folder; by default in bfloat16 where the processor multiplies it in hardware.

        Raises:
            InputError, CheckpointError: a file is missing or damaged, or the model embeds no texts.
        """
        dtype = dtype or (torch.bfloat16 if fast_bfloat16() else torch.float32)
        tokenizer, _ = read_tokenizer(folder)
        return cls(load_model(folder, dtype=dtype), tokenizer)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Vectors ``[N, D]`` in float32, in the order of ``texts``."""
        vectors_ND = torch.empty(len(texts), self.model.config.dim)
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            ids = [each.ids for each in self.tokenizer.encode_batch_fast(list(texts[start : start + TEXTS_AT_ONCE]))]
            for places in _batches([len(each) for each in ids]):
                hidden_BTD, segments_BT = self._hidden([ids[place] for place in places])
                rows = torch.tensor(places) + start
                vectors_ND[rows] = self.model.head(hidden_BTD.float(), segments_BT)
        return vectors_ND

    def _hidden(self, ids: list[list[int]]) -> tuple[Tensor, Tensor | None]:
        """Hidden states, and document numbers where there is padding."""
        longest = max(len(each) for each in ids)
        tokens_BT = torch.tensor([each + [0] * (longest - len(each)) for each in ids])
        lengths_B1 = torch.tensor([len(each) for each in ids])[:, None]
        segments_BT = None
        if int(lengths_B1.min()) < longest:
            segments_BT = torch.where(torch.arange(longest)[None] < lengths_B1, 0, PADDING)
        return self.model(tokens_BT, segments=segments_BT), segments_BT


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of texts, the longest first, in groups of at most ``BATCH_TOKENS`` tokens with their padding."""
    group: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if group and (len(group) + 1) * lengths[group[0]] > BATCH_TOKENS:
            yield group
            group = []
        group.append(place)
    if group:
        yield group
