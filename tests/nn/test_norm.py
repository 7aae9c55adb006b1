"""RMSNorm against torch's own, LayerNorm against its formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from danlu.nn import config
from danlu.nn.norm import LayerNorm, RMSNorm, make_norm, rms_norm


@pytest.mark.parametrize("eps", [1e-6, 0.5])
def test_equals_torch(eps: float) -> None:
    x = torch.randn(3, 5, 7) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    weight = torch.randn(7)
    norm = RMSNorm(7, eps=eps, weight=True)
    norm.weight = torch.nn.Parameter(weight)
    torch.testing.assert_close(rms_norm(x, eps), F.rms_norm(x, (7,), eps=eps), rtol=1e-6, atol=0)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (7,), weight, eps=eps), rtol=1e-6, atol=0)


def test_half_types_are_normed_in_float32() -> None:
    small = torch.full((1, 64), 1e-4, dtype=torch.float16)  # its square is below float16's smallest number
    torch.testing.assert_close(rms_norm(small, 1e-12), torch.ones_like(small), rtol=1e-3, atol=0)


def test_no_gain_is_no_parameter() -> None:
    assert list(RMSNorm(7, eps=1e-6, weight=False).parameters()) == []
    assert list(LayerNorm(7, eps=1e-6, weight=False, bias=False).parameters()) == []


@pytest.mark.parametrize("weight", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm_equals_its_formula(weight: bool, bias: bool) -> None:
    norm = LayerNorm(7, eps=0.1, weight=weight, bias=bias).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, 5, 7, dtype=torch.float64)
    normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 0.1).sqrt()
    normed = normed * norm.weight if norm.weight is not None else normed
    normed = normed + norm.bias if norm.bias is not None else normed
    torch.testing.assert_close(norm(x), normed, rtol=1e-12, atol=1e-12)


def test_each_record_has_its_module() -> None:
    assert isinstance(make_norm(None, 7), torch.nn.Identity)
    rms, layer = make_norm(config.Norm("rms", 0.5), 7), make_norm(config.Norm("layer", 0.5, bias=True), 7)
    assert isinstance(rms, RMSNorm) and isinstance(layer, LayerNorm)
    assert (rms.eps, layer.eps) == (0.5, 0.5)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]


@pytest.mark.parametrize("weight", [True, False])
def test_rms_gradients_equal_torch_and_little_is_kept(weight: bool) -> None:
    x = torch.randn(3, 5, 7, dtype=torch.float64, requires_grad=True)
    gain = torch.randn(7, dtype=torch.float64, requires_grad=True) if weight else None
    learned = [x] if gain is None else [x, gain]
    kept = 0

    def count(each: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += each.numel()
        return each

    with torch.autograd.graph.saved_tensors_hooks(count, lambda each: each):
        ours = rms_norm(x, 0.1, gain)
    assert kept <= x.numel() + 3 * 5 + 7
    grad = torch.randn_like(x)
    theirs = F.rms_norm(x, (7,), gain, 0.1)
    pairs = zip(torch.autograd.grad(ours, learned, grad), torch.autograd.grad(theirs, learned, grad), strict=True)
    for mine, other in pairs:
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


def test_rms_gradients_of_bfloat16_are_rounded_once() -> None:
    x = torch.randn(4, 300).bfloat16().requires_grad_()
    gain = torch.randn(300).bfloat16().requires_grad_()
    grad = torch.randn(4, 300).bfloat16()
    ours = torch.autograd.grad(rms_norm(x, 1e-5, gain), (x, gain), grad)
    exact = [each.detach().double().requires_grad_() for each in (x, gain)]
    theirs = torch.autograd.grad(F.rms_norm(exact[0], (300,), exact[1], 1e-5), exact, grad.double())
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == torch.bfloat16
        torch.testing.assert_close(mine.double(), other, rtol=2**-7, atol=0.02)
