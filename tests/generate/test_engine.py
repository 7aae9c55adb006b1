"""The engine against transformers' ``generate`` and against itself without cache, batch or stream."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
import transformers

from danlu.errors import CheckpointError
from danlu.generate import engine
from danlu.generate.engine import generate, load, stream
from danlu.generate.sampling import Sampling
from danlu.nn.families import GPT
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.tokenizer import Tokenizer

PROMPTS = ["To be", "", "话说天下", "Whether 'tis nobler in the mind", "no\n\nbe"]


def write_out(model: Transformer, tokenizer: Tokenizer, prompt: str, count: int) -> list[int]:
    """Greedy tokens without a cache: after each one the whole context is read again."""
    context = [tokenizer.eot, *tokenizer.encode(prompt)]
    start, drawn = 0, []
    while len(drawn) < count:
        if len(context) - start > model.config.max_length:
            start = len(context) - model.config.max_length // 2
        logits = model.head(model(torch.tensor([context[start:]]))[0, -1])
        token = int(logits[: tokenizer.vocab_size].argmax())
        context.append(token)
        drawn.append(token)
        if token == tokenizer.eot:
            break
    return drawn


def test_greedy_equals_transformers(model: Transformer, tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = dataclasses.replace(model.config, vocab_size=tokenizer.vocab_size)
    exact = Transformer(config)  # transformers would also draw the rows that are no tokens
    state = {name: tensor[: tokenizer.vocab_size] for name, tensor in model.state_dict().items()}
    exact.load_state_dict({**model.state_dict(), **{name: state[name] for name in ("embedding.weight", "head.weight")}})
    save_model(exact, tmp_path)
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    for penalty in (1.0, 1.5):
        settings = Sampling(max_tokens=64, temperature=0, repetition_penalty=penalty)
        answers = generate(exact, tokenizer, PROMPTS[:3], settings=settings, seed=0)
        for prompt, answer in zip(PROMPTS, answers, strict=False):
            tokens = torch.tensor([[tokenizer.eot, *tokenizer.encode(prompt)]])
            found = stock.generate(
                tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=64, do_sample=False,
                repetition_penalty=penalty,
            )[0, tokens.shape[1] :].tolist()  # fmt: skip
            assert list(answer.ids) == found
            assert answer.text == tokenizer.decode(found)
            assert answer.end == ("end_of_text" if found[-1] == tokenizer.eot else "max_tokens")


@torch.no_grad()
@pytest.mark.parametrize("prompt", [*PROMPTS, "to be or not " * 40])
def test_cached_is_uncached_also_where_the_context_is_full(
    prompt: str, model: Transformer, tokenizer: Tokenizer
) -> None:
    expected = write_out(model, tokenizer, prompt, 200)  # the model sees 96 tokens
    (answer,) = generate(model, tokenizer, [prompt], settings=Sampling(max_tokens=200, temperature=0), seed=0)
    assert list(answer.ids) == expected


def test_a_model_that_sees_one_token_writes(tokenizer: Tokenizer) -> None:
    model = Transformer(GPT(layers=1, dim=8, heads=1).config(vocab_size=tokenizer.vocab_size, max_length=1))
    model.initialise(0)
    settings = Sampling(max_tokens=9)
    assert generate(model, tokenizer, ["to be"], settings=settings, seed=0)[0].tokens <= 9


SAMPLING = Sampling(max_tokens=110, temperature=0.9, top_p=0.95, repetition_penalty=1.2, stop=("be", "\n"))


def test_an_answer_depends_on_its_own_seed_only(
    model: Transformer, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BATCH_ROWS", 3)
    prompts = PROMPTS * 4
    together = generate(model, tokenizer, prompts, settings=SAMPLING, seed=100)
    alone = [
        generate(model, tokenizer, [prompt], settings=SAMPLING, seed=100 + place)[0]
        for place, prompt in enumerate(prompts)
    ]
    assert together == alone
    assert together[0] != together[5]  # the same prompt, another seed
    assert {answer.end for answer in together} >= {"stop", "max_tokens"}


def test_streamed_is_generated(model: Transformer, tokenizer: Tokenizer) -> None:
    for place, prompt in enumerate(PROMPTS):
        pieces = list(stream(model, tokenizer, prompt, settings=SAMPLING, seed=place))
        (answer,) = generate(model, tokenizer, [prompt], settings=SAMPLING, seed=place)
        assert "".join(pieces) == answer.text
        assert len(pieces) == answer.tokens
        assert not any(stop in answer.text for stop in SAMPLING.stop)


@torch.no_grad()
def test_the_first_token_is_drawn_as_often_as_it_is_likely(model: Transformer, tokenizer: Tokenizer) -> None:
    first = torch.tensor([[tokenizer.eot, *tokenizer.encode("To be")]])
    logits = model.head(model(first)[0, -1]).double()[: tokenizer.vocab_size]
    probabilities = (logits / 0.7).softmax(-1)
    settings, draws = Sampling(max_tokens=1, temperature=0.7), 3000
    answers = generate(model, tokenizer, ["To be"] * draws, settings=settings, seed=0)
    ended = sum(answer.end == "end_of_text" for answer in answers)
    assert ended == pytest.approx(float(probabilities[tokenizer.eot]) * draws, abs=30)
    likeliest = int(probabilities.argmax())
    expected = float(probabilities[likeliest]) * draws
    found = sum(answer.text == tokenizer.decode([likeliest]) for answer in answers)
    assert abs(found - expected) < 4 * expected**0.5


def test_no_piece_holds_half_a_character(tokenizer: Tokenizer) -> None:
    """A model that has learned one sentence by heart: each of its tokens follows from the one before."""
    sentence = "问苍茫大地，谁主沉浮？😀 déjà"
    ids = tokenizer.encode(sentence)
    assert len(ids) > 2 * len(sentence)  # the tokenizer spreads most characters over several tokens
    model = Parrot(ids, tokenizer)
    settings = Sampling(temperature=0)
    pieces = list(stream(model, tokenizer, "", settings=settings, seed=0))  # type: ignore[arg-type]
    assert "".join(pieces) == sentence
    assert "\ufffd" not in "".join(pieces)
    assert sum(piece != "" for piece in pieces) >= len(sentence) - 2
    short = settings.model_copy(update={"max_tokens": 4})
    cut = list(stream(model, tokenizer, "", settings=short, seed=0))  # type: ignore[arg-type]
    assert "".join(cut) == "问\ufffd"  # only where the answer ends inside a character
    assert [piece for piece in cut[:3] if piece] == ["问"]


def test_a_stop_string_may_span_tokens_and_characters(tokenizer: Tokenizer) -> None:
    model = Parrot(tokenizer.encode("话说天下大势，分久必合，合久必分"), tokenizer)
    for stop, expected in ((["，合久"], "话说天下大势，分久必合"), (["，合了"], "话说天下大势，分久必合，合久必分")):
        settings = Sampling(temperature=0, stop=tuple(stop))
        shown = ""
        for piece in stream(model, tokenizer, "", settings=settings, seed=0):  # type: ignore[arg-type]
            shown += piece
            assert expected.startswith(shown)
        assert shown == expected


class Parrot:
    """Says one sentence, then ends: as much of a Transformer as the engine uses."""

    def __init__(self, ids: list[int], tokenizer: Tokenizer) -> None:
        self.config = GPT(layers=1, dim=8, heads=1).config(vocab_size=tokenizer.vocab_size, max_length=256)
        self.embedding = torch.nn.Embedding(1, 1)
        self._ids = [*ids, tokenizer.eot]

    def __call__(self, tokens_BT: torch.Tensor, *, cache: object, **rest: object) -> torch.Tensor:
        cache.used += tokens_BT.shape[1]  # type: ignore[attr-defined]
        next_id = self._ids[cache.used - 1]  # type: ignore[attr-defined]
        return torch.nn.functional.one_hot(torch.tensor([[next_id]]), self.config.vocab_size).float()

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden


def test_a_tokenizer_of_another_model_is_refused(run_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run_dir / "pretrain/model", tmp_path / "model"))
    load(folder)
    BPE(vocab_size=400).train(["".join(chr(code) * 3 for code in range(0x4E00, 0x4F00))]).save(folder)
    with pytest.raises(CheckpointError, match=r"the model in .*/model has 2\d\d tokens, but its tokenizer has 400"):
        load(folder)
