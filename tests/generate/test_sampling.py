"""Sampling against transformers' processors, and what is drawn against exact probabilities."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from transformers.generation import logits_process as stock

from danlu.errors import RecipeError
from danlu.generate.sampling import (
    Sampling,
    apply_temperature,
    choose,
    distribution,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical,
)
from danlu.recipe import build

TOKENS = torch.zeros(4, 3, dtype=torch.long)

WARPERS: dict[str, Callable[..., stock.LogitsProcessor]] = {
    "temperature": stock.TemperatureLogitsWarper,
    "top_k": stock.TopKLogitsWarper,
    "top_p": stock.TopPLogitsWarper,
    "min_p": stock.MinPLogitsWarper,
    "typical_p": stock.TypicalLogitsWarper,
}
"""In the order in which transformers runs them."""
RANGES = {
    "temperature": st.floats(0.05, 3),
    "top_k": st.none() | st.integers(1, 60),
    "top_p": st.none() | st.floats(0.01, 1),
    "min_p": st.none() | st.floats(0, 1),
    "typical_p": st.none() | st.floats(0.01, 1),
}

CASES: list[tuple[Callable[[Tensor], Tensor], stock.LogitsProcessor]] = [
    *((lambda x, k=k: keep_top_k(x, k), stock.TopKLogitsWarper(k)) for k in (1, 2, 7, 50, 1000)),
    *((lambda x, p=p: keep_top_p(x, p), stock.TopPLogitsWarper(p)) for p in (1e-9, 1e-6, 0.3, 0.9, 0.999, 1.0)),
    *((lambda x, p=p: keep_min_p(x, p), stock.MinPLogitsWarper(p)) for p in (0.0, 0.05, 0.5, 1.0)),
    *((lambda x, p=p: keep_typical(x, p), stock.TypicalLogitsWarper(p)) for p in (1e-9, 0.2, 0.9, 0.999)),
]  # fmt: skip


def logits(seed: int, *, scale: float = 3.0) -> Tensor:
    """``[4, 50]``, some of them equal, one far above."""
    drawn = torch.randn(4, 50, generator=torch.Generator().manual_seed(seed)) * scale
    drawn[1] = drawn[1].round()
    drawn[2, 9] = 40.0
    return drawn


@pytest.mark.parametrize(("ours", "theirs"), CASES, ids=[f"{type(t).__name__}-{i}" for i, (_, t) in enumerate(CASES)])
def test_filters_equal_those_of_transformers(ours: Callable[[Tensor], Tensor], theirs: stock.LogitsProcessor) -> None:
    for seed in range(20):
        x = logits(seed)
        assert torch.equal(ours(x), theirs(TOKENS, x.clone()))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 2.5])
def test_temperature_equals_that_of_transformers(temperature: float) -> None:
    x = logits(0)
    expected = stock.TemperatureLogitsWarper(temperature)(TOKENS, x).softmax(-1)
    torch.testing.assert_close(apply_temperature(x, temperature).softmax(-1), expected, rtol=1e-4, atol=1e-7)


@given(st.integers(0, 2**32), st.fixed_dictionaries(RANGES), st.sampled_from([0.1, 1.0, 5.0]))
def test_the_whole_chain_equals_that_of_transformers(seed: int, drawn: dict[str, float | None], scale: float) -> None:
    settings = Sampling(**drawn)  # type: ignore[arg-type]
    x = logits(seed, scale=scale)
    expected = x.double()
    for name, warper in WARPERS.items():
        value = drawn[name]
        if value is not None and not (name in ("top_p", "typical_p") and value == 1):  # which transformers leaves out
            expected = warper(value)(TOKENS, expected)
    # In float64 on both sides: which tokens stay is decided by sums that rounding would turn either way.
    torch.testing.assert_close(distribution(x.double(), settings), expected.softmax(-1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("row", range(4))
def test_what_is_chosen_is_drawn_from_the_distribution(row: int) -> None:
    settings = Sampling(temperature=0.7, top_k=20, top_p=0.8, min_p=0.1)
    x = logits(3)[row]
    found = choose(x.expand(2000, -1), settings, [torch.Generator().manual_seed(row)] * 2000)
    assert_drawn_from(found, distribution(x[None], settings)[0])


def assert_drawn_from(tokens: list[int], probabilities: Tensor) -> None:
    """Pearson's chi-square test; tokens that are expected fewer than 5 times are counted as one."""
    counts = torch.bincount(torch.tensor(tokens), minlength=len(probabilities)).double()
    assert counts[probabilities == 0].sum() == 0
    expected = probabilities * len(tokens)
    rare = expected < 5
    counts = torch.cat([counts[~rare], counts[rare].sum()[None]])
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    counts, expected = counts[expected > 0], expected[expected > 0]
    if len(counts) > 1:
        statistic = ((counts - expected) ** 2 / expected).sum()
        p_value = torch.special.gammaincc(torch.tensor((len(counts) - 1) / 2).double(), statistic / 2)
        assert p_value > 1e-4, p_value


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_tokens_are_drawn_as_often_as_they_are_likely(scale: float) -> None:
    x = torch.randn(30, generator=torch.Generator().manual_seed(1)) * scale
    x[4] = -torch.inf
    found = draw(x.double().softmax(-1).expand(20_000, -1), [torch.Generator().manual_seed(2)] * 20_000)
    assert_drawn_from(found, x.double().softmax(-1))


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20), st.integers(0, 2**32), st.data())
def test_what_is_ruled_out_is_never_drawn(values: list[float], seed: int, data: st.DataObject) -> None:
    x = torch.tensor(values)
    kept = data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1))
    x[[place for place in range(len(values)) if place not in kept]] = -torch.inf
    generator = torch.Generator().manual_seed(seed)
    assert set(draw(x.double().softmax(-1).expand(20, -1), [generator] * 20)) <= kept


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_ends_of_the_uniform_numbers_draw_tokens_too(uniform: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda size, **rest: torch.full((size,), uniform, dtype=torch.float64))
    x = torch.tensor([-torch.inf, 1.0, 2.0, 0.5, -torch.inf])
    assert draw(x.double().softmax(-1)[None], [torch.Generator()]) == [1 if uniform == 0 else 3]


@pytest.mark.parametrize("temperature", [0.0, 5e-324, 1e-50, 1e-39, 1e-37, 1e-5])
def test_the_coldest_takes_the_likeliest(temperature: float) -> None:
    x = logits(0, scale=100.0)
    generators = [torch.Generator() for _ in range(4)]
    assert choose(x, Sampling(temperature=temperature), generators) == x.argmax(-1).tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, "temperature must be .*; got -1"),
        ({"temperature": float("nan")}, "temperature must be"),
        ({"top_k": 0}, "top_k must be at least 1; got 0"),
        ({"top_p": 0}, "top_p must be"),
        ({"top_p": 1.1}, "top_p must be at most 1.0; got 1.1"),
        ({"min_p": -0.1}, "min_p must be at least 0"),
        ({"typical_p": 0}, "typical_p must be"),
        ({"repetition_penalty": 0}, "repetition_penalty must be"),
        ({"presence_penalty": 2.5}, "presence_penalty must be at most 2.0; got 2.5"),
        ({"frequency_penalty": -3}, "frequency_penalty must be at least -2.0; got -3"),
        ({"no_repeat_ngram": 0}, "no_repeat_ngram must be at least 1; got 0"),
        ({"regex": 3}, "regex must be text; got 3"),
        ({"regex": "(a"}, r"generate\.sampling\.regex: unclosed group"),
        ({"json_schema": "a"}, "json_schema must be a mapping; got .a"),
        ({"regex": r"\ba"}, r"generate\.sampling\.regex: lookarounds not supported"),
        ({"json_schema": {"type": "nonsense"}}, r"generate\.sampling\.json_schema: Invalid type: nonsense"),
        ({"regex": "a", "json_schema": {}}, "sampling: an answer follows regex or json_schema, not both"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"stop": ["", "x"]}, "stop: an empty text stops every answer before it begins"),
        ({"temprature": 1}, "did you mean 'temperature'"),
    ],
)
def test_settings_out_of_range_are_told(settings: dict[str, object], message: str) -> None:
    with pytest.raises((RecipeError, ValidationError), match=message):
        build(Sampling, settings, key="generate.sampling")
