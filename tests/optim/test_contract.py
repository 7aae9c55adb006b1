"""What every optimizer of the catalog has to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from danlu import catalog
from danlu.corpus.batches import Batch
from danlu.nn.config import MLP, Attention, Experts, Layer, Norm, Rotary, Stack, TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.optim.depth import build_optimizer
from danlu.optim.protocol import OptimizerChoice
from danlu.recipe import Choice, OneOf, Settings, build
from danlu.train.checkpoint import TrainingState, _flatten, _gather, check_fits

NAMES = catalog.names("optimizer")
SHAPES = {
    "embedding.weight": (50, 7),
    "decoder.entry.positions.weight": (6, 7),
    "decoder.blocks.0.attention.query.weight": (24, 40),
    "decoder.blocks.0.mlp.up": (3, 40, 24),
    "decoder.blocks.1.mlp.down.weight": (5, 4),
    "decoder.blocks.1.mlp.down.bias": (5,),
    "decoder.norm.weight": (7,),
    "head.scale": (),
}
SHORT: dict[str, dict[str, Any]] = {"soap": {"frequency": 2, "largest_side": 45}, "muon": {"momentum_steps": 4}}
"""What makes a few steps as eventful as many: SOAP's basis turns, and one side has none."""

FAST = {"adafactor": {"lr": 0.1}, "lion": {"lr": 2e-3}}
"""Rates for 30 steps of those whose updates are a fixed share of what most weights begin with, or less."""


def choice(name: str, **settings: Any) -> Any:
    return catalog.load("optimizer", name, key="optimizer")(**settings)


def weights() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()}


def train(optimizer: torch.optim.Optimizer, named: dict[str, nn.Parameter], steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = group["lr_scale"] / (step + 1)
        for weight in named.values():
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


def through_a_checkpoint(state: dict[str, Any]) -> dict[str, Any]:
    tensors, rest = _flatten(state)
    return _gather(safetensors.torch.load(safetensors.torch.save(tensors)), json.loads(json.dumps(rest)))


def equal(first: dict[str, nn.Parameter], second: dict[str, nn.Parameter]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in SHAPES)


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_resumed_from_a_checkpoint_is_uninterrupted(name: str, layer_decay: float) -> None:
    made = choice(name, **SHORT.get(name, {}))
    straight, stopped = weights(), weights()
    optimizer = build_optimizer(made, straight.items(), layer_decay=layer_decay)
    train(optimizer, straight, range(6))
    first = build_optimizer(made, stopped.items(), layer_decay=layer_decay)
    train(first, stopped, range(3))
    assert not equal(straight, stopped)
    resumed = {name: nn.Parameter(weight.detach().clone()) for name, weight in stopped.items()}
    second = build_optimizer(made, resumed.items(), layer_decay=layer_decay)
    kept = through_a_checkpoint(first.state_dict())
    check_fits(TrainingState(3, 30, dict(stopped), kept), resumed, second, Path("checkpoints"))
    second.load_state_dict(kept)
    train(second, resumed, range(3, 6))
    assert equal(straight, resumed)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_moves_and_has_a_peak_rate(name: str) -> None:
    named, before = weights(), weights()
    optimizer = choice(name).build(named.items())
    members = [id(weight) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(members) == sorted(id(weight) for weight in named.values())
    assert all(group["lr_scale"] > 0 and group["params"] for group in optimizer.param_groups)
    train(optimizer, named, range(3))
    assert [key for key in SHAPES if torch.equal(named[key], before[key])] == []
    assert all(weight.isfinite().all() for weight in named.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_rate_of_zero_moves_nothing(name: str) -> None:
    named, before = weights(), weights()
    optimizer = choice(name).build(named.items())
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        for weight in named.values():
            weight.grad = torch.full_like(weight, step + 1.0)
        optimizer.step()
    assert equal(named, before)


def model() -> Transformer:
    """A block with an MLP, one with experts."""
    attention = Attention(heads=2, kv_heads=2, head_dim=16, rotary=Rotary())
    layers = (Layer(attention, MLP(48, "silu", gated=True)), Layer(attention, Experts(4, 2, 24)))
    stack = Stack(layers=layers, norm=Norm("rms", 1e-6), causal=True)
    made = Transformer(TransformerConfig(family="llama", vocab_size=12, dim=32, max_length=16, decoder=stack))
    made.initialise(1)
    return made


def losses(made: OptimizerChoice, trained: Transformer, steps: int = 30) -> list[float]:
    """Of a sentence that is learned by heart."""
    tokens = (torch.arange(16).square() % 11 + 1)[None]
    batch = Batch({"tokens": tokens[:, :-1]}, {"words": tokens[:, 1:]}, {"words": 15}, tokens=15)
    optimizer = made.build(trained.named_parameters())
    found = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group["lr_scale"] * min(1.0, (step + 1) / 5)
        loss = CausalLM().losses(trained, batch)["words"] / 15
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_of_a_transformer_falls(name: str) -> None:
    found = losses(choice(name, **FAST.get(name, {})), model())
    assert found[-1] < found[0] - 0.5, found


@pytest.mark.parametrize("name", NAMES)
def test_two_trainings_are_one(name: str) -> None:
    first, second = model(), model()
    assert losses(choice(name), first, 5) == losses(choice(name), second, 5)
    pairs: list[tuple[Tensor, Tensor]] = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("kind", ["optimizer", "schedule", "clipping"])
def test_what_a_recipe_says_is_read_back(kind: str) -> None:
    class Section(Settings):
        chosen: Any = None

    Section.model_fields["chosen"].metadata.append(OneOf(kind))
    for name in catalog.names(kind):
        made = catalog.load(kind, name, key=kind)()
        assert isinstance(made, Choice)
        said = made.to_recipe()
        assert said["use"] == name
        assert build(Section, {"chosen": json.loads(json.dumps(said))}, key="section").chosen == made
