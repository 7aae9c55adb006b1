"""What is learned from a preferred answer and another one: losses of how likely a model finds them.

All are of log-probabilities in nats of whole answers, the token that ends one included, given what was said before.
``rewards`` is what a loss takes for the reward that the model gives an answer: it wants the preferred one's higher.

Axes: P pairs, 2 answers of each, the preferred one first.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from danlu.recipe import Choice

MOST_LIKELY = -1e-6
"""The highest mean log-probability whose odds are taken: above it they are infinite before long."""


class Likelihoods(NamedTuple):
    """How likely the answers of pairs are."""

    model_P2: Tensor
    """By the model that learns: the sum over an answer's tokens."""
    reference_P2: Tensor
    """By the model that began; 0 where the loss compares with none."""
    tokens_P2: Tensor
    """Tokens of each answer."""

    @property
    def ratios(self) -> Tensor:
        """``[P, 2]``: by how much each answer has become likelier."""
        return self.model_P2 - self.reference_P2

    @property
    def means(self) -> Tensor:
        """``[P, 2]``: by token."""
        return self.model_P2 / self.tokens_P2


class Preference(Choice):
    """A choice of loss of pairs."""

    refers: ClassVar[bool] = True
    """Whether it compares with the model that begins."""

    def rewards(self, said: Likelihoods) -> Tensor:
        """``[P, 2]`` of both answers."""
        raise NotImplementedError(type(self).__name__)

    def losses(self, said: Likelihoods) -> Tensor:
        """``[P]`` of each pair."""
        raise NotImplementedError(type(self).__name__)


class DPO(Preference):
    """Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290, equation 7).

    ``-log σ(β (log π(w)/ρ(w) - log π(l)/ρ(l)))``, of the model π, the one that began ρ, the preferred answer w and the
    other one l. With ``label_smoothing`` ε it is conservative DPO (Mitchell 2023), where ε of the loss is that of l
    preferred.
    """

    beta: float = Field(default=0.1, gt=0)
    """How closely the model stays to the one that began: the higher, the closer."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """The share of pairs that are thought to be the wrong way round."""

    def rewards(self, said: Likelihoods) -> Tensor:
        return self.beta * said.ratios

    def losses(self, said: Likelihoods) -> Tensor:
        margins_P = margins(self.rewards(said))
        swapped = self.label_smoothing
        return -(1.0 - swapped) * F.logsigmoid(margins_P) - swapped * F.logsigmoid(-margins_P)


class IPO(Preference):
    """Identity preference optimisation (Azar et al. 2023, arXiv:2310.12036, equation 17).

    ``(log π(w)/ρ(w) - log π(l)/ρ(l) - 1 / 2β)²``: the margin has a goal, beyond which nothing is gained.
    """

    beta: float = Field(default=0.1, gt=0)
    """τ of the paper: the higher, the closer the model stays to the one that began."""

    def rewards(self, said: Likelihoods) -> Tensor:
        return self.beta * said.ratios

    def losses(self, said: Likelihoods) -> Tensor:
        return (margins(said.ratios) - 0.5 / self.beta).square()


class SimPO(Preference):
    """Simple preference optimisation (Meng et al. 2024, arXiv:2405.14734, equation 6), which needs no other model.

    ``-log σ(β/|w| log π(w) - β/|l| log π(l) - γ)``, with the tokens of each answer ``|·|``.
    """

    refers: ClassVar[bool] = False

    beta: float = Field(default=2.0, gt=0)
    """What the mean log-probability of a token is multiplied by."""
    gamma: float = Field(default=1.0, ge=0)
    """The margin that the preferred answer's reward is to have; the paper's are from 0.3 to 1.6."""

    def rewards(self, said: Likelihoods) -> Tensor:
        return self.beta * said.means

    def losses(self, said: Likelihoods) -> Tensor:
        return -F.logsigmoid(margins(self.rewards(said)) - self.gamma)


class ORPO(Preference):
    """Odds ratio preference optimisation (Hong et al. 2024, arXiv:2403.07691, equations 6 and 7): it tunes on the
    preferred answers and turns away from the others at once, and needs no other model.

    ``-log p(w) - λ log σ(log odds(w) - log odds(l))``, where ``log p`` is the mean over an answer's tokens and
    ``odds = p / (1 - p)``.
    """

    refers: ClassVar[bool] = False

    weight: float = Field(default=0.1, gt=0)
    """λ: of the odds ratio, beside the loss of the preferred answer."""

    def rewards(self, said: Likelihoods) -> Tensor:
        mean_P2 = said.means.clamp_max(MOST_LIKELY)
        return mean_P2 - torch.log(-torch.expm1(mean_P2))

    def losses(self, said: Likelihoods) -> Tensor:
        return -said.means[:, 0] - self.weight * F.logsigmoid(margins(self.rewards(said)))


def margins(of_answers_P2: Tensor) -> Tensor:
    """``[P]``: by how much the preferred answer has more."""
    return of_answers_P2[:, 0] - of_answers_P2[:, 1]
