"""What is made anew in the backward pass: the same values and gradients as without, and less is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from danlu.nn import config
from danlu.nn.lora import LoRA, add_adapters
from danlu.nn.mlp import MLP
from danlu.nn.quantized import quantize
from danlu.nn.remade import through

WIDTH, HIDDEN = 64, 128


def plain(mlp: MLP, x: Tensor) -> Tensor:
    gate, value = mlp.up(x).chunk(2, dim=-1)
    out: Tensor = mlp.down(F.silu(gate) * value)
    return out


def adapted(mlp: MLP) -> None:
    model = nn.ModuleDict({"mlp": mlp})
    add_adapters(model, LoRA(rank=4, targets=("up", "down")))
    for name, weight in model.named_parameters():
        if name.endswith(".b"):
            nn.init.normal_(weight)


def quantised(mlp: MLP) -> None:
    quantize(nn.ModuleDict({"blocks": nn.ModuleList([mlp])}), "int8")
    adapted(mlp)


@pytest.mark.parametrize("change", [lambda mlp: None, adapted, quantised], ids=["full", "lora", "qlora"])
@pytest.mark.parametrize("again", [False, True], ids=["once", "recomputed"])
def test_gradients_are_those_of_what_is_kept(change: Callable[[MLP], None], again: bool) -> None:
    mlp = MLP(config.MLP(HIDDEN, "silu", gated=True, bias=False), WIDTH)
    change(mlp)
    x = torch.randn(2, 5, WIDTH, requires_grad=True)
    learned = [x, *(weight for weight in mlp.parameters() if weight.requires_grad)]
    ours = checkpoint(mlp, x, use_reentrant=False) if again else mlp(x)
    theirs = plain(mlp, x)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    grad = torch.randn_like(ours)
    pairs = zip(torch.autograd.grad(ours, learned, grad), torch.autograd.grad(theirs, learned, grad), strict=True)
    for mine, other in pairs:
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)


def test_backward_may_run_twice() -> None:
    mlp = MLP(config.MLP(HIDDEN, "silu", gated=True, bias=False), WIDTH)
    out = mlp(torch.randn(3, WIDTH))
    grad = torch.randn_like(out)
    first = torch.autograd.grad(out, list(mlp.parameters()), grad, retain_graph=True)
    second = torch.autograd.grad(out, list(mlp.parameters()), grad)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_what_is_made_is_made_once_more_and_not_kept() -> None:
    made: list[int] = []
    alive: list[object] = []

    def double(x: Tensor) -> Tensor:
        out = x * 2.0
        made.append(out.data_ptr())
        storage = out.untyped_storage()
        alive.append(storage._weak_ref())
        return out

    weight = torch.randn(3, 3, requires_grad=True)
    source = torch.randn(4, 3, requires_grad=True)
    out = through(lambda x: x @ weight, double, source)
    assert len(made) == 1
    assert torch.UntypedStorage._expired(alive[0])
    out.sum().backward()
    assert len(made) == 2
    torch.testing.assert_close(weight.grad, (2.0 * source.detach()).sum(0)[:, None].expand(3, 3))


def test_without_gradients_nothing_is_made_anew() -> None:
    with torch.no_grad():
        assert through(lambda x: x, lambda x: x + 1.0, torch.zeros(2, requires_grad=True)).grad_fn is None
