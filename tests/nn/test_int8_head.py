"""The head in int8 against ``torch.nn.functional.cross_entropy`` in float64: near, and right in the mean."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from danlu.nn import config, int8_head
from danlu.nn import head as head_module
from danlu.nn.head import LanguageModelHead, losses_of_logits, soft_cap
from danlu.nn.int8 import rounded_by_columns
from danlu.nn.int8_head import Int8LanguageModelHead
from danlu.nn.narrow_loss import LEAST_SHARE, Sums, evenly_spread, narrow_chunk_loss

DIM, VOCAB = 48, 640
pytestmark = pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning")


def make_head(cap: float | None = None, *, spread: float = 0.3, **fields: Any) -> Int8LanguageModelHead:
    head = Int8LanguageModelHead(config.Head(softcap=cap, **fields), dim=DIM, vocab_size=VOCAB)
    for weight in head.parameters():
        torch.nn.init.normal_(weight, std=spread)
    return head


def exact(head: LanguageModelHead, hidden: Tensor, targets: Tensor, *, smoothing: float, z_loss: float) -> list[Tensor]:
    """The loss and its gradients in float64, by what torch has for it."""
    leaves = [each.detach().double().requires_grad_() for each in (hidden, *head.parameters())]
    logits = soft_cap(F.linear(leaves[0], *leaves[1:]), head.softcap)
    loss = F.cross_entropy(logits, targets, ignore_index=-1, label_smoothing=smoothing, reduction="sum")
    loss = loss + z_loss * (logits.logsumexp(-1).square() * (targets >= 0)).sum()
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def ours(head: LanguageModelHead, hidden: Tensor, targets: Tensor, **settings: float) -> list[Tensor]:
    leaf = hidden.clone().requires_grad_()
    loss = head.loss(leaf, targets, **settings)
    return [loss.detach(), *torch.autograd.grad(loss, [leaf, *head.parameters()])]


def texts(count: int = 512) -> tuple[Tensor, Tensor]:
    """Hidden states, and targets of which every fifth is none."""
    targets = torch.randint(0, VOCAB, (count,))
    targets[::5] = -1
    return torch.randn(count, DIM), targets


@pytest.mark.parametrize("cap", [None, 15.0, 200.0])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("smoothing", "z_loss"), [(0.0, 0.0), (0.1, 0.0), (0.0, 1e-2), (0.1, 1e-2)])
@pytest.mark.parametrize(("rows", "few"), [(1000, 1000), (200, 64)])
def test_loss_and_gradients_are_near(
    cap: float | None, bias: bool, smoothing: float, z_loss: float, rows: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (head_module, int8_head):
        monkeypatch.setattr(module, "rows_at_once", lambda _, logits=0: few if logits else rows)
    torch.manual_seed(0)
    head, (hidden, targets) = make_head(cap, bias=bias), texts()
    found = ours(head, hidden, targets, smoothing=smoothing, z_loss=z_loss)
    wanted = exact(head, hidden, targets, smoothing=smoothing, z_loss=z_loss)
    assert found[0].item() == pytest.approx(wanted[0].item(), rel=2e-3)
    for got, want in zip(found[1:], wanted[1:], strict=True):
        assert got.dtype == torch.float32
        assert (got.double() - want).norm() < 0.03 * want.norm()
        assert (got.double() * want).sum().item() == pytest.approx(want.square().sum().item(), rel=1e-2)
    assert not found[1][::5].any()  # tokens without a target have no gradient
    assert (found[2].double() - wanted[2]).norm() > 1e-4 * wanted[2].norm()  # and rounded it is


def test_how_many_sums_the_cache_holds_changes_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head, (hidden, targets) = make_head(spread=0.0), texts()  # of zeros, so that places alone decide
    wanted = ours(head, hidden, targets)
    monkeypatch.setattr(int8_head, "LOGITS_IN_CACHE", VOCAB * 100)
    found = ours(head, hidden, targets)
    assert torch.equal(found[2], wanted[2]) and found[2].any()
    assert found[0].item() == pytest.approx(wanted[0].item(), rel=1e-6)


def test_in_how_many_parts_it_is_done_changes_no_gradient_of_hidden_states(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head, (hidden, targets) = make_head(), texts()
    wanted = ours(head, hidden, targets)[1]
    monkeypatch.setattr(int8_head, "rows_at_once", lambda _, logits=0: 1000 if logits else 200)
    assert torch.equal(ours(head, hidden, targets)[1], wanted)


def test_words_that_are_hardly_ever_right_are_pushed_down() -> None:
    """Each token's share of such a word is a tenth of what int8 can say: to the nearest it would be 0 for all of them,
    and in the mean it is what it is."""
    torch.manual_seed(0)
    head = make_head(spread=1e-3)
    with torch.no_grad():
        head.weight[:10] += 0.05
    hidden = torch.randn(4096, DIM) + 3.0
    targets = torch.randint(0, 10, (4096,))
    found, wanted = ours(head, hidden, targets)[2][10:], exact(head, hidden, targets, smoothing=0.0, z_loss=0.0)[2][10:]
    assert (found.sum(1) / wanted.float().sum(1) - 1.0).abs().max() < 0.4  # some 400 of 4,096 are rounded up
    assert (found.sum() / wanted.sum()).item() == pytest.approx(1.0, abs=0.02)


def test_tokens_that_could_be_anything_push_beside_one_that_is_surely_wrong() -> None:
    """Each row's scale goes into its hidden states, which are then rounded beside those of all other rows."""
    torch.manual_seed(0)
    head, hidden = make_head(spread=1e-3), torch.randn(2048, DIM)
    one = hidden[0] / hidden[0].norm()
    hidden[1:] -= (hidden[1:] @ one)[:, None] * one
    with torch.no_grad():
        head.weight[5] = 3 * one
    found, wanted = (each[2][10:].double() for each in (
        ours(head, hidden, torch.zeros(2048, dtype=torch.int64)),
        exact(head, hidden, torch.zeros(2048, dtype=torch.int64), smoothing=0.0, z_loss=0.0),
    ))  # fmt: skip
    assert ((found * wanted).sum() / wanted.square().sum()).item() == pytest.approx(1.0, abs=0.05)


def test_sums_over_any_vocabulary_stay_within_32_bits() -> None:
    """At the start all words are equally likely, and the first step moves a column of all of them alike: 127 * 127 each
    would be too much for more than 133,144 words."""
    head = Int8LanguageModelHead(config.Head(), dim=2, vocab_size=140_000)
    torch.nn.init.ones_(head.weight)
    [of_hidden] = torch.autograd.grad(head.loss(leaf := torch.zeros(4, 2, requires_grad=True), torch.arange(4)), [leaf])
    assert of_hidden.abs().max() < 0.1  # what all are pushed down by together, 1, less what the target is pulled by


@pytest.mark.parametrize("fields", [{"scale": 0.3}, {"transform": config.Dense("gelu", config.Norm())}], ids=str)
def test_what_comes_before_the_weight_comes_here_too(fields: dict[str, Any]) -> None:
    torch.manual_seed(0)
    head, (hidden, targets) = make_head(**fields), texts()
    plain = LanguageModelHead(config.Head(**fields), dim=DIM, vocab_size=VOCAB).double()
    plain.load_state_dict(head.state_dict())
    for got, want in zip(ours(head, hidden, targets), ours(plain, hidden.double(), targets), strict=True):
        assert (got.double() - want).norm() < 0.03 * want.norm()


@pytest.mark.parametrize("sums", [torch.zeros(256, 512, dtype=torch.int32),
                                  (torch.randn(256, 512) * 3e4).to(torch.int32)], ids=["zeros", "sums"])  # fmt: skip
def test_what_decides_is_even_in_every_row_and_every_column(sums: Tensor) -> None:
    """Over a row or a column of n: as many in each quarter as chance allows, five deviations."""
    shares = evenly_spread(sums, torch.tensor(7, dtype=torch.int32))
    assert shares.min() > 0.0 and shares.max() < 1.0
    for axis in (0, 1):
        count = shares.shape[axis]
        for quarter in range(4):
            there = (shares * 4).int().eq(quarter).sum(axis)
            assert (there - count / 4).abs().max() <= 5 * (count * 3 / 16) ** 0.5


def test_what_decides_depends_on_the_place_in_all_of_the_text() -> None:
    sums = torch.zeros(64, 100, dtype=torch.int32)
    whole = evenly_spread(sums, torch.tensor(0, dtype=torch.int32))
    assert torch.equal(whole[40:], evenly_spread(sums[40:], torch.tensor(40, dtype=torch.int32)))
    assert not torch.equal(whole[:24], whole[40:])


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10**6), st.sampled_from([None, 0.5, 15.0, 40.0]), st.sampled_from([0.0, 0.1, 0.9]),
    st.sampled_from([0.0, 1e-4, 0.5]), st.floats(1e-3, 1e3),
)  # fmt: skip
def test_no_share_wraps_around(seed: int, cap: float | None, smoothing: float, z_loss: float, spread: float) -> None:
    """An integer beyond 127 would be one of the other sign."""
    torch.manual_seed(seed)
    sums = Sums(
        (torch.randn(5, 37) * 3e4).to(torch.int32), torch.full((5, 1), spread / 3e4), torch.ones(1, 37), None,
        torch.tensor(seed % 1000, dtype=torch.int32),
    )  # fmt: skip
    logits, targets = sums.sums_NV.float() * sums.scale_N1, torch.randint(0, 37, (5,))
    push = torch.empty(5, 37, dtype=torch.int8)
    found = narrow_chunk_loss(sums, targets, push, cap, smoothing, z_loss)
    wanted = losses_of_logits(logits, logits.gather(1, targets[:, None]), cap, smoothing=smoothing, z_loss=z_loss)
    exact = (wanted.push_NV * wanted.slope_NV).scatter(1, targets[:, None], 0.0)
    assert ((push * found.scale_N1 - exact).abs() <= 1.0001 * found.scale_N1).all()
    if cap is None:
        there = exact.abs().amax(1) > LEAST_SHARE
        assert (push.int().abs().amax(1) >= 126)[there].all()  # and all of int8 is used


@pytest.mark.parametrize("sure", [0.0, 5.0, 9.0, 13.0, 16.0, 40.0])
def test_what_is_left_of_the_gradient_where_words_are_nearly_right(sure: float) -> None:
    """A share of nearly 1 has no part in what is rounded: other words' rounding is small beside what is left."""
    torch.manual_seed(1)
    head = make_head()
    with torch.no_grad():
        head.weight /= head.weight.norm(dim=1, keepdim=True)
    targets = torch.arange(VOCAB).repeat(4)
    hidden = head.weight.detach()[targets] * sure * 2
    found, wanted = ours(head, hidden, targets)[1:], exact(head, hidden, targets, smoothing=0.0, z_loss=0.0)[1:]
    off, size = (each.norm(dim=1) for each in (found[0].double() - wanted[0], wanted[0]))
    step = LEAST_SHARE / 127  # at the least: noise is the root of a step times what is rounded, or a few steps
    assert (off <= 0.15 * size + 5 * (step * size).sqrt() + 4 * step).all()
    along = (found[0].double() * wanted[0]).sum().item()
    assert along == pytest.approx(wanted[0].square().sum().item(), rel=0.05, abs=1e-9)


def test_without_gradients_nothing_is_rounded() -> None:
    torch.manual_seed(0)
    head, (hidden, targets) = make_head(15.0, bias=True), texts()
    plain = LanguageModelHead(config.Head(softcap=15.0, bias=True), dim=DIM, vocab_size=VOCAB)
    plain.load_state_dict(head.state_dict())
    with torch.no_grad():
        assert torch.equal(head.loss(hidden, targets), plain.loss(hidden, targets))
    assert torch.equal(head(hidden), plain(hidden))


def test_a_frozen_head_hands_gradients_through_and_no_tokens_are_no_loss() -> None:
    torch.manual_seed(0)
    head, (hidden, targets) = make_head(bias=True), texts()
    wanted = ours(head, hidden, targets)[1]
    empty = ours(head, hidden[:0], targets[:0])
    assert empty[0] == 0.0 and empty[1].shape == (0, DIM) and not empty[2].any() and not empty[3].any()
    head.requires_grad_(False)
    leaf = hidden.clone().requires_grad_()
    head.loss(leaf, targets).backward()
    assert leaf.grad is not None and torch.equal(leaf.grad, wanted)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_rounded_away(bad: float) -> None:
    torch.manual_seed(0)
    for cap in (None, 15.0):
        head, (hidden, targets) = make_head(cap), texts()
        hidden[3, 4] = bad
        loss, of_hidden, of_weight = ours(head, hidden, targets)
        assert not loss.isfinite() and not of_hidden[3].isfinite().any() and of_hidden[4].isfinite().all()
        assert not of_weight.isfinite().all()


def test_the_scale_of_the_loss_is_that_of_its_gradients() -> None:
    torch.manual_seed(0)
    head, (hidden, targets) = make_head(bias=True), texts()
    leaf = hidden.clone().requires_grad_()
    scaled = torch.autograd.grad(head.loss(leaf, targets) / 7, [leaf, *head.parameters()])
    for got, want in zip(scaled, ours(head, hidden, targets)[1:], strict=True):
        torch.testing.assert_close(got, want / 7)


def test_bfloat16_comes_out_as_it_went_in() -> None:
    torch.manual_seed(0)
    head, (hidden, targets) = make_head(15.0, bias=True).bfloat16(), texts()
    found = ours(head, hidden.bfloat16(), targets)
    assert found[0].dtype == torch.float32 and all(each.dtype == torch.bfloat16 for each in found[1:])
    wanted = exact(head, hidden.bfloat16(), targets, smoothing=0.0, z_loss=0.0)
    for got, want in zip(found[1:], wanted[1:], strict=True):
        assert (got.double() - want).norm() < 0.1 * want.norm()


def test_columns_are_rounded_by_themselves() -> None:
    torch.manual_seed(0)
    x = torch.randn(40, 6) * torch.tensor([1e-6, 1.0, 1e6, 3.0, 1e-3, 0.0])
    whole, scale = rounded_by_columns(x)
    assert whole.dtype == torch.int8 and scale.shape == (1, 6)
    assert (whole.abs().amax(0)[:5] == 127).all() and not whole[:, 5].any()
    assert ((whole.double() * scale.double() - x.double()).abs() <= 0.501 * scale.double()).all()


def test_compiled_it_computes_what_runs_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(int8_head, "LOGITS_IN_CACHE", VOCAB * 128)  # four chunks of the cache
    head, (hidden, targets) = make_head(15.0, bias=True), texts()
    wanted = ours(head, hidden, targets)
    head.compile_loss(dynamic=False)
    found = ours(head, hidden, targets)
    torch._dynamo.reset()
    for got, want in zip(found, wanted, strict=True):  # a gradient on the brink may be rounded the other way
        assert (got - want).norm() <= 2e-3 * want.norm()
    head.without_compilation()
    assert all(torch.equal(got, want) for got, want in zip(ours(head, hidden, targets), wanted, strict=True))
