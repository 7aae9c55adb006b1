"""Heads for tasks: scores of labels for rows or tokens, BERT's pair of heads, embeddings of rows.

Axes: B batch, T tokens, D model width, L labels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn import config
from danlu.nn.dropout import dropout
from danlu.nn.head import LanguageModelHead, Transform
from danlu.nn.sight import PADDING


def pool(hidden_BTD: Tensor, segments_BT: Tensor | None, pooling: config.Pooling) -> Tensor:
    """A row as one vector ``[B, D]``; padding (document ``PADDING``) counts nothing, wherever it stands."""
    if segments_BT is None:
        if pooling == "mean":
            return hidden_BTD.mean(1)
        return hidden_BTD[:, 0 if pooling == "first" else -1]
    real_BT = segments_BT != PADDING
    if pooling == "mean":
        weight_BT1 = real_BT[:, :, None].to(hidden_BTD.dtype)
        return (hidden_BTD * weight_BT1).sum(1) / weight_BT1.sum(1).clamp_min(1)
    place_BT = real_BT.long().cumsum(1)
    wanted_B1 = 1 if pooling == "first" else place_BT[:, -1:]
    # The first token whose count of real tokens so far is the wanted one: padding behind it counts alike.
    place_B = (place_BT == wanted_B1).long().argmax(1)
    return hidden_BTD[torch.arange(len(place_B), device=place_B.device), place_B]


class LabelHead(nn.Module):
    """Classification, pairs, regression, tagging, spans: pooled or not, transformed or not, then a linear layer."""

    def __init__(self, settings: config.Labels, *, dim: int) -> None:
        super().__init__()
        self.pooling, self.dropout = settings.pooling, settings.dropout
        self.transform = Transform(settings.transform, dim) if settings.transform is not None else None
        self.out = nn.Linear(dim, settings.count, bias=settings.bias)

    def forward(self, hidden_BTD: Tensor, segments: Tensor | None = None) -> Tensor:
        """Scores ``[B, L]`` of rows, or ``[B, T, L]`` of tokens."""
        return self.scores(hidden_BTD if self.pooling is None else pool(hidden_BTD, segments, self.pooling))

    def scores(self, hidden: Tensor) -> Tensor:
        """``[…, L]`` of pooled rows, or of tokens, ``[…, D]``."""
        if self.transform is not None:
            hidden = self.transform(hidden)
        scores: Tensor = self.out(dropout(hidden, self.dropout, self.training))
        return scores


class PretrainingHeads(nn.Module):
    """Words (masked language model) and pairs (next sentence or sentence order), as BERT pretrains them."""

    def __init__(self, settings: config.Pretraining, *, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.words = LanguageModelHead(settings.words, dim=dim, vocab_size=vocab_size)
        self.pair = LabelHead(settings.pair, dim=dim)

    def tie(self, embedding: nn.Embedding) -> None:
        """Use the embedding's weight for the words."""
        self.words.tie(embedding)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """Logits of the words."""
        logits: Tensor = self.words(hidden_BTD)
        return logits


class EmbeddingHead(nn.Module):
    """A row as one vector ``[B, D]``, of length 1 where asked for (Reimers & Gurevych 2019, arXiv:1908.10084)."""

    def __init__(self, settings: config.Embedding, *, dim: int) -> None:
        super().__init__()
        self.pooling, self.normalise = settings.pooling, settings.normalise
        self.pooler = Transform(settings.pooler, dim) if settings.pooler is not None else None

    def forward(self, hidden_BTD: Tensor, segments: Tensor | None = None) -> Tensor:
        vector_BD = pool(hidden_BTD, segments, self.pooling)
        return F.normalize(vector_BD, dim=-1) if self.normalise else vector_BD

    def pooled(self, hidden_BTD: Tensor, segments: Tensor | None = None) -> Tensor:
        """What BERT's own pooler makes of the first token."""
        assert self.pooler is not None, "the model has no pooler"
        out: Tensor = self.pooler(pool(hidden_BTD, segments, "first"))
        return out


def make_head(settings: config.AnyHead, *, dim: int, vocab_size: int) -> nn.Module:
    """The module for a record."""
    if isinstance(settings, config.Head):
        return LanguageModelHead(settings, dim=dim, vocab_size=vocab_size)
    if isinstance(settings, config.Labels):
        return LabelHead(settings, dim=dim)
    if isinstance(settings, config.Pretraining):
        return PretrainingHeads(settings, dim=dim, vocab_size=vocab_size)
    return EmbeddingHead(settings, dim=dim)
