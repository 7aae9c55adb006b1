"""A training that has diverged ends in one line."""

from __future__ import annotations

import math

import pytest
import torch

from danlu.errors import DanluError
from danlu.train.divergence import check_finite, stop_where_diverged
from danlu.train.loop import StepInfo


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_or_gradient_that_is_no_number_names_its_step(value: float) -> None:
    with pytest.raises(
        DanluError, match=r"^the loss is (nan|-?inf) at step 12: [^\n]*pretrain.optimizer[^\n]*$"
    ) as caught:
        stop_where_diverged(StepInfo(step=12, loss=value, grad_norm=1.0, lr=1.0, targets=5))
    assert caught.value.exit_code == 2
    with pytest.raises(DanluError, match=r"^the norm of the gradient is (nan|-?inf) at step 3: "):
        stop_where_diverged(StepInfo(step=3, loss=2.0, grad_norm=value, lr=1.0, targets=5))


def test_finite_numbers_pass() -> None:
    stop_where_diverged(StepInfo(step=1, loss=0.0, grad_norm=1e30, lr=0.0, targets=0))
    check_finite([torch.ones(3), torch.zeros(2, 2)], step=1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_weight_is_enough(value: float) -> None:
    weights = [torch.ones(3), torch.ones(2, 2)]
    weights[1][1, 0] = value
    with pytest.raises(DanluError, match=r"^weights are no longer finite after step 8: "):
        check_finite(weights, step=8)
