"""What is compiled computes what runs as it is written: attention in blocks, and the loss of a chunk."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from danlu.nn.attention import attend
from danlu.nn.head import chunk_loss


def with_gradients(compiled: bool, tensors: list[Tensor], segments: Tensor | None, grad: Tensor) -> list[Tensor]:
    function = torch.compile(attend, dynamic=False) if compiled else attend
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    out = function(*leaves, segments=segments)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad)]


@pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning")  # torch's own tracing
def test_attention_in_blocks_is_attention() -> None:
    torch.manual_seed(0)
    shapes = [(2, 4, 150, 8), (2, 2, 150, 8), (2, 2, 150, 8)]  # two query heads a key head; three blocks, one short
    tensors = [torch.randn(shape) for shape in shapes]
    segments = torch.randint(3, (2, 150), dtype=torch.int32).sort(dim=1).values
    grad = torch.randn(shapes[0])
    plain = with_gradients(False, tensors, segments, grad)
    for ours, wanted in zip(with_gradients(True, tensors, segments, grad), plain, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cap", [15.0, None])
def test_the_loss_of_a_chunk(cap: float | None) -> None:
    logits, targets = torch.randn(6, 40), torch.tensor([3, 0, -100, 39, 7, 7])
    compiled, plain = logits.clone(), logits.clone()
    loss = torch.compile(chunk_loss, dynamic=False)(compiled, targets, cap)
    torch.testing.assert_close(loss, chunk_loss(plain, targets, cap))
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-6)
    assert not plain.equal(logits)
