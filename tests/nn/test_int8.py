"""Products in int8 against the same numbers multiplied in float64: how far off, and that no row spoils another."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from danlu import machine
from danlu.errors import RecipeError
from danlu.nn.families import GPT
from danlu.nn.int8 import Int8Linear, multiply_in_int8, rounded
from danlu.nn.speed import choose_training_dtype
from danlu.nn.transformer import Transformer

pytestmark = pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning")
CPU = torch.device("cpu")
both = pytest.mark.parametrize("outputs", [32, 96], ids=["narrower", "wider"])
"""Layers of 64 inputs; what is wider than its inputs goes another way backwards."""


def layers(inputs: int, outputs: int, *, bias: bool = False) -> tuple[nn.Linear, Int8Linear]:
    """The same weights in float64 and in int8's layer."""
    narrow = Int8Linear(inputs, outputs, bias=bias)
    plain = nn.Linear(inputs, outputs, bias=bias).double()
    plain.load_state_dict(narrow.state_dict())
    return plain, narrow


def run(layer: nn.Linear, x: Tensor, grad: Tensor) -> list[Tensor]:
    """What comes out, and the gradients of input, weight and bias."""
    x = x.to(layer.weight.dtype, copy=True).requires_grad_()
    out = layer(x)
    out.backward(grad.to(out.dtype))
    assert x.grad is not None and layer.weight.grad is not None
    found = [out.detach(), x.grad, layer.weight.grad]
    return found if layer.bias is None else [*found, layer.bias.grad]  # type: ignore[list-item]


def off(found: Tensor, wanted: Tensor) -> float:
    """The distance as a share of the length."""
    return float((found.double() - wanted).detach().norm() / wanted.detach().norm())


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tokens", [1, 7, 64])
@both
def test_all_three_products_are_near(outputs: int, tokens: int, bias: bool, compiled: bool) -> None:
    """Rounding to 1/127 of a row's largest number of four spreads: an error of 4 / 127 / sqrt(12), from each side."""
    torch.manual_seed(tokens)
    plain, narrow = layers(64, outputs, bias=bias)
    x, grad = torch.randn(2, tokens, 64), torch.randn(2, tokens, outputs) * 1e-4
    called = torch.compile(narrow, backend="aot_eager") if compiled else narrow
    for found, wanted in zip(run(called, x, grad), run(plain, x, grad), strict=True):  # type: ignore[arg-type]
        assert found.dtype == torch.float32
        assert off(found, wanted) < 0.02
    assert off(narrow(x), plain(x.double())) > 1e-4  # and rounded it is


@both
def test_whole_numbers_are_multiplied_exactly(outputs: int) -> None:
    """Where every row and column holds 127, nothing is rounded: sums of products are those of integers."""
    torch.manual_seed(0)
    plain, narrow = layers(64, outputs)
    x, weight = (torch.randint(-127, 128, shape).float() for shape in ((40, 64), (outputs, 64)))
    x[:, 0], weight[:, 1], x[2], weight[3] = 127, -127, 127, -127
    narrow.weight.data.copy_(weight)
    plain.weight.data.copy_(weight)
    assert torch.equal(narrow(x).double(), plain(x.double()))
    grad = torch.randint(-127, 128, (40, outputs)).float()
    grad[:, 3] = 127
    for found, wanted in zip(run(narrow, x, grad)[1:], run(plain, x, grad)[1:], strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-2)


@settings(max_examples=25)
@given(st.integers(0, 9), st.floats(1.0, 1e6))
def test_an_outlier_costs_its_own_row_only(row: int, size: float) -> None:
    torch.manual_seed(row)
    plain, narrow = layers(64, 64)
    x = torch.randn(10, 64)
    x[row, 5] *= size
    others = [number for number in range(10) if number != row]
    assert off(narrow(x)[others], plain(x.double())[others]) < 0.02


@both
def test_an_outlier_of_the_gradient_costs_all_tokens_some_in_the_weights_only(outputs: int) -> None:
    """One scale serves all tokens there: beside a token a thousand times as large the others are lost."""
    torch.manual_seed(0)
    plain, narrow = layers(64, outputs)
    x, grad = torch.randn(10, 64), torch.randn(10, outputs)
    others = [0, 1, 2, 3, 4, 5, 6, 8, 9]
    grad[7] *= 1000
    ours, wanted = run(narrow, x, grad), run(plain, x, grad)
    assert off(ours[1][others], wanted[1][others]) < 0.02  # each row of the input's gradient by itself
    assert off(ours[2], wanted[2]) < 0.02  # as a whole it is near, for the outlier is most of it
    outlier = grad[7].double()[:, None] * x[7].double()
    assert off(ours[2] - outlier, wanted[2] - outlier) > 0.5


@given(st.floats(1e-20, 1e20), st.integers(1, 50))
def test_rounding_is_to_the_nearest_of_255_numbers(size: float, width: int) -> None:
    torch.manual_seed(width)
    x = torch.randn(3, width) * size
    whole, scale = rounded(x)
    assert whole.dtype == torch.int8 and scale.shape == (3, 1)
    assert (whole.abs().amax(1) == 127).all()
    assert ((whole.double() * scale.double() - x.double()).abs() <= 0.501 * scale.double()).all()


@both
def test_rows_of_zeros_stay_so(outputs: int) -> None:
    _, narrow = layers(64, outputs)
    x = torch.randn(5, 64)
    x[2] = 0
    grad = torch.zeros(5, outputs)
    found = run(narrow, x, grad)
    assert not found[0][2].any()
    assert not found[1].any() and not found[2].any()
    assert (rounded(torch.zeros(2, 3))[1] > 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@both
def test_what_is_no_number_is_not_rounded_away(outputs: int, bad: float) -> None:
    _, narrow = layers(64, outputs)
    x, grad = torch.randn(5, 64), torch.randn(5, outputs)
    x[2, 3] = bad
    out, _, weight_grad = run(narrow, x, grad)
    assert not out[2].isfinite().any() and out[[0, 1, 3, 4]].isfinite().all()
    assert not weight_grad.isfinite().all()
    x[2, 3], grad[1, 1] = 0.0, bad
    _, narrow = layers(64, outputs)
    _, grad_x, weight_grad = run(narrow, x, grad)
    assert not grad_x[1].isfinite().any() and not weight_grad.isfinite().all()


def test_layers_of_blocks_are_replaced_and_their_names_stay() -> None:
    model = Transformer(GPT(layers=2, dim=32, heads=2).config(vocab_size=50, max_length=16))
    names = [name for name, _ in model.named_parameters()]
    assert multiply_in_int8(model) == 2 * 6
    assert [name for name, _ in model.named_parameters()] == names
    assert not isinstance(model.head, Int8Linear)


def test_it_is_refused_where_it_would_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "processor_flags", lambda: frozenset({"avx2"}))
    with pytest.raises(RecipeError, match=r"^pretrain\.precision int8: this processor has none of amx_int8, "):
        choose_training_dtype("int8", CPU)
    with pytest.raises(RecipeError, match=r"^pretrain\.precision int8: it is for processors; on a GPU choose fp8"):
        choose_training_dtype("int8", torch.device("cuda"))
    with pytest.raises(RecipeError, match=r"^finetune\.precision int8: this processor has none of amx_int8, "):
        choose_training_dtype("int8", CPU, key="finetune.precision")
    monkeypatch.setattr(machine, "processor_flags", lambda: frozenset({"avx512_vnni"}))
    assert choose_training_dtype("int8", CPU) == (torch.float32, "int8: as asked, products of blocks; fp32 elsewhere")
