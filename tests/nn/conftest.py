"""Small models of odd shapes with random weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from danlu.nn.families import GPT, Llama, Qwen3
from danlu.nn.transformer import Transformer

FAMILIES = {"nanochat": GPT, "llama": Llama, "qwen3": Qwen3}


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Transformer]:
    """``make_model(family, **fields)``: 6 heads of 8 on a width of 36, grouped by 3; fields override."""

    def make(family: str = "nanochat", *, seed: int = 0, **fields: Any) -> Transformer:
        choice = FAMILIES[family](layers=3, dim=36, heads=6, kv_heads=2, head_dim=8, hidden=52)
        config = dataclasses.replace(choice.config(vocab_size=97, max_length=40), **fields)
        model = Transformer(config)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.3, generator=generator)
        return model

    return make


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
