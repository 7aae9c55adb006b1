"""Layer-wise decay against timm's formula, for every optimizer of the catalog."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from danlu import catalog
from danlu.optim.depth import build_optimizer, layers_above
from danlu.optim.protocol import NamedParameters
from danlu.recipe import Choice

DECODER = [
    "embedding.weight", "decoder.entry.positions.weight", "decoder.blocks.0.attention.query.weight",
    "decoder.blocks.0.norm.weight", "decoder.blocks.1.mlp.up", "decoder.blocks.1.mlp.down.bias", "decoder.norm.weight",
    "decoder.bias.weight", "head.weight",
]  # fmt: skip


def named(names: list[str]) -> list[tuple[str, nn.Parameter]]:
    shapes = {"up": (3, 4, 4), "bias": (4,), "norm.weight": (4,)}
    return [
        (name, nn.Parameter(torch.ones(next((s for end, s in shapes.items() if name.endswith(end)), (4, 4)))))
        for name in names
    ]


def test_the_layers_of_a_decoder() -> None:
    # timm: layer_scales[i] = layer_decay ** (layer_max - i), with the embeddings at 0 and the head at the top
    assert dict(layers_above(DECODER)) == {
        "embedding.weight": 3, "decoder.entry.positions.weight": 3,
        "decoder.blocks.0.attention.query.weight": 2, "decoder.blocks.0.norm.weight": 2,
        "decoder.blocks.1.mlp.up": 1, "decoder.blocks.1.mlp.down.bias": 1, "decoder.norm.weight": 1,
        "decoder.bias.weight": 1, "head.weight": 0,
    }  # fmt: skip


def test_the_decoder_stands_above_the_encoder() -> None:
    names = [
        "embedding.weight", "encoder.entry.norm.weight", "encoder.bias.weight",
        *(f"encoder.blocks.{block}.mlp.up.weight" for block in range(12)), "encoder.norm.weight",
        "decoder.entry.norm.weight", "decoder.blocks.0.cross.query.weight", "decoder.blocks.1.mlp.up.weight",
        "decoder.norm.weight", "head.dense.weight",
    ]  # fmt: skip
    assert list(layers_above(names).values()) == [15, 15, 3, *range(14, 2, -1), 3, 15, 2, 1, 1, 0]


def test_an_encoder_alone() -> None:
    names = ["embedding.weight", "encoder.blocks.0.up.weight", "encoder.norm.weight", "head.labels.weight"]
    assert list(layers_above(names).values()) == [2, 1, 1, 0]


@pytest.mark.parametrize("name", catalog.names("optimizer"))
def test_every_optimizer_learns_less_below(name: str) -> None:
    parameters = named(DECODER)
    choice = catalog.load("optimizer", name, key="optimizer")()
    plain = {id(p): group for group in choice.build(parameters).param_groups for p in group["params"]}
    optimizer = build_optimizer(choice, parameters, layer_decay=0.5)
    above = layers_above(DECODER)
    split = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    members = Counter(id(p) for group in optimizer.param_groups for p in group["params"])
    assert members == Counter(list(plain))  # each in one group
    for key, parameter in parameters:
        group, before = split[id(parameter)], plain[id(parameter)]
        assert group["lr_scale"] == before["lr_scale"] * 0.5 ** above[key]
        differ = {key for key in {*group, *before} if group.get(key) != before.get(key)}
        assert differ <= {"params", "lr_scale", "lr"}
    for number, (_, parameter) in enumerate(parameters):
        parameter.grad = torch.full_like(parameter, number + 1.0)
    optimizer.step()  # each with a state of its own, and none twice
    assert {id(parameter) for parameter in optimizer.state} <= set(split)


def test_a_step_moves_the_layers_by_their_rates() -> None:
    parameters = [(f"decoder.blocks.{block}.up.weight", nn.Parameter(torch.ones(2, 2))) for block in range(3)]
    choice = catalog.load("optimizer", "sgd", key="optimizer")(lr=1.0, momentum=0.0)
    optimizer = build_optimizer(choice, parameters, layer_decay=0.5)
    for group in optimizer.param_groups:
        group["lr"] = group["lr_scale"]
    for _, parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert [float(1 - parameter.detach()[0, 0]) for _, parameter in parameters] == [0.125, 0.25, 0.5]


class Spy(Choice):
    """An optimizer from outside that knows nothing of layers."""

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": [p for _, p in parameters], "lr_scale": 1.0}], lr=1.0)


def test_without_decay_the_groups_are_the_optimizers_own() -> None:
    assert len(build_optimizer(Spy(), named(DECODER)).param_groups) == 1
    assert [g["lr_scale"] for g in build_optimizer(Spy(), named(DECODER), layer_decay=0.5).param_groups] == [
        0.125, 0.25, 0.5, 1.0,
    ]  # fmt: skip


class Plain(Choice):
    """One that says nothing of peaks."""

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for _, p in parameters], lr=0.25)


@pytest.mark.parametrize(("layer_decay", "rates"), [(1.0, [0.25]), (0.5, [0.03125, 0.0625, 0.125, 0.25])])
def test_a_rate_without_a_name_is_the_peak(layer_decay: float, rates: list[float]) -> None:
    groups = build_optimizer(Plain(), named(DECODER), layer_decay=layer_decay).param_groups
    assert [group["lr_scale"] for group in groups] == rates
