"""Where one token of each document is asked for, the last block leaves out the others: nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from danlu.nn import attention, config
from danlu.nn.packed import pack
from danlu.nn.patterns import Window
from danlu.nn.stack import recording
from danlu.nn.transformer import Transformer

MakeStack = Callable[..., Transformer]
LENGTHS = (9, 9, 4, 1, 7, 140)
"""The last is longer than what is written out."""


def row(lengths: tuple[int, ...] = LENGTHS) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens and document numbers ``[1, T]``, the first and the last places of documents."""
    sizes = torch.tensor(lengths)
    ends = sizes.cumsum(0)
    numbers = torch.arange(len(lengths)).repeat_interleave(sizes)
    return torch.randint(0, 400, (1, len(numbers))), numbers[None], ends - sizes, ends - 1


@pytest.fixture
def spared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one for every block that is worked out for one token of each document."""
    calls: list[int] = []
    once = attention.attend_once
    monkeypatch.setattr(attention, "attend_once", lambda *a, **k: calls.append(1) or once(*a, **k))
    return calls


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {}, {"place": "post"}, {"attention": {"rotary": config.Rotary()}}, {"attention": {"kv_heads": 4}},
        {"attention": {"qk_norm": config.Norm("rms", 1e-5)}}, {"attention": {"pattern": Window(139, 139)}},
        {"final_norm": False}, {"entry": config.Entry(positions=config.Positions("learned"))},
    ],
    ids=lambda fields: " ".join(map(str, fields)) or "plain",
)  # fmt: skip
def test_the_same_as_all_of_it(
    fields: dict[str, Any], causal: bool, place: str, make_stack: MakeStack, spared: list[int]
) -> None:
    model = make_stack(causal=causal, **fields)
    tokens, numbers, first, last = row()
    only = first if place == "first" else last
    whole = model(tokens, segments=numbers)[:, only]
    assert not spared
    few = model(tokens, segments=numbers, only=only)
    assert len(spared) == (0 if causal and place == "first" else 1)  # one of two blocks
    torch.testing.assert_close(few, whole, rtol=1e-9, atol=1e-9)
    weights = list(model.parameters())
    of_few = torch.autograd.grad(few.square().sum(), weights, allow_unused=True)
    of_whole = torch.autograd.grad(whole.square().sum(), weights, allow_unused=True)
    for ours, theirs in zip(of_few, of_whole, strict=True):
        if theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize(
    "fields",
    [
        {"attention": {"pattern": Window(3, 3)}}, {"bias": config.Alibi()}, {"bias": config.RelativeBias()},
        {"encoder": True}, {"mlp": config.Experts(count=4, per_token=2, hidden=30)},
    ],
    ids=["window", "alibi", "relative", "cross", "experts"],
)  # fmt: skip
def test_blocks_that_need_all_places(fields: dict[str, Any], make_stack: MakeStack, spared: list[int]) -> None:
    """They are worked out whole, and the places chosen afterwards."""
    causal = bool(fields.get("encoder"))
    model = make_stack(causal=causal, **fields)
    tokens, numbers, _, last = row()
    more = {"memory": model.encode(tokens, segments=numbers)} if causal else {}
    whole = model(tokens, segments=numbers, **more)
    torch.testing.assert_close(model(tokens, segments=numbers, only=last, **more), whole[:, last])
    assert not spared


@torch.no_grad()
def test_what_goes_into_blocks_is_recorded_whole(make_stack: MakeStack, spared: list[int]) -> None:
    model = make_stack(causal=False)
    tokens, numbers, first, _ = row()
    with recording(model.stack) as seen:
        model(tokens, segments=numbers, only=first)
    assert not spared
    assert [len(each[0]) for each in seen[:-1]] == [len(tokens[0])] * 2


@torch.no_grad()
def test_packed_weights(make_stack: MakeStack, spared: list[int]) -> None:
    model = make_stack(causal=False).float()
    tokens, numbers, first, _ = row()
    whole = model(tokens, segments=numbers)[:, first]
    pack(model)
    torch.testing.assert_close(model(tokens, segments=numbers, only=first), whole, rtol=1e-4, atol=1e-4)
    assert spared


@torch.no_grad()
def test_dropout_still_drops(make_stack: MakeStack, spared: list[int]) -> None:
    """With dropout of nearly all attention, what a document's query takes is 0 or much."""
    model = make_stack(causal=False, layers=1, attention={"dropout": 0.99})
    tokens, numbers, first, _ = row()
    still = model(tokens, segments=numbers, only=first)
    model.train()
    assert not torch.allclose(model(tokens, segments=numbers, only=first), still)
    assert spared
