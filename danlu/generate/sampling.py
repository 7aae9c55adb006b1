"""Which token comes next: settings, and pure functions on logits.

They run in the order in which ``transformers`` runs its own: temperature, top-k, top-p, min-p, typical;
penalties (``penalties.py``) come before them. Axes: N rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from danlu.generate.constrained import check_json_schema, check_regex
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
    typical_p: float | None = Field(default=None, gt=0, le=1)
    """Only the tokens which together have this probability and surprise most nearly as much as expected are drawn."""
    repetition_penalty: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Above 1, tokens that were there before are made less likely."""
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    """Taken off the logit of every token that the answer holds already."""
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    """Taken off a token's logit once for every time that the answer holds it already."""
    no_repeat_ngram: int | None = Field(default=None, ge=1)
    """No sequence of so many tokens is written twice; those of the prompt count."""
    stop: tuple[str, ...] = ()
    """An answer ends before the first of these."""
    regex: str | None = None
    """The whole answer matches this regular expression."""
    json_schema: dict[str, Any] | None = None
    """The whole answer is JSON that this schema allows."""

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if "" in stop:
            raise ValueError("an empty text stops every answer before it begins")
        return stop

    @field_validator("regex")
    @classmethod
    def _is_regex(cls, regex: str | None) -> str | None:
        if regex is not None:
            check_regex(regex)
        return regex

    @field_validator("json_schema")
    @classmethod
    def _is_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None:
            check_json_schema(schema)
        return schema

    @model_validator(mode="after")
    def _one_constraint(self) -> Self:
        if self.regex is not None and self.json_schema is not None:
            raise ValueError("an answer follows regex or json_schema, not both")
        return self


def choose(logits_NV: Tensor, settings: Sampling, generators: Sequence[torch.Generator]) -> list[int]:
    """The next token of every row, each drawn with its own generator."""
    if settings.temperature == 0:
        greedy: list[int] = logits_NV.argmax(-1).tolist()
        return greedy
    return draw(distribution(logits_NV, settings), generators)


def distribution(logits_NV: Tensor, settings: Sampling) -> Tensor:
    """The probabilities ``[N, V]``, in float64, that ``settings`` make of logits."""
    if settings.temperature == 0:
        return torch.nn.functional.one_hot(logits_NV.argmax(-1), logits_NV.shape[-1]).double()
    logits_NV = apply_temperature(logits_NV, settings.temperature)
    if settings.top_k is not None:
        logits_NV = keep_top_k(logits_NV, settings.top_k)
    if settings.top_p is not None:
        logits_NV = keep_top_p(logits_NV, settings.top_p)
    if settings.min_p is not None:
        logits_NV = keep_min_p(logits_NV, settings.min_p)
    if settings.typical_p is not None and settings.typical_p < 1:
        logits_NV = keep_typical(logits_NV, settings.typical_p)
    return logits_NV.double().softmax(-1)


def draw(probabilities_NV: Tensor, generators: Sequence[torch.Generator]) -> list[int]:
    """One token a row, by where one uniform number falls in the cumulative probabilities (float64)."""
    cumulative_NV = probabilities_NV.cumsum(-1)
    uniform = torch.cat([torch.rand(1, dtype=torch.float64, generator=generator) for generator in generators])
    # Times the total, which rounding may leave short of 1: then the last token with a probability is the last drawn.
    places_N1 = torch.searchsorted(
        cumulative_NV, uniform[:, None].to(cumulative_NV.device) * cumulative_NV[:, -1:], right=True
    )
    tokens: list[int] = places_N1.squeeze(1).tolist()
    return tokens


def apply_temperature(logits_NV: Tensor, temperature: float) -> Tensor:
    """Logits over ``temperature``, moved so that the largest is 0: however cold, none overflows.

    Below the least normal number of the logits' type no temperature is another.
    """
    return (logits_NV - logits_NV.amax(-1, keepdim=True)) / max(temperature, torch.finfo(logits_NV.dtype).tiny)


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


def keep_typical(logits_NV: Tensor, p: float) -> Tensor:
    """Keep the fewest tokens, by how near their surprise is to the entropy, whose probabilities reach ``p``.

    Locally typical sampling (Meister et al. 2022, arXiv:2202.00666); ties with the last one stay.
    """
    log_share_NV = logits_NV.log_softmax(-1)
    share_NV = log_share_NV.exp()
    entropy_N1 = -(share_NV * log_share_NV).nansum(-1, keepdim=True)  # 0 times -inf counts nothing
    nearest = (-log_share_NV - entropy_N1).abs().sort(dim=-1)
    reached_NV = logits_NV.gather(-1, nearest.indices).softmax(-1).cumsum(-1)
    last_N1 = (reached_NV < p).sum(-1, keepdim=True).clamp_max(logits_NV.shape[-1] - 1)
    far_NV = nearest.values > nearest.values.gather(-1, last_N1)
    return logits_NV.masked_fill(far_NV.scatter(-1, nearest.indices, far_NV), NEVER)
