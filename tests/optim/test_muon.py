"""Muon against singular value decompositions and against ``torch.optim.AdamW``."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from danlu.nn.families import Llama
from danlu.nn.transformer import Transformer
from danlu.optim import muon
from danlu.optim.adamw import AdamW
from danlu.optim.muon import Muon, orthogonalise
from danlu.optim.normuon import NorMuon
from danlu.optim.protocol import is_matrix


def conditioned(rows: int, columns: int, condition: float) -> Tensor:
    """A matrix whose singular values run from 1 down to 1 / ``condition``."""
    u, _, v = torch.linalg.svd(torch.randn(rows, columns, dtype=torch.float64), full_matrices=False)
    values = torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), min(rows, columns), dtype=torch.float64)
    return (u * values) @ v


@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (16, 64), (64, 16), (1, 20), (20, 1)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize(("bfloat16", "tolerance"), [(False, 2e-4), (True, 0.04)], ids=["fp32", "bf16"])
def test_orthogonalise_gives_the_polar_factor(
    rows: int, columns: int, scale: float, bfloat16: bool, tolerance: float
) -> None:
    matrix = conditioned(rows, columns, 100.0)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalise((matrix * scale).float()[None], bfloat16=bfloat16)[0].double()
    inside = u.T @ result @ v.T
    values = inside.diagonal()
    assert (values - 1).abs().max() < 0.15, values  # singular values near 1, all positive
    # the singular vectors are those of the matrix, within the number type's rounding of a squared matrix
    assert (inside - values.diag()).abs().max() < tolerance
    torch.testing.assert_close(result, u @ inside @ v, rtol=0, atol=tolerance / 2)  # and nothing lies outside them


def test_matrices_of_a_batch_do_not_touch_each_other() -> None:
    batch = torch.randn(3, 12, 20) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    for together, alone in zip(orthogonalise(batch), batch, strict=True):
        torch.testing.assert_close(together, orthogonalise(alone[None])[0], rtol=1e-4, atol=1e-5)


def test_a_zero_gradient_moves_nothing() -> None:
    assert orthogonalise(torch.zeros(2, 4, 6)).eq(0).all()


def blocks_weight(rows: int, columns: int) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    weight = nn.Parameter(torch.randn(rows, columns))
    settings = Muon(lr=0.02, momentum=0.9, momentum_start=0.5, momentum_steps=4, weight_decay=0.1, precision="fp32")
    return weight, settings.build([("blocks.0.up.weight", weight)])


@pytest.mark.parametrize(("rows", "columns"), [(12, 20), (40, 10)])
def test_steps_follow_the_definition(rows: int, columns: int) -> None:
    weight, optimizer = blocks_weight(rows, columns)
    expected, buffer = weight.detach().clone(), torch.zeros(rows, columns)
    for step in range(1, 7):
        gradient = torch.randn(rows, columns)
        momentum = 0.5 + min(1.0, step / 4) * 0.4
        buffer = momentum * buffer + (1 - momentum) * gradient
        direction = orthogonalise((momentum * buffer + (1 - momentum) * gradient)[None])[0]
        expected = expected * (1 - 0.02 * 0.1) - 0.02 * max(1.0, rows / columns) ** 0.5 * direction
        weight.grad = gradient
        optimizer.step()
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-5, atol=1e-5)


def test_everything_else_follows_adamw() -> None:
    shapes = {"embedding.weight": (9, 5), "norm.weight": (5,), "head.weight": (9, 5)}
    ours = {name: nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}
    theirs = [nn.Parameter(weight.detach().clone()) for weight in ours.values()]
    settings = Muon(adamw_lr=0.003)
    optimizer = settings.build(ours.items())
    reference = torch.optim.AdamW(
        theirs, lr=0.003, betas=settings.adamw_betas, eps=settings.adamw_eps, weight_decay=0.0
    )
    for factor in (1.0, 0.5, 0.1):  # the rate that the loop sets before every step
        for group in (*optimizer.param_groups, *reference.param_groups):
            group["lr"] = 0.003 * factor
        for mine, his in zip(ours.values(), theirs, strict=True):
            mine.grad = torch.randn(mine.shape)
            his.grad = mine.grad.clone()
        optimizer.step()
        reference.step()
        for mine, his in zip(ours.values(), theirs, strict=True):
            torch.testing.assert_close(mine, his, rtol=1e-6, atol=1e-7)


def test_a_weight_whose_first_gradient_comes_late_follows_adamw_too() -> None:
    """Such as the head of a task that the first steps have no row of."""
    ours = {name: nn.Parameter(torch.randn(6, 5)) for name in ("head.first.weight", "head.second.weight")}
    theirs = [nn.Parameter(weight.detach().clone()) for weight in ours.values()]
    settings = Muon(adamw_lr=0.01, adamw_betas=(0.9, 0.999))
    optimizer = settings.build(ours.items())
    reference = torch.optim.AdamW(theirs, lr=0.01, betas=(0.9, 0.999), eps=settings.adamw_eps, weight_decay=0.0)
    optimizer.param_groups[0]["lr"] = 0.01
    for step in range(12):
        for number, (mine, his) in enumerate(zip(ours.values(), theirs, strict=True)):
            mine.grad = torch.randn(6, 5) if not number or step in (5, 6, 9, 10, 11) else None
            his.grad = None if mine.grad is None else mine.grad.clone()
        optimizer.step()
        reference.step()
        for mine, his in zip(ours.values(), theirs, strict=True):
            torch.testing.assert_close(mine, his, rtol=1e-6, atol=1e-7)


def test_matrices_of_blocks_go_to_muon_and_the_rest_to_adamw() -> None:
    model = Transformer(Llama(layers=1, dim=64).config(vocab_size=20, max_length=8))
    named = list(model.named_parameters())
    matrix, adamw = Muon().build(named).param_groups
    assert (matrix["rule"], adamw["rule"]) == ("muon", "adamw")
    assert (matrix["lr_scale"], adamw["lr_scale"]) == (Muon().lr, Muon().adamw_lr)
    names = {id(weight): name for name, weight in named}
    matrices = {names[id(weight)] for weight in matrix["params"]}
    assert matrices == {name for name, weight in named if is_matrix(name, weight)}
    assert {name.removeprefix("decoder.blocks.0.") for name in matrices} == {
        "attention.query.weight", "attention.key.weight", "attention.value.weight", "attention.out.weight",
        "mlp.up.weight", "mlp.down.weight",
    }  # fmt: skip
    assert len(matrices) + len(adamw["params"]) == len(named)


@pytest.mark.parametrize(
    ("precision", "processor", "expected"),
    [("auto", None, False), ("auto", "amx_bf16", True), ("bf16", None, True), ("fp32", "amx_bf16", False)],
)
def test_iterations_compute_in_what_the_recipe_says(
    precision: Any, processor: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muon, "fast_bfloat16", lambda: processor)
    weight = nn.Parameter(torch.eye(4))
    optimizer = Muon(precision=precision, momentum_start=0.0, momentum=0.0).build([("blocks.0.up.weight", weight)])
    weight.grad = torch.randn(4, 4)
    direction = orthogonalise(weight.grad[None], bfloat16=expected)[0]
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.eye(4) - 0.02 * direction, rtol=0, atol=1e-7)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = group["lr_scale"] / (step + 1)
        for weight in model.parameters():
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("choice", [Muon, NorMuon, AdamW])
def test_resumed_is_uninterrupted(choice: Callable[[], Any]) -> None:
    model = Transformer(Llama(layers=2, dim=64).config(vocab_size=20, max_length=8))
    model.initialise(0)
    optimizer = choice().build(model.named_parameters())
    train(model, optimizer, range(3))
    resumed = copy.deepcopy(model)
    again = choice().build(resumed.named_parameters())
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(model, optimizer, range(3, 6))
    train(resumed, again, range(3, 6))
    assert all(map(torch.equal, model.state_dict().values(), resumed.state_dict().values()))
    json.dumps(optimizer.state_dict()["param_groups"])  # a checkpoint keeps it without pickle


@pytest.mark.parametrize("choice", [Muon, NorMuon])
@pytest.mark.parametrize(("rows", "columns"), [(6, 10), (9, 4)])
def test_experts_are_orthogonalised_matrix_by_matrix(choice: Callable[..., Any], rows: int, columns: int) -> None:
    stack = [nn.Parameter(torch.randn(3, rows, columns)) for _ in range(2)]
    single = [[nn.Parameter(matrix.detach().clone()) for matrix in weight] for weight in stack]
    settings = {"momentum": 0.9, "momentum_steps": 3, "weight_decay": 0.1, "precision": "fp32"}
    ours = choice(**settings).build([(f"decoder.blocks.{n}.mlp.up", weight) for n, weight in enumerate(stack)])
    reference = choice(**settings).build(
        [(f"decoder.blocks.{n}.mlp.{x}.weight", w) for n, weights in enumerate(single) for x, w in enumerate(weights)]
    )
    assert [group["rule"] for group in ours.param_groups] == ["muon"]
    for _ in range(4):
        for weight, matrices in zip(stack, single, strict=True):
            # Experts of very different gradients: what one of them gets must not depend on the others.
            weight.grad = torch.randn(weight.shape) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
            for matrix, gradient in zip(matrices, weight.grad, strict=True):
                matrix.grad = gradient.clone()
        ours.step()
        reference.step()
    for weight, matrices in zip(stack, single, strict=True):
        torch.testing.assert_close(weight.detach(), torch.stack([m.detach() for m in matrices]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("generation", "fast"), [(7, False), (8, True), (9, True)])
def test_weights_on_a_gpu_are_multiplied_as_it_does_best(
    generation: int, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muon, "fast_bfloat16", lambda: None if fast else "avx512_bf16")  # the processor beside it
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (generation, 0))
    assert muon.multiplies_bfloat16(torch.device("cuda")) == fast
    assert muon.multiplies_bfloat16(torch.device("cpu")) != fast
