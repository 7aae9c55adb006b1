"""Token after token with static shapes is the model itself, read whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from danlu.nn import config
from danlu.nn.decode import Decoding
from danlu.nn.patterns import Window
from danlu.nn.sight import PADDING
from danlu.nn.transformer import Transformer

MakeModel = Callable[..., Transformer]
KINDS = ["rotary", "learned positions", "window", "ALiBi", "relative bias"]


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


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_the_whole(kind: str, make_model: MakeModel) -> None:
    model = model_of(kind, make_model).eval()
    tokens = torch.randint(0, 97, (2, 20))
    decoding = Decoding(model, rows=2, length=30)
    found = [decoding.read(tokens[:, :8])]
    found += [decoding.step(tokens[:, place]) for place in range(8, 20)]
    with torch.no_grad():
        expected = model.head(model(tokens))[:, 7:]
    torch.testing.assert_close(torch.stack(found, 1), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_behind_padding_is_the_row_alone(kind: str, make_model: MakeModel) -> None:
    model = model_of(kind, make_model).eval()
    long, short = torch.randint(0, 97, (1, 17)), torch.randint(0, 97, (1, 12))
    padded = torch.cat([torch.zeros(1, 5, dtype=torch.long), short], 1)
    both = torch.cat([long, padded])
    segments = torch.zeros(2, 9, dtype=torch.long)
    segments[1, :5] = PADDING
    decoding = Decoding(model, rows=2, length=20)
    found = [decoding.read(both[:, :9], segments=segments)]
    found += [decoding.step(both[:, place]) for place in range(9, 17)]
    with torch.no_grad():
        alone = model.head(model(short))[:, 3:]
    torch.testing.assert_close(torch.stack(found, 1)[1:], alone, rtol=1e-4, atol=1e-4)
    decoding.keep([1])
    assert decoding.step(torch.tensor([3])).shape == (1, 97)


def test_a_full_cache_is_refused(make_model: MakeModel) -> None:
    model = make_model("llama").eval()  # which sees 40 tokens
    decoding = Decoding(model, rows=1, length=40)
    decoding.read(torch.zeros(1, 40, dtype=torch.long))
    with pytest.raises(ValueError, match="the cache holds 40 tokens; got 41"):
        decoding.step(torch.tensor([3]))
