"""Speculative decoding: the same answers where nothing is drawn, the same distribution where something is."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from danlu.errors import CheckpointError
from danlu.generate.engine import Loaded, generate
from danlu.generate.penalties import History
from danlu.generate.sampling import Sampling, distribution
from danlu.generate.special_tokens import SpecialTokens
from danlu.generate.speculative import Drafting, speculate
from danlu.nn.families import GPT, Llama
from danlu.nn.transformer import Transformer
from danlu.tokenizers.char import Char
from danlu.tokenizers.tokenizer import Tokenizer

PROMPTS = ["To be", "", "话说天下", "Whether 'tis nobler in the mind", "to be or not " * 9]


def small(tokenizer: Tokenizer, *, seed: int, max_length: int, family: type[GPT] | type[Llama] = Llama) -> Loaded:
    config = family(layers=1, dim=16, heads=2).config(vocab_size=tokenizer.vocab_size, max_length=max_length)
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, 0.3, generator=generator)
    return Loaded(model, tokenizer, SpecialTokens.of(tokenizer, config))


def near(loaded: Loaded, *, noise: float) -> Loaded:
    """A model that mostly says the same."""
    model = Transformer(loaded.model.config)
    model.load_state_dict(loaded.model.state_dict())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=noise)
    return loaded._replace(model=model)


@pytest.mark.parametrize(("count", "noise"), [(1, 0.02), (3, 0.02), (8, 0.0), (5, 1.0)])
def test_greedy_answers_are_those_of_the_large_model(
    count: int, noise: float, model: Transformer, tokenizer: Tokenizer
) -> None:
    """Also where the context is full, on the way and from the beginning."""
    target = Loaded(model, tokenizer, SpecialTokens.of(tokenizer, model.config))
    settings = Sampling(temperature=0, max_tokens=100, repetition_penalty=1.1, no_repeat_ngram=4)
    prompts = PROMPTS[1::3]
    found = speculate(Drafting(target, near(target, noise=noise), count), prompts, settings=settings, seed=0)
    assert found == generate(model, tokenizer, prompts, settings=settings, seed=0)
    assert all(
        len(tokenizer.encode(prompt)) + answer.tokens > 96 for prompt, answer in zip(prompts, found, strict=True)
    )


@pytest.mark.parametrize("room", [1, 2, 7])
def test_a_draft_model_that_sees_little(room: int, model: Transformer, tokenizer: Tokenizer) -> None:
    target = Loaded(model, tokenizer, SpecialTokens.of(tokenizer, model.config))
    settings = Sampling(temperature=0, max_tokens=30)
    drafting = Drafting(target, small(tokenizer, seed=2, max_length=room), 5)
    found = speculate(drafting, PROMPTS, settings=settings, seed=0)
    assert found == generate(model, tokenizer, PROMPTS, settings=settings, seed=0)


def test_drafts_save_passes(model: Transformer, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Loaded(model, tokenizer, SpecialTokens.of(tokenizer, model.config))
    passes = {"target": 0, "draft": 0}
    whole = Transformer.forward
    draft = near(target, noise=0.0)

    def counted(self: Transformer, *args: object, **rest: object) -> torch.Tensor:
        passes["target" if self is model else "draft"] += 1
        return whole(self, *args, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Transformer, "forward", counted)
    (answer,) = speculate(
        Drafting(target, draft, 4), ["To be"], settings=Sampling(temperature=0, max_tokens=50), seed=0
    )
    assert answer.tokens == 50
    assert passes == {"target": 10, "draft": 40}  # each pass gives 4 drafts and one token more


LETTERS = "abc"


@torch.no_grad()
def answers_by_definition(loaded: Loaded, settings: Sampling) -> dict[tuple[int, ...], float]:
    """Every answer and its probability, token by token without a cache."""
    tokenizer = loaded.tokenizer
    begin = loaded.special.begin(tokenizer, "")[0]
    found: dict[tuple[int, ...], float] = {}
    open_: list[tuple[tuple[int, ...], float]] = [((), 1.0)]
    while open_:
        drawn, chance = open_.pop()
        if len(drawn) == settings.max_tokens or tokenizer.eot in drawn:
            found[drawn] = chance
            continue
        history = History([begin], settings, vocab_size=tokenizer.vocab_size)
        for token in drawn:
            history.take([token])
        logits_V = loaded.model.head(loaded.model(torch.tensor([[*begin, *drawn]]))[0, -1])[: tokenizer.vocab_size]
        p_V = distribution(history.penalise(logits_V[None]), settings)[0].tolist()
        open_ += [((*drawn, token), chance * p) for token, p in enumerate(p_V) if p > 0]
    return found


@pytest.mark.parametrize(
    "settings",
    [
        Sampling(max_tokens=3, temperature=1.0),
        Sampling(max_tokens=3, temperature=0.7, top_k=3, frequency_penalty=0.8, repetition_penalty=1.3),
    ],
    ids=["plain", "filtered"],
)
def test_whole_answers_are_drawn_as_often_as_they_are_likely(settings: Sampling) -> None:
    """Pearson's chi-square over all answers of up to three tokens of a tiny vocabulary."""
    tokenizer = Char().train([LETTERS])
    target, draft = (small(tokenizer, seed=seed, max_length=8) for seed in (4, 5))
    expected = answers_by_definition(target, settings)
    assert sum(expected.values()) == pytest.approx(1.0)
    draws = 2000 if settings.top_k is None else 1000
    answers = speculate(Drafting(target, draft, 2), [""] * draws, settings=settings, seed=0)
    found = Counter(answer.ids for answer in answers)
    assert set(found) <= set(expected)
    assert chi_square(found, expected, draws) > 1e-3
    # The draft model's own answers would be seen as others: the test can fail.
    own = Counter(answer.ids for answer in generate(draft.model, tokenizer, [""] * draws, settings=settings, seed=0))
    assert chi_square(own, expected, draws) < 1e-9


def chi_square(found: Counter[tuple[int, ...]], expected: dict[tuple[int, ...], float], draws: int) -> float:
    """The p-value; answers that are expected fewer than 5 times are counted as one."""
    common = [answer for answer, chance in expected.items() if chance * draws >= 5]
    counts = [found[answer] for answer in common]
    wanted = [expected[answer] * draws for answer in common]
    counts.append(draws - sum(counts))
    wanted.append(max(draws - sum(wanted), 1e-9))
    if wanted[-1] < 5 and len(wanted) > 1:
        counts[-2:] = [sum(counts[-2:])]
        wanted[-2:] = [sum(wanted[-2:])]
    statistic = sum((count - want) ** 2 / want for count, want in zip(counts, wanted, strict=True))
    freedom = torch.tensor((len(counts) - 1) / 2).double()
    return float(torch.special.gammaincc(freedom, torch.tensor(statistic / 2).double()))


def test_an_answer_follows_from_its_seed(model: Transformer, tokenizer: Tokenizer) -> None:
    target = Loaded(model, tokenizer, SpecialTokens.of(tokenizer, model.config))
    drafting = Drafting(target, near(target, noise=0.1))
    settings = Sampling(max_tokens=30, stop=("\n",))
    together = speculate(drafting, PROMPTS, settings=settings, seed=9)
    assert together[3:4] == speculate(drafting, PROMPTS[3:4], settings=settings, seed=12)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["ab"], "the draft model must have the model's own vocabulary; it has 4 tokens, the model 5"),
        (["abd"], "own vocabulary; its token 4 is b'd', the model's b'c'"),
    ],
)
def test_another_vocabulary_is_refused(texts: list[str], message: str) -> None:
    target = small(Char().train([LETTERS]), seed=0, max_length=8)
    draft = small(Char().train(texts), seed=0, max_length=8)
    with pytest.raises(CheckpointError, match=message):
        Drafting(target, draft)
