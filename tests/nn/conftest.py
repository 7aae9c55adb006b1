"""Small models of odd shapes with random weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from danlu.nn.config import MLP, Attention, Embedding, Experts, Layer, Norm, Stack, TransformerConfig
from danlu.nn.families import GPT, Llama, Qwen3
from danlu.nn.transformer import Transformer

FAMILIES: dict[str, type[GPT | Llama | Qwen3]] = {"nanochat": GPT, "llama": Llama, "qwen3": Qwen3}
SIZES = {"layers": 3, "dim": 36, "heads": 6, "kv_heads": 2, "head_dim": 8, "hidden": 52}


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Transformer]:
    """``make_model(family, **fields)``: 6 heads of 8 on a width of 36, grouped by 3.

    Fields override: those of the family's choice (``kv_heads``, ``tied``, …) or of the config (``vocab_size``, …).
    """

    def make(family: str = "nanochat", *, seed: int = 0, **fields: Any) -> Transformer:
        kind = FAMILIES[family]
        chosen = {name: value for name, value in fields.items() if name in kind.model_fields}
        config = kind(**{**SIZES, **chosen}).config(vocab_size=97, max_length=40)
        others = {name: value for name, value in fields.items() if name not in chosen}
        return with_random_weights(dataclasses.replace(config, **others), seed)

    return make


@pytest.fixture(scope="session")
def make_stack() -> Callable[..., Transformer]:
    """``make_stack(causal=…, attention={…}, **fields)``: two ``layers``, 4 heads of 6 on a width of 20, in float64.

    ``attention`` holds fields of each layer's attention, ``layer`` of each layer; further fields are those of the
    stack. Hidden states are what the model gives: its head is an embedding. With ``encoder`` true there is a
    bidirectional stack of the same fields before it, which each layer attends to.
    """

    def make(
        *,
        causal: bool,
        attention: dict[str, Any] | None = None,
        mlp: MLP | Experts | None = None,
        encoder: bool = False,
        layers: int = 2,
        max_length: int = 320,
        seed: int = 0,
        **fields: Any,
    ) -> Transformer:
        one = Attention(**{"heads": 4, "kv_heads": 2, "head_dim": 6, "bias": True, **(attention or {})})
        layer = Layer(one, mlp or MLP(30, "gelu", bias=True))
        norm = Norm("layer", 1e-5, bias=True)
        below = Stack(layers=(layer,) * layers, norm=norm, causal=False, **fields) if encoder else None
        if encoder:
            layer = dataclasses.replace(layer, cross=dataclasses.replace(one, rotary=None))
        above = Stack(layers=(layer,) * layers, norm=norm, causal=causal, **fields)
        config = TransformerConfig(
            family="test", vocab_size=400, dim=20, max_length=max_length, head=Embedding(),
            encoder=below if encoder else None if causal else above, decoder=above if encoder or causal else None,
        )  # fmt: skip
        return with_random_weights(config, seed).double().eval()

    return make


def with_random_weights(config: TransformerConfig, seed: int) -> Transformer:
    """Gains are around 1, everything else around 0; nothing is 0."""
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            gain = weight.ndim == 1 and not name.endswith("bias")
            weight.normal_(1.0 if gain else 0.0, 0.3, generator=generator)
    return model


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
