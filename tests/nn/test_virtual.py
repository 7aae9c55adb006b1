"""Virtual tokens: begun as a text they do what that text does, before each document, packed, padded and cached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from danlu.errors import RecipeError
from danlu.nn import config
from danlu.nn.cache import KVCache
from danlu.nn.config import Virtual
from danlu.nn.patterns import Fixed, Full, Pattern, Window
from danlu.nn.prompting import add_virtual, embeddings_of, keys_and_values_of, with_virtual, without_virtual
from danlu.nn.sight import PADDING
from danlu.nn.transformer import Transformer
from danlu.nn.virtual import Row

MakeModel = Callable[..., Transformer]

KINDS: dict[str, dict[str, Any]] = {
    "rotary": {"attention": {"rotary": config.Rotary()}},
    "yarn": {"attention": {"rotary": config.Rotary(scaling=config.Scaling("yarn", 4.0, 16, attention_factor=1.2))}},
    "normed": {"attention": {"rotary": config.Rotary(), "qk_norm": config.Norm()}},
    "learned": {"entry": config.Entry(positions=config.Positions("learned"), types=2, scale=3.0)},
    "relative": {"bias": config.RelativeBias(8, 20)},
    "alibi": {"bias": config.Alibi()},
}
TEXT = torch.tensor([7, 30, 71])


def _give(model: Transformer, kind: Any) -> None:
    model.config = replace(model.config, head=config.Embedding("last"))
    begun = embeddings_of if kind == "prompt" else keys_and_values_of
    add_virtual(model, Virtual(kind, len(TEXT)), begun(model, TEXT))


def _with_text(tokens: Tensor) -> Tensor:
    return torch.cat([TEXT, tokens])[None]


@torch.no_grad()
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("pattern", [Full(), Window(4), Fixed(6, 2)], ids=str)
@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_begun_as_a_text_they_are_that_text_before_each_document(
    kind: str, pattern: Pattern, name: str, make_stack: MakeModel
) -> None:
    fields = KINDS[name]
    model = make_stack(causal=True, **{**fields, "attention": {**fields.get("attention", {}), "pattern": pattern}})
    lengths = [[5, 1, 9], [11, 3]]
    documents = [[torch.randint(0, 400, (length,)) for length in row] for row in lengths]
    alone = [[model(_with_text(each))[0, len(TEXT) :] for each in row] for row in documents]
    _give(model, kind)
    tokens, segments = torch.zeros(2, 16, dtype=torch.long), torch.full((2, 16), PADDING)
    for place, row in enumerate(documents):
        packed = torch.cat(row)
        tokens[place, : len(packed)] = packed
        numbers = torch.repeat_interleave(torch.arange(len(row)), torch.tensor(lengths[place]))
        segments[place, : len(packed)] = numbers
    hidden = model(tokens, segments=segments)
    assert hidden.shape[:2] == tokens.shape
    tolerance = 1e-4 if "rotary" in fields.get("attention", {}) else 1e-9  # their angles are rounded to float32
    for place, row_alone in enumerate(alone):
        wanted = torch.cat(row_alone)
        torch.testing.assert_close(hidden[place, : len(wanted)], wanted, rtol=tolerance, atol=tolerance)
    one = model(documents[0][2][None])  # a row of one document needs no numbers
    torch.testing.assert_close(one[0], alone[0][2], rtol=tolerance, atol=tolerance)
    in_one_row = model(tokens[:1, :15], segments=segments[:1, :15])  # whose documents attend by themselves
    torch.testing.assert_close(in_one_row, hidden[:1, :15], rtol=tolerance, atol=tolerance)


@torch.no_grad()
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_rows_of_a_cache_go_on_as_if_each_were_alone(kind: str, name: str, make_stack: MakeModel) -> None:
    model = make_stack(causal=True, **KINDS[name])
    prompts, later = [torch.randint(0, 400, (length,)) for length in (9, 4, 1)], torch.randint(0, 400, (3, 6))
    alone = [
        model(_with_text(torch.cat([each, more])))[0, len(TEXT) :] for each, more in zip(prompts, later, strict=True)
    ]
    _give(model, kind)
    tokens = torch.stack([torch.nn.functional.pad(each, (9 - len(each), 0)) for each in prompts])
    segments = torch.stack([torch.nn.functional.pad(torch.zeros(len(each)).long(), (9 - len(each), 0), value=PADDING)
                            for each in prompts])  # fmt: skip
    cache = KVCache(model.config, batch=3, length=15, dtype=torch.float64)
    outs = [model(tokens, segments=segments, cache=cache)]
    assert cache.used == 9
    outs += [model(step, cache=cache) for step in torch.split(later, [1, 1, 3, 1], dim=1)]
    together = torch.cat(outs, dim=1)
    with pytest.raises(ValueError, match="the cache holds 15 tokens; got 16"):
        model(later[:, :1], cache=cache)
    tolerance = 1e-4 if "attention" in KINDS[name] else 1e-9
    for row, (prompt, wanted) in enumerate(zip(prompts, alone, strict=True)):
        torch.testing.assert_close(together[row, 9 - len(prompt) :], wanted, rtol=tolerance, atol=tolerance)
    cache.back_to(0)
    torch.testing.assert_close(model(tokens, segments=segments, cache=cache), outs[0])


@torch.no_grad()
def test_a_prompt_beside_a_decoder_is_the_encoders_and_a_prefix_the_decoders(make_stack: MakeModel) -> None:
    model = make_stack(causal=True, encoder=True, attention={"rotary": config.Rotary()})
    source, written = torch.randint(0, 400, (6,)), torch.randint(0, 400, (5,))
    longer = model(written[None], memory=model.encode(_with_text(source)))
    _give(model, "prompt")
    memory = model.encode(source[None], segments=torch.zeros(1, 6))
    assert memory.segments is not None and memory.segments.shape == memory.hidden.shape[:2]
    torch.testing.assert_close(model(written[None], segments=torch.zeros(1, 5), memory=memory), longer)
    torch.testing.assert_close(model(written[None], memory=model.encode(source[None])), longer)

    model = make_stack(causal=True, encoder=True, attention={"rotary": config.Rotary()})
    memory = model.encode(TEXT[None])  # what the decoder looks back at when the prefix begins
    begun = model(_with_text(written), memory=memory)[:, len(TEXT) :]
    _give(model, "prefix")
    torch.testing.assert_close(model.encode(TEXT[None]).hidden, memory.hidden)
    torch.testing.assert_close(model(written[None], memory=memory), begun)


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=3), st.integers(1, 3),
       st.integers(0, 2))  # fmt: skip
def test_the_wide_row_is_what_a_loop_would_make(lengths: list[list[int]], virtual: int, left: int) -> None:
    length = max(map(sum, lengths)) + left
    segments = [[PADDING] * left + [number for number, count in enumerate(row) for _ in range(count)]
                for row in lengths]  # fmt: skip
    segments = [row + [PADDING] * (length - len(row)) for row in segments]
    tokens = [[100 * number + place for place in range(length)] for number in range(len(lengths))]
    row = Row.of(torch.tensor(segments), torch.tensor(tokens), virtual)
    wide = row.widened(torch.tensor(tokens)[..., None].float(), -1.0 - torch.arange(virtual)[:, None])[..., 0].long()
    assert row.widened(torch.tensor(tokens)).tolist() == wide.clamp_min(0).tolist()
    assert row.segments is not None
    for number, (own, own_tokens) in enumerate(zip(segments, tokens, strict=True)):
        made: list[tuple[int, int]] = []
        before = PADDING
        for document, token in zip(own, own_tokens, strict=True):
            if document not in (before, PADDING):
                made += [(-1 - place, document) for place in range(virtual)]
            made.append((token, document))
            before = document
        assert list(zip(wide[number].tolist(), row.segments[number].tolist(), strict=True))[: len(made)] == made
        assert set(row.segments[number, len(made) :].tolist()) <= {PADDING}
    assert row.narrowed(wide).tolist() == tokens
    first = row.narrowed(wide, first=True).tolist()
    begins = [[document not in (PADDING, ([PADDING, *own])[place]) for place, document in enumerate(own)]
              for own in segments]  # fmt: skip
    assert first == [[-1 if begin else token for begin, token in zip(*pair, strict=True)]
                     for pair in zip(begins, tokens, strict=True)]  # fmt: skip


def test_an_mlp_makes_the_prefix_and_is_dropped(make_model: MakeModel) -> None:
    model = make_model("llama")
    tokens = torch.randint(0, 97, (1, 6))
    _give(model, "prefix")
    before = model(tokens)
    prefix = model.stack.prefix
    assert prefix is not None
    prefix.made_by_mlp(5, seed=1)
    made = model(tokens)
    assert (made - before).abs().max() > 1e-3
    assert {name for name, _ in prefix.named_parameters()} == {
        "embedding", "mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias"
    }  # fmt: skip
    prefix.without_mlp()
    assert {name for name, _ in prefix.named_parameters()} == {"weight"}
    torch.testing.assert_close(model(tokens), made)


def test_what_cannot_have_them_is_told(make_model: MakeModel, make_stack: MakeModel) -> None:
    shape = make_model("llama").config
    virtual = Virtual("prefix", 4)
    again = with_virtual(shape, virtual)
    assert (again.max_length, again.places) == (shape.max_length - 4, shape.max_length)
    assert without_virtual(again) == shape
    with pytest.raises(RecipeError, match="has virtual tokens already"):
        with_virtual(again, virtual)
    with pytest.raises(RecipeError, match=f"tokens must be below {shape.max_length}, .*; got {shape.max_length}"):
        with_virtual(shape, Virtual("prompt", shape.max_length))
    scaling = config.Scaling("ntk", 2.0, 16)
    stretched = make_stack(causal=True, attention={"rotary": config.Rotary(scaling=scaling)}).config
    with pytest.raises(RecipeError, match="depends on the length of a text; use prompt"):
        with_virtual(stretched, virtual)
    with pytest.raises(RecipeError, match=r"averages a text's tokens, .*; use prefix"):
        with_virtual(stretched, Virtual("prompt", 4))
    with_virtual(replace(stretched, head=config.Embedding("first")), Virtual("prompt", 4))
