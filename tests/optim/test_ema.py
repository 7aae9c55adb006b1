"""The running average against ``torch.optim.swa_utils``."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from danlu.optim.ema import AverageState, Averaging, WeightAverage
from danlu.train.precision import FloatMasters


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))


def move(model: nn.Module) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight))


def test_updates_follow_torch() -> None:
    ours = model()
    average = WeightAverage(dict(ours.named_parameters()), Averaging(decay=0.9, warmup=False))
    theirs = AveragedModel(ours, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(ours)  # its first update copies, where ours begins with a copy
    for _ in range(5):
        move(ours)
        average.update()
        theirs.update_parameters(ours)
    for name, weight in theirs.module.named_parameters():
        torch.testing.assert_close(average.average[name], weight.detach(), rtol=1e-6, atol=1e-6)


def test_the_decay_warms_up() -> None:
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    average = WeightAverage({"weight": weight}, Averaging(decay=0.3, warmup=True))
    expected = 0.0
    for step in range(8):
        weight.data.fill_(step + 1.0)
        average.update()
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step + 1.0)
        assert float(average.average["weight"]) == pytest.approx(expected, abs=1e-12)


def test_resumed_is_uninterrupted() -> None:
    ours = model()
    settings = Averaging(decay=0.9)
    straight = WeightAverage(dict(ours.named_parameters()), settings)
    for _ in range(3):
        move(ours)
        straight.update()
    kept = straight.state()
    copied = AverageState(kept.updates, {name: tensor.clone() for name, tensor in kept.weights.items()})
    resumed = WeightAverage(dict(ours.named_parameters()), settings)
    resumed.load(copied)
    for _ in range(3):
        move(ours)
        straight.update()
        resumed.update()
    assert resumed.updates == straight.updates == 6
    assert all(torch.equal(resumed.average[name], tensor) for name, tensor in straight.average.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_swapped_in_and_out_to_the_bit(dtype: torch.dtype) -> None:
    ours = model()
    masters = FloatMasters(ours, dtype)
    average = WeightAverage(cast("dict[str, torch.Tensor]", masters.named), Averaging())
    with torch.no_grad():
        for master in masters.named.values():
            master.add_(torch.randn_like(master))
    masters.publish()
    average.update()
    x = torch.randn(2, 4).to(dtype)
    trained, places = ours(x), [weight.data_ptr() for weight in ours.parameters()]
    before = {name: master.detach().clone() for name, master in masters.named.items()}
    kept = {name: tensor.clone() for name, tensor in average.average.items()}
    with pytest.raises(KeyboardInterrupt), average.swapped_in(masters.publish):
        assert all(torch.equal(masters.named[name], tensor) for name, tensor in kept.items())
        torch.testing.assert_close(
            ours(x), torch.func.functional_call(ours, {n: t.to(dtype) for n, t in kept.items()}, x), rtol=0, atol=0
        )
        assert not torch.equal(ours(x), trained)
        raise KeyboardInterrupt
    assert torch.equal(ours(x), trained)
    assert [weight.data_ptr() for weight in ours.parameters()] == places
    assert all(torch.equal(masters.named[name], tensor) for name, tensor in before.items())
    assert all(torch.equal(average.average[name], tensor) for name, tensor in kept.items())
