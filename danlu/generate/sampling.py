"""Which token comes next: settings, and pure functions on logits.

They run in the order in which ``transformers`` runs its own: repetition penalty, temperature, top-k,
top-p, min-p. Axes: N rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, field_validator
from torch import Tensor

from danlu.recipe import Settings

NEVER = float("-inf")
"""The logit of a token that is ruled out."""


class Sampling(Settings):
    """How text is drawn from a model."""

    max_tokens: int = Field(default=200, ge=1)
    """An answer ends after this many tokens at the latest."""
    temperature: float = Field(default=0.8, ge=0, allow_inf_nan=False)
    """Logits are divided by it; 0 always takes the likeliest token."""
    top_k: int | None = Field(default=None, ge=1)
    """Only the ``top_k`` likeliest tokens are drawn."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Only the likeliest tokens which together have this probability are drawn."""
    min_p: float | None = Field(default=None, ge=0, le=1)
    """Only tokens with at least this share of the likeliest one's probability are drawn."""
    repetition_penalty: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Above 1, tokens that were there before are made less likely."""
    stop: tuple[str, ...] = ()
    """An answer ends before the first of these."""

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if "" in stop:
            raise ValueError("an empty text stops every answer before it begins")
        return stop


def choose(
    logits_NV: Tensor, settings: Sampling, generators: Sequence[torch.Generator], seen_NV: Tensor | None
) -> list[int]:
    """The next token of every row, each drawn with its own generator.

    ``seen_NV`` is True for the tokens that the repetition penalty falls on.
    """
    if seen_NV is not None:
        logits_NV = penalise_repetition(logits_NV, seen_NV, penalty=settings.repetition_penalty)
    if settings.temperature == 0:
        greedy: list[int] = logits_NV.argmax(-1).tolist()
        return greedy
    logits_NV = apply_temperature(logits_NV, settings.temperature)
    if settings.top_k is not None:
        logits_NV = keep_top_k(logits_NV, settings.top_k)
    if settings.top_p is not None:
        logits_NV = keep_top_p(logits_NV, settings.top_p)
    if settings.min_p is not None:
        logits_NV = keep_min_p(logits_NV, settings.min_p)
    return draw(logits_NV, generators)


def draw(logits_NV: Tensor, generators: Sequence[torch.Generator]) -> list[int]:
    """One token a row, by where one uniform number falls in the cumulative probabilities."""
    cumulative_NV = logits_NV.double().softmax(-1).cumsum(-1)
    uniform = torch.cat([torch.rand(1, dtype=torch.float64, generator=generator) for generator in generators])
    # Times the total, which rounding may leave short of 1: then the last token with a probability is the last drawn.
    places_N1 = torch.searchsorted(
        cumulative_NV, uniform[:, None].to(logits_NV.device) * cumulative_NV[:, -1:], right=True
    )
    tokens: list[int] = places_N1.squeeze(1).tolist()
    return tokens


def penalise_repetition(logits_NV: Tensor, seen_NV: Tensor, *, penalty: float) -> Tensor:
    """Divide positive logits of seen tokens by ``penalty``, multiply negative ones (Keskar et al. 2019, CTRL)."""
    punished_NV = torch.where(logits_NV < 0, logits_NV * penalty, logits_NV / penalty)
    return torch.where(seen_NV, punished_NV, logits_NV)


def apply_temperature(logits_NV: Tensor, temperature: float) -> Tensor:
    """Logits over ``temperature``, moved so that the largest is 0: however cold, none overflows."""
    return (logits_NV - logits_NV.amax(-1, keepdim=True)) / temperature


def keep_top_k(logits_NV: Tensor, k: int) -> Tensor:
    """Rule out all tokens less likely than the ``k``-th (Fan et al. 2018); ties with it stay."""
    least_N1 = logits_NV.topk(min(k, logits_NV.shape[-1])).values[..., -1:]
    return logits_NV.masked_fill(logits_NV < least_N1, NEVER)


def keep_top_p(logits_NV: Tensor, p: float) -> Tensor:
    """Rule out the tail beyond the fewest tokens whose probabilities reach ``p`` (Holtzman et al. 2020, nucleus)."""
    ascending = logits_NV.sort(dim=-1)
    tail_NV = ascending.values.softmax(-1).cumsum(-1) <= 1 - p
    tail_NV[..., -1] = False  # one always stays
    return logits_NV.masked_fill(tail_NV.scatter(-1, ascending.indices, tail_NV), NEVER)


def keep_min_p(logits_NV: Tensor, p: float) -> Tensor:
    """Rule out tokens with less than ``p`` times the likeliest one's probability (Nguyen et al. 2024)."""
    share_NV = logits_NV.softmax(-1)
    return logits_NV.masked_fill(share_NV < p * share_NV.amax(-1, keepdim=True), NEVER)
