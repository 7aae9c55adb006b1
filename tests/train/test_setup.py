"""What a training starts from: a function of the seed, and the same again after the timed steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from danlu.nn.families import GPT, Llama
from danlu.objectives.clm import CausalLM
from danlu.optim.adamw import AdamW
from danlu.optim.muon import Muon
from danlu.train import probe as probe_module
from danlu.train.budget import Budget
from danlu.train.loop import fit
from danlu.train.pretrain import Pretrain
from danlu.train.probe import probe, warm_up
from danlu.train.settings import Hardware
from danlu.train.setup import Training, micro_batch_of, restart

MakeTraining = Callable[..., Training]


def steps(training: Training, count: int = 3) -> dict[str, torch.Tensor]:
    fit(training.model, training.batches, CausalLM(), training.optimizer, lambda _: 1.0, steps=count)
    return training.masters.state()


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_everything_follows_from_the_seed(make_training: MakeTraining) -> None:
    first, second, other = make_training(seed=1), make_training(seed=1), make_training(seed=2)
    torch.manual_seed(123)  # nothing draws from the global source
    assert equal(steps(first), steps(second))
    assert not equal(first.masters.state(), other.masters.state())
    assert [b.inputs["tokens"].tolist() for b in first.batches(0)] == [
        b.inputs["tokens"].tolist() for b in second.batches(0)
    ]
    assert [b.inputs["tokens"].tolist() for b in first.batches(0)] != [
        b.inputs["tokens"].tolist() for b in other.batches(0)
    ]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", [AdamW(), Muon()], ids=["adamw", "muon"])
@pytest.mark.parametrize(
    "family", [GPT(layers=2, dim=32, heads=2), Llama(layers=1, dim=32, heads=2, tied=True)], ids=["gpt", "tied llama"]
)
def test_timed_steps_leave_no_trace(
    precision: str, optimizer: Any, family: Any, make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "PROBE_SECONDS", 0.0)
    settings = {"precision": precision, "optimizer": optimizer, "model": family}
    plain, timed = make_training(**settings), make_training(**settings)
    spoilt = timed.masters.state()
    known = Pretrain(**settings, budget=Budget(steps=10), sequence=24, batch=8, compile="off")
    measured = probe(timed, pytest.fail)
    assert not equal(plain.masters.state(), spoilt)
    again = restart(timed, known)
    assert equal(plain.masters.state(), again.masters.state())
    assert all(
        torch.equal(plain.model.get_parameter(name), again.model.get_parameter(name)) for name in plain.masters.named
    )
    assert not again.optimizer.state_dict()["state"]
    assert equal(steps(plain), steps(again))
    assert measured.seconds_per_step > 0
    assert measured.seconds >= measured.seconds_per_step


def test_a_step_has_batch_rows_of_sequence_tokens(make_training: MakeTraining) -> None:
    training = make_training(batch=8, hardware=Hardware(micro_batch=3), sequence=24)
    assert [tuple(batch.targets["words"].shape) for batch in training.batches(0)] == [(3, 24), (3, 24), (2, 24)]
    assert training.tokens_per_step == 192
    assert training.steps_per_epoch == pytest.approx(training.batches.whole.rows.per_epoch / 8)
    assert make_training(batch=2, hardware=Hardware(micro_batch=64)).micro_batch == 2


def test_more_tokens_go_through_at_once_where_weights_are_rounded_each_time() -> None:
    known: dict[str, Any] = {"model": GPT(layers=2, dim=32, heads=2), "budget": Budget(steps=10), "batch": 16}
    for precision, rows in (("auto", 4), ("int8", 8)):
        settings = Pretrain(**known, precision=precision)
        assert micro_batch_of(settings, 512, torch.device("cpu")) == rows
        own = settings.with_hardware(micro_batch=2)
        assert micro_batch_of(own, 512, torch.device("cpu")) == 2


def test_an_error_of_the_model_is_not_taken_for_one_of_the_compiler(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = make_training()
    monkeypatch.setattr(training.model, "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        warm_up(training, pytest.fail)
