"""The losses of distillation: how far a student is from its teacher in logits, hidden states and attention.

Axes: B rows, T tokens, D model width, N scored tokens, V vocabulary, H relation heads, E their width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.corpus.batches import IGNORE, PADDING, Batch
from danlu.nn.block import Block
from danlu.nn.head import LanguageModelHead, at_least_float32, capped_with_slope
from danlu.nn.stack import recording
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Lesson
from danlu.objectives.words import hidden_states, word_head


class Weights(Protocol):
    """The settings of distillation that the losses depend on."""

    @property
    def logits(self) -> float: ...
    @property
    def temperature(self) -> float: ...
    @property
    def hidden(self) -> float: ...
    @property
    def distance(self) -> Literal["mse", "cosine"]: ...
    @property
    def attention(self) -> float: ...
    def weight(self, name: str) -> float: ...


@dataclass(frozen=True)
class Matching:
    """An objective with a teacher (a :class:`danlu.objectives.protocol.Lesson`)."""

    settings: Weights
    of: Lesson
    teacher: Transformer
    modules: nn.Module | None
    """The projection of hidden states to the teacher's width, where that is another."""
    layers: tuple[tuple[int, int], ...]
    """Of the student and of the teacher, whose hidden states are compared."""
    heads: int
    """Of relations."""
    block: int
    """Of the teacher, whose relations are learned, counted from 0."""

    def weight(self, name: str) -> float:
        return self.settings.weight(name)

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        """The objective's own, then ``logits``, ``hidden`` and ``attention``; both models read the batch once."""
        with recording(model.stack) as mine:
            losses = self.of.losses(model, batch)
        device = batch.inputs["tokens"].device
        teacher = self.teacher.to(device).eval()
        with torch.no_grad(), recording(teacher.stack) as theirs:
            hidden_states(teacher, batch)
        assert len(mine) == len(model.stack.blocks) + 1, "distillation is of objectives that read a batch once"
        segments_BT = batch.inputs.get("segments", torch.zeros_like(batch.inputs["tokens"]))
        if self.settings.logits:
            places = (batch.targets["logits"] != IGNORE).flatten().nonzero().flatten()
            losses["logits"] = logits_loss(
                word_head(model), mine[-1].flatten(0, 1).index_select(0, places),
                word_head(teacher), theirs[-1].flatten(0, 1).index_select(0, places),
                temperature=self.settings.temperature,
            )  # fmt: skip
        if self.settings.hidden:
            pairs = [(mine[one], theirs[other]) for one, other in self.layers]
            losses["hidden"] = self._hidden_loss(pairs, segments_BT != PADDING)
        if self.settings.attention:
            losses["attention"] = self._attention_loss(model, mine, theirs, segments_BT)
        return losses

    def _hidden_loss(self, pairs: Sequence[tuple[Tensor, Tensor]], real_BT: Tensor) -> Tensor:
        """Summed over the tokens, the mean over the pairs of layers."""
        total = None
        for mine_BTD, theirs_BTD in pairs:
            mine = mine_BTD[real_BT]
            part = distance(mine if self.modules is None else self.modules(mine), theirs_BTD[real_BT],
                            kind=self.settings.distance)  # fmt: skip
            total = part if total is None else total + part
        assert total is not None
        return total / len(pairs)

    def _attention_loss(
        self, model: Transformer, mine: list[Tensor], theirs: list[Tensor], segments_BT: Tensor
    ) -> Tensor:
        """Summed over the tokens, the mean over heads and over queries, keys and values.

        They are projected once more from what went into the block: attention as fast as it gets shows no scores.
        """
        see_BTT = who_sees_whom(segments_BT, causal=model.stack.causal)
        last, wanted = model.stack.blocks[-1], self.teacher.stack.blocks[self.block]
        assert isinstance(last, Block) and isinstance(wanted, Block)
        with torch.no_grad():
            targets = wanted.projected(theirs[self.block])
        parts = [
            relation_loss(one, other, see_BTT, segments_BT != PADDING, heads=self.heads)
            for one, other in zip(last.projected(mine[-2]), targets, strict=True)
        ]
        return (parts[0] + parts[1] + parts[2]) / len(parts)


def make_projection(dim: int, theirs: int, *, seed: int) -> nn.Linear:
    """From the student's width to the teacher's, N(0, 1/fan-in)."""
    projection = nn.Linear(dim, theirs, bias=False)
    with torch.no_grad():
        projection.weight.normal_(0.0, dim**-0.5, generator=torch.Generator().manual_seed(seed))
    return projection


def logits_loss(
    head: LanguageModelHead, hidden_ND: Tensor, teacher: LanguageModelHead, theirs_ND: Tensor, *, temperature: float
) -> Tensor:
    """The summed divergence of the student's predictions from the teacher's, in nats times the squared temperature.

    Neither side's logits are ever there all at once: gradients are made in the forward pass, part by part.
    """
    of_chunk = partial(divergence, teacher=teacher, cap=head.softcap, temperature=temperature)
    return head.sum_of_chunks(hidden_ND, theirs_ND, of_chunk)


@torch.no_grad()
def divergence(
    logits_NV: Tensor, theirs_ND: Tensor, *, teacher: LanguageModelHead, cap: float | None, temperature: float
) -> Tensor:
    """Of one part; the raw logits become its gradient with respect to them."""
    capped_NV, slope_NV = capped_with_slope(logits_NV.to(at_least_float32(logits_NV)), cap)
    log_mine_NV = F.log_softmax(capped_NV / temperature, -1)
    log_theirs_NV = F.log_softmax(teacher(theirs_ND).to(log_mine_NV.dtype) / temperature, -1)
    wanted_NV = log_theirs_NV.exp()
    logits_NV.copy_((log_mine_NV.exp() - wanted_NV) * (temperature * slope_NV))
    return (wanted_NV * (log_theirs_NV - log_mine_NV)).sum() * temperature**2


def distance(mine_ND: Tensor, theirs_ND: Tensor, *, kind: Literal["mse", "cosine"]) -> Tensor:
    """Summed over vectors: the mean squared difference of their numbers, or 1 less their cosine."""
    wide = at_least_float32(mine_ND)
    mine_ND, theirs_ND = mine_ND.to(wide), theirs_ND.to(wide)
    if kind == "mse":
        return (mine_ND - theirs_ND).square().mean(-1).sum()
    return (1.0 - F.cosine_similarity(mine_ND, theirs_ND, dim=-1)).sum()


def who_sees_whom(segments_BT: Tensor, *, causal: bool) -> Tensor:
    """Booleans ``[B, T, T]``: tokens of one document, in a causal stack only those before and the token itself."""
    see_BTT = segments_BT[:, :, None] == segments_BT[:, None, :]
    return see_BTT.tril() if causal else see_BTT


def relation_loss(mine_BTF: Tensor, theirs_BTF: Tensor, see_BTT: Tensor, real_BT: Tensor, *, heads: int) -> Tensor:
    """MiniLMv2's: the divergence of ``softmax(a @ a.T / sqrt(width))`` from the teacher's.

    Summed over the tokens that are no padding, the mean over the heads.
    """
    log_mine_BHTT = _log_relation(mine_BTF, see_BTT, heads)
    log_theirs_BHTT = _log_relation(theirs_BTF, see_BTT, heads)
    each = F.kl_div(log_mine_BHTT, log_theirs_BHTT, reduction="none", log_target=True)
    counted_B1TT = (see_BTT & real_BT[:, :, None])[:, None]
    return each.masked_fill(~counted_B1TT, 0.0).sum() / heads


def _log_relation(x_BTF: Tensor, see_BTT: Tensor, heads: int) -> Tensor:
    x_BHTE = x_BTF.view(*x_BTF.shape[:2], heads, -1).transpose(1, 2).to(at_least_float32(x_BTF))
    scores = x_BHTE @ x_BHTE.mT * x_BHTE.shape[-1] ** -0.5
    # Not minus infinity, whose differences are no numbers; what is not seen is left out of the sum.
    return F.log_softmax(scores.masked_fill(~see_BTT[:, None], torch.finfo(scores.dtype).min), -1)
