"""The rule that chooses a number type, and float32 masters against a loop written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from danlu import machine
from danlu.nn.families import GPT, Family, Llama
from danlu.nn.speed import choose_dtype
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.optim.adamw import AdamW
from danlu.optim.clipping import ClipNorm, gradient_norm
from danlu.optim.muon import Muon
from danlu.train.loop import fit
from danlu.train.precision import FloatMasters
from danlu.train.settings import Hardware
from danlu.train.setup import Training

FAST = "this processor multiplies bfloat16 in hardware"
SLOW = "this processor has neither amx_bf16 nor avx512_bf16; bfloat16 would be slower"


@pytest.mark.parametrize(
    ("flags", "dtype", "rule"),
    [
        ({"amx_bf16", "avx512_bf16"}, torch.bfloat16, f"bf16: {FAST} (amx_bf16)"),
        ({"avx512_bf16"}, torch.bfloat16, f"bf16: {FAST} (avx512_bf16)"),
        ({"avx512f"}, torch.float32, f"fp32: {SLOW}"),
        (set(), torch.float32, f"fp32: {SLOW}"),
    ],
)
def test_the_processor_decides_and_the_rule_is_told(
    flags: set[str], dtype: torch.dtype, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "processor_flags", lambda: frozenset(flags))
    assert choose_dtype("auto") == (dtype, rule)


@pytest.mark.parametrize(("setting", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
@pytest.mark.parametrize("flags", [{"amx_bf16"}, set()])
def test_the_recipe_overrules_the_processor(
    setting: Any, dtype: torch.dtype, flags: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "processor_flags", lambda: frozenset(flags))
    assert choose_dtype(setting) == (dtype, f"{setting}: as asked")


@pytest.mark.parametrize("optimizer", [AdamW(lr=0.01), Muon()], ids=["adamw", "muon"])
@pytest.mark.parametrize(
    "family", [GPT(layers=2, dim=32, heads=2), Llama(layers=1, dim=32, heads=2, tied=True)], ids=["gpt", "tied llama"]
)
def test_bfloat16_weights_follow_float32_masters(
    family: Family, optimizer: Any, make_training: Callable[..., Training]
) -> None:
    """Bit for bit the loop of Micikevicius et al. 2018, figure 1, with three micro-batches a step."""
    training = make_training(model=family, optimizer=optimizer, precision="bf16", hardware=Hardware(micro_batch=3))
    fit(training.model, training.batches, CausalLM(), training.optimizer, lambda _: 1.0, steps=4)

    plain = Transformer(training.model.config)
    plain.initialise(3)
    masters = {name: weight.detach().clone().requires_grad_() for name, weight in plain.named_parameters()}
    rule = optimizer.build(masters.items())
    for step in range(4):
        micro = training.batches(step)
        count = sum(batch.counts["words"] for batch in micro)
        for group in rule.param_groups:
            group["lr"] = group["lr_scale"]
        sums = {name: torch.zeros_like(master) for name, master in masters.items()}
        for batch in micro:
            for name, weight in plain.named_parameters():
                weight.data = masters[name].detach().bfloat16()
                weight.grad = None
            (CausalLM().losses(plain, batch)["words"] / count).backward()
            for name, weight in plain.named_parameters():
                assert weight.grad is not None
                assert weight.grad.dtype == torch.bfloat16
                sums[name] += weight.grad.float()
        for name, master in masters.items():
            master.grad = sums[name]
        weights = [weight for group in rule.param_groups for weight in group["params"]]
        ClipNorm().clip(weights, gradient_norm(weights))
        rule.step()
    state = training.masters.state()
    assert state.keys() == masters.keys()
    for name, master in masters.items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], master), name
        assert torch.equal(training.model.get_parameter(name), master.bfloat16()), name
    assert any(not torch.equal(master, master.bfloat16().float()) for master in masters.values())


def small_updates(dtype: torch.dtype) -> Tensor:
    """A weight of one after a thousand updates of 2⁻¹⁰, each too small for bfloat16 to notice."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    masters = FloatMasters(model, dtype)
    optimizer = torch.optim.SGD(masters.named.values(), lr=2**-10)
    masters.attach(optimizer)
    for _ in range(1000):
        model(torch.ones(1, 1, dtype=dtype)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.weight.detach()


def test_updates_too_small_for_bfloat16_are_not_lost() -> None:
    assert small_updates(torch.bfloat16).item() == pytest.approx(1 - 1000 / 1024, rel=0.01)
    assert small_updates(torch.float32).item() == pytest.approx(1 - 1000 / 1024, rel=1e-5)


def test_a_float32_model_is_its_own_master(make_training: Callable[..., Training]) -> None:
    training = make_training()
    assert all(training.masters.named[name] is weight for name, weight in training.model.named_parameters())


def test_gradients_are_kept_once(make_training: Callable[..., Training]) -> None:
    training = make_training(precision="bf16")
    CausalLM().losses(training.model, training.batches(0)[0])["words"].backward()
    assert all(weight.grad is None for weight in training.model.parameters())
    assert all(master.grad is not None for master in training.masters.named.values())


@pytest.mark.parametrize("setting", ["fp32", "bf16"])
def test_loading_weights_sets_masters_and_model(setting: str, make_training: Callable[..., Training]) -> None:
    training, other = make_training(precision=setting), make_training(precision=setting, seed=9)
    training.masters.load(other.masters.state())
    for name, master in other.masters.state().items():
        assert torch.equal(training.masters.state()[name], master)
        assert torch.equal(training.model.get_parameter(name), other.model.get_parameter(name))
