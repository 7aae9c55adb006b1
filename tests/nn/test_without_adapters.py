"""A model with adapters is for a while what it was before it had any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from danlu.nn.hf.folder import load_model
from danlu.nn.lora import LoRA, adapted_layers, add_adapters, is_adapter, without_adapters
from danlu.nn.quantized import Format, quantize
from danlu.nn.transformer import Transformer


def logits(model: Transformer) -> Tensor:
    found: Tensor = model.head(model(torch.arange(1, 25).reshape(2, 12))).detach()
    return found


@pytest.mark.parametrize("form", [None, "nf4"])
@pytest.mark.parametrize("kind", [{}, {"dora": True}, {"targets": (".*attention.*",)}], ids=["all", "dora", "some"])
def test_adapters_are_there_again_afterwards(kind: dict[str, Any], form: Format | None, decoder: Path) -> None:
    model = load_model(decoder)
    if form is not None:
        quantize(model, form)
    before = logits(model)
    add_adapters(model, LoRA(**kind))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if is_adapter(name):
                weight.add_(0.1 * torch.ones_like(weight))
    adapted, count = logits(model), len(adapted_layers(model))
    with pytest.raises(KeyError), without_adapters(model):
        assert torch.equal(logits(model), before)
        raise KeyError
    assert torch.equal(logits(model), adapted) and not torch.equal(adapted, before)
    assert len(adapted_layers(model)) == count
