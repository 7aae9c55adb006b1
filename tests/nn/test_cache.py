"""Cached is uncached: whatever the steps, the positions and the padding; and the room for keys and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from danlu.nn import config
from danlu.nn.cache import KVCache
from danlu.nn.patterns import BigBird, Fixed, Full, Pattern, Strided, Window
from danlu.nn.sight import PADDING
from danlu.nn.transformer import Transformer

MakeModel = Callable[..., Transformer]

POSITIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "rotary": {"attention": {"rotary": config.Rotary()}},
    "yarn": {"attention": {"rotary": config.Rotary(scaling=config.Scaling("yarn", 4.0, 16, attention_factor=1.2))}},
    "learned": {"entry": config.Entry(positions=config.Positions("learned"))},
    "sinusoidal": {"entry": config.Entry(positions=config.Positions("sinusoidal"))},
    "relative": {"bias": config.RelativeBias(8, 20)},
    "alibi": {"bias": config.Alibi()},
}
PATTERNS: list[Pattern] = [Full(), Window(4), Strided(5), Fixed(6, 2), BigBird(block=4, random=2)]


@pytest.mark.parametrize("family", ["nanochat", "llama", "qwen3"])
@pytest.mark.parametrize("steps", [[1] * 20, [13, 1, 1, 5], [20], [1, 19]])
def test_cached_is_uncached(family: str, steps: list[int], make_model: MakeModel) -> None:
    model = make_model(family)
    tokens = torch.randint(0, 97, (2, 20))
    cache = KVCache(model.config, batch=2, length=25, dtype=torch.float32)
    with torch.no_grad():
        cached = torch.cat([model(part, cache=cache) for part in torch.split(tokens, steps, dim=1)], dim=1)
        torch.testing.assert_close(cached, model(tokens), rtol=1e-4, atol=1e-4)
    assert cache.used == 20


@torch.no_grad()
@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_cached_is_uncached_for_all_kinds(kind: str, pattern: Pattern, make_stack: MakeModel) -> None:
    fields = POSITIONS[kind]
    model = make_stack(causal=True, **{**fields, "attention": {**fields.get("attention", {}), "pattern": pattern}})
    tokens = torch.randint(0, 400, (2, 20))
    cache = KVCache(model.config, batch=2, length=20, dtype=torch.float64)
    cached = torch.cat([model(part, cache=cache) for part in torch.split(tokens, [9, 1, 1, 4, 5], dim=1)], dim=1)
    torch.testing.assert_close(cached, model(tokens), rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.parametrize("said_again", [True, False])
def test_rows_of_different_length_go_on_as_if_each_were_alone(
    kind: str, said_again: bool, make_stack: MakeModel
) -> None:
    """Padding on the left; tokens that come later need no document number."""
    model = make_stack(causal=True, **POSITIONS[kind])
    prompts = [torch.randint(0, 400, (1, length)) for length in (9, 4, 1)]
    later = torch.randint(0, 400, (3, 6))
    tokens = torch.cat([torch.nn.functional.pad(prompt, (9 - prompt.shape[1], 0)) for prompt in prompts])
    segments = torch.zeros(3, 9, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        segments[row, : 9 - prompt.shape[1]] = PADDING
    cache = KVCache(model.config, batch=3, length=15, dtype=torch.float64)
    outs = [model(tokens, segments=segments, cache=cache)]
    for step in torch.split(later, [1, 1, 3, 1], dim=1):
        outs.append(model(step, segments=torch.zeros_like(step) if said_again else None, cache=cache))
    together = torch.cat(outs, dim=1)
    for row, prompt in enumerate(prompts):
        alone = model(torch.cat([prompt, later[row : row + 1]], dim=1))
        tolerance = 1e-4 if kind in ("rotary", "yarn") else 1e-9  # their angles are rounded to float32
        torch.testing.assert_close(
            together[row : row + 1, 9 - prompt.shape[1] :], alone, rtol=tolerance, atol=tolerance
        )


@torch.no_grad()
def test_documents_that_begin_on_the_way_are_apart(make_stack: MakeModel) -> None:
    """Numbers that are first given when there are tokens in the cache already."""
    model = make_stack(causal=True, entry=config.Entry(positions=config.Positions("learned")))
    first, second = torch.randint(0, 400, (1, 5)), torch.randint(0, 400, (1, 7))
    cache = KVCache(model.config, batch=1, length=12, dtype=torch.float64)
    parts = [
        model(first, cache=cache, segments=torch.zeros_like(first)),
        model(second[:, :3], cache=cache, segments=torch.ones_like(second[:, :3])),
        model(second[:, 3:], cache=cache),
    ]
    alone = torch.cat([model(first), model(second)], dim=1)
    torch.testing.assert_close(torch.cat(parts, dim=1), alone, rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize(("first", "end"), [(0, 5), (5, 9)])  # the whole prefix is read in one step
def test_a_prefix_is_read_both_ways_through_a_cache(first: int, end: int, make_stack: MakeModel) -> None:
    model = make_stack(causal=True)
    places = torch.arange(12)
    tokens, prefix = torch.randint(0, 400, (2, 12)), ((places >= first) & (places < end)).expand(2, -1)
    cache = KVCache(model.config, batch=2, length=12, dtype=torch.float64)
    parts = [
        model(tokens[:, : start + new][:, start:], cache=cache, prefix=prefix[:, : start + new])
        for start, new in ((0, 5), (5, 6), (11, 1))
    ]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens, prefix=prefix), rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("kind", POSITIONS)
def test_an_encoder_s_output_is_read_once(kind: str, make_stack: MakeModel) -> None:
    """Cached is uncached; the encoder's keys and values are made at the first step and kept."""
    model = make_stack(causal=True, encoder=True, **POSITIONS[kind])
    source, target = torch.randint(0, 400, (3, 9)), torch.randint(0, 400, (3, 8))
    segments = torch.tensor([[0] * 9, [0] * 6 + [PADDING] * 3, [PADDING] * 2 + [0] * 7])
    memory = model.encode(source, segments=segments)
    cache = KVCache(model.config, batch=3, length=8, dtype=torch.float64)
    outs = []
    calls: list[int] = []
    for block in model.decoder.blocks:  # type: ignore[union-attr]
        block.cross.key.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[union-attr]
    for step in torch.split(target, [3, 1, 4], dim=1):
        outs.append(model(step, memory=memory, cache=cache))
    assert len(calls) == 2
    torch.testing.assert_close(torch.cat(outs, dim=1), model(target, memory=memory), rtol=1e-9, atol=1e-9)


def test_a_full_cache_says_so(make_model: MakeModel) -> None:
    model = make_model()
    cache = KVCache(model.config, batch=1, length=5, dtype=torch.float32)
    with torch.no_grad():
        model(torch.zeros(1, 5, dtype=torch.long), cache=cache)
        with pytest.raises(ValueError, match="the cache holds 5 tokens; got 6"):
            model(torch.zeros(1, 1, dtype=torch.long), cache=cache)


@torch.no_grad()
def test_rows_that_are_kept_go_on_as_they_were(make_stack: MakeModel) -> None:
    """With their padding and what they know of the encoder's output; a row may be kept twice, as beams are."""
    model = make_stack(causal=True, encoder=True, attention={"rotary": config.Rotary()})
    tokens, source = torch.randint(0, 400, (4, 9)), torch.randint(0, 400, (4, 6))
    segments = torch.zeros(4, 9, dtype=torch.long)
    segments[1, :3] = PADDING
    marks = torch.zeros(4, 6, dtype=torch.long)
    marks[3, 4:] = PADDING
    memory = model.encode(source, segments=marks)
    cache = KVCache(model.config, batch=4, length=9, dtype=torch.float64)
    model(tokens[:, :5], segments=segments[:, :5], memory=memory, cache=cache)
    rows = [3, 1, 1]
    cache.keep(rows)
    kept = memory.keep(rows)
    out = model(tokens[rows, 5:], memory=kept, cache=cache)
    torch.testing.assert_close(
        out, model(tokens[rows], segments=segments[rows], memory=kept)[:, 5:], rtol=1e-9, atol=1e-9
    )


@torch.no_grad()
def test_tokens_that_are_taken_back_leave_no_trace(make_stack: MakeModel) -> None:
    model = make_stack(causal=True, entry=config.Entry(positions=config.Positions("learned")))
    tokens = torch.randint(0, 400, (2, 9))
    segments = torch.tensor([[0] * 9, [PADDING] * 2 + [0] * 7])
    cache = KVCache(model.config, batch=2, length=9, dtype=torch.float64)
    model(tokens[:, :4], segments=segments[:, :4], cache=cache)
    model(torch.randint(0, 400, (2, 4)), segments=torch.full((2, 4), 7), cache=cache)
    cache.back_to(4)
    out = model(tokens[:, 4:], segments=segments[:, 4:], cache=cache)
    torch.testing.assert_close(out, model(tokens, segments=segments)[:, 4:], rtol=1e-9, atol=1e-9)


def test_which_document_goes_on_must_be_known(make_model: MakeModel) -> None:
    model = make_model("llama").eval()
    tokens = torch.randint(0, 97, (2, 5))
    behind = torch.tensor([[0] * 5, [0, 0, 0, PADDING, PADDING]])
    cache = KVCache(model.config, batch=2, length=20, dtype=torch.float32)
    model(tokens, segments=behind, cache=cache)
    with pytest.raises(ValueError, match="a row ends in padding"):
        model(tokens[:, :1], cache=cache)
    cache = KVCache(model.config, batch=2, length=20, dtype=torch.float32)
    model(tokens, cache=cache)
    with pytest.raises(ValueError, match="the first 5 tokens were read without document numbers"):
        model(tokens, segments=behind, cache=cache)
