"""Masked language modelling against transformers, BERT's own counting, and the shares of what masked tokens become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizer, DataCollatorForLanguageModeling

from danlu.corpus.batches import IGNORE, Batch, Example, collate
from danlu.corpus.rows import Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.errors import RecipeError
from danlu.nn.hf.folder import load_model
from danlu.nn.transformer import Transformer
from danlu.objectives.mlm import MaskedLM
from danlu.recipe import build
from danlu.tokenizers.vocabulary import Vocabulary

EOT, PAD, UNK, CLS, SEP, MASK = range(6)
SPECIAL = 6
SIZE = 60


def vocabulary(size: int = SIZE) -> Vocabulary:
    """Six special tokens, one id that no token has, and text."""
    roles = {"eot": EOT, "pad": PAD, "unk": UNK, "cls": CLS, "sep": SEP, "mask": MASK}
    return Vocabulary(size, EOT, roles, (), np.arange(SPECIAL + 1, size), np.arange(SPECIAL))


def piece(*body: int) -> Piece:
    """A whole document."""
    tokens = np.array([EOT, *body, EOT])
    store = TokenStore(tokens, np.array([0, len(tokens) - 1]), [{}], vocab_size=SIZE, eot=EOT)
    return Piece(store, 0, tokens)


def text(count: int, *, size: int = SIZE, seed: int = 0) -> list[int]:
    found: list[int] = np.random.default_rng(seed).integers(SPECIAL + 1, size, count).tolist()
    return found


def masked(objective: MaskedLM, body: list[int], *, seed: int = 1, size: int = SIZE) -> Example:
    return objective.example(piece(*body), vocabulary=vocabulary(size), noise=np.random.default_rng(seed))


def within(share: float, expected: float, count: int, *, deviations: float = 5.0) -> bool:
    """Whether a share of ``count`` independent cases is where a binomial distribution puts it."""
    return abs(share - expected) <= deviations * (expected * (1 - expected) / count) ** 0.5


def test_an_example_is_the_text_between_cls_and_sep() -> None:
    body = text(40)
    example = masked(MaskedLM(), body)
    whole, tokens, targets = np.array([CLS, *body, SEP]), example.inputs["tokens"], example.targets["words"]
    chosen = targets != IGNORE
    assert chosen.sum() == round(0.15 * 42)  # BERT counts [CLS] and [SEP]
    assert (targets[chosen] == whole[chosen]).all() and (tokens[~chosen] == whole[~chosen]).all()
    assert not chosen[0] and not chosen[-1]
    assert MaskedLM().widths(np.array([0, 1, 40])).inputs.tolist() == [0, 3, 42] and len(tokens) == 42


def test_special_tokens_of_the_text_are_never_chosen() -> None:
    example = masked(MaskedLM(rate=1.0), [UNK, 7, SEP, 8, MASK, 9])
    assert example.targets["words"].tolist() == [IGNORE, IGNORE, 7, IGNORE, 8, IGNORE, 9, IGNORE]
    assert (masked(MaskedLM(), [UNK, UNK]).targets["words"] == IGNORE).all()


def test_one_token_at_least_is_chosen() -> None:
    assert (masked(MaskedLM(), [9]).targets["words"] != IGNORE).sum() == 1
    assert (masked(MaskedLM(), text(9)).targets["words"] != IGNORE).sum() == 2  # round(0.15 * 11)


def test_the_same_noise_masks_alike_and_other_noise_elsewhere() -> None:
    body = text(200)
    first, again, other = (masked(MaskedLM(), body, seed=seed).inputs["tokens"] for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_places_are_chosen_evenly() -> None:
    body, rows = text(58), 3000
    chosen = sum((masked(MaskedLM(), body, seed=seed).targets["words"] != IGNORE) for seed in range(rows))
    expected = rows * 9 / 58
    statistic = ((chosen[1:-1] - expected) ** 2 / expected).sum()
    assert statistic < 57 + 5 * (2 * 57) ** 0.5  # chi-square with 57 degrees of freedom, which is an upper bound here


@pytest.mark.parametrize(("hidden", "random"), [(0.8, 0.1), (0.5, 0.5), (0.3, 0.2), (1.0, 0.0)])
def test_what_masked_tokens_become_has_its_shares(hidden: float, random: float) -> None:
    size, body = 1006, [SPECIAL + 1] * 20_000  # a random token is another one but for one case in 999
    example = masked(MaskedLM(rate=0.5, masked=hidden, random=random), body, size=size)
    chosen = example.targets["words"] != IGNORE
    became, count = example.inputs["tokens"][chosen], int(chosen.sum())
    assert count == 10_001
    others = became[(became != MASK) & (became != SPECIAL + 1)]
    assert within((became == MASK).mean(), hidden, count)
    assert within(len(others) / count, random * 998 / 999, count)
    assert within((became == SPECIAL + 1).mean(), 1 - hidden - random * 998 / 999, count)


def test_random_tokens_are_any_text_alike() -> None:
    body = text(50_000)
    example = masked(MaskedLM(rate=1.0, masked=0.0, random=1.0), body)
    found = np.bincount(example.inputs["tokens"][1:-1], minlength=SIZE)
    assert found[: SPECIAL + 1].sum() == 0  # special tokens, and the id without a token
    expected, freedom = len(body) / (SIZE - SPECIAL - 1), SIZE - SPECIAL - 2
    statistic = ((found[SPECIAL + 1 :] - expected) ** 2 / expected).sum()
    assert abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"masked and random must be at most 1 together; got 0.95 and 0.1"):
        build(MaskedLM, {"masked": 0.95}, key="pretrain.objective")


def test_as_many_are_masked_as_by_transformers() -> None:
    """Its collator tosses a coin for every token, so only the mean is the same; the spread here is none."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(ord("a") + k) for k in range(26))]
    tokenizer = BertTokenizer({name: id for id, name in enumerate(names)})
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, seed=3)
    rows = [[2, *np.random.default_rng(row).integers(5, 31, 198).tolist(), 3] for row in range(200)]
    theirs = (collator([{"input_ids": row} for row in rows])["labels"] != IGNORE).sum(1)
    ours = np.array([(masked(MaskedLM(), text(198), seed=row).targets["words"] != IGNORE).sum() for row in range(200)])
    assert theirs.float().std() > 3 and (ours == 30).all()
    assert theirs.float().mean() == pytest.approx(0.15 * 198, abs=5 * (0.15 * 0.85 * 198 / 200) ** 0.5)


@pytest.fixture
def stock() -> Any:
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=SIZE, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.3,
    )  # fmt: skip
    return BertForMaskedLM(shape).train()


@pytest.fixture
def model(stock: Any, tmp_path: Path) -> Transformer:
    stock.save_pretrained(tmp_path)
    return load_model(tmp_path).train()


def batch(*rows: list[Example], length: int = 64) -> Batch:
    return collate(rows, widths=Widths(length))


def test_loss_and_gradients_are_those_of_transformers(stock: Any, model: Transformer) -> None:
    made = batch(*([masked(MaskedLM(), text(count, seed=count), seed=count)] for count in (40, 62, 7)))
    labels, real = made.targets["words"], (made.inputs["segments"] >= 0).long()
    ours = MaskedLM().losses(model, made)["words"] / made.counts["words"]
    theirs = stock(input_ids=made.inputs["tokens"], attention_mask=real, labels=labels).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    ours.backward()
    theirs.backward()
    folder = {"embedding": "bert.embeddings.word_embeddings.weight", "head.bias": "cls.predictions.bias"}
    mine = {name: weight.grad for name, weight in model.named_parameters()}
    wanted = dict(stock.named_parameters())
    for ours_name, stock_name in (("embedding.weight", folder["embedding"]), ("head.bias", folder["head.bias"])):
        gradient = wanted[stock_name].grad
        torch.testing.assert_close(mine[ours_name], gradient, rtol=0, atol=1e-6 * float(gradient.abs().max()))


def test_packed_rows_cost_what_they_cost_alone(model: Transformer) -> None:
    examples = [masked(MaskedLM(), text(count, seed=count), seed=count) for count in (20, 9, 25, 1)]
    together = MaskedLM().losses(model, batch(examples))["words"]
    alone = sum(MaskedLM().losses(model, batch([one]))["words"] for one in examples)
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=0)


def test_a_row_of_nothing_to_predict_costs_nothing(model: Transformer) -> None:
    loss = MaskedLM().losses(model, batch([masked(MaskedLM(), [UNK, UNK])]))["words"]
    loss.backward()
    assert loss.item() == 0.0
