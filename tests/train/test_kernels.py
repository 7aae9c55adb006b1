"""Attention in C++ in trainings that are not compiled: where it is, on all ranks or on none, and that it is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from danlu.nn.attention import Attention
from danlu.nn.families import GPT
from danlu.nn.transformer import Transformer
from danlu.parallel.joining import ALONE
from danlu.train import kernels
from danlu.train.compiling import Compilation
from danlu.train.kernels import use_native_attention


def model_of(width: int) -> Transformer:
    """With two heads of so many numbers."""
    return Transformer(GPT(layers=2, dim=2 * width, heads=2).config(vocab_size=9, max_length=8))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Transformer:
    """With heads of 32, on a processor that has what they need."""
    monkeypatch.setattr("danlu.nn.native.attention.HERE", True)
    monkeypatch.setattr(kernels, "can_load", lambda name, **numbers: numbers == {"HEAD": 32})
    return model_of(32)


def ways(model: Transformer) -> set[bool]:
    return {each.native for each in model.modules() if isinstance(each, Attention)}


def test_all_layers_take_it(model: Transformer) -> None:
    assert ways(model) == {False}
    assert use_native_attention(model, torch.bfloat16, ALONE, compiled=False)
    assert ways(model) == {True}


@pytest.mark.parametrize(
    ("dtype", "compiled", "loads", "here", "others"),
    [
        (torch.float32, False, True, True, [True]),
        (torch.bfloat16, True, True, True, [True]),
        (torch.bfloat16, False, False, True, [True]),
        (torch.bfloat16, False, True, False, [True]),
        (torch.bfloat16, False, True, True, [True, False]),
    ],
    ids=["float32", "compiled", "no compiler", "another processor", "a rank has none"],
)
def test_where_it_is_not(
    dtype: torch.dtype,
    compiled: bool,
    loads: bool,
    here: bool,
    others: list[bool],
    model: Transformer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What each rank has is asked for in any case: to ask is a step of all."""
    monkeypatch.setattr("danlu.nn.native.attention.HERE", here)
    monkeypatch.setattr(kernels, "can_load", lambda *_, **__: loads)
    asked: list[bool] = []
    ranks: Any = SimpleNamespace(all=lambda own: asked.append(own) or [own, *others])
    assert not use_native_attention(model, dtype, ranks, compiled=compiled)
    assert ways(model) == {False} and asked == [others == [True, False]]


def test_heads_of_another_width_go_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danlu.nn.native.attention.HERE", True)
    monkeypatch.setattr(kernels, "can_load", lambda *_, **__: pytest.fail("nothing to load"))
    model = model_of(8)
    assert not use_native_attention(model, torch.bfloat16, ALONE, compiled=False)
    assert ways(model) == {False}


def test_it_is_told_with_what_is_compiled() -> None:
    assert Compilation(False, "no compilation: as asked").told == "no compilation: as asked"
    assert Compilation(False, "no compilation: as asked", True).told == "no compilation: as asked; attention in C++"
