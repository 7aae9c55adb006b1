"""Log-likelihoods are the sums of transformers' log-probabilities, however many texts go through the model together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from danlu.errors import CheckpointError, InputError
from danlu.generate.special_tokens import SpecialTokens
from danlu.nn.config import Embedding
from danlu.nn.hf.folder import load_model
from danlu.suites.likelihood import AnswererScorer, DecoderScorer, batches
from danlu.suites.request import Request, Score
from danlu.suites.scorer import scorer_of
from danlu.suites.tokens import Pair, parted_pairs, whole_pairs
from danlu.tokenizers.tokenizer import Tokenizer

REQUESTS = [
    Request("To be, or not to be:", " that is"),
    Request("To be, or not to be:", " the question"),
    Request("", "Once upon a time"),
    Request("话说天下", "大势"),
    *(Request("To be, or not", f" {letter}") for letter in "ABCD"),
    Request("Once upon a time there was a sentence. " * 20, "到 the end"),
    Request("x", " Once upon a time there was a sentence" * 12),
]
"""Short, empty, shared, longer than the model sees (96 tokens), and a continuation that alone is."""
LONGEST = 96
"""Of the decoder."""


def expected(stock: Any, pair: Pair) -> tuple[float, bool]:
    """Token by token, each with as much before it as the model sees of what it is given."""
    whole = [*pair.context, *pair.continuation]
    total, greedy = 0.0, True
    start = max(0, len(whole) - 1 - LONGEST)
    with torch.no_grad():
        log_TV = stock(torch.tensor([whole[start:-1]])).logits[0].double().log_softmax(-1)
    for place, target in enumerate(pair.continuation, start=len(pair.context)):
        row_V = log_TV[place - 1 - start]
        total += float(row_V[target])
        greedy &= int(row_V.argmax()) == target
    return total, greedy


@pytest.fixture(scope="module")
def stock(whole_decoder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(whole_decoder, dtype=torch.float32).eval()


@pytest.mark.parametrize("batch_tokens", [1, 150, 4096])
def test_decoders_are_those_of_transformers(whole_decoder: Path, stock: Any, batch_tokens: int) -> None:
    model, tokenizer = load_model(whole_decoder), Tokenizer.load(whole_decoder)
    scores = DecoderScorer(model, tokenizer, batch_tokens=batch_tokens).score(REQUESTS)
    pairs = whole_pairs(tokenizer, REQUESTS)
    for score, pair in zip(scores[:-1], pairs[:-1], strict=True):
        wanted, greedy = expected(stock, pair)
        assert score.log_likelihood == pytest.approx(wanted, rel=1e-5)
        assert score.greedy == greedy
    assert [score.cut for score in scores] == [False] * 8 + [True] * 2


def test_what_the_model_would_write_is_greedy(whole_decoder: Path, stock: Any) -> None:
    tokenizer = Tokenizer.load(whole_decoder)
    context = tokenizer.encode("To be")
    written = stock.generate(
        torch.tensor([context]), max_new_tokens=5, do_sample=False, eos_token_id=-1, pad_token_id=0
    )
    answer = written[0, len(context) :].tolist()
    other = [*answer[:3], (answer[3] + 1) % tokenizer.vocab_size, answer[4]]
    scores = DecoderScorer(load_model(whole_decoder), tokenizer).score_pairs(
        [Pair(context, answer), Pair(context, other)]
    )
    assert [score.greedy for score in scores] == [True, False]


def test_a_continuation_longer_than_the_model_sees_has_each_token_scored_once(whole_decoder: Path, stock: Any) -> None:
    tokenizer = Tokenizer.load(whole_decoder)
    (pair,) = whole_pairs(tokenizer, REQUESTS[-1:])
    assert len(pair.continuation) > LONGEST
    whole = [pair.context[-1], *pair.continuation]
    total = 0.0
    for start in range(0, len(pair.continuation), LONGEST):
        end = min(start + LONGEST, len(pair.continuation))
        inputs, targets = whole[max(0, end - LONGEST) : end], whole[start + 1 : end + 1]
        with torch.no_grad():
            log_TV = stock(torch.tensor([inputs])).logits[0].double().log_softmax(-1)
        total += sum(float(row[target]) for row, target in zip(log_TV[-len(targets) :], targets, strict=True))
    (score,) = DecoderScorer(load_model(whole_decoder), tokenizer).score(REQUESTS[-1:])
    assert score.log_likelihood == pytest.approx(total, rel=1e-5)


def test_choices_of_one_token_are_read_once(whole_decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = load_model(whole_decoder), Tokenizer.load(whole_decoder)
    read: list[int] = []
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda tokens, **more: (read.append(tokens.numel()), forward(tokens, **more))[1]
    )
    requests = [Request("To be, or not:", letter) for letter in "ABCD"]
    DecoderScorer(model, tokenizer).score(requests)
    (pair, *_) = whole_pairs(tokenizer, requests)
    assert len(pair.continuation) == 1
    assert read == [len(pair.context)]


@pytest.mark.parametrize("batch_tokens", [1, 60, 4096])
def test_answerers_are_those_of_transformers(whole_answerer: Path, batch_tokens: int) -> None:
    stock = transformers.AutoModelForSeq2SeqLM.from_pretrained(whole_answerer, dtype=torch.float32).eval()
    model, tokenizer = load_model(whole_answerer), Tokenizer.load(whole_answerer)
    special = SpecialTokens.read(whole_answerer, tokenizer, model.config)
    requests = REQUESTS[:8]
    scores = AnswererScorer(model, tokenizer, special=special, batch_tokens=batch_tokens).score(requests)
    for score, pair in zip(scores, parted_pairs(tokenizer, requests, after=special.after), strict=True):
        with torch.no_grad():
            logits = stock(input_ids=torch.tensor([pair.context]), labels=torch.tensor([pair.continuation])).logits[0]
        log_TV = logits.double().log_softmax(-1)
        targets_T1 = torch.tensor(pair.continuation)[:, None]
        assert score.log_likelihood == pytest.approx(float(log_TV.gather(1, targets_T1).sum()), rel=1e-5)
        assert score.greedy == bool((log_TV.argmax(-1) == targets_T1[:, 0]).all())


def test_a_model_that_gives_no_numbers_is_one_clear_line(decoder: Path) -> None:
    model = load_model(decoder)
    with torch.no_grad():
        model.head.weight.fill_(torch.nan)
    with pytest.raises(CheckpointError, match="gives what is no number"):
        DecoderScorer(model, Tokenizer.load(decoder)).score(REQUESTS[:1])


def test_a_model_without_words_is_one_clear_line(whole_encoder: Path) -> None:
    model = load_model(whole_encoder)
    assert isinstance(model.config.head, Embedding)
    with pytest.raises(
        InputError, match="a bert with Embedding finds no text likely or not; it needs a head for words"
    ):
        scorer_of(model, Tokenizer.load(whole_encoder))


def test_batches_hold_so_many_tokens_as_wide_as_the_widest() -> None:
    assert list(batches([5, 4, 4, 1], 10)) == [[0, 1], [2, 3]]
    assert list(batches([50, 1], 10)) == [[0], [1]]
    assert not list(batches([], 10))


def test_nothing_asked_is_nothing_answered(whole_decoder: Path) -> None:
    found: list[Score] = DecoderScorer(load_model(whole_decoder), Tokenizer.load(whole_decoder)).score([])
    assert found == []
