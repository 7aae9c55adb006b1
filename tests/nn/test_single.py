"""Attention of a single query is scaled_dot_product_attention, compiled or not, and so is a compiled step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from danlu.nn import config
from danlu.nn.cache import KVCache
from danlu.nn.patterns import Window
from danlu.nn.sight import PADDING
from danlu.nn.single import single_query
from danlu.nn.stack import call_block
from danlu.nn.transformer import Transformer

MakeModel = Callable[..., Transformer]
KINDS = ["rotary", "learned positions", "window", "ALiBi", "relative bias"]


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("mask", ["none", "seen", "added"])
def test_equals_the_reference(groups: int, mask: str) -> None:
    query = torch.randn(3, 6, 1, 8, dtype=torch.float64).float()
    key, value = torch.randn(3, groups, 19, 8), torch.randn(3, groups, 19, 8)
    seen = torch.rand(3, 1, 1, 19) < 0.7
    seen[..., 0] = True
    given = {"none": None, "seen": seen, "added": torch.randn(1, 6, 1, 19)}[mask]
    exact = F.scaled_dot_product_attention(
        query.double(), key.double(), value.double(), attn_mask=given.double() if mask == "added" else given,  # type: ignore[union-attr]
        scale=0.3, enable_gqa=True,
    )  # fmt: skip
    torch.testing.assert_close(single_query(query, key, value, given, 0.3).double(), exact, rtol=1e-5, atol=1e-6)


def model_of(kind: str, make_model: MakeModel) -> Transformer:
    plain = make_model("llama").config.decoder
    assert plain is not None
    layer = plain.layers[0]
    if kind == "rotary":
        return make_model("llama")
    if kind == "window":
        pattern = replace(layer, attention=replace(layer.attention, pattern=Window(4)))
        return make_model("llama", decoder=replace(plain, layers=(pattern, layer, pattern)))
    bare = replace(layer, attention=replace(layer.attention, rotary=None))
    bias = {"ALiBi": config.Alibi(), "relative bias": config.RelativeBias(8, 16)}.get(kind)
    entry = config.Entry(config.Positions("learned")) if kind == "learned positions" else config.Entry()
    return make_model("llama", decoder=replace(plain, layers=(bare,) * 3, bias=bias, entry=entry))


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_steps_are_the_whole(kind: str, make_model: MakeModel) -> None:
    """One row behind padding; the compiler's own code is left out, which takes seconds."""
    model = model_of(kind, make_model).eval()
    assert model.decoder is not None
    model.decoder.step = torch.compile(call_block, backend="aot_eager", dynamic=False)
    long, short = torch.randint(0, 97, (1, 17)), torch.randint(0, 97, (1, 12))
    tokens = torch.cat([long, F.pad(short, (5, 0))])
    segments = torch.zeros(2, 9, dtype=torch.long)
    segments[1, :5] = PADDING
    cache = KVCache(model.config, batch=2, length=20, dtype=torch.float32)
    found = [model(tokens[:, :9], segments=segments, cache=cache)]
    found += [model(tokens[:, place : place + 1], cache=cache) for place in range(9, 17)]
    hidden = torch.cat(found, 1)
    torch.testing.assert_close(hidden[:1], model(long), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(hidden[1:, 5:], model(short), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_one_compilation_serves_all_layers_and_places(make_model: MakeModel) -> None:
    model = make_model("llama").eval()
    assert model.decoder is not None
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    model.decoder.step = torch.compile(call_block, backend=counter, dynamic=False)
    tokens, cache = torch.randint(0, 97, (2, 12)), KVCache(model.config, batch=2, length=16, dtype=torch.float32)
    for part in torch.split(tokens, [4] + [1] * 8, dim=1):
        model(part, cache=cache)
    assert counter.frame_count == 1


@torch.inference_mode()
@pytest.mark.parametrize("bias", [None, config.RelativeBias(8, 16)], ids=["plain", "relative bias"])
def test_compiled_steps_look_back_at_an_encoder(bias: config.RelativeBias | None, make_stack: MakeModel) -> None:
    """One compilation for all steps; a source behind which there is padding."""
    model = make_stack(causal=True, encoder=True, bias=bias).float().eval()
    assert model.decoder is not None
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    model.decoder.step = torch.compile(call_block, backend=counter, dynamic=False)
    source, target = torch.randint(0, 400, (2, 9)), torch.randint(0, 400, (2, 12))
    segments = torch.tensor([[0] * 9, [0] * 5 + [PADDING] * 4])
    memory = model.encode(source, segments=segments)
    cache = KVCache(model.config, batch=2, length=16, dtype=torch.float32)
    found = [model(part, memory=memory, cache=cache) for part in torch.split(target, [3] + [1] * 9, dim=1)]
    torch.testing.assert_close(torch.cat(found, 1), model(target, memory=memory), rtol=1e-4, atol=1e-4)
    assert counter.frame_count == 1
