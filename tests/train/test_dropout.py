"""Dropout by the step: few levels, exact ends, every rate of the model, and draws that follow from the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from danlu.errors import RecipeError
from danlu.nn.families import GPT, GPT2, T5, Bert, ModernBert
from danlu.nn.transformer import Transformer
from danlu.stage import Job
from danlu.train.dropout import Dropout, EarlyDropout, LateDropout, dropout_of, drops, seed_step

SMALL: dict[str, Any] = {"layers": 2, "dim": 16, "heads": 2}


def shares(schedule: Any, steps: int = 10) -> list[float]:
    return [round(schedule.share(step, steps=steps), 6) for step in range(steps)]


def test_early_dropout_ends_and_late_dropout_begins() -> None:
    """Liu et al. 2023, section 4: dropout in the first steps only, or after them only."""
    assert shares(EarlyDropout(until=0.3)) == [1.0] * 3 + [0.0] * 7
    assert shares(LateDropout(begin=0.3)) == [0.0] * 3 + [1.0] * 7


def test_levels_are_equal_and_equally_long() -> None:
    assert shares(EarlyDropout(until=0.8, levels=4)) == [1.0, 1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25, 0.0, 0.0]
    assert shares(LateDropout(begin=0.2, levels=4)) == [0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0, 1.0]
    assert max(shares(LateDropout(begin=0.99, levels=4), steps=3)) == 0.0  # no step is so late


def rates(model: nn.Module) -> dict[str, float]:
    names = ("dropout", "out_dropout", "final_dropout", "layer_drop")
    return {f"{where}.{name}": float(getattr(module, name)) for where, module in model.named_modules()
            for name in names if hasattr(module, name)}  # fmt: skip


FAMILIES = [
    GPT2(**SMALL, dropout=0.2, attention_dropout=0.1), Bert(**SMALL, dropout=0.2), T5(**SMALL, dropout=0.4),
    ModernBert(**SMALL, dropout=0.1, attention_dropout=0.3),
]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
def test_all_rates_of_a_model_are_scaled(family: Any) -> None:
    model = Transformer(family.config(vocab_size=20, max_length=8))
    before, dropout = rates(model), Dropout(model)
    assert any(before.values())
    for share in (0.5, 0.0, 0.25, 1.0):
        dropout.scale(share)
        assert rates(model) == {name: pytest.approx(rate * share) for name, rate in before.items()}


@pytest.mark.parametrize("family", [*FAMILIES, GPT(**SMALL)], ids=lambda family: type(family).__name__)
def test_a_schedule_of_no_dropout_is_refused(family: Any) -> None:
    model = Transformer(family.config(vocab_size=20, max_length=8))
    assert dropout_of(model, None, section="finetune").drops == drops(model.config)
    if drops(model.config):
        assert dropout_of(model, EarlyDropout(), section="finetune").drops
    else:
        with pytest.raises(
            RecipeError, match=r"^finetune\.dropout_schedule needs a model with dropout; this one has none$"
        ):
            dropout_of(model, EarlyDropout(), section="finetune")


def test_without_dropout_training_is_as_evaluation() -> None:
    model = Transformer(FAMILIES[0].config(vocab_size=20, max_length=8))
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)
    tokens_BT, wanted = torch.arange(8)[None], None
    wanted = model.eval()(tokens_BT)
    model.train()
    assert not torch.equal(model(tokens_BT), wanted)
    Dropout(model).scale(0.0)
    assert torch.equal(model(tokens_BT), wanted)


def test_dropped_rows_are_scaled_too() -> None:
    block = nn.Module()
    block.rows_kept = torch.tensor(0.8)
    Dropout(block).scale(0.5)
    assert float(block.rows_kept) == pytest.approx(0.9)


def test_models_with_dropout_are_told_from_those_without() -> None:
    assert all(drops(family.config(vocab_size=20, max_length=8)) for family in FAMILIES)
    assert not drops(GPT(**SMALL).config(vocab_size=20, max_length=8))
    assert not drops(GPT2(**SMALL).config(vocab_size=20, max_length=8))


def test_a_schedule_without_dropout_is_refused(make_job: Callable[..., Job]) -> None:
    with pytest.raises(RecipeError, match=r"^pretrain: dropout_schedule needs a model with dropout[^\n]*; got none"):
        make_job("pretrain.dropout_schedule=early")


def test_what_a_step_draws_follows_from_seed_and_step() -> None:
    def drawn(seed: int, step: int) -> list[float]:
        seed_step(seed, step)
        return torch.rand(4).tolist()

    first = drawn(0, 0)
    torch.rand(5)
    assert drawn(0, 0) == first
    assert len({tuple(drawn(seed, step)) for seed in range(4) for step in range(4)}) == 16
