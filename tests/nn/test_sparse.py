"""Attention over blocks against ``scaled_dot_product_attention`` with the whole mask, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.nn.patterns import BigBird, Fixed, Full, Pattern, Strided, Window
from danlu.nn.sight import Sight
from danlu.nn.sparse import BLOCK, sparse_attention, touches_few

PATTERNS = [
    Window(70), Window(0), Window(30, 50), Strided(128), Strided(20), Strided(7), Fixed(128, 5), Fixed(30, 4), Fixed(9),
    BigBird(), BigBird(block=32, leading=3, seed=4), BigBird(block=48, leading=0), Full(),
]  # fmt: skip
CPU = torch.device("cpu")


def dense(tensors: Sequence[Tensor], pattern: Pattern, *, causal: bool, segments: Tensor | None) -> Tensor:
    q, k, v = tensors
    length = q.shape[2]
    sight = Sight(
        queries=length, keys=length, causal=causal, own=True, device=CPU,
        segments=None if segments is None else (segments, segments),
    )  # fmt: skip
    return F.scaled_dot_product_attention(q, k, v, attn_mask=sight.mask(pattern), scale=0.3)


def documents(length: int, *, rows: int) -> Tensor:
    """Borders that differ from row to row, none of them at the end of a block."""
    positions = torch.arange(length)
    return torch.stack([(positions + 13 * row) // 77 for row in range(rows)])


@pytest.mark.parametrize(
    ("pattern", "packed"),
    [(each, packed) for each in PATTERNS for packed in (False, True) if not packed or not each.by_place],
)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [1, BLOCK, 333])
def test_equals_dense_attention_in_float64(pattern: Pattern, causal: bool, length: int, packed: bool) -> None:
    segments = documents(length, rows=2) if packed else None
    ours = [torch.randn(2, 3, length, 8, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    q, k, v = ours
    out = sparse_attention(q, k, v, pattern=pattern, causal=causal, scale=0.3, segments=segments)
    expected = dense(theirs, pattern, causal=causal, segments=segments)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)
    grad = torch.randn_like(out)
    for got, want in zip(
        torch.autograd.grad(out, ours, grad), torch.autograd.grad(expected, theirs, grad), strict=True
    ):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_smaller_types_are_as_near_as_they_get(dtype: torch.dtype, tolerance: float) -> None:
    q, k, v = (torch.randn(2, 2, 300, 16, dtype=dtype) for _ in range(3))
    segments = documents(300, rows=2)
    out = sparse_attention(q, k, v, pattern=Window(40), causal=True, scale=0.3, segments=segments)
    assert out.dtype == dtype
    expected = dense([q.double(), k.double(), v.double()], Window(40), causal=True, segments=segments)
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled:UserWarning")
@pytest.mark.parametrize("pattern", [Window(70), Strided(30)], ids=str)
def test_nothing_undefined_arises_on_the_way(pattern: Pattern) -> None:
    """A NaN that a mask hides from the result would come back in another compiler or at another length."""
    q, k, v = (torch.randn(1, 2, 130, 8, requires_grad=True) for _ in range(3))
    with torch.autograd.detect_anomaly(check_nan=True):
        sparse_attention(
            q, k, v, pattern=pattern, causal=True, scale=0.3, segments=documents(130, rows=1)
        ).sum().backward()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in (q, k, v))


def test_another_document_has_no_gradient_at_all() -> None:
    q, k, v = (torch.randn(1, 2, 400, 8, requires_grad=True) for _ in range(3))
    segments = torch.cat([torch.zeros(1, 150), torch.ones(1, 250)], dim=1).long()
    for pattern in (Window(200), Strided(30)):
        out = sparse_attention(q, k, v, pattern=pattern, causal=True, scale=0.3, segments=segments)
        for grad in torch.autograd.grad(out[:, :, 150:].square().sum(), (q, k, v)):
            assert grad[:, :, :150].eq(0).all()
            assert grad[:, :, 150:].ne(0).any()


@pytest.mark.parametrize(
    ("pattern", "length", "few"),
    [
        (Window(63), 40 * BLOCK, True),
        (Window(63), 4 * BLOCK, False),  # a short row
        (Window(1000), 40 * BLOCK, False),  # a wide window
        (Fixed(128, 8), 80 * BLOCK, True),
        (Fixed(128, 100), 80 * BLOCK, False),  # most of each block
        (Strided(128), 80 * BLOCK, True),
        (Strided(4), 80 * BLOCK, False),  # a quarter of the row
        (BigBird(), 80 * BLOCK, True),
        (Full(), 40 * BLOCK, False),
    ],
)
def test_it_is_worth_it_where_most_blocks_are_left_out(pattern: Pattern, length: int, few: bool) -> None:
    for causal in (True, False):
        assert touches_few(pattern, length=length, causal=causal, device=CPU) == few


def test_what_inference_mode_has_made_can_be_trained_with() -> None:
    pattern = Window(17)  # of no other test: the table is made here
    with torch.inference_mode():
        inside = torch.randn(1, 1, 290, 4)
        sparse_attention(inside, inside, inside, pattern=pattern, causal=True, scale=1.0, segments=None)
    x = torch.randn(1, 1, 290, 4, requires_grad=True)
    sparse_attention(x, x, x, pattern=pattern, causal=True, scale=1.0, segments=None).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
