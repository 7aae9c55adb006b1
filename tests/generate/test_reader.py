"""Prompts of different length in one pass: every answer is the one that its prompt gets alone."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from danlu.errors import InputError
from danlu.generate import engine
from danlu.generate.engine import Loaded, generate, stream_batch
from danlu.generate.reader import Reader, encode, may_be_padded, padded
from danlu.generate.sampling import Sampling
from danlu.generate.search import Rows
from danlu.generate.special_tokens import SpecialTokens
from danlu.nn.cache import KVCache, Memory
from danlu.nn.config import MLP, Attention, Entry, Head, Layer, Norm, Positions, Scaling, Stack, TransformerConfig
from danlu.nn.families import GPT, Llama, Qwen3
from danlu.nn.patterns import Fixed, Window
from danlu.nn.sight import PADDING
from danlu.nn.transformer import Transformer
from danlu.tokenizers.tokenizer import Tokenizer

ROOM = 64
"""Tokens that the models see."""


def gpt2(vocab_size: int) -> TransformerConfig:
    norm = Norm("layer", 1e-5, bias=True)
    attention = Attention(heads=4, kv_heads=4, head_dim=8, bias=True, out_bias=True)
    layer = Layer(attention, MLP(64, "gelu_tanh", bias=True))
    stack = Stack(layers=(layer,) * 2, norm=norm, causal=True, entry=Entry(positions=Positions("learned")))
    return TransformerConfig("gpt2", vocab_size, 32, ROOM, decoder=stack, head=Head())


def changed(config: TransformerConfig, **attention: object) -> TransformerConfig:
    """With every other layer's attention changed."""
    assert config.decoder is not None
    layers = tuple(
        replace(layer, attention=replace(layer.attention, **attention)) if number % 2 else layer
        for number, layer in enumerate(config.decoder.layers)
    )
    return replace(config, decoder=replace(config.decoder, layers=layers))


def config_of(family: str, vocab_size: int) -> TransformerConfig:
    sizes = {"vocab_size": vocab_size, "max_length": ROOM}
    if family == "gpt2":
        return gpt2(vocab_size)
    if family == "nanochat":
        return GPT(layers=2, dim=32, heads=4, kv_heads=2).config(**sizes)
    if family == "llama":
        return Llama(layers=2, dim=32, heads=4, kv_heads=2).config(**sizes)
    config = Qwen3(layers=2, dim=32, heads=4, kv_heads=2).config(**sizes)
    return changed(config, pattern=Window(5)) if family == "qwen3" else config


def random_model(config: TransformerConfig, *, silent: int | None = None) -> Transformer:
    """Weights that make greedy answers neither constant nor a matter of rounding; ``silent`` is seldom written."""
    model = Transformer(config).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, 0.4, generator=generator)
        if silent is not None and config.words is not None and not config.tied:
            model.head.weight[silent] = 0.0
    return model


def random_prompts(tokenizer: Tokenizer, count: int, *, longest: int) -> list[str]:
    random = Random(7)
    texts = []
    for place in range(count):
        ids = [random.randrange(1, tokenizer.vocab_size) for _ in range(1 + place * longest // count)]
        texts.append(tokenizer.decode(ids))
    random.shuffle(texts)
    return texts


@pytest.mark.parametrize("family", ["nanochat", "llama", "gpt2", "qwen3"])
def test_fifty_prompts_together_are_fifty_prompts_alone(family: str, tokenizer: Tokenizer) -> None:
    model = random_model(config_of(family, tokenizer.vocab_size), silent=tokenizer.eot)
    prompts = random_prompts(tokenizer, 50, longest=40)
    settings = Sampling(temperature=0, max_tokens=30)
    together = generate(model, tokenizer, prompts, settings=settings, seed=0)
    alone = [generate(model, tokenizer, [prompt], settings=settings, seed=0)[0] for prompt in prompts]
    assert together == alone
    assert len({answer.ids for answer in alone}) > 40
    lengths = {len(tokenizer.encode(prompt)) for prompt in prompts}
    assert min(lengths) < 8
    assert max(lengths) > ROOM  # some are cut before they begin, some on the way


def test_they_go_through_the_model_together(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(config_of("llama", tokenizer.vocab_size), silent=tokenizer.eot)
    passes: list[tuple[int, int]] = []
    whole = Transformer.forward

    def counted(self: Transformer, tokens: torch.Tensor, **rest: object) -> torch.Tensor:
        passes.append((tokens.shape[0], tokens.shape[1]))
        return whole(self, tokens, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Transformer, "forward", counted)
    prompts = ["a", "to be or not", "To be, or not to be: that", "话说"]
    settings = Sampling(max_tokens=6, stop=("\n", "e", "b"), temperature=2.0)
    answers = generate(model, tokenizer, prompts, settings=settings, seed=3)
    longest = max(len(tokenizer.encode(prompt)) for prompt in prompts) + 1
    lengths = [answer.tokens for answer in answers]
    # One pass for all prompts, then one a token for the rows that have not ended.
    expected = [(4, longest), *((sum(length > step for length in lengths), 1) for step in range(1, max(lengths)))]
    assert passes == expected
    assert len(set(lengths)) > 1


SAMPLED = Sampling(
    max_tokens=40, temperature=1.1, top_p=0.95, typical_p=0.95, repetition_penalty=1.2, presence_penalty=0.3,
    frequency_penalty=0.2, no_repeat_ngram=3, stop=("\n",),
)  # fmt: skip


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_draws_follow_from_the_own_seed(family: str, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BATCH_ROWS", 5)
    model = random_model(config_of(family, tokenizer.vocab_size), silent=tokenizer.eot)
    prompts = random_prompts(tokenizer, 12, longest=30)
    together = generate(model, tokenizer, prompts, settings=SAMPLED, seed=50)
    for place, prompt in enumerate(prompts):
        assert generate(model, tokenizer, [prompt], settings=SAMPLED, seed=50 + place) == [together[place]]
    pieces: list[str] = [""] * len(prompts)
    turns = []
    for place, piece in stream_batch(model, tokenizer, prompts, settings=SAMPLED, seed=50):
        pieces[place] += piece
        turns.append(place)
    assert pieces == [answer.text for answer in together]
    assert turns != sorted(turns)  # by turns, not one after the other


@pytest.mark.parametrize(
    "settings", [{"pattern": Fixed(stride=8)}, {"scaling": Scaling("ntk", 4.0, 16)}], ids=["fixed", "ntk"]
)
def test_rows_that_must_not_be_moved_are_read_beside_equally_long_ones(
    settings: dict[str, object], tokenizer: Tokenizer
) -> None:
    """Places in the row count for some patterns, its length for some rotary positions."""
    config = config_of("llama", tokenizer.vocab_size)
    assert may_be_padded(config)
    if "scaling" in settings:
        assert config.decoder is not None and config.decoder.layers[0].attention.rotary is not None
        rotary = replace(config.decoder.layers[0].attention.rotary, **settings)  # type: ignore[arg-type]
        settings = {"rotary": rotary}
    config = changed(config, **settings)
    assert not may_be_padded(config)
    model = random_model(config, silent=tokenizer.eot)
    prompts = random_prompts(tokenizer, 12, longest=30) * 2
    greedy = Sampling(temperature=0, max_tokens=20)
    together = generate(model, tokenizer, prompts, settings=greedy, seed=0)
    assert together == [generate(model, tokenizer, [prompt], settings=greedy, seed=0)[0] for prompt in prompts]


def test_padding_stands_on_the_side_that_is_asked_for() -> None:
    rows = [[5, 6, 7], [8]]
    tokens, segments = padded(rows, left=True)
    assert tokens == [[5, 6, 7], [0, 0, 8]]
    assert segments is not None and segments.tolist() == [[0, 0, 0], [PADDING, PADDING, 0]]
    tokens, segments = padded(rows, left=False)
    assert tokens == [[5, 6, 7], [8, 0, 0]]
    assert segments is not None and segments.tolist() == [[0, 0, 0], [0, PADDING, PADDING]]
    assert padded([[1], [2]], left=True) == ([[1], [2]], None)


@torch.no_grad()
def test_a_reader_goes_back(tokenizer: Tokenizer) -> None:
    model = random_model(config_of("gpt2", tokenizer.vocab_size))
    context = [3, 4, 5]
    reader = Reader(model, [context], tokens=20, vocab_size=tokenizer.vocab_size)
    reader.read()
    context += [6, 7, 8]
    several = reader.read(3)[0]
    for place, end in enumerate((4, 5, 6)):
        exact = model.head(model(torch.tensor([context[:end]]))[0, -1])
        torch.testing.assert_close(several[place], exact, rtol=1e-4, atol=1e-4)
    del context[4:]
    context.append(9)
    reader.back_to(4)
    exact = model.head(model(torch.tensor([[3, 4, 5, 6, 9]]))[0, -1])
    torch.testing.assert_close(reader.read()[0, 0], exact, rtol=1e-4, atol=1e-4)
    assert reader.free == ROOM - 5


def test_a_source_that_is_too_long_is_told(tokenizer: Tokenizer) -> None:
    decoder = config_of("llama", tokenizer.vocab_size).decoder
    assert decoder is not None
    cross = replace(decoder.layers[0].attention, rotary=None)
    config = TransformerConfig(
        "t5", tokenizer.vocab_size, 32, 16, encoder=replace(decoder, causal=False),
        decoder=replace(decoder, layers=tuple(replace(layer, cross=cross) for layer in decoder.layers)),
    )  # fmt: skip
    loaded = Loaded(random_model(config), tokenizer, SpecialTokens.of(tokenizer, config))
    with pytest.raises(InputError, match="the model sees at most 16 tokens of a source text; got one of 301"):
        generate(loaded.model, tokenizer, ["o" * 300], settings=Sampling(), seed=0, special=loaded.special)


class Elsewhere:
    """Stands for a model on another device: notes where all that it is given lies."""

    def __init__(self, model: Transformer) -> None:
        self.config, self.head = model.config, model.head
        self.embedding = nn.Embedding(1, 1, device="meta")
        self.given: list[str] = []

    def encode(self, tokens: Tensor, *, segments: Tensor | None) -> Memory:
        self.given += [each.device.type for each in (tokens, segments) if each is not None]
        return Memory(torch.zeros(*tokens.shape, self.config.dim))

    def __call__(self, tokens: Tensor, *, segments: Tensor | None, cache: KVCache, memory: Memory | None) -> Tensor:
        self.given += [each.device.type for each in (tokens, segments, cache.layers[0].keys) if each is not None]
        return torch.zeros(*tokens.shape, self.config.dim)


def test_all_that_a_model_is_given_is_on_its_device(model: Transformer) -> None:
    elsewhere: Any = Elsewhere(model)
    Reader(elsewhere, [[1, 2, 3], [4]], tokens=3, vocab_size=9).read()
    encode(elsewhere, [[1, 2, 3], [4]])
    Rows(elsewhere, [[1, 2, 3], [4]], length=9, memory=None, vocab_size=9)
    assert elsewhere.given == ["meta"] * 8
