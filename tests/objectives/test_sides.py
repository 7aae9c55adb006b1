"""The loss and gradients of models with two sides, packed or not, against T5 and BART of ``transformers``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from danlu.corpus.batches import Batch, Example, collate
from danlu.corpus.rows import Piece, Widths
from danlu.nn.hf.folder import load_model
from danlu.nn.transformer import Transformer
from danlu.objectives.bart import BartDenoising
from danlu.objectives.protocol import Objective
from danlu.objectives.sides import two_sides
from danlu.objectives.span_corruption import SpanCorruption
from danlu.objectives.ul2 import UL2
from danlu.tokenizers.vocabulary import Vocabulary

TOKENS: dict[str, Any] = {
    "vocab_size": 400, "pad_token_id": 1, "eos_token_id": 0, "bos_token_id": 0, "decoder_start_token_id": 8,
}  # fmt: skip
LENGTHS = (30, 7, 45, 2, 19)


@pytest.fixture(scope="module", params=["t5", "bart"])
def stock(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    if request.param == "t5":
        model = T5ForConditionalGeneration(
            T5Config(d_model=24, d_kv=8, num_heads=3, d_ff=40, num_layers=2, dropout_rate=0.0, **TOKENS)
        )
    else:
        model = BartForConditionalGeneration(
            BartConfig(
                d_model=24, encoder_layers=2, decoder_layers=2, encoder_attention_heads=3, decoder_attention_heads=3,
                encoder_ffn_dim=40, decoder_ffn_dim=40, dropout=0.0, max_position_embeddings=64,
                forced_eos_token_id=None, **TOKENS,
            )
        )  # fmt: skip
    with torch.no_grad():
        for name, weight in model.named_parameters():  # large, so that whatever is seen changes what comes out
            weight.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.25)
    return model.train()


@pytest.fixture
def ours(stock: Any, tmp_path: Path) -> Transformer:
    stock.save_pretrained(tmp_path)
    return load_model(tmp_path).train()


def make_examples(objective: Objective, make_piece: Callable[..., Piece], vocabulary: Vocabulary) -> list[Example]:
    noise = np.random.default_rng(5)
    bodies = [noise.choice(vocabulary.ordinary, length) for length in LENGTHS]
    return [objective.example(make_piece(body), vocabulary=vocabulary, noise=noise) for body in bodies]


def rows_of(examples: list[Example], *, packed: bool) -> Batch:
    """Two rows of several, or a row each; with padding on both sides."""
    rows = [part for part in (examples[:2], examples[2:]) if part] if packed else [[each] for each in examples]
    widths = [
        max(sum(len(getattr(each, side)["tokens"]) for each in row) for row in rows) for side in ("inputs", "source")
    ]
    return collate(rows, widths=Widths(widths[0] + 3, widths[1] + 5))


@pytest.mark.parametrize(
    ("objective", "packed"),
    [(SpanCorruption(), True), (SpanCorruption(), False), (UL2(), True), (BartDenoising(permute=False), True)],
    ids=["spans", "spans, a row each", "ul2", "bart"],
)
def test_loss_and_gradients_are_those_of_transformers(
    objective: Objective, packed: bool, stock: Any, ours: Transformer, make_piece: Any, vocabulary: Vocabulary
) -> None:
    examples = make_examples(objective, make_piece, vocabulary)
    made = rows_of(examples, packed=packed)
    loss = objective.losses(ours, made)["words"]
    loss.backward()
    stock.zero_grad()
    theirs = torch.zeros(())
    for each in examples:
        source, labels = torch.tensor(each.source["tokens"])[None], torch.tensor(each.targets["words"])[None]
        # The documents alone, labels shifted by transformers itself.
        theirs = theirs + stock(input_ids=source, labels=labels, attention_mask=torch.ones_like(source)).loss * len(
            labels[0]
        )
    theirs.backward()
    assert made.counts["words"] == sum(len(each.targets["words"]) for each in examples)
    torch.testing.assert_close(loss, theirs, rtol=1e-6, atol=0)
    gradients = {name.removeprefix("model."): weight.grad for name, weight in stock.named_parameters()}
    for name, their_name in compared(stock).items():
        got, want = ours.get_parameter(name).grad, gradients[their_name]
        torch.testing.assert_close(got, want, rtol=0, atol=2e-5 * float(want.abs().max()))


def compared(stock: Any) -> dict[str, str]:
    """Some weights, from the two ends of what the loss goes through, and what ``transformers`` calls them."""
    embedding, query = "embedding.weight", "encoder.blocks.0.attention.query.weight"
    cross = "decoder.blocks.1.cross.key.weight"
    if isinstance(stock, T5ForConditionalGeneration):
        return {
            embedding: "shared.weight",
            query: "encoder.block.0.layer.0.SelfAttention.q.weight",
            cross: "decoder.block.1.layer.1.EncDecAttention.k.weight",
        }
    return {
        embedding: "shared.weight",
        query: "encoder.layers.0.self_attn.q_proj.weight",
        cross: "decoder.layers.1.encoder_attn.k_proj.weight",
    }


def test_no_side_of_a_document_reaches_another(ours: Transformer, make_piece: Any, vocabulary: Vocabulary) -> None:
    """The gradient of the second document's loss with respect to what both sides of the first read is 0."""
    examples = make_examples(SpanCorruption(), make_piece, vocabulary)[:2]
    made = rows_of(examples, packed=True)
    second = made.inputs["segments"] == 1
    made.targets["words"][~second] = -100
    embedded: list[torch.Tensor] = []
    ours.embedding.register_forward_hook(lambda *call: embedded.append(call[2]))
    loss = SpanCorruption().losses(ours, made)["words"]
    source, inputs = torch.autograd.grad(loss, embedded)
    assert source[0, made.source["segments"][0] == 1].any(-1).all() and inputs[0, second[0]].any(-1).all()
    assert not source[0, made.source["segments"][0] != 1].any() and not inputs[0, ~second[0]].any()


def test_the_decoder_reads_what_it_wrote_one_place_later(vocabulary: Vocabulary) -> None:
    made = two_sides(np.array([130, 131]), np.array([140, 141, 0]), vocabulary=vocabulary)
    assert made.inputs["tokens"].tolist() == [8, 140, 141]
    assert made.targets["words"].tolist() == [140, 141, 0]
    assert made.source["tokens"].tolist() == [130, 131]
