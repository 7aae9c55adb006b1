"""Weights at the start, by family: what a recipe's model gives before it has learned anything."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from danlu import catalog
from danlu.nn.families import GPT2, T5, Bert, ModernBert, Roberta, with_pair_head
from danlu.nn.transformer import Transformer
from danlu.recipe import build_choice

VOCAB, LENGTH = 300, 16
SIZES = {"layers": 3, "dim": 128, "heads": 2}


def fresh(choice: Any, seed: int = 0) -> Transformer:
    """Initialised over what is no number, so that a weight that was left out shows."""
    model = Transformer(choice.config(vocab_size=VOCAB, max_length=LENGTH))
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(torch.nan)
    model.initialise(seed)
    return model.eval()


def hidden(model: Transformer, tokens: Tensor) -> Tensor:
    both = model.encoder is not None and model.decoder is not None
    out: Tensor = model(tokens, memory=model.encode(tokens)) if both else model(tokens)
    return out


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in catalog.names("model") if name != "folder"])
def test_the_first_loss_is_that_of_knowing_nothing(name: str) -> None:
    """Or little above it: cross entropy of random logits of variance v lies v / 2 above that of equal ones."""
    model = fresh(build_choice("model", {"use": name, **SIZES}, key="model"))
    generator = torch.Generator().manual_seed(1)
    tokens, targets = (torch.randint(0, VOCAB, (4, LENGTH), generator=generator) for _ in "ab")
    logits = model.head(hidden(model, tokens))
    loss = float(F.cross_entropy(logits.flatten(0, 1), targets.flatten()))
    assert math.log(VOCAB) - 0.1 < loss < math.log(VOCAB) + 0.6
    assert model.embedding.weight.std() > 0.01  # of a tied head, too


@torch.no_grad()
@pytest.mark.parametrize("choice", [T5(**SIZES), T5(**SIZES, mlp="relu"), T5(**SIZES, head_dim=16), Bert(**SIZES)])
def test_scores_of_attention_are_of_size_one(choice: Any) -> None:
    """Whether the family divides by the root of a head's width or not: large scores would see one place only."""
    model = fresh(choice)
    x = torch.randn(64, choice.dim, generator=torch.Generator().manual_seed(1))
    for block in model.blocks:
        attention = block.attention
        queries, keys = attention.query(x).view(64, 2, -1), attention.key(x).view(64, 2, -1)
        scores = torch.einsum("qhe,khe->hqk", queries, keys) * attention.scale
        assert 0.7 < scores.std() < 1.4


@torch.no_grad()
@pytest.mark.parametrize(
    ("choice", "theirs"),
    [
        (T5(**SIZES), transformers.T5Config(vocab_size=VOCAB, d_model=128, num_layers=1, num_heads=2, d_kv=64)),
        (Bert(**SIZES), transformers.BertConfig(
            vocab_size=VOCAB, hidden_size=128, num_hidden_layers=1, num_attention_heads=2
        )),
        (ModernBert(**SIZES), transformers.ModernBertConfig(
            vocab_size=VOCAB, hidden_size=128, num_hidden_layers=1, num_attention_heads=2, pad_token_id=0,
            bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2,
        )),
    ],
    ids=["t5", "bert", "modernbert"],
)  # fmt: skip
def test_embeddings_are_of_the_size_that_transformers_draws(choice: Any, theirs: Any) -> None:
    torch.manual_seed(0)
    stock = transformers.AutoModel.from_config(theirs).get_input_embeddings().weight
    assert fresh(choice).embedding.weight.std() == pytest.approx(float(stock.std()), rel=0.2)  # some cut the tails


@torch.no_grad()
def test_gains_are_one_and_biases_nothing() -> None:
    model = fresh(Bert(**SIZES))
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            assert weight.eq(0.0 if name.endswith("bias") else 1.0).all(), name
    entry = model.encoder.entry  # type: ignore[union-attr]
    for table in (entry.positions.weight, entry.types.weight):  # type: ignore[union-attr]
        assert 0.01 < table.std() < 0.03


@torch.no_grad()
@pytest.mark.parametrize("choice", [Bert(**SIZES), Roberta(**SIZES), GPT2(**SIZES)])
def test_learned_positions_are_the_more_alike_the_nearer_they_are(choice: Any) -> None:
    """As sines are: their product depends on the distance alone (Vaswani et al. 2017, section 3.5)."""
    [table] = [
        weight.double() for name, weight in fresh(choice).named_parameters() if name.endswith("positions.weight")
    ]
    product = table @ table.T
    for distance in range(1, 4):
        assert torch.allclose(product.diagonal(distance), product[0, distance], rtol=1e-4)
        assert product[0, distance] < product[0, distance - 1]
    assert table.square().mean().sqrt() == pytest.approx(0.02, rel=1e-3)  # as large as the words


def test_every_weight_of_a_tied_model_learns_from_the_second_step_on() -> None:
    """Outputs of zero hold back the gradient of what stands before them for one step, no longer."""
    for choice in (Bert(**SIZES), ModernBert(**SIZES, window=4)):
        model = fresh(choice).train()
        if choice == Bert(**SIZES):
            model = Transformer(with_pair_head(model.config))
            model.initialise(0)
        tokens = torch.randint(0, VOCAB, (4, LENGTH), generator=torch.Generator().manual_seed(1))
        for _ in range(2):
            out = model(tokens, types=tokens % 2 if isinstance(choice, Bert) else None)
            loss = model.head(out).logsumexp(-1).sum() - model.head(out)[..., 7].sum()
            if isinstance(choice, Bert):
                loss = loss + model.head.pair(out).square().sum()
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for weight in model.parameters():
                    assert weight.grad is not None
                    weight.sub_(1e-4 * weight.grad)
        still = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert [name for name in still if not name.endswith("key.bias")] == []  # which softmax cannot see
