"""Which prompts share a batch, and what rows of different length mean to the model."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from danlu import catalog
from danlu.generate.beam import Beam
from danlu.generate.search import Rows, together
from danlu.nn.config import Stack, TransformerConfig
from danlu.nn.families import Llama
from danlu.nn.patterns import BigBird
from danlu.nn.transformer import Transformer

CONFIG = Llama(layers=2, dim=16, heads=2).config(vocab_size=20, max_length=10)
LENGTHS = [3, 1, 8, 2, 9, 8, 4]
PROMPTS = [[7] * length for length in LENGTHS]


def block_sparse(config: TransformerConfig) -> TransformerConfig:
    assert config.decoder is not None
    layers = tuple(
        dataclasses.replace(layer, attention=dataclasses.replace(layer.attention, pattern=BigBird(block=2)))
        for layer in config.decoder.layers
    )
    decoder: Stack = dataclasses.replace(config.decoder, layers=layers)
    return dataclasses.replace(config, decoder=decoder)


def test_padding_takes_room_from_no_answer() -> None:
    groups = list(together(PROMPTS, CONFIG, max_tokens=6, unread=1, rows=3))
    assert groups == [([1, 3, 0], 6), ([6], 6), ([2, 5], 3), ([4], 2)]
    for numbers, limit in groups:
        assert max(LENGTHS[number] for number in numbers) + limit - 1 <= CONFIG.max_length
        assert all(limit == min(6, CONFIG.max_length + 1 - LENGTHS[number]) for number in numbers)


def test_a_model_that_minds_padding_gets_none() -> None:
    groups = list(together(PROMPTS, block_sparse(CONFIG), max_tokens=1, unread=1, rows=9))
    assert [[LENGTHS[number] for number in numbers] for numbers, _ in groups] == [[1], [2], [3], [4], [8, 8], [9]]


@torch.no_grad()
def test_rows_go_on_as_if_each_were_alone() -> None:
    model = Transformer(CONFIG)
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.3, generator=generator)
    prompts = [[3, 4, 5], [6], [7, 8]]
    rows = Rows(model, prompts, length=5, memory=None, vocab_size=18)
    rows.keep([2, 0, 0])
    rows.read([9, 10, 11])
    rows.keep([0, 2])
    rows.read([12, 13])
    texts = [[7, 8, 9, 12], [3, 4, 5, 11, 13]]
    expected = torch.stack([model.head(model(torch.tensor([text]))[0, -1])[:18] for text in texts])
    torch.testing.assert_close(rows.logits(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rows.logits(every=2), expected[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in catalog.names("search") if name != "sample"])
@pytest.mark.parametrize("config", [CONFIG, block_sparse(CONFIG)], ids=["full", "block_sparse"])
def test_every_search_answers_each_prompt_as_if_it_were_alone(name: str, config: TransformerConfig) -> None:
    search = catalog.load("search", name, key="search")()
    model = Transformer(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.4, generator=generator)
    answers = search.run(model, PROMPTS, eot=0, max_tokens=5)
    assert answers == [search.run(model, [prompt], eot=0, max_tokens=5)[0] for prompt in PROMPTS]
    assert answers[2] == answers[5] and answers[2] != answers[0]
    assert search.run(model, [], eot=0, max_tokens=5) == []


def test_more_prompts_than_go_together() -> None:
    model = Transformer(CONFIG)
    model.initialise(0)
    with torch.no_grad():
        model.head.weight.normal_(generator=torch.Generator().manual_seed(0))
    prompts = [[place % 19 + 1] for place in range(80)]  # 32 prompts of two beams go together
    found = Beam(beams=2).hypotheses(model, prompts, eot=0, max_tokens=3)
    best = [each[0].tokens for each in found]
    assert best[:19] == best[19:38] == best[57:76]
    assert len(set(map(tuple, best))) > 5
