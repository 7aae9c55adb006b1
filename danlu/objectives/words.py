"""The loss of predicted tokens, which all objectives share, and what heads make of hidden states.

Axes: B rows, T tokens, D model width, N scored tokens, P pairs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.nn.label_head import PretrainingHeads
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective

SCORED_STEP = 128
"""Scored tokens are filled up to a multiple of this, so that the compiler meets few shapes."""


def hidden_states(model: Transformer, batch: Batch, *, only: Tensor | None = None) -> Tensor:
    """``[B, T, D]``: the decoder's where there is one; of a single row ``[1, C, D]`` at the places ``only``."""
    inputs: dict[str, Any] = dict(batch.inputs)
    if only is not None:
        inputs["only"] = only
    tokens = inputs.pop("tokens")
    if batch.source:
        source: dict[str, Any] = dict(batch.source)
        inputs["memory"] = model.encode(source.pop("tokens"), **source)
    hidden: Tensor = model(tokens, **inputs)
    return hidden


def word_head(model: Transformer) -> Any:
    """The head that predicts tokens."""
    return model.head.words if isinstance(model.head, PretrainingHeads) else model.head


def word_loss(
    objective: Objective, model: Transformer, hidden_BTD: Tensor, targets_BT: Tensor, *, sparse: bool = False
) -> Tensor:
    """The summed cross entropy of the scored tokens; smoothed, and with its z-loss, in training only.

    Args:
        sparse: few tokens are scored: the head sees only those.
    """
    hidden, targets = scored(hidden_BTD, targets_BT) if sparse else (hidden_BTD, targets_BT)
    training = model.training
    total: Tensor = word_head(model).loss(
        hidden,
        targets,
        smoothing=objective.label_smoothing if training else 0.0,
        z_loss=objective.z_loss if training else 0.0,
    )
    return total


def only_words(objective: Objective, model: Transformer, batch: Batch, *, sparse: bool = False) -> dict[str, Tensor]:
    """The losses of objectives that predict tokens and nothing else: ``word_loss`` and the balance of experts."""
    total = word_loss(objective, model, hidden_states(model, batch), batch.targets["words"], sparse=sparse)
    return {"words": total + balance(model, batch)}


def scored(hidden_BTD: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
    """``[N, D]`` and ``[N]``: those that have a target, filled up with some that have none."""
    flat = targets_BT.flatten()
    places = (flat != IGNORE).nonzero().flatten()
    spare = -len(places) % SCORED_STEP
    hidden_ND = hidden_BTD.flatten(0, 1).index_select(0, F.pad(places, (0, spare)))
    return hidden_ND, F.pad(flat[places], (0, spare), value=IGNORE)


def pair_scores(model: Transformer, hidden_BTD: Tensor, targets_BT: Tensor) -> Tensor:
    """``[P, 2]``: what the head of pairs makes of those that have a target, which stands at their first token."""
    places = (targets_BT.flatten() != IGNORE).nonzero().flatten()
    hidden_PD = hidden_BTD.flatten(0, 1).index_select(0, places)
    scores_P2: Tensor = model.head.pair(hidden_PD[:, None])  # each is the first and only token of its row
    return scores_P2


def balance(model: Transformer, batch: Batch) -> Tensor | float:
    """The load-balancing loss of experts for every scored token; 0 without experts."""
    if batch.source:
        return 0.0
    real = batch.targets["words"] != IGNORE if "segments" not in batch.inputs else batch.inputs["segments"] >= 0
    found = model.balance_loss(real)
    return 0.0 if found is None else found * torch.as_tensor(batch.counts["words"])
