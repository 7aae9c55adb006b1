"""Products in float8 against the same numbers rounded and multiplied in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from danlu.nn import float8
from danlu.nn.families import GPT
from danlu.nn.float8 import BACKWARD, FORWARD, Float8Linear, multiply_in_float8, narrowed, why_no_float8
from danlu.nn.transformer import Transformer


def rounded(x: Tensor, dtype: torch.dtype) -> Tensor:
    """What float8 makes of ``x`` at the scale of its largest number, written out."""
    scale = x.abs().max().double().clamp_min(1e-12) / torch.finfo(dtype).max
    return (x.double() / scale).float().to(dtype).double() * scale


def layer(inputs: int, outputs: int, *, bias: bool) -> tuple[nn.Linear, Float8Linear]:
    plain = nn.Linear(inputs, outputs, bias=bias).bfloat16()
    narrow = Float8Linear(inputs, outputs, bias=bias).bfloat16()
    narrow.load_state_dict(plain.state_dict())
    return plain, narrow


ON_GPU = pytest.mark.gpu


@pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(
    ("device", "compiled"),
    [("cpu", False), pytest.param("cuda", False, marks=ON_GPU), pytest.param("cuda", True, marks=ON_GPU)],
)
@pytest.mark.parametrize("tokens", [16, 7, 33])
@pytest.mark.parametrize("bias", [False, True])
def test_all_three_products_are_of_rounded_numbers(tokens: int, bias: bool, device: str, compiled: bool) -> None:
    torch.manual_seed(tokens)
    assert (torch.float8_e4m3fn, torch.float8_e5m2) == (FORWARD, BACKWARD)  # the paper's: precise there, wide here
    plain, narrow = layer(32, 48, bias=bias)
    x = (torch.randn(2, tokens, 32) * 3).bfloat16().requires_grad_()
    grad = (torch.randn(2, tokens, 48) * 1e-3).bfloat16()
    narrow.to(device)
    out = (torch.compile(narrow, dynamic=False) if compiled else narrow)(x.to(device))
    out.backward(grad.to(device))
    out, weight_grad = out.cpu(), narrow.weight.grad
    x8, w8, g8 = (
        rounded(x.detach().flatten(0, 1), FORWARD),
        rounded(plain.weight.detach(), FORWARD),
        rounded(grad.flatten(0, 1), BACKWARD),
    )
    wanted = x8 @ w8.T + (plain.bias.double() if bias else 0.0)
    close = {"rtol": 0.02, "atol": 0.02}
    torch.testing.assert_close(out.detach().double().flatten(0, 1), wanted, **close)
    assert x.grad is not None and weight_grad is not None
    for found, expected in ((x.grad.flatten(0, 1), g8 @ w8), (weight_grad.cpu(), g8.T @ x8)):
        assert (found.double() - expected).norm() <= 0.01 * expected.norm()
    # And the rounding can be seen: it is not the plain product.
    assert (out.detach().double().flatten(0, 1) - plain(x).detach().double().flatten(0, 1)).abs().max() > 1e-3


@settings(max_examples=30)
@given(st.floats(-1e4, 1e4), st.floats(1e-6, 1e6))
def test_narrowing_keeps_what_the_type_can_hold(value: float, largest: float) -> None:
    x = torch.tensor([value, largest, -largest])
    for dtype, steps in ((FORWARD, 16), (BACKWARD, 8)):
        narrow, scale = narrowed(x, dtype)
        back = narrow.double() * scale.double()
        span = float(x.abs().max())
        assert ((back - x.double()).abs() <= x.double().abs() / steps + span * 2.0**-14).all()


def test_nothing_but_zeros_stays_so() -> None:
    _, narrow = layer(16, 16, bias=False)
    x = torch.zeros(16, 16, dtype=torch.bfloat16, requires_grad=True)
    out = narrow(x)
    out.backward(torch.zeros_like(out))
    assert not out.any() and narrow.weight.grad is not None and not narrow.weight.grad.any()


def test_layers_of_blocks_are_taken_where_their_sizes_fit() -> None:
    model = Transformer(GPT(layers=2, dim=32, heads=2).config(vocab_size=50, max_length=16))
    names = set(model.state_dict())
    assert multiply_in_float8(model) == 2 * 6
    assert set(model.state_dict()) == names
    odd = Transformer(GPT(layers=1, dim=40, heads=2).config(vocab_size=50, max_length=16))
    assert multiply_in_float8(odd) == 0
    assert not isinstance(model.head, Float8Linear)


def test_where_there_is_no_such_gpu_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert why_no_float8() == "torch finds no GPU here"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A10")
    assert why_no_float8() == "A10 does not multiply float8"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert float8.why_no_float8() is None
