"""The whole model: its start and its limits, documents in one row, prefixes, and an encoder before a decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from danlu.nn import config
from danlu.nn.families import GPT, Llama, Qwen3
from danlu.nn.patterns import BigBird, Fixed, Full, Pattern, Strided, Window
from danlu.nn.sight import PADDING
from danlu.nn.transformer import Transformer

CHOICES: list[type[GPT | Llama | Qwen3]] = [GPT, Llama, Qwen3]
FAMILIES = ["nanochat", "llama", "qwen3"]
MakeModel = Callable[..., Transformer]

POSITIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "rotary": {"attention": {"rotary": config.Rotary()}},
    "ntk": {"attention": {"rotary": config.Rotary(scaling=config.Scaling("ntk", 4.0, 16))}},
    "learned": {"entry": config.Entry(positions=config.Positions("learned", offset=2))},
    "sinusoidal": {"entry": config.Entry(positions=config.Positions("sinusoidal"))},
    "relative": {"bias": config.RelativeBias(8, 20)},
    "alibi": {"bias": config.Alibi()},
}
PATTERNS: list[Pattern] = [Full(), Window(4), Window(3, 2), Strided(5), Fixed(6, 2), BigBird(block=4, random=2)]


def with_pattern(fields: dict[str, Any], pattern: Pattern) -> dict[str, Any]:
    return {**fields, "attention": {**fields.get("attention", {}), "pattern": pattern}}


@pytest.mark.parametrize("choice", CHOICES)
def test_starts_from_the_seed_and_knows_nothing(choice: type[GPT | Llama | Qwen3]) -> None:
    settings = choice(layers=2, dim=64).config(vocab_size=50, max_length=16)
    models = [Transformer(settings) for _ in range(3)]
    for model, seed in zip(models, (7, 7, 8), strict=True):
        model.initialise(seed)
    same, again, other = (model.state_dict() for model in models)
    assert all(map(torch.equal, same.values(), again.values()))
    assert not torch.equal(same["embedding.weight"], other["embedding.weight"])
    tokens = torch.randint(0, 50, (2, 9))
    assert models[0].head(models[0](tokens)).eq(0).all()  # every token equally likely: the loss is log(vocabulary)


@pytest.mark.parametrize(
    "mlp", [None, config.Experts(count=4, per_token=2, hidden=6, shared=5)], ids=["mlp", "experts"]
)
def test_every_block_begins_as_the_identity(make_stack: MakeModel, mlp: config.Experts | None) -> None:
    model = make_stack(causal=True, encoder=True, mlp=mlp)
    model.initialise(0)
    seen: list[tuple[Tensor, Tensor]] = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    tokens = torch.randint(0, 400, (1, 9))
    model(tokens, memory=model.encode(tokens))
    assert len(seen) == 4
    assert all(before.equal(after) for before, after in seen)


def test_no_weight_is_left_as_memory_was(make_stack: MakeModel) -> None:
    """Every weight of every part is drawn, a gain of 1, or 0."""
    for fields in (*POSITIONS.values(), {"attention": {"linformer": 3}}, {"entry": config.Entry(types=2)}):
        model = make_stack(causal=False, **fields)
        with torch.no_grad():
            for weight in model.parameters():
                weight.fill_(torch.nan)
        model.initialise(0)
        for name, weight in model.named_parameters():
            assert weight.isfinite().all(), name
            assert weight.ndim == 1 or weight.std() > 0 or name.endswith(("out.weight", "down.weight")), name


def test_the_words_of_two_heads_know_nothing_either() -> None:
    heads = config.Pretraining(config.Head(bias=True), config.Labels(2, pooling="first", pair=True))
    encoder = Llama(layers=1, dim=64).config(vocab_size=50, max_length=16).decoder
    model = Transformer(
        config.TransformerConfig(family="test", vocab_size=50, dim=64, max_length=16, encoder=encoder, head=heads)
    )
    model.initialise(0)
    assert model.head(model(torch.randint(0, 50, (2, 9)))).eq(0).all()


def test_a_tied_model_has_one_matrix_and_its_gradient_from_both_ends(make_model: MakeModel) -> None:
    model = make_model("llama", tied=True)
    assert model.head.weight is model.embedding.weight
    tokens = torch.tensor([[1, 2, 3]])
    model.head.loss(model(tokens), torch.tensor([[4, 4, 4]])).backward()
    grad = model.embedding.weight.grad
    assert grad is not None
    assert grad[[1, 2, 3, 4, 50]].ne(0).any(1).all()


def test_more_tokens_than_it_sees_is_an_error(make_model: MakeModel) -> None:
    with pytest.raises(ValueError, match="sees at most 40 tokens; got 41"):
        make_model()(torch.zeros(1, 41, dtype=torch.long))


def places_seen(model: Transformer, place: int, **given: Any) -> list[int]:
    """Which of 20 tokens the hidden state at ``place`` depends on."""
    tokens = torch.arange(20)[None]  # all different, so that a row of the gradient is a place
    model.zero_grad()
    model(tokens, **given)[0, place].pow(3).sum().backward()  # the squares of normed numbers add up to a constant
    grad = model.embedding.weight.grad
    assert grad is not None
    return grad[:20].ne(0).any(1).nonzero().flatten().tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_no_gradient_comes_from_later_tokens_or_other_documents(family: str, make_model: MakeModel) -> None:
    model = make_model(family)
    segments = torch.tensor([[0] * 7 + [1] * 8 + [2] * 5])
    assert places_seen(model, 11) == list(range(12))
    assert places_seen(model, 11, segments=segments) == list(range(7, 12))
    assert places_seen(model, 3, segments=segments) == list(range(4))


@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("causal", [True, False])
def test_no_gradient_comes_from_another_document(
    kind: str, pattern: Pattern, causal: bool, make_stack: MakeModel
) -> None:
    model = make_stack(causal=causal, **with_pattern(POSITIONS[kind], pattern))
    segments = torch.tensor([[0] * 7 + [1] * 8 + [2] * 5])
    for place, own in ((3, range(7)), (11, range(7, 15)), (17, range(15, 20))):
        seen = set(places_seen(model, place, segments=segments))
        assert {place} < seen <= set(own)
        assert not causal or max(seen) == place
    assert set(places_seen(model, 17)) - set(range(15, 20))  # where they are one document it does


@pytest.mark.parametrize("kind", POSITIONS)
def test_documents_of_a_long_row_are_apart_too(kind: str, make_stack: MakeModel) -> None:
    """Long enough for attention by blocks."""
    model = make_stack(causal=True, **with_pattern(POSITIONS[kind], Window(30)))
    tokens, segments = torch.arange(300)[None], (torch.arange(300) // 110)[None]
    model(tokens, segments=segments)[0, 225].sum().backward()
    grad = model.embedding.weight.grad
    assert grad is not None
    assert grad[:300].ne(0).any(1).nonzero().flatten().tolist() == list(range(220, 226))


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_is_unpacked(family: str, make_model: MakeModel) -> None:
    model = make_model(family)
    parts = [torch.randint(0, 97, (1, length)) for length in (7, 1, 12, 5)]
    packed = model.head(model(torch.cat(parts, dim=1), segments=numbers_of(parts)))
    alone = torch.cat([model.head(model(part)) for part in parts], dim=1)
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("lengths", [(7, 1, 12, 5), (130, 70, 99)])
def test_packed_is_unpacked_for_all_kinds(
    kind: str, pattern: Pattern, causal: bool, lengths: tuple[int, ...], make_stack: MakeModel
) -> None:
    model = make_stack(causal=causal, **with_pattern(POSITIONS[kind], pattern))
    parts = [torch.randint(0, 400, (1, length)) for length in lengths]
    with torch.no_grad():
        packed = model(torch.cat(parts, dim=1), segments=numbers_of(parts))
        alone = torch.cat([model(part) for part in parts], dim=1)
    # Angles of later positions are rounded to float32 at their own size.
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-4 if kind in ("rotary", "ntk") else 1e-9)


def numbers_of(parts: list[Tensor]) -> Tensor:
    return torch.cat([torch.full_like(part, number) for number, part in enumerate(parts)], dim=1)


@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(kind: str, causal: bool, side: str, make_stack: MakeModel) -> None:
    model = make_stack(causal=causal, **POSITIONS[kind])
    tokens = torch.randint(0, 400, (2, 12))
    segments = torch.zeros(2, 12, dtype=torch.long)
    real = slice(5, None) if side == "left" else slice(0, 7)
    segments[0] = PADDING
    segments[0, real] = 0
    alone = model(tokens[:1, real])
    for filling in (0, 399):
        padded = torch.where(segments == PADDING, filling, tokens)
        out = model(padded, segments=segments)
        assert out.isfinite().all()
        torch.testing.assert_close(out[:1, real], alone, rtol=1e-4, atol=1e-4 if kind in ("rotary", "ntk") else 1e-9)


def test_padding_changes_nothing_for_a_linformer(make_stack: MakeModel) -> None:
    model = make_stack(causal=False, attention={"linformer": 4})
    tokens = torch.randint(0, 400, (2, 12))
    segments = torch.tensor([[0] * 7 + [PADDING] * 5, [0] * 12])
    outs = [
        model(torch.where(segments == PADDING, filling, tokens), segments=segments)[0, :7] for filling in (0, 5, 399)
    ]
    assert outs[0].equal(outs[1]) and outs[0].equal(outs[2])
    torch.testing.assert_close(outs[0][None], model(tokens[:1, :7]), rtol=1e-9, atol=1e-9)


def test_a_linformer_refuses_what_it_would_mix(make_stack: MakeModel) -> None:
    model = make_stack(causal=False, attention={"linformer": 4})
    tokens = torch.zeros(2, 4, dtype=torch.long)
    for row in ([0, 0, 1, 1], [PADDING, 0, 1, 1]):
        with pytest.raises(ValueError, match=r"^a Linformer mixes all tokens of a row; a row must hold one document$"):
            model(tokens, segments=torch.tensor([[0, 0, 0, 0], row]))
    model(tokens, segments=torch.tensor([[0, 0, 0, 0], [3, 3, PADDING, PADDING]]))


@pytest.mark.parametrize("kind", POSITIONS)
def test_a_prefix_is_read_both_ways(kind: str, make_stack: MakeModel) -> None:
    model = make_stack(causal=True, **POSITIONS[kind])
    prefix = (torch.arange(20) < 6)[None]
    assert places_seen(model, 2, prefix=prefix) == list(range(6))
    assert places_seen(model, 9, prefix=prefix) == list(range(10))
    segments = torch.tensor([[0] * 4 + [1] * 16])
    assert places_seen(model, 2, prefix=prefix, segments=segments) == list(range(4))
    assert places_seen(model, 4, prefix=prefix, segments=segments) == [4, 5]


def test_token_types_are_added_and_all_of_the_first_where_none_are_given(make_stack: MakeModel) -> None:
    model = make_stack(causal=False, entry=config.Entry(types=3))
    tokens = torch.randint(0, 400, (2, 6))
    zeros = torch.zeros(2, 6, dtype=torch.long)
    assert model(tokens).equal(model(tokens, types=zeros))
    assert not model(tokens).equal(model(tokens, types=zeros + 2))


def test_the_entry_scales_adds_norms_in_this_order(make_stack: MakeModel) -> None:
    entry = config.Entry(positions=config.Positions("learned"), types=2, norm=config.Norm("layer", 1e-3), scale=3.0)
    model = make_stack(causal=False, entry=entry)
    assert model.encoder is not None
    seen: list[Tensor] = []
    model.encoder.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    tokens, types = torch.randint(0, 400, (2, 6)), torch.randint(0, 2, (2, 6))
    model(tokens, types=types)
    state = model.state_dict()
    added = (
        3.0 * state["embedding.weight"][tokens]
        + state["encoder.entry.positions.weight"][:6]
        + state["encoder.entry.types.weight"][types]
    )
    expected = torch.nn.functional.layer_norm(added, (20,), state["encoder.entry.norm.weight"], None, 1e-3)
    torch.testing.assert_close(seen[0], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", POSITIONS)
def test_the_decoder_sees_all_of_the_encoder_s_output_but_its_padding(kind: str, make_stack: MakeModel) -> None:
    model = make_stack(causal=True, encoder=True, **POSITIONS[kind])
    source, target = torch.randint(0, 400, (2, 9)), torch.randint(0, 400, (2, 5))
    segments = torch.tensor([[0] * 9, [0] * 6 + [PADDING] * 3])
    together = model(target, memory=model.encode(source, segments=segments))
    alone = model(target[1:], memory=model.encode(source[1:, :6]))
    torch.testing.assert_close(together[1:], alone, rtol=1e-9, atol=1e-9)
    memory = model.encode(source, segments=segments)
    memory.hidden.retain_grad()
    model(target, memory=memory)[:, 2].sum().backward()
    assert memory.hidden.grad is not None
    assert memory.hidden.grad.ne(0).any(2).equal(segments != PADDING)


def test_documents_of_the_decoder_look_back_at_their_own(make_stack: MakeModel) -> None:
    """Two pairs in one row: source and target of the same number belong together."""
    model = make_stack(causal=True, encoder=True)
    sources, targets = ([torch.randint(0, 400, (1, length)) for length in lengths] for lengths in ((4, 6), (3, 5)))
    memory = model.encode(torch.cat(sources, dim=1), segments=numbers_of(sources))
    packed = model(torch.cat(targets, dim=1), segments=numbers_of(targets), memory=memory)
    alone = [model(target, memory=model.encode(source)) for source, target in zip(sources, targets, strict=True)]
    torch.testing.assert_close(packed, torch.cat(alone, dim=1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(0, 5), (2, 0)])
def test_no_rows_and_no_tokens_go_through_the_model(family: str, shape: tuple[int, int], make_model: MakeModel) -> None:
    model, tokens = make_model(family), torch.zeros(shape, dtype=torch.long)
    hidden = model(tokens, segments=torch.zeros_like(tokens))
    assert hidden.shape == (*shape, model.config.dim) == model(tokens).shape
    assert model.head(hidden).shape == (*shape, 97)
    loss = model.head.loss(hidden, tokens)
    loss.backward()
    assert loss.item() == 0
    assert all(weight.grad is not None and not weight.grad.any() for weight in model.parameters())
