"""Which layers a pattern names, and that another layer takes the place of one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from danlu.errors import RecipeError
from danlu.nn.targets import LINEARS_OF_BLOCKS, named_layers, put


@pytest.fixture
def model() -> nn.Module:
    def block() -> nn.ModuleDict:
        attention = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("query", "key", "value", "out")})
        mlp = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("up", "down", "router")})
        return nn.ModuleDict({"attention": attention, "mlp": mlp, "norm": nn.LayerNorm(4)})

    return nn.ModuleDict({"blocks": nn.ModuleList(block() for _ in range(12)), "head": nn.Linear(4, 9)})


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["query"], [f"blocks.{number}.attention.query" for number in range(12)]),
        (
            ["head", r"blocks\.1\.attention\.(query|out)"],
            ["blocks.1.attention.query", "blocks.1.attention.out", "head"],
        ),
        (["1.mlp.up"], ["blocks.1.mlp.up"]),  # and not that of block 11
        (["mlp.*"], [f"blocks.{number}.mlp.{name}" for number in range(12) for name in ("up", "down", "router")]),
        (["up|head"], [*(f"blocks.{number}.mlp.up" for number in range(12)), "head"]),
    ],
)
def test_a_pattern_is_a_name_or_its_end(patterns: list[str], names: list[str], model: nn.Module) -> None:
    found = named_layers(model, patterns)
    assert list(found) == names
    assert all(found[name] is model.get_submodule(name) for name in names)


def test_those_of_the_blocks_leave_out_routers_and_heads(model: nn.Module) -> None:
    found = named_layers(model, [LINEARS_OF_BLOCKS])
    assert len(found) == 12 * 6 and not any(name.endswith(("router", "head")) for name in found)


def test_only_the_kinds_that_are_meant(model: nn.Module) -> None:
    assert list(named_layers(model, [r"blocks\.3\..*"], nn.LayerNorm)) == ["blocks.3.norm"]
    assert list(named_layers(model, [r"3\.(norm|mlp\.up)"], (nn.LayerNorm, nn.Linear))) == [
        "blocks.3.mlp.up",
        "blocks.3.norm",
    ]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (
            "uery",
            "targets: 'uery' names no linear layer; their names end in down, head, key, out, query, router, up, value",
        ),
        ("norm", "targets: 'norm' names no linear layer"),
        ("[", r"targets must be regular expressions; got '\['"),
    ],
)
def test_what_names_nothing_is_told(pattern: str, said: str, model: nn.Module) -> None:
    with pytest.raises(RecipeError, match=said):
        named_layers(model, ["query", pattern])


def test_another_layer_takes_the_place(model: nn.Module) -> None:
    layer = nn.Linear(4, 4, bias=False)
    for name in ("blocks.2.mlp.up", "head"):
        put(model, name, layer)
        assert model.get_submodule(name) is layer
        assert f"{name}.bias" not in model.state_dict()
        assert torch.equal(model.state_dict()[f"{name}.weight"], layer.weight)
