"""ReLU that keeps no booleans: the same function and gradient as torch's, and what compiled code keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.nn.relu import LeanRelu, relu


def test_output_and_gradient_are_those_of_torch() -> None:
    x = torch.tensor([-2.0, -0.0, 0.0, 1e-30, 3.0, torch.inf], dtype=torch.float64, requires_grad=True)
    grad = torch.tensor([5.0, 5.0, 5.0, -5.0, 5.0, 5.0], dtype=torch.float64)
    ours, theirs = LeanRelu.apply(x), torch.relu(x)  # type: ignore[no-untyped-call]
    assert ours.equal(theirs)
    [of_ours], [of_theirs] = torch.autograd.grad(ours, x, grad), torch.autograd.grad(theirs, x, grad)
    assert of_ours.equal(of_theirs)


def test_no_number_stays_none() -> None:
    assert LeanRelu.apply(torch.tensor([torch.nan])).isnan().all()  # type: ignore[no-untyped-call]


def kept_between(activate: Any) -> list[torch.dtype]:
    """Types of what a compiled MLP keeps for its backward pass, as the compiler's partition decides."""
    up, down = torch.randn(32, 8, requires_grad=True), torch.randn(8, 32, requires_grad=True)

    def mlp(x: Tensor) -> Tensor:
        return F.linear(activate(F.linear(x, up)), down)

    kept: list[torch.dtype] = []

    def note(value: Tensor) -> Tensor:
        kept.append(value.dtype)
        return value

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        torch.compile(mlp, backend="aot_eager_decomp_partition", dynamic=False)(
            torch.randn(2, 16, 8, requires_grad=True)
        )
    assert kept
    return kept


@pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning")  # torch's own
def test_compiled_code_keeps_no_booleans() -> None:
    assert torch.bool in kept_between(torch.relu), "torch's own no longer needs a stand-in"
    assert torch.bool not in kept_between(relu)


def test_what_is_not_compiled_is_left_to_torch() -> None:
    x = torch.randn(3, requires_grad=True)
    assert "Relu" in type(relu(x).grad_fn).__name__
    assert "Lean" not in type(relu(x).grad_fn).__name__
