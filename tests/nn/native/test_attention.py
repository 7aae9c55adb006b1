"""Attention in C++ against the formula in float64, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.nn import config
from danlu.nn.attention import Attention, Context
from danlu.nn.blocked import LONGEST, BlockedAttention
from danlu.nn.native import attention
from danlu.nn.native.attention import NativeAttention, can_attend
from danlu.nn.sight import PADDING, Sight

SCALE = 0.3
NEAR = 0.006
"""Of bfloat16, by the norm: its numbers are right to 2^-9, and a gradient is a product of rounded ones."""

pytestmark = pytest.mark.skipif(
    not attention.HERE, reason="this processor has no AVX512-BF16, or AMX as well, with which torch's products are used"
)


def inputs(*sizes: int, heads: int = 3, width: int = 32, rows: int = 2, seed: int = 0) -> list[Tensor]:
    """Of each size a tensor ``[rows, heads, size, width]`` as projections give them, token by token."""
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(rows, size, heads, width, generator=generator).bfloat16() for size in sizes]
    return [each.transpose(1, 2) for each in made]


def seen_by(segments: tuple[Tensor, Tensor] | None, length: int, keys: int, *, causal: bool) -> Tensor:
    """Who sees whom, ``[rows or 1, 1, length, keys]``."""
    seen = torch.ones(1, 1, length, keys, dtype=torch.bool)
    if segments is not None:
        queries = segments[0][:, None, :, None]
        seen = (queries == segments[1][:, None, None, :]) | (queries == PADDING)
    return seen & torch.ones(length, keys, dtype=torch.bool).tril() if causal else seen


def compare(
    given: Sequence[Tensor],
    segments: tuple[Tensor, Tensor] | None = None,
    *,
    causal: bool = False,
    bias: Tensor | None = None,
    learned: bool = True,
) -> None:
    """Output and all gradients with those of float64."""
    grad = torch.randn(given[0].shape, generator=torch.Generator().manual_seed(9)).bfloat16()
    everything = [*given] if bias is None else [*given, bias]
    ours = [each.detach().clone().requires_grad_(each is not bias or learned) for each in everything]
    exact = [each.detach().double().requires_grad_(each is not bias or learned) for each in everything]
    out = NativeAttention.apply(*ours[:3], segments, ours[3] if bias is not None else None, causal, SCALE)  # type: ignore[no-untyped-call]
    scores = exact[0] @ exact[1].mT * SCALE + (0.0 if bias is None else exact[3])
    seen = seen_by(segments, given[0].shape[2], given[1].shape[2], causal=causal)
    wanted = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ exact[2]
    learning = slice(None) if learned else slice(3)
    found = [out, *torch.autograd.grad(out, ours[learning], grad)]
    right = [wanted, *torch.autograd.grad(wanted, exact[learning], grad.double())]
    for mine, other in zip(found, right, strict=True):
        assert mine.dtype == torch.bfloat16
        assert (mine.double() - other).norm() <= NEAR * other.norm() + 1e-12


@pytest.mark.parametrize("length", [2, 5, 31, 33, 64, 77, 128, 200, 513])
@pytest.mark.parametrize("documents", [1, 3])
@pytest.mark.parametrize("causal", [True, False])
def test_output_and_gradients_equal_the_formula_in_float64(length: int, documents: int, causal: bool) -> None:
    generator = torch.Generator().manual_seed(length)
    segments = torch.randint(documents, (2, length), generator=generator).sort(dim=1).values
    given = inputs(length, length, length, seed=length)
    compare(given, (segments, segments) if documents > 1 else None, causal=causal)


@pytest.mark.parametrize("width", attention.WIDTHS)
def test_heads_of_all_widths(width: int) -> None:
    compare(inputs(70, 70, 70, width=width), causal=True)


def test_documents_in_any_order() -> None:
    """Numbers need not grow: a mask says who sees whom, and only what is skipped goes by the least and the largest."""
    segments = torch.randint(4, (2, 300), generator=torch.Generator().manual_seed(1))
    compare(inputs(300, 300, 300), (segments, segments))
    compare(inputs(300, 300, 300), (segments, segments), causal=True)


@pytest.mark.parametrize("causal", [True, False])
def test_padding_sees_all_and_is_seen_by_nobody(causal: bool) -> None:
    segments = torch.arange(150).div(60, rounding_mode="floor").repeat(2, 1)
    segments[0, 100:] = PADDING
    compare(inputs(150, 150, 150), (segments, segments), causal=causal)


def test_queries_look_at_other_keys_of_their_document() -> None:
    """As a decoder looks at an encoder's output."""
    of_queries, of_keys = (torch.arange(n).div(n // 3, rounding_mode="floor").repeat(2, 1) for n in (90, 150))
    of_queries[1, 80:] = PADDING  # which no key is
    compare(inputs(90, 150, 150), (of_queries, of_keys))
    compare(inputs(90, 331, 331))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("learned", [True, False])
def test_a_bias_of_scores_is_added_and_learned(causal: bool, learned: bool) -> None:
    bias = torch.randn(1, 3, 130, 130, generator=torch.Generator().manual_seed(3)).bfloat16()
    segments = torch.arange(130).div(50, rounding_mode="floor").repeat(2, 1)
    compare(inputs(130, 130, 130), (segments, segments), causal=causal, bias=bias, learned=learned)


def test_a_bias_for_other_keys() -> None:
    bias = torch.randn(1, 3, 45, 75, generator=torch.Generator().manual_seed(3)).bfloat16()
    compare(inputs(45, 75, 75), bias=bias)


@pytest.mark.parametrize("causal", [True, False])
def test_another_document_has_no_gradient_at_all(causal: bool) -> None:
    q, k, v = (each.requires_grad_() for each in inputs(200, 200, 200))
    segments = torch.cat([torch.zeros(2, 90), torch.ones(2, 110)], dim=1).long()
    NativeAttention.apply(q, k, v, (segments, segments), None, causal, SCALE)[:, :, 90:].square().sum().backward()  # type: ignore[no-untyped-call]
    for tensor in (q, k, v):
        assert tensor.grad is not None
        assert tensor.grad[:, :, :90].eq(0).all()
        assert tensor.grad[:, :, 90:].ne(0).any()


def test_a_token_by_itself_keeps_its_value() -> None:
    q, k, v = (each.requires_grad_() for each in inputs(1, 1, 1))
    out = NativeAttention.apply(q, k, v, None, None, True, SCALE)  # type: ignore[no-untyped-call]
    assert torch.equal(out, v)
    of_q, of_k, of_v = torch.autograd.grad(out, (q, k, v), torch.ones_like(out))
    assert of_v.eq(1).all()
    assert of_q.abs().max() < 1e-2 and of_k.abs().max() < 1e-2


def test_scores_far_apart_neither_overflow_nor_vanish() -> None:
    q, k, v = inputs(40, 40, 40)
    given = [each.requires_grad_() for each in (q * 100, k * 100, v)]
    out = NativeAttention.apply(*given, None, None, True, SCALE)  # type: ignore[no-untyped-call]
    q, k, v = (each.detach().double() for each in given)
    scores = (q @ k.mT * SCALE).masked_fill(~seen_by(None, 40, 40, causal=True), -torch.inf)
    assert scores[scores.isfinite()].abs().max() > 1e4
    torch.testing.assert_close(out.double(), scores.softmax(-1) @ v, rtol=2e-2, atol=2e-2)
    for gradient in torch.autograd.grad(out.float().sum(), given):
        assert gradient.isfinite().all()


def test_where_no_score_is_finite_nothing_else_is_read() -> None:
    """What is hidden from a query must not stand in for what it sees: NaN, which trainings look for, as by softmax."""
    q, k, v = inputs(40, 40, 40)
    k[:, :, :6, 0] = -1.0
    q[0, 0, 5, 0] = torch.inf
    out = NativeAttention.apply(q, k, v, None, None, True, SCALE)  # type: ignore[no-untyped-call]
    assert out[0, 0, 5].isnan().all() and out[0, 0, :5].isfinite().all() and out[0, 1:].isfinite().all()
    of_queries, of_keys = torch.zeros(2, 40), torch.zeros(2, 40)
    of_queries[:, 30:] = 1
    out = NativeAttention.apply(q, k, v, (of_queries, of_keys), None, False, SCALE)  # type: ignore[no-untyped-call]
    assert out[:, :, 30:].isnan().all() and out[1, :, :30].isfinite().all()


def test_rows_longer_than_the_other_way_takes() -> None:
    compare(inputs(2100, 2100, 2100, heads=1, rows=1), causal=True)


def test_tensors_that_lie_otherwise_in_memory() -> None:
    """Heads that are shared, rows of an odd stride, another layout of the gradient."""
    q, k, v = inputs(50, 50, 50)
    compare([q.contiguous(), k[:, :1].expand(-1, 3, -1, -1), v])
    odd = F.pad(k, (0, 1))[..., :-1]
    assert odd.stride(2) % 2
    compare([q, odd, v], causal=True)
    crosswise = v.mT.contiguous().mT
    assert crosswise.stride(3) != 1
    compare([q, k, crosswise])


def test_threads_change_no_bit() -> None:
    threads, outs = torch.get_num_threads(), []
    bias = torch.randn(1, 3, 130, 130, generator=torch.Generator().manual_seed(3)).bfloat16()
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            given = [each.requires_grad_() for each in (*inputs(130, 130, 130), bias.clone())]
            out = NativeAttention.apply(*given[:3], None, given[3], False, SCALE)  # type: ignore[no-untyped-call]
            outs.append([out, *torch.autograd.grad(out.float().square().sum(), given)])
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(*outs, strict=True):
        assert torch.equal(one, other)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # which torch's tracer does
def test_the_compiler_traces_it() -> None:
    """With the same bits, and the same as far as bfloat16 goes as what it makes of blocks itself."""
    segments = torch.arange(130).div(50, rounding_mode="floor").repeat(2, 1)

    def native(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return NativeAttention.apply(q, k, v, (segments, segments), None, True, SCALE)  # type: ignore[no-any-return, no-untyped-call]

    def blocked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return BlockedAttention.apply(q, k, v, (segments, segments), None, True, SCALE)  # type: ignore[no-any-return, no-untyped-call]

    found = []
    for way in (native, torch.compile(native, dynamic=False), torch.compile(blocked, dynamic=False)):
        given = [each.requires_grad_() for each in inputs(130, 130, 130)]
        out = way(*given)
        found.append([out, *torch.autograd.grad(out.float().square().sum(), given)])
    for plain, traced, blocks in zip(*found, strict=True):
        assert torch.equal(plain, traced)
        assert (plain - blocks).float().norm() < 2 * NEAR * blocks.float().norm()


@pytest.mark.parametrize("with_bias", [True, False])
def test_the_operators_are_what_they_are_declared_to_be(with_bias: bool) -> None:
    """Torch's own checks of schema, shapes and strides."""
    q, k, v = inputs(20, 30, 30)
    segments = torch.zeros(2, 20, dtype=torch.int32), torch.zeros(2, 30, dtype=torch.int32)
    bias = torch.randn(1, 3, 20, 30).bfloat16() if with_bias else None
    given = (q, k, v, *segments, bias, False, SCALE, 6554, torch.tensor([-3]))
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.danlu.attend.default, given, test_utils=checks)
    out, log = torch.ops.danlu.attend(*given)
    torch.library.opcheck(
        torch.ops.danlu.attend_backward.default, (*given, out, log, torch.ones_like(out), with_bias), test_utils=checks
    )


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("rate", [0.0, 0.2])
def test_documents_of_a_row_go_this_way_in_trainings(
    rate: float, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That asked for it, with gradients or without; what only reads goes the other way, to the same but for dropout."""
    called: list[dict[str, int]] = []
    load = attention.load
    monkeypatch.setattr(attention, "load", lambda name, **numbers: called.append(numbers) or load(name, **numbers))
    module = Attention(config.Attention(heads=2, kv_heads=1, head_dim=32, dropout=rate), 48).bfloat16()
    segments = torch.arange(60).div(25, rounding_mode="floor")[None]
    given = (segments, segments)
    sight = Sight(queries=60, keys=60, causal=causal, own=True, device=torch.device("cpu"), segments=given)
    x = torch.randn(1, 60, 48, generator=torch.Generator().manual_seed(1)).bfloat16()
    module(x, Context(sight)).sum().backward()
    assert not called
    module.native = True
    torch.manual_seed(5)
    out = module(x, Context(sight))
    out.sum().backward()
    assert called == [{"HEAD": 32}] * 2
    assert torch.equal(module(x, Context(sight)), out) is (rate == 0.0)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    with torch.no_grad():  # as trainings read first that go through a batch in parts
        again, _ = module(x, Context(sight)), module(x, Context(sight))
    assert torch.equal(again, out) and torch.equal(torch.get_rng_state(), state)
    module.dropout = 0.0
    native = module(x, Context(sight))
    assert len(called) == 6
    module.eval()
    plain = module(x, Context(sight))
    assert len(called) == 6
    assert (native - plain).float().norm() < 2 * NEAR * plain.float().norm()


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("kv_heads", [1, 2])
def test_one_token_of_each_document_sees_all_of_it(kv_heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the last block of a classifier: the same as for all tokens, and the same gradients."""
    module = Attention(config.Attention(heads=2, kv_heads=kv_heads, head_dim=32), 48).bfloat16()
    module.native = True
    segments = torch.tensor([0] * 25 + [1] * 30 + [2] * 5)[None]
    given = (segments, segments)
    sight = Sight(queries=60, keys=60, causal=False, own=True, device=torch.device("cpu"), segments=given)
    only = torch.tensor([0, 25, 59])
    x = torch.randn(1, 60, 48, generator=torch.Generator().manual_seed(1)).bfloat16()
    monkeypatch.setattr("danlu.nn.attention.attend_once", lambda *_, **__: pytest.fail("the other way"))
    outs = [module(x, Context(sight)).index_select(1, only), module(x, Context(sight, only=only))]
    grads = [torch.autograd.grad(out.float().square().sum(), list(module.parameters())) for out in outs]
    for all_tokens, once in zip([outs[0], *grads[0]], [outs[1], *grads[1]], strict=True):
        assert (once - all_tokens).float().norm() < 2 * NEAR * all_tokens.float().norm() + 1e-6


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("length", [40, LONGEST + 8])
def test_a_compiled_model_goes_this_way(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in rows that are too long for the other one."""
    called = []
    load = attention.load
    monkeypatch.setattr(attention, "load", lambda name, **numbers: called.append(numbers) or load(name, **numbers))
    module = Attention(config.Attention(heads=2, kv_heads=1, head_dim=32), 48).bfloat16()
    sight = Sight(queries=length, keys=length, causal=True, own=True, device=torch.device("cpu"))
    x = torch.randn(1, length, 48, generator=torch.Generator().manual_seed(1)).bfloat16()
    plain = module(x, Context(sight))
    assert not called
    out = torch.compile(module, dynamic=False)(x, Context(sight))
    out.sum().backward()
    assert called == [{"HEAD": 32}] * 2
    assert (out - plain).float().norm() < 2 * NEAR * plain.float().norm()


def test_what_it_is_for() -> None:
    q = torch.zeros(1, 2, 5, 64, dtype=torch.bfloat16)
    assert can_attend(q, None)
    assert can_attend(q, torch.zeros(1, 2, 5, 5, dtype=torch.bfloat16))
    assert not can_attend(q, torch.zeros(1, 2, 5, 5))  # a slope by distance would be rounded
    assert not can_attend(q.float(), None)
    assert not can_attend(q[..., :40], None)
    assert not can_attend(q, torch.zeros(2, 2, 5, 5, dtype=torch.bfloat16))
    assert not can_attend(q, torch.zeros(1, 1, 5, 5, dtype=torch.bfloat16))
