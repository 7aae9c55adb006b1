"""What both sides are trained towards: targets as ``transformers`` takes them, and our loss of them.

Axes: T tokens of a row, L labels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.nn import config
from danlu.nn.transformer import Transformer
from danlu.verify.case import RESERVED, Case, Rows
from danlu.verify.ours import hidden_states

IGNORED = -100
"""A target that counts nothing."""
Targets = list[dict[str, Tensor]]
"""For each row what ``transformers`` is called with, besides the row."""


def make_targets(case: Case, settings: Any, rows: Rows) -> Targets:
    """Random targets for a model whose configuration in ``transformers`` is ``settings``; none for a bare one."""
    generator = torch.Generator().manual_seed(case.seed + 1)

    def draw(end: int, *shape: int, start: int = 0) -> Tensor:
        return torch.randint(start, end, (1, *shape), generator=generator)

    def some_ignored(targets_BT: Tensor) -> Tensor:
        return torch.where(torch.rand(targets_BT.shape, generator=generator) < 0.3, IGNORED, targets_BT)

    def one(row: Tensor, reply: Tensor | None) -> dict[str, Tensor]:
        length = len(row)
        if case.model.endswith(("ForCausalLM", "LMHeadModel")):
            return {"labels": row[None]}
        if case.model.endswith("ForQuestionAnswering"):
            return {"start_positions": draw(length), "end_positions": draw(length)}
        if case.model.endswith("ForNextSentencePrediction"):
            return {"labels": draw(2)}
        if case.model.endswith("ForTokenClassification"):
            return {"labels": some_ignored(draw(settings.num_labels, length))}
        if case.model.endswith("ForSequenceClassification"):
            return {"labels": _row_labels(settings, draw)}
        words = some_ignored(draw(settings.vocab_size, len(row if reply is None else reply), start=RESERVED))
        pair = {"next_sentence_label": draw(2)} if case.model.endswith("ForPreTraining") else {}
        return {"labels": words, **pair}

    if case.model.endswith("Model") and not case.model.endswith("HeadModel"):
        return []
    if case.model.endswith("ForMultipleChoice"):  # whose row is a question of one choice, which costs nothing
        return []
    return [one(row, rows.replies[number] if rows.replies else None) for number, row in enumerate(rows.tokens)]


def _row_labels(settings: Any, draw: Any) -> Tensor:
    if settings.problem_type == "multi_label_classification":
        labels: Tensor = draw(2, settings.num_labels).float()
    elif settings.num_labels == 1:
        labels = draw(9).float()
    else:
        labels = draw(settings.num_labels)
    return labels


@torch.inference_mode()
def our_loss(model: Transformer, rows: Rows, targets: Targets) -> float:
    """The mean over the rows."""
    losses = [_of_row(model, hidden_states(model, rows, number), kept) for number, kept in enumerate(targets)]
    return float(torch.stack(losses).double().mean())


def _of_row(model: Transformer, hidden_BTD: Tensor, targets: dict[str, Tensor]) -> Tensor:
    head = model.config.head
    if isinstance(head, config.Head):
        if model.decoder is not None and model.encoder is None:  # it foretells the next token
            return _of_words(model.head, hidden_BTD[:, :-1], targets["labels"][:, 1:])
        return _of_words(model.head, hidden_BTD, targets["labels"])
    if isinstance(head, config.Pretraining):
        pair = F.cross_entropy(model.head.pair(hidden_BTD), targets["next_sentence_label"])
        return _of_words(model.head.words, hidden_BTD, targets["labels"]) + pair
    logits: Tensor = model.head(hidden_BTD)
    if "start_positions" in targets:
        ends = (targets["start_positions"], targets["end_positions"])
        return torch.stack([F.cross_entropy(logits[:, :, side], end) for side, end in enumerate(ends)]).mean()
    labels = targets["labels"]
    if not labels.is_floating_point():
        return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)
    if logits.shape[-1] == 1:
        return F.mse_loss(logits.flatten(), labels.flatten())
    return F.binary_cross_entropy_with_logits(logits, labels)


def _of_words(head: Any, hidden_BTD: Tensor, targets_BT: Tensor) -> Tensor:
    """Heads give the sum."""
    total: Tensor = head.loss(hidden_BTD, targets_BT) / (targets_BT >= 0).sum()
    return total
