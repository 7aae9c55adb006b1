"""A mixture of experts against transformers, and its load-balancing loss against the paper in numpy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.qwen3_moe.configuration_qwen3_moe import Qwen3MoeConfig
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock, load_balancing_loss_func

from danlu.nn import config
from danlu.nn.experts import Experts, balance_loss
from danlu.nn.transformer import Transformer

DIM = 12
SETTINGS = config.Experts(count=5, per_token=2, hidden=7)


def make(settings: config.Experts) -> Experts:
    experts = Experts(settings, DIM)
    for weight in experts.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return experts


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("per_token", [1, 2, 5])
def test_equals_transformers(normalise: bool, per_token: int) -> None:
    ours = make(dataclasses.replace(SETTINGS, per_token=per_token, normalise=normalise))
    shape = Qwen3MoeConfig(
        hidden_size=DIM, moe_intermediate_size=7, num_experts=5, num_experts_per_tok=per_token, norm_topk_prob=normalise
    )
    shape._experts_implementation = "eager"
    theirs = Qwen3MoeSparseMoeBlock(shape)
    with torch.no_grad():
        theirs.gate.weight.copy_(ours.router.weight)
        theirs.experts.gate_up_proj.copy_(ours.up)
        theirs.experts.down_proj.copy_(ours.down)
    x = torch.randn(3, 9, DIM, requires_grad=True)
    again = x.detach().clone().requires_grad_()
    out, expected = ours(x), theirs(again)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
    grad = torch.randn_like(out)
    out.backward(grad)
    expected.backward(grad)
    pairs = [
        (x, again), (ours.router.weight, theirs.gate.weight), (ours.up, theirs.experts.gate_up_proj),
        (ours.down, theirs.experts.down_proj),
    ]  # fmt: skip
    for mine, his in pairs:
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, his.grad, rtol=1e-4, atol=1e-6)


def test_the_shared_expert_is_added_for_every_token() -> None:
    experts = make(dataclasses.replace(SETTINGS, shared=11))
    assert experts.shared is not None
    x = torch.randn(2, 6, DIM)
    gate, value = (x @ experts.shared.up.weight.T).chunk(2, dim=-1)
    expected = (F.silu(gate) * value) @ experts.shared.down.weight.T
    with_it = experts(x)
    experts.shared = None
    torch.testing.assert_close(with_it - experts(x), expected, rtol=1e-4, atol=1e-5)


def balance_by_the_paper(x: Tensor, experts: Experts) -> float:
    """``alpha * N * sum(f_i * P_i)`` (Fedus et al. 2022, eq. 4 to 6); f_i counts all of a token's experts."""
    logits = x.flatten(0, -2).double().numpy() @ experts.router.weight.detach().double().numpy().T
    share = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    settings = experts.settings
    taken = np.argsort(-share, axis=-1)[:, : settings.per_token]
    f = np.bincount(taken.ravel(), minlength=settings.count) / len(taken)
    return float(settings.balance * settings.count * (f * share.mean(0)).sum())


def balance(*layers: Experts) -> Tensor:
    found = balance_loss(layers)
    assert found is not None
    return found


@pytest.mark.parametrize("per_token", [1, 2])
def test_the_balance_loss_of_one_layer_is_that_of_the_paper(per_token: int) -> None:
    experts = make(dataclasses.replace(SETTINGS, per_token=per_token, balance=0.3))
    x = torch.randn(2, 20, DIM)
    experts(x)
    assert balance(experts).item() == pytest.approx(balance_by_the_paper(x, experts), rel=1e-5)


@pytest.mark.parametrize("per_token", [1, 2, 5])
@pytest.mark.parametrize("padded", [False, True])
def test_the_balance_loss_of_several_layers_is_that_of_transformers(per_token: int, padded: bool) -> None:
    layers = [make(dataclasses.replace(SETTINGS, per_token=per_token, balance=1.0)) for _ in range(3)]
    rows = [torch.randn(2, 20, DIM) for _ in layers]
    mask = torch.ones(2, 20, dtype=torch.long)
    if padded:
        mask[0, 13:] = 0
        mask[1, :4] = 0
    for layer, x in zip(layers, rows, strict=True):
        layer(x)
    logits = tuple(layer.router(x).flatten(0, 1) for layer, x in zip(layers, rows, strict=True))
    theirs = load_balancing_loss_func(logits, 5, per_token, mask if padded else None)
    ours = balance_loss(layers, (mask == 1).flatten() if padded else None)
    assert isinstance(theirs, Tensor) and ours is not None
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    weights = [layer.router.weight for layer in layers]
    torch.testing.assert_close(
        torch.autograd.grad(ours, weights), torch.autograd.grad(theirs, weights), rtol=1e-4, atol=1e-7
    )


def test_layers_of_other_settings_are_taken_by_themselves() -> None:
    layers = [make(SETTINGS), make(dataclasses.replace(SETTINGS, count=8)), make(SETTINGS)]
    x = torch.randn(2, 20, DIM)
    for layer in layers:
        layer(x)
    apart = balance(layers[0], layers[2]) + balance(layers[1])
    torch.testing.assert_close(balance(*layers), apart)


def test_the_balance_loss_is_one_where_all_are_even_and_more_where_not() -> None:
    experts = make(dataclasses.replace(SETTINGS, balance=1.0, count=4, per_token=1))
    with torch.no_grad():
        experts.router.weight.copy_(torch.eye(4, DIM))
    experts(torch.eye(4, DIM))  # each token to another one
    assert balance(experts).item() == pytest.approx(1.0)
    experts(torch.eye(4, DIM)[[0, 0, 0, 0]] * 9)
    assert balance(experts).item() > 3.9


def test_it_is_measured_in_training_only_and_where_it_counts() -> None:
    for experts in (make(SETTINGS).eval(), make(dataclasses.replace(SETTINGS, balance=0.0))):
        experts(torch.randn(1, 4, DIM))
        assert balance_loss([experts]) is None


def test_its_gradient_spreads_the_tokens() -> None:
    """Through the router's weights alone, downhill to a smaller loss."""
    experts = make(dataclasses.replace(SETTINGS, balance=0.5))
    x = torch.randn(4, 25, DIM) + 1.0  # alike, so that they all go to the same experts at first
    losses = []
    for _ in range(40):
        experts(x)
        loss = balance(experts)
        losses.append(loss.item())
        (grad,) = torch.autograd.grad(loss, experts.router.weight)
        with torch.no_grad():
            experts.router.weight -= 0.5 * grad
    assert losses[-1] < 1.1 < 1.5 < losses[0]


def test_no_balance_is_left_of_a_pass_that_does_not_train() -> None:
    experts = Experts(config.Experts(4, 2, 8), 6)
    for weight in experts.parameters():
        torch.nn.init.normal_(weight)
    experts.train()(torch.randn(1, 5, 6))
    assert balance_loss([experts]) is not None
    experts.eval()(torch.randn(1, 5, 6))
    assert balance_loss([experts]) is None


def test_a_block_that_is_dropped_has_no_balance_of_an_earlier_step(make_stack: Callable[..., Transformer]) -> None:
    """A pass of which every block is left out balances nothing, and the steps after it learn on."""
    model = make_stack(causal=True, mlp=config.Experts(4, 2, 8), layer_drop=0.5).train()
    tokens = torch.randint(0, 400, (2, 9))
    found = []
    for step in range(30):
        torch.manual_seed(step)
        kept = sum(float(torch.rand(())) >= 0.5 for _ in range(2))
        torch.manual_seed(step)
        hidden = model(tokens)
        balance = model.balance_loss()
        assert (balance is None) is (kept == 0)
        found.append(balance is None)
        loss = hidden.sum() if balance is None else hidden.sum() + balance
        loss.backward()
    assert any(found) and not all(found)


@pytest.mark.parametrize(("rows", "real"), [(0, None), (4, torch.zeros(4, dtype=torch.bool))])
def test_no_tokens_are_not_out_of_balance(rows: int, real: Tensor | None) -> None:
    experts = make(SETTINGS)
    assert experts(torch.zeros(1, rows, DIM)).shape == (1, rows, DIM)
    loss = balance_loss([experts], real)
    assert loss is not None and loss.item() == 0
