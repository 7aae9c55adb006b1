"""The losses of distillation: how far a student is from its teacher in logits, hidden states and attention.

Hidden states and attention are those of the stack that the head reads and, where an encoder stands beside it, of that
too: every token that the decoder reads counts as much as the mean over the tokens of its source.

Axes: B rows, T tokens, D model width, N scored tokens, V vocabulary, H relation heads, E their width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.corpus.batches import IGNORE, PADDING, Batch
from danlu.nn.block import Block
from danlu.nn.head import LanguageModelHead, at_least_float32, capped_with_slope
from danlu.nn.stack import Stack, recording
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Lesson, add
from danlu.objectives.words import hidden_states, pair_scores, word_head

PAIR_LOGITS = "pair_logits"
"""The loss of the labels of pairs, and its targets."""


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


class Followed(NamedTuple):
    """What a stack of the student learns from the same one of the teacher."""

    layers: tuple[tuple[int, int], ...]
    """Of the student and of the teacher, whose hidden states are compared."""
    block: int
    """Of the teacher, whose relations the last one of the student learns, counted from 0."""


class Side(NamedTuple):
    """A stack of both models, what went through them, and how much each token counts."""

    stack: Stack
    teacher: Stack
    mine: list[Tensor]
    theirs: list[Tensor]
    segments_BT: Tensor
    weights_BT: Tensor
    """0 for padding."""
    followed: Followed


@dataclass(frozen=True)
class Matching:
    """An objective with a teacher (a :class:`danlu.objectives.protocol.Lesson`)."""

    settings: Weights
    of: Lesson
    teacher: Transformer
    modules: nn.Module | None
    """The projection of hidden states to the teacher's width, where that is another."""
    followed: tuple[Followed, ...]
    """By the stack that the head reads, then by the encoder beside it, if there is one."""
    heads: int
    """Of relations."""

    def weight(self, name: str) -> float:
        return self.settings.weight(name)

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        """The objective's own, then ``logits``, ``pair_logits``, ``hidden`` and ``attention``; both models read the
        batch once."""
        with recordings(model) as mine:
            losses = self.of.losses(model, batch)
        device = batch.inputs["tokens"].device
        teacher = self.teacher.to(device).eval()
        with torch.no_grad(), recordings(teacher) as theirs:
            hidden_states(teacher, batch)
        assert len(mine[0]) == len(model.stack.blocks) + 1, "distillation is of objectives that read a batch once"
        if self.settings.logits:
            places = (batch.targets["logits"] != IGNORE).flatten().nonzero().flatten()
            losses["logits"] = logits_loss(
                word_head(model), mine[0][-1].flatten(0, 1).index_select(0, places),
                word_head(teacher), theirs[0][-1].flatten(0, 1).index_select(0, places),
                temperature=self.settings.temperature,
            )  # fmt: skip
        if PAIR_LOGITS in batch.targets:
            mine_P2, theirs_P2 = (
                pair_scores(each, seen[0][-1], batch.targets[PAIR_LOGITS])
                for each, seen in ((model, mine), (teacher, theirs))
            )
            losses[PAIR_LOGITS] = pair_logits_loss(mine_P2, theirs_P2, temperature=self.settings.temperature)
        sides = self._sides(model, teacher, mine, theirs, batch)
        if self.settings.hidden:
            losses["hidden"] = add(map(self._hidden_loss, sides)) / len(sides)
        if self.settings.attention:
            losses["attention"] = add(map(self._attention_loss, sides)) / len(sides)
        return losses

    def _sides(
        self, model: Transformer, teacher: Transformer, mine: list[list[Tensor]], theirs: list[list[Tensor]],
        batch: Batch,
    ) -> list[Side]:  # fmt: skip
        segments = [
            read.get("segments", torch.zeros_like(read["tokens"])) for read in (batch.inputs, batch.source) if read
        ]
        weights = [(segments[0] != PADDING).to(torch.float64), *(shares(each, segments[0]) for each in segments[1:])]
        stacks = (model.stacks[::-1], teacher.stacks[::-1])
        return [Side(*each) for each in zip(*stacks, mine, theirs, segments, weights, self.followed, strict=True)]

    def _hidden_loss(self, side: Side) -> Tensor:
        """Summed over the tokens, the mean over the pairs of layers."""
        real_BT = side.weights_BT > 0
        weights_N = side.weights_BT[real_BT]
        parts = []
        for one, other in side.followed.layers:
            mine_ND = side.mine[one][real_BT]
            mine_ND = mine_ND if self.modules is None else self.modules(mine_ND)
            distance_N = distance(mine_ND, side.theirs[other][real_BT], kind=self.settings.distance)
            parts.append((distance_N * weights_N.to(distance_N.dtype)).sum())
        return add(parts) / len(parts)

    def _attention_loss(self, side: Side) -> Tensor:
        """Summed over the tokens, the mean over heads and over queries, keys and values.

        They are projected once more from what went into the block: attention as fast as it gets shows no scores.
        """
        see_BTT = who_sees_whom(side.segments_BT, causal=side.stack.causal)
        last, wanted = side.stack.blocks[-1], side.teacher.blocks[side.followed.block]
        assert isinstance(last, Block) and isinstance(wanted, Block)
        with torch.no_grad():
            targets = wanted.projected(side.theirs[side.followed.block])
        parts = [
            relation_loss(one, other, see_BTT, side.weights_BT, heads=self.heads)
            for one, other in zip(last.projected(side.mine[-2]), targets, strict=True)
        ]
        return add(parts) / len(parts)


@contextmanager
def recordings(model: Transformer) -> Iterator[list[list[Tensor]]]:
    """What goes through each stack of ``model``, that first which the head reads."""
    with ExitStack() as entered:
        yield [entered.enter_context(recording(stack)) for stack in model.stacks[::-1]]


def shares(segments_BS: Tensor, others_BT: Tensor) -> Tensor:
    """``[B, S]`` in float64: for each token as many of the other side as its document has there, divided by its own.

    So the sum over the tokens of one document, each times its share, is their mean times the tokens on the other side.
    """
    most = int(torch.maximum(segments_BS.max(), others_BT.max())) + 2  # padding is counted too, as number 0
    rows = torch.arange(len(segments_BS), device=segments_BS.device)[:, None] * most + 1
    own, others = ((rows + each).flatten() for each in (segments_BS, others_BT))
    counts, of_others = (torch.bincount(each, minlength=len(segments_BS) * most) for each in (own, others))
    share_BS = (of_others[own].double() / counts[own]).view_as(segments_BS)
    return share_BS.masked_fill(segments_BS == PADDING, 0.0)


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


def pair_logits_loss(scores_P2: Tensor, theirs_P2: Tensor, *, temperature: float) -> Tensor:
    """The same of the labels of pairs, which are few."""
    log_mine_P2, log_theirs_P2 = (
        F.log_softmax(each.to(at_least_float32(each)) / temperature, -1) for each in (scores_P2, theirs_P2)
    )
    return F.kl_div(log_mine_P2, log_theirs_P2, reduction="sum", log_target=True) * temperature**2


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
    """``[N]`` of each two vectors the mean squared difference of their numbers, or 1 less their cosine."""
    wide = at_least_float32(mine_ND)
    mine_ND, theirs_ND = mine_ND.to(wide), theirs_ND.to(wide)
    if kind == "mse":
        return (mine_ND - theirs_ND).square().mean(-1)
    return 1.0 - F.cosine_similarity(mine_ND, theirs_ND, dim=-1)


def who_sees_whom(segments_BT: Tensor, *, causal: bool) -> Tensor:
    """Booleans ``[B, T, T]``: tokens of one document, in a causal stack only those before and the token itself."""
    see_BTT = segments_BT[:, :, None] == segments_BT[:, None, :]
    return see_BTT.tril() if causal else see_BTT


def relation_loss(mine_BTF: Tensor, theirs_BTF: Tensor, see_BTT: Tensor, weights_BT: Tensor, *, heads: int) -> Tensor:
    """MiniLMv2's: the divergence of ``softmax(a @ a.T / sqrt(width))`` from the teacher's.

    Summed over the tokens, each as often as its weight says, the mean over the heads.
    """
    log_mine_BHTT = _log_relation(mine_BTF, see_BTT, heads)
    log_theirs_BHTT = _log_relation(theirs_BTF, see_BTT, heads)
    each = F.kl_div(log_mine_BHTT, log_theirs_BHTT, reduction="none", log_target=True)
    each_BT = each.masked_fill(~see_BTT[:, None], 0.0).sum((1, 3))
    return (each_BT * weights_BT.to(each_BT.dtype)).sum() / heads


def _log_relation(x_BTF: Tensor, see_BTT: Tensor, heads: int) -> Tensor:
    x_BHTE = x_BTF.view(*x_BTF.shape[:2], heads, -1).transpose(1, 2).to(at_least_float32(x_BTF))
    scores = x_BHTE @ x_BHTE.mT * x_BHTE.shape[-1] ** -0.5
    # Not minus infinity, whose differences are no numbers; what is not seen is left out of the sum.
    return F.log_softmax(scores.masked_fill(~see_BTT[:, None], torch.finfo(scores.dtype).min), -1)
