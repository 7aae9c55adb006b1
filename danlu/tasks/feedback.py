"""Learning from answers that were found good or bad, each by itself: KTO.

Axes: B rows, T tokens, N documents of the rows, P features, of two documents each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.data.preferred import FEEDBACK
from danlu.metrics.preference import Verdicts
from danlu.nn.config import TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Total
from danlu.tasks.compared import (
    Answered,
    Compared,
    batch_references,
    log_probabilities,
    references,
    scored_together,
)
from danlu.tasks.documents import only
from danlu.tasks.feature import Feature
from danlu.tasks.pooled import first_targets
from danlu.tasks.task import Answer, Known
from danlu.tasks.text_reader import TextReader
from danlu.tasks.writing import need_decoder

OWN, OTHER = 0, 1
"""The documents of a feature: its own answer, and that of another example after its own prompt."""
KL = "kl"
"""In what is known in a step: how far the model is from the one that began, in nats."""


class Parts(NamedTuple):
    """What the loss of KTO is made of."""

    rewards_P: Tensor
    """``β (log π(y|x)/ρ(y|x) - z)``."""
    losses_P: Tensor


class Feedback(Compared):
    """KTO (Ethayarajh et al. 2024, arXiv:2402.01306): ``λ (1 - σ(±β (r - z)))`` of each answer.

    ``r = log π(y|x)/ρ(y|x)`` is by how much the answer has become likelier than for the model that began; the sign is
    minus for bad answers. ``z`` is the divergence of the two models, no gradient goes through it, and as in the paper
    it is estimated from mismatched pairs: the mean of ``log π(y'|x)/ρ(y'|x)``, or 0 where that is below. Here it is
    the mean over ALL examples of a step, whatever its micro-batches and processes; ``y'`` is the answer of the next
    example of the file with another prompt, cut where it goes beyond ``max_tokens``.
    """

    form: ClassVar[Form[Any]] = FEEDBACK
    loss: ClassVar[str] = "feedback"
    by_step: ClassVar[bool] = True

    beta: float = Field(default=0.1, gt=0)
    """How closely the model stays to the one that began: the higher, the closer."""
    good: float = Field(default=1.0, gt=0)
    """λ of good answers. The paper has ``good`` times their number at 1 to 4/3 of ``bad`` times the number of those."""
    bad: float = Field(default=1.0, gt=0)
    """λ of bad answers."""

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        need_decoder(base, alone=True)
        return Known()

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        """One of each example; those whose answer cannot be read whole are told."""
        others = _others(examples)
        unlimited = replace(reader, max_tokens=max(reader.max_tokens, 2**31))
        kept = self.pairs(examples, [(each.answer,) for each in examples], reader)
        numbers = [number for number, _ in kept]
        chosen = [examples[number] for number in numbers]
        mismatched = dict(self.pairs(chosen, [(examples[others[number]].answer,) for number in numbers], unlimited))
        features = []
        for place, (number, answers) in enumerate(kept):
            if place in mismatched:
                (other,) = mismatched[place]
                cut = Answered(other.tokens[: reader.max_tokens], other.said[: reader.max_tokens])
                features.append(scored_together(number, [*answers, cut], {self.loss: int(examples[number].good)}))
        return features

    @property
    def refers(self) -> bool:
        return True

    @torch.no_grad()
    def of_step(self, model: Transformer, micro: Sequence[Batch], known: Known, total: Total) -> Known:
        """With ``z``, of the model as it is without dropout."""
        was_training, device = model.training, next(model.parameters()).device
        model.eval()
        sums = {"ratios": 0.0, "examples": 0.0}
        with torch.compiler.set_stance("force_eager"):
            for batch in micro:
                others = only(batch.to(device), every=2, place=OTHER)
                ratios_P = log_probabilities(model, others)[:, 0] - batch_references(others)
                if any(batch.counts.values()):  # one that only keeps step with other processes counts nothing
                    sums["ratios"] += float(ratios_P.sum())
                    sums["examples"] += len(ratios_P)
        model.train(was_training)
        together = total(sums)
        return _with_divergence(known, together["ratios"] / max(1.0, together["examples"]))

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        own = only(batch, every=2, place=OWN)
        ratios_P = log_probabilities(model, own)[:, 0] - batch_references(own)
        return {self.loss: self.parts(ratios_P, first_targets(own, self.loss) > 0, known).losses_P.sum()}

    def parts(self, ratios_P: Tensor, good_P: Tensor, known: Known) -> Parts:
        """Rewards and losses.

        Args:
            ratios_P: ``r`` of each answer.
        """
        rewards_P = self.beta * (ratios_P - known.numbers[KL])
        signs_P = torch.where(good_P, 1.0, -1.0)
        weights_P = torch.where(good_P, self.good, self.bad)
        return Parts(rewards_P, weights_P * (1.0 - torch.sigmoid(signs_P * rewards_P)))

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        """The reward of each answer, with ``z`` of all of them; nothing of one that was left out."""
        ratios_P2 = torch.stack(list(numbers))[:, :, 0] - references(features)
        good_P = torch.tensor([examples[each.example].good for each in features])
        known = _with_divergence(known, float(ratios_P2[:, OTHER].mean()))
        found = self.parts(ratios_P2[:, OWN], good_P, known)
        answers = [Answer(None)] * len(examples)
        for feature, reward, loss in zip(features, found.rewards_P.tolist(), found.losses_P.tolist(), strict=True):
            answers[feature.example] = Answer({"reward": reward, "loss": loss})
        return answers

    def metric(self, known: Known) -> Verdicts:
        return Verdicts()


def _with_divergence(known: Known, estimate: float) -> Known:
    return replace(known, numbers={**known.numbers, KL: max(0.0, estimate)})


def _others(examples: Sequence[Any]) -> list[int]:
    """Of each example the next one with another prompt, or where there is none the next one."""
    count = len(examples)
    following = [(number + 1) % count for number in range(count)]
    if all(each.prompt == examples[0].prompt for each in examples):
        return following
    others = list(following)
    for number in [*range(count)[::-1], *range(count)[::-1]]:  # twice around: the last ones have to know of the first
        behind = following[number]
        if examples[number].prompt == examples[behind].prompt:
            others[number] = others[behind]
    return others
