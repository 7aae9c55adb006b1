"""A packed model is the model: the same logits from weights that lie otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from danlu.nn.lora import LoRA, add_adapters
from danlu.nn.packed import PackedLinear, may_be_packed, pack
from danlu.nn.transformer import Transformer

MakeModel = Callable[..., Transformer]


@pytest.mark.parametrize("rows", [1, 2, 16, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_is_the_layer(rows: int, dtype: torch.dtype, bias: bool) -> None:
    linear, x = nn.Linear(70, 33, bias=bias).to(dtype), torch.randn(rows, 70).to(dtype)
    packed = PackedLinear(linear.weight, linear.bias)
    exact = F.linear(x.double(), linear.weight.double(), linear.bias.double() if bias else None)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(packed(x).double(), exact, rtol=tolerance, atol=tolerance)
    assert packed(x[0]).shape == (33,)


@torch.no_grad()
@pytest.mark.parametrize("family", ["nanochat", "llama", "qwen3"])
def test_a_packed_model_is_the_model(family: str, make_model: MakeModel) -> None:
    model, tokens = make_model(family).eval(), torch.randint(0, 97, (2, 20))
    expected = model.head(model(tokens))
    assert may_be_packed(model)
    pack(model)
    assert not any(type(module) is nn.Linear for module in model.modules())
    torch.testing.assert_close(model.head(model(tokens)), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("dora", [False, True])
def test_adapters_stay_on_their_layers(dora: bool, make_model: MakeModel) -> None:
    model, tokens = make_model("llama").eval(), torch.randint(0, 97, (2, 9))
    add_adapters(model, LoRA(rank=2, alpha=4.0, dora=dora))
    for name, weight in model.named_parameters():
        if name.endswith(".b"):
            weight.normal_()
    expected = model.head(model(tokens))
    pack(model)
    torch.testing.assert_close(model.head(model(tokens)), expected, rtol=1e-4, atol=1e-4)


def test_numbers_that_have_no_such_layout_are_left(make_model: MakeModel) -> None:
    assert not may_be_packed(make_model("llama").double())


@pytest.mark.parametrize("supported", [True, False])
def test_bfloat16_is_packed_where_the_processor_multiplies_it(
    supported: bool, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert may_be_packed(make_model("llama").bfloat16()) is supported
    assert may_be_packed(make_model("llama"))
