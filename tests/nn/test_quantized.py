"""Weights in 8 and 4 bits: against numpy and the normal distribution, their memory, and where gradients go."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from danlu.errors import RecipeError
from danlu.nn.families import Llama
from danlu.nn.lora import LoRA, add_adapters
from danlu.nn.quantized import GROUP, LEVELS, NF4, Format, QuantizedLinear, decode, encode, quantize
from danlu.nn.transformer import Transformer

FORMATS: tuple[Format, ...] = ("int8", "int4", "nf4")


def linear(rows: int, columns: int, *, bias: bool = True, scale: float = 1.0) -> nn.Linear:
    layer = nn.Linear(columns, rows, bias=bias)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(rows, columns) * scale)
    return layer


def test_nf4_is_equally_likely_values_of_the_normal_distribution() -> None:
    """The definition by quantiles: 7 steps below 0 and 8 above, from the mean of the two ends that 15 and 16 have."""
    end = 1 - (1 / 32 + 1 / 30) / 2
    inverse = statistics.NormalDist().inv_cdf
    below = [-inverse(p) for p in np.linspace(end, 0.5, 8)[:-1]]
    above = [inverse(p) for p in np.linspace(end, 0.5, 9)[:-1]]
    levels = np.array(sorted([*below, 0.0, *above]))
    np.testing.assert_allclose(NF4, levels / levels.max(), atol=1e-6)


@pytest.mark.parametrize("columns", [64, 192, 100, 7])
@pytest.mark.parametrize("form", FORMATS)
def test_every_weight_becomes_the_nearest_that_there_is(form: Format, columns: int) -> None:
    weight = linear(12, columns).weight.detach()
    layer = QuantizedLinear(linear(12, columns), form)
    layer.codes, layer.scales = encode(weight, form)
    wide = weight.double().numpy()
    expected = np.empty_like(wide)
    width = columns if form == "int8" else GROUP
    for row in range(12):
        for start in range(0, columns, width):
            group = wide[row, start : start + width]
            largest = np.abs(group).max()
            grid = np.arange(-127, 128) / 127 if form == "int8" else np.array(LEVELS[form])
            nearest = np.abs(group[:, None] - largest * grid[None]).argmin(1)
            expected[row, start : start + width] = largest * grid[nearest]
    np.testing.assert_allclose(layer.weight.double().numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("form", "bound"), [("int8", 0.5 / 127), ("int4", 0.5 / 7), ("nf4", (1 - 0.6961928) / 2)])
def test_no_weight_is_further_off_than_half_the_widest_gap(form: Format, bound: float) -> None:
    weight = torch.randn(40, 256)
    layer = QuantizedLinear(nn.Linear(256, 40), form)
    layer.codes, layer.scales = encode(weight, form)
    groups = weight if form == "int8" else weight.unflatten(1, (-1, GROUP))
    error = (layer.weight - weight).abs().view_as(groups)
    assert (error <= bound * groups.abs().amax(-1, keepdim=True) * (1 + 1e-5)).all()


def test_nf4_is_nearer_to_normal_weights_than_int4_and_int8_than_both() -> None:
    weight = torch.randn(64, 1024)
    errors = {}
    for form in FORMATS:
        codes, scales = encode(weight, form)
        levels = None if form == "int8" else torch.tensor(LEVELS[form])
        errors[form] = float((decode(codes, scales, levels, 1024, torch.float32) - weight).square().mean())
    assert errors["int8"] < 0.1 * errors["nf4"] < 0.1 * errors["int4"]


@pytest.mark.parametrize("form", FORMATS)
def test_zeros_stay_zeros(form: Format) -> None:
    layer = nn.Linear(70, 3)
    nn.init.zeros_(layer.weight)
    quantised = QuantizedLinear(layer, form)
    assert torch.equal(quantised.weight, torch.zeros(3, 70))
    quantised.scales.fill_(1.0)
    assert torch.equal(quantised.weight, torch.zeros(3, 70))  # their codes are those of 0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("form", FORMATS)
def test_a_product_is_that_of_the_decoded_weight_and_so_is_its_gradient(form: Format, bias: bool) -> None:
    original = linear(12, 100, bias=bias)
    layer = QuantizedLinear(original, form)
    plain = nn.Linear(100, 12, bias=bias)
    plain.load_state_dict({**original.state_dict(), "weight": layer.weight})
    x = torch.randn(2, 5, 100, requires_grad=True)
    grad = torch.randn(2, 5, 12)
    torch.testing.assert_close(layer(x), plain(x))
    ours, wanted = (torch.autograd.grad(each(x), x, grad)[0] for each in (layer, plain))
    torch.testing.assert_close(ours, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_computes_in_the_type_of_what_comes_in(dtype: torch.dtype) -> None:
    layer = QuantizedLinear(linear(12, 64).to(dtype), "nf4")
    assert layer(torch.randn(3, 64, dtype=dtype)).dtype == layer.weight.dtype == dtype


def kept_for_backward(layer: nn.Module, x: Tensor) -> int:
    """Bytes that the forward pass keeps beside its input."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(x)
    kept.pop(x.data_ptr(), None)
    return sum(kept.values())


@pytest.mark.parametrize("dora", [False, True])
def test_no_decoded_weight_is_kept_for_the_backward_pass(dora: bool) -> None:
    model = nn.Sequential(linear(512, 512, bias=False))
    quantize(model, "nf4", targets=("0",))
    add_adapters(model, LoRA(rank=1, dora=dora, targets=("0",)))
    kept = kept_for_backward(model, torch.randn(1, 512, requires_grad=True))
    assert kept < 0.2 * 512 * 512 * 4


@pytest.mark.parametrize(("form", "bits"), [("int8", 8.0), ("int4", 4.5), ("nf4", 4.5)])
def test_memory_of_a_weight(form: Format, bits: float) -> None:
    layer = QuantizedLinear(linear(256, 1024, bias=False), form)
    scales = 256 * 32 / (256 * 1024) if form == "int8" else 0.0
    stored = sum(buffer.numel() * buffer.element_size() for name, buffer in layer.named_buffers() if name != "levels")
    assert not list(layer.parameters())
    assert stored * 8 / (256 * 1024) == pytest.approx(bits + scales)


def block_bytes(model: Transformer) -> int:
    tensors = [tensor for block in model.blocks for tensor in (*block.parameters(), *block.buffers())]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize(("form", "share"), [("int8", 0.26), ("int4", 0.146), ("nf4", 0.146)])
def test_a_model_in_few_bits(form: Format, share: float) -> None:
    model = Transformer(Llama(layers=1, dim=256, heads=2).config(vocab_size=97, max_length=40))
    model.initialise(0)
    before = block_bytes(model)
    quantize(model, form)
    assert block_bytes(model) < share * before
    names = {name for name, layer in model.named_modules() if isinstance(layer, QuantizedLinear)}
    assert names == {
        f"decoder.blocks.0.{name}"
        for name in ("attention.query", "attention.key", "attention.value", "attention.out", "mlp.up", "mlp.down")
    }


def test_a_model_in_eight_bits_says_nearly_the_same(make_model: Callable[..., Transformer]) -> None:
    model = make_model("llama")
    tokens = torch.randint(0, 97, (2, 20))
    with torch.no_grad():
        plain = model.head(model(tokens))
        quantize(model, "int8")
        off = (model.head(model(tokens)) - plain).norm() / plain.norm()
    assert 1e-4 < off < 0.05


@pytest.mark.parametrize("form", FORMATS)
def test_gradients_reach_the_adapters_only(form: Format, make_model: Callable[..., Transformer]) -> None:
    model = make_model("llama")
    quantize(model, form)
    add_adapters(model, LoRA(rank=2))
    codes = {name: buffer.clone() for name, buffer in model.named_buffers()}
    tokens = torch.randint(0, 97, (2, 20))
    model.head.loss(model(tokens)[:, :-1], tokens[:, 1:]).backward()
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert reached == {name for name, _ in model.named_parameters() if ".adapter." in name}
    assert all(weight.grad.abs().sum() > 0 for name, weight in model.named_parameters() if name.endswith(".b"))
    assert all(torch.equal(buffer, codes[name]) for name, buffer in model.named_buffers())


def test_a_name_that_fits_nothing_is_told(make_model: Callable[..., Transformer]) -> None:
    model: Any = make_model("llama")
    with pytest.raises(RecipeError, match="targets: 'q_proj' names no linear layer; their names end in down, key, "):
        quantize(model, "int8", targets=("q_proj",))
