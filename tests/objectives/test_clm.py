"""The causal loss against transformers, and documents in one row that never see each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from danlu.corpus.batches import IGNORE, Batch, Example, collate
from danlu.corpus.rows import Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.corpus.stream import StreamRows
from danlu.nn.config import Experts
from danlu.nn.families import GPT, Family, Llama, Qwen3
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.tokenizers.vocabulary import Vocabulary

EOT = 0
VOCABULARY = 50
DOCUMENTS = [[7, 8, 9, 10, 11, 12], [5], [20, 21, 20, 22], [31, 7, 8]]


def make_model(family: Family) -> Transformer:
    model = Transformer(family.config(vocab_size=VOCABULARY, max_length=32))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():  # large, so that every context changes the prediction
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.4, generator=generator)
    return model


@pytest.fixture
def model() -> Transformer:
    return make_model(GPT(layers=2, dim=32, heads=2))


def examples(row: list[int]) -> list[Example]:
    """As the stream cuts a row: behind every end-of-text token."""
    tokens = np.array(row, dtype="<u2")
    store = TokenStore(tokens, np.array([0, len(row) - 1]), [{}, {}], vocab_size=VOCABULARY, eot=EOT)
    pieces: list[Piece] = StreamRows(store, len(row), 0)._pieces(0, len(row) - 1)
    known = {"vocabulary": Vocabulary.bare(VOCABULARY, EOT), "noise": np.random.default_rng(0)}
    return [CausalLM().example(piece, **known) for piece in pieces]  # type: ignore[arg-type]


def batch(rows: list[list[int]], *, length: int = 24) -> Batch:
    return collate([examples(row) for row in rows], widths=Widths(length))


def summed(model: Transformer, made: Batch) -> torch.Tensor:
    return CausalLM().losses(model, made)["words"]


def loss(model: Transformer, rows: list[list[int]], *, length: int = 24) -> float:
    with torch.no_grad():
        return float(summed(model, batch(rows, length=length)))


@pytest.mark.parametrize(
    "family",
    [
        GPT(layers=2, dim=32, heads=2),
        Llama(layers=2, dim=32, heads=4, kv_heads=2),
        Qwen3(layers=2, dim=32, heads=2, tied=True),
    ],
    ids=["gpt", "llama", "qwen3"],
)
def test_loss_and_gradient_of_one_document_are_those_of_transformers(family: Family, tmp_path: Path) -> None:
    model = make_model(family)
    row = [EOT, *DOCUMENTS[0], *DOCUMENTS[2], *DOCUMENTS[3], EOT]
    ours = summed(model, batch([row])) / (len(row) - 1)
    ours.backward()
    save_model(model, tmp_path)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokens = torch.tensor([row])
    theirs = stock(input_ids=tokens, labels=tokens).loss  # the mean over all but the first token
    theirs.backward()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    gradient = stock.get_input_embeddings().weight.grad
    torch.testing.assert_close(model.embedding.weight.grad, gradient, rtol=0, atol=1e-5 * float(gradient.abs().max()))


def test_an_end_of_text_token_opens_a_document() -> None:
    made = batch([[9, EOT, 5, 6, EOT, EOT, 7]], length=6)
    assert made.inputs["tokens"].tolist() == [[9, EOT, 5, 6, EOT, EOT]]
    assert made.inputs["segments"].tolist() == [[0, 1, 1, 1, 2, 3]]
    assert made.targets["words"].tolist() == [[EOT, 5, 6, EOT, EOT, 7]]


def test_packed_documents_cost_what_they_cost_alone(model: Transformer) -> None:
    stream = [EOT, *(token for document in DOCUMENTS for token in [*document, EOT])]
    alone = sum(loss(model, [[EOT, *document, EOT]]) for document in DOCUMENTS)
    assert loss(model, [stream]) == pytest.approx(alone, rel=1e-5)
    assert loss(model, [[EOT, *DOCUMENTS[0], EOT]]) != pytest.approx(loss(model, [[EOT, *DOCUMENTS[1], EOT]]))


@torch.no_grad()
def test_nothing_of_one_document_reaches_the_next(model: Transformer) -> None:
    first, second = ([EOT, *document, EOT, *DOCUMENTS[2]] for document in ([7, 8, 9], [40, 2, 13]))
    hidden = []
    for row in (first, second):
        inputs = batch([row]).inputs
        hidden.append(model(inputs["tokens"], segments=inputs["segments"])[0, : len(row) - 1])
    torch.testing.assert_close(hidden[0][4:], hidden[1][4:], rtol=0, atol=0)
    assert not torch.allclose(hidden[0][1:4], hidden[1][1:4], atol=0.1)


@pytest.mark.parametrize("row", [[EOT, 7, 8, 9, EOT], [7, 8, EOT, 9, 10]], ids=["one document", "two"])
def test_padding_changes_nothing(model: Transformer, row: list[int]) -> None:
    assert loss(model, [row], length=4) == pytest.approx(loss(model, [row], length=30), rel=1e-6)


def test_the_loss_is_a_sum_over_rows(model: Transformer) -> None:
    rows = [[EOT, 7, 8, 9, EOT], [7, 8, EOT, 9, 10], [3, 4]]
    apart = [loss(model, [row]) for row in rows]
    assert loss(model, rows) == pytest.approx(sum(apart), rel=1e-6)
    assert batch(rows).counts["words"] == 4 + 4 + 1


def test_experts_add_their_balance_for_every_target() -> None:
    plain = Qwen3(layers=2, dim=32, heads=2).config(vocab_size=VOCABULARY, max_length=32)
    assert plain.decoder is not None
    layers = tuple(replace(layer, mlp=Experts(4, 2, 16, balance=0.5)) for layer in plain.decoder.layers)
    model = Transformer(replace(plain, decoder=replace(plain.decoder, layers=layers)))
    model.initialise(1)
    rows = batch([[EOT, *DOCUMENTS[0]], [EOT, *DOCUMENTS[2]]])
    without = summed(model.eval(), rows).item()
    total = summed(model.train(), rows)
    balance = model.balance_loss(rows.targets["words"] != IGNORE)
    assert balance is not None and balance.item() > 0.9  # 0.5 times 2 experts a token where they are even
    assert total.item() == pytest.approx(without + balance.item() * rows.counts["words"])
    total.backward()
    router = model.blocks[0].mlp.router.weight.grad
    assert router is not None and router.ne(0).any()  # blocks write nothing yet: only the balance reaches it


@pytest.mark.parametrize("length", [9, 20], ids=["no padding", "padding"])
def test_the_whole_loss_of_experts_is_that_of_transformers(length: int, tmp_path: Path) -> None:
    shape = Qwen3MoeConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=40, moe_intermediate_size=16, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_experts=5, num_experts_per_tok=2,
        mlp_only_layers=[1], router_aux_loss_coef=0.7, output_router_logits=True, max_position_embeddings=32,
    )  # fmt: skip
    stock = Qwen3MoeForCausalLM(shape).train()
    stock.save_pretrained(tmp_path)
    model = load_model(tmp_path).train()
    rows = [[7, 8, 9, 10, 11, 12, 13, 3, 5, 6], [40, 3, 9, 8, 7, 7, 2, 5, 31, 30]]
    ours = batch(rows, length=length)
    mine = summed(model, ours) / ours.counts["words"]
    mask = (ours.targets["words"] != IGNORE).long()
    out = stock(input_ids=ours.inputs["tokens"], attention_mask=mask)
    logits = out.logits.flatten(0, 1)
    theirs = F.cross_entropy(logits, ours.targets["words"].flatten(), ignore_index=IGNORE) + 0.7 * out.aux_loss
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
