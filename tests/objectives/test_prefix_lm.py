"""Prefix LM: who sees whom, what is scored, and the loss against a mask written out by hand in transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from danlu.corpus.batches import IGNORE, Batch, Example, collate
from danlu.corpus.rows import Piece, Widths
from danlu.nn.families import GPT, Llama
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.objectives.prefix_lm import PrefixLM
from danlu.tokenizers.vocabulary import Vocabulary

BODIES = ([130, 131, 132, 133, 134, 135], [140, 141, 142], [150, 151, 150, 152, 153])


FAMILIES = [GPT(layers=2, dim=32, heads=2), Llama(layers=2, dim=32, heads=4, kv_heads=2)]


@pytest.fixture(params=FAMILIES, ids=["gpt", "llama"])
def model(request: pytest.FixtureRequest) -> Transformer:
    built = Transformer(request.param.config(vocab_size=400, max_length=32))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in built.parameters():  # large, so that every context changes the prediction
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.3, generator=generator)
    return built


@pytest.fixture
def examples(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> list[Example]:
    noise = np.random.default_rng(4)
    return [PrefixLM().example(make_piece(body), vocabulary=vocabulary, noise=noise) for body in BODIES]


def in_one_row(examples: list[Example]) -> Batch:
    return collate([examples], widths=Widths(24))


@given(
    length=st.integers(1, 40), closes=st.booleans(), seed=st.integers(0, 9), suffix=st.none() | st.floats(0.01, 0.99)
)
def test_what_is_read_both_ways_is_not_scored(
    make_piece: Callable[..., Piece], vocabulary: Vocabulary, length: int, closes: bool, seed: int, suffix: float | None
) -> None:  # fmt: skip
    piece = make_piece(length, closes=closes)
    made = PrefixLM(suffix=suffix).example(piece, vocabulary=vocabulary, noise=np.random.default_rng(seed))
    tokens, prefix, targets = made.inputs["tokens"], made.inputs["prefix"], made.targets["words"]
    assert len(tokens) == len(prefix) == len(targets) == length + closes
    assert PrefixLM().widths(np.array(length)).inputs == length + 1
    border = int(prefix.sum())
    assert prefix.tolist() == [True] * border + [False] * (len(tokens) - border) and border >= 1
    assert targets.tolist() == [IGNORE] * (border - 1) + piece.tokens[border:].tolist()
    if suffix is not None:
        assert (targets != IGNORE).sum() == max(1, round(suffix * len(tokens)))


def test_every_border_is_equally_likely(make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> None:
    noise, piece = np.random.default_rng(0), make_piece(9)
    borders = [
        int(PrefixLM().example(piece, vocabulary=vocabulary, noise=noise).inputs["prefix"].sum()) for _ in range(2000)
    ]
    counts = np.bincount(borders, minlength=11)
    assert counts[0] == 0 and ((counts[1:] - 200) ** 2 / 200).sum() < 9 + 5 * np.sqrt(2 * 9)


def test_what_another_piece_scores_is_not_scored_again(
    make_piece: Callable[..., Piece], vocabulary: Vocabulary
) -> None:
    piece = make_piece(9, seen=6)
    for seed in range(20):
        made = PrefixLM().example(piece, vocabulary=vocabulary, noise=np.random.default_rng(seed))
        assert (made.targets["words"][:6] == IGNORE).all() and made.targets["words"][-1] != IGNORE


def test_loss_and_gradients_are_those_of_a_mask_in_transformers(
    model: Transformer, examples: list[Example], tmp_path: Path
) -> None:
    """The documents packed in ours; in theirs each alone, with the mask of its prefix."""
    made = in_one_row(examples)
    ours = PrefixLM().losses(model, made)["words"]
    ours.backward()
    save_model(model, tmp_path)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    theirs = torch.zeros(())
    for each in examples:
        border, length = int(each.inputs["prefix"].sum()), len(each.inputs["tokens"])
        seen = torch.ones(length, length).tril()
        seen[:border, :border] = 1
        mask = torch.zeros(1, 1, length, length).masked_fill(seen == 0, float("-inf"))
        logits = stock(input_ids=torch.tensor(each.inputs["tokens"])[None], attention_mask=mask).logits[0]
        targets = torch.tensor(each.targets["words"])
        theirs = theirs + F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")
    theirs.backward()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    want = stock.get_input_embeddings().weight.grad
    torch.testing.assert_close(model.embedding.weight.grad, want, rtol=0, atol=1e-5 * float(want.abs().max()))


@torch.no_grad()
def test_a_prefix_sees_itself_and_no_other_document(model: Transformer, examples: list[Example]) -> None:
    """Change a token and see which hidden states change: its prefix and what follows, in its document only."""
    made = in_one_row(examples)
    tokens, prefix, segments = (made.inputs[name] for name in ("tokens", "prefix", "segments"))

    starts = np.cumsum([0, *(len(each.inputs["tokens"]) for each in examples)]).tolist()

    def changed_by(place: int) -> list[int]:
        other = tokens.clone()
        other[0, place] = 399
        one, two = (model(each, segments=segments, prefix=prefix)[0] for each in (tokens, other))
        places = ((one - two).abs().amax(-1) > 1e-4).nonzero().flatten().tolist()
        return [at for at in places if at < starts[-1]]  # padding sees everything

    borders = [int(each.inputs["prefix"].sum()) for each in examples]
    assert max(borders[1:]) > 1
    for start, end, border in zip(starts, starts[1:], borders, strict=False):
        last = start + border - 1
        assert changed_by(last) == list(range(start, end))
        if last + 1 < end:
            assert changed_by(last + 1) == list(range(last + 1, end))
