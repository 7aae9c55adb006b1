"""Contrastive search against the paper's equation, written out without a cache in float64."""

from __future__ import annotations

import pytest
import torch

from danlu.errors import InputError
from danlu.generate.contrastive import Contrastive
from danlu.nn.cache import Memory
from danlu.nn.config import MLP, Attention, Head, Layer, Norm, RelativeBias, Rotary, Stack, TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.recipe import build_choice

EOT, WORDS, NEW = 1, 30, 14
PROMPTS = [[5, 6, 7, 8, 9], [4], [3, 3, 3], [12, 29], [8, 7, 6, 5, 4, 3, 2], [20, 21, 20, 21], [28], [17, 4]]
SETTINGS = [
    Contrastive(),
    Contrastive(top_k=8, penalty=0.9),
    Contrastive(top_k=3, penalty=0.3),
    Contrastive(top_k=5, penalty=1.0),
    Contrastive(top_k=50, penalty=0.5),  # more than there are tokens
]


def decoder(*, cross: bool = False) -> Transformer:
    attention = Attention(heads=3, kv_heads=1, head_dim=8, rotary=None if cross else Rotary())
    mlp, norm = MLP(40, "silu", gated=True), Norm()
    bias = RelativeBias() if cross else None
    layer = Layer(attention, mlp, cross=attention if cross else None)
    config = TransformerConfig(
        family="t5" if cross else "llama", vocab_size=WORDS, dim=24, max_length=24,
        encoder=Stack((Layer(attention, mlp),) * 2, norm, causal=False, bias=bias) if cross else None,
        decoder=Stack((layer,) * 2, norm, causal=True, bias=bias), head=Head(),
    )  # fmt: skip
    model = Transformer(config)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.4, generator=generator)
    return model.double().eval()


@pytest.fixture(scope="module")
def model() -> Transformer:
    return decoder()


@torch.no_grad()
def equation(
    model: Transformer, prompt: list[int], settings: Contrastive, *, limit: int, memory: Memory | None = None
) -> list[int]:
    """Equation 5 of the paper, the whole text read again with each candidate."""
    text = list(prompt)
    while len(text) < len(prompt) + limit:
        hidden = model(torch.tensor([text]), memory=memory)[0]
        probabilities = torch.softmax(model.head(hidden[-1]), -1)
        candidates = torch.argsort(probabilities, descending=True)[: settings.top_k].tolist()
        own = memory.keep([0] * len(candidates)) if memory is not None else None
        states = model(torch.tensor([[*text, v] for v in candidates]), memory=own)
        scores = {}
        for v, h in zip(candidates, states, strict=True):
            likeness = float((h[:-1] @ h[-1] / (h[:-1].norm(dim=1) * h[-1].norm())).max())
            scores[v] = (1 - settings.penalty) * float(probabilities[v]) - settings.penalty * likeness
        text.append(max(scores, key=scores.__getitem__))
        if text[-1] == EOT:
            break
    return text[len(prompt) :]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_is_the_equation(settings: Contrastive, model: Transformer) -> None:
    expected = [equation(model, prompt, settings, limit=NEW) for prompt in PROMPTS]
    assert settings.run(model, PROMPTS, eot=EOT, max_tokens=NEW) == expected  # ragged prompts, in one batch


def test_the_comparison_sees_both_ends(model: Transformer) -> None:
    answers = [answer for each in SETTINGS for answer in each.run(model, PROMPTS, eot=EOT, max_tokens=NEW)]
    assert {answer[-1] == EOT for answer in answers} == {True, False}
    assert all(EOT not in answer[:-1] for answer in answers)
    assert max(map(len, answers)) == NEW


def test_an_encoder_decoder_is_the_equation() -> None:
    both = decoder(cross=True)
    drawn = torch.randint(2, WORDS, (6, 9), generator=torch.Generator().manual_seed(0)).tolist()
    sources = [row[:length] for row, length in zip(drawn, (5, 9, 9, 2, 9, 9), strict=True)]
    with torch.no_grad():
        memories = [both.encode(torch.tensor([source])) for source in sources]
    prompts = [[2], [2], [2, 7, 9], [2], [2, 11], [2]]
    settings = Contrastive(top_k=5, penalty=0.5)
    expected = [
        equation(both, prompt, settings, limit=NEW, memory=memory)
        for prompt, memory in zip(prompts, memories, strict=True)
    ]
    assert settings.run(both, prompts, eot=EOT, max_tokens=NEW, sources=sources) == expected
    assert len({tuple(answer) for answer in expected}) == len(prompts)


@torch.no_grad()
def test_without_penalty_or_choice_it_is_greedy(model: Transformer) -> None:
    expected = []
    for prompt in PROMPTS:
        text = list(prompt)
        while len(text) < len(prompt) + NEW and text[-1] != EOT:
            text.append(int(model.head(model(torch.tensor([text]))[0, -1]).argmax()))
        expected.append(text[len(prompt) :])
    for settings in (Contrastive(penalty=0.0), Contrastive(top_k=1)):
        assert settings.run(model, PROMPTS, eot=EOT, max_tokens=NEW) == expected
    assert Contrastive().run(model, PROMPTS, eot=EOT, max_tokens=NEW) != expected


def test_answers_end_where_the_model_can_see_no_more(model: Transformer) -> None:
    settings = Contrastive(top_k=3, penalty=0.4)
    prompts = [*PROMPTS, [6] * 23, [7] * 20, [8] * 20]  # the model sees 24 tokens, and reads each one it writes
    answers = settings.run(model, prompts, eot=EOT, max_tokens=NEW)
    limits = [NEW] * len(PROMPTS) + [1, 4, 4]
    assert answers == [
        equation(model, prompt, settings, limit=limit) for prompt, limit in zip(prompts, limits, strict=True)
    ]
    with pytest.raises(
        InputError, match=r"^prompt 1 has 24 tokens and leaves no room for an answer: the model sees at"
    ):
        settings.run(model, [[6] * 24], eot=EOT, max_tokens=NEW)


def test_a_model_may_have_rows_that_are_no_tokens(model: Transformer) -> None:
    answers = Contrastive(top_k=6).run(model, [[5], [6, 7]], eot=EOT, max_tokens=NEW, vocab_size=10)
    assert {token for answer in answers for token in answer} <= set(range(10))


def test_a_recipe_says_it() -> None:
    choice = build_choice("search", {"use": "contrastive", "top_k": 6}, key="search")
    assert choice == Contrastive(top_k=6)
    assert build_choice("search", choice.to_recipe(), key="search") == choice
