"""The chunked loss against ``torch.nn.functional.cross_entropy`` of all logits at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.nn import config
from danlu.nn import head as head_module
from danlu.nn.head import LanguageModelHead, soft_cap


def make_head(cap: float | None, **fields: Any) -> LanguageModelHead:
    head = LanguageModelHead(config.Head(softcap=cap, **fields), dim=24, vocab_size=53)
    for weight in head.parameters():
        torch.nn.init.normal_(weight)
    return head


def gradients(loss: Tensor, *leaves: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, leaves))


@pytest.mark.parametrize("cap", [None, 3.0, 15.0, 30.0, 31.0, 200.0])
@pytest.mark.parametrize(("rows", "few"), [(1, 1), (7, 2), (1000, 4), (1000, 1000)])
def test_loss_and_gradients_equal_cross_entropy(
    cap: float | None, rows: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_module, "rows_at_once", lambda _, logits=0: few if logits else rows)
    head = make_head(cap)
    hidden = torch.randn(3, 10, 24, requires_grad=True)
    targets = torch.randint(0, 53, (3, 10))
    targets[0, 3:8] = -100
    targets[2, 9] = -100
    ours = head.loss(hidden, targets)
    logits = soft_cap(hidden.double() @ head.weight.double().T, cap)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")
    assert ours.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(head(hidden).double(), logits, rtol=1e-5, atol=1e-5)
    for got, want in zip(
        gradients(3 * ours, hidden, head.weight), gradients(3 * expected, hidden, head.weight), strict=True
    ):
        assert (got - want).abs().max() <= 1e-6 * max(1.0, (cap or 0.0) / 20) * want.abs().max()
    assert gradients(head.loss(hidden, targets), hidden)[0][0, 3:8].eq(0).all()


@pytest.mark.parametrize("cap", [None, 15.0])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_losses_of_tokens_and_gradients_of_any_function_of_them(
    temperature: float, cap: float | None, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_module, "LOGITS_AT_ONCE", 53 * 4)
    monkeypatch.setattr(head_module, "LOGITS_IN_CACHE", 53 * 3)
    head = make_head(cap, bias=bias).double()
    hidden = torch.randn(10, 24, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 53, (10,))
    targets[3] = -100
    weights = torch.randn(10, dtype=torch.float64)
    ours = head.token_losses(hidden, targets, temperature=temperature)
    expected = F.cross_entropy(head(hidden) / temperature, targets, ignore_index=-100, reduction="none")
    torch.testing.assert_close(ours, expected)
    leaves = (hidden, *head.parameters())
    for got, want in zip(
        gradients((weights * ours).sum().sin(), *leaves), gradients((weights * expected).sum().sin(), *leaves),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_losses_of_tokens_on_a_gpu_in_several_chunks(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "LOGITS_ON_GPU", 53 * 16)
    head = make_head(None).to("cuda", dtype)
    hidden = torch.randn(70, 24, device="cuda", dtype=dtype, requires_grad=True)
    targets = torch.randint(0, 53, (70,), device="cuda")
    weights = torch.randn(70, device="cuda")
    ours = head.token_losses(hidden, targets)
    expected = F.cross_entropy(head(hidden).float(), targets, reduction="none")
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 3e-2, "atol": 3e-2}
    torch.testing.assert_close(ours, expected, **close)
    ours, expected = (weights * ours).sum(), (weights * expected).sum()
    for got, want in zip(
        gradients(ours, hidden, head.weight), gradients(expected, hidden, head.weight), strict=True
    ):  # fmt: skip
        assert (got - want).abs().max() <= close["rtol"] * want.abs().max()


def test_losses_of_tokens_where_nothing_is_there_or_the_head_is_frozen() -> None:
    head = make_head(None).requires_grad_(False)
    hidden = torch.randn(6, 24, requires_grad=True)
    head.token_losses(hidden, torch.arange(6)).square().sum().backward()
    assert hidden.grad is not None and hidden.grad.abs().sum() > 0
    assert head.token_losses(hidden[:0], torch.arange(0)).shape == (0,)


def test_losses_of_tokens_never_have_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "LOGITS_AT_ONCE", 53 * 4)
    head = make_head(None)
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[name-defined,misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            seen.extend(len(each) for each in (out if isinstance(out, tuple | list) else [out])
                        if isinstance(each, Tensor) and each.ndim == 2 and each.shape[1] == 53)  # fmt: skip
            return out

    hidden = torch.randn(40, 24, requires_grad=True)
    with Watch():
        head.token_losses(hidden, torch.arange(40)).square().sum().backward()
    assert max(set(seen) - {24}) == 4  # 24 are the rows of the transposed weight


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("cap", [None, 15.0])
def test_so_they_do_on_a_gpu_in_several_chunks(
    compiled: bool, cap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_module, "LOGITS_ON_GPU", 53 * 16)
    head = make_head(cap).cuda()
    if compiled:
        head.chunk_loss = torch.compile(head_module.chunk_loss, dynamic=None)
    for count in (40, 53, 16, 70):  # the last chunk is of another length each time
        hidden = torch.randn(count, 24, device="cuda", requires_grad=True)
        targets = torch.randint(0, 53, (count,), device="cuda")
        targets[3:8] = -100
        ours = head.loss(hidden, targets)
        logits = soft_cap(hidden.double() @ head.weight.double().T, cap)
        expected = F.cross_entropy(logits, targets, ignore_index=-100, reduction="sum")
        assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
        for got, want in zip(
            gradients(ours, hidden, head.weight), gradients(expected, hidden, head.weight), strict=True
        ):
            assert (got - want).abs().max() <= 1e-5 * want.abs().max()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_so_they_do_in_half_the_width(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "LOGITS_ON_GPU", 53 * 16)
    head = make_head(None).to("cuda", dtype)
    hidden = torch.randn(70, 24, device="cuda", dtype=dtype, requires_grad=True)
    targets = torch.randint(0, 53, (70,), device="cuda")
    exact = head.weight.detach().double().requires_grad_()
    expected = F.cross_entropy(hidden.double() @ exact.T, targets, reduction="sum")
    (ours,) = gradients(head.loss(hidden, targets), head.weight)
    (wanted,) = gradients(expected, exact)
    assert (ours - wanted).norm() < 1e-2 * wanted.norm()


TRANSFORM = config.Dense("gelu", config.Norm("layer", 1e-5, bias=True))


@pytest.mark.parametrize("rows", [7, 1000])
@pytest.mark.parametrize(
    "fields",
    [{"bias": True}, {"scale": 0.3}, {"transform": TRANSFORM}, {"bias": True, "scale": 2.0, "transform": TRANSFORM}],
)
def test_bias_scale_and_transform_are_learned_too(
    fields: dict[str, Any], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss and every gradient equal those of the logits, which equal the formula of a masked-LM head."""
    monkeypatch.setattr(head_module, "rows_at_once", lambda _, logits=0: rows)
    head = make_head(20.0, **fields).double()
    hidden, targets = torch.randn(3, 10, 24, dtype=torch.float64, requires_grad=True), torch.randint(-1, 53, (3, 10))
    inside: Tensor = hidden
    if head.transform is not None:
        dense, norm = head.transform.dense, head.transform.norm
        inside = F.layer_norm(F.gelu(hidden @ dense.weight.T + dense.bias), (24,), norm.weight, norm.bias, 1e-5)  # type: ignore[arg-type]
    bias = head.bias if head.bias is not None else 0.0
    logits = soft_cap(inside * fields.get("scale", 1.0) @ head.weight.T + bias, 20.0)
    torch.testing.assert_close(head(hidden), logits, rtol=1e-10, atol=1e-10)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum")
    ours = head.loss(hidden, targets)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    leaves = [hidden, *head.parameters()]
    for got, want in zip(gradients(ours, *leaves), gradients(expected, *leaves), strict=True):
        assert (got - want).norm() <= 1e-5 * want.norm() + 1e-5


def test_nothing_scored_is_a_loss_of_zero() -> None:
    head = make_head(15.0)
    hidden = torch.randn(4, 24, requires_grad=True)
    loss = head.loss(hidden, torch.full((4,), -100))
    assert loss.item() == 0
    assert all(grad.eq(0).all() for grad in gradients(loss, hidden, head.weight))


def test_bfloat16_is_summed_in_float32() -> None:
    head = make_head(15.0).bfloat16()
    hidden = torch.randn(500, 24).bfloat16()
    targets = torch.randint(0, 53, (500,))
    loss = head.loss(hidden, targets)
    assert loss.dtype == torch.float32
    expected = F.cross_entropy(soft_cap(hidden.float() @ head.weight.float().T, 15.0), targets, reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=2e-3)


@pytest.mark.parametrize(("rows", "few"), [(500, 500), (500, 7), (130, 50)])
def test_bfloat16_gradients_of_parts_are_those_of_the_whole(
    rows: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within bfloat16's rounding; parts are views with an offset, which the loss turns into gradients in place."""
    monkeypatch.setattr(head_module, "rows_at_once", lambda _, logits=0: few if logits else rows)
    head = make_head(15.0).bfloat16()
    hidden = torch.randn(500, 24).bfloat16().requires_grad_()
    targets = torch.randint(0, 53, (500,))
    ours = gradients(head.loss(hidden, targets), hidden, head.weight)
    leaves = [hidden.detach().double().requires_grad_(), head.weight.detach().double().requires_grad_()]
    logits = soft_cap(leaves[0] @ leaves[1].T, 15.0)
    for got, want in zip(ours, gradients(F.cross_entropy(logits, targets, reduction="sum"), *leaves), strict=True):
        assert got.dtype == torch.bfloat16
        assert (got.double() - want).norm() < 0.01 * want.norm()


@pytest.mark.parametrize("rows", [8192, 1000])
def test_float16_gradients_of_many_tokens_are_finite_once_they_are_divided(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their sum is above 65,504, the largest number of the type, whatever the scale of the loss; what it is divided by
    comes in later."""
    monkeypatch.setattr(head_module, "rows_at_once", lambda _, logits=0: 1000 if logits else rows)
    torch.manual_seed(3)
    head = make_head(None, bias=True)
    with torch.no_grad():
        head.weight.mul_(0.02)
    head = head.half()
    hidden = (torch.randn(8192, 24) + 20.0).half().requires_grad_()
    targets = torch.where(torch.arange(8192) % 10 > 0, 7, torch.arange(8192) % 53)
    leaves = [hidden, head.weight, head.bias]
    wide = [each.detach().double().requires_grad_() for each in leaves]
    expected = F.cross_entropy(wide[0] @ wide[1].T + wide[2], targets, reduction="sum")
    (whole,) = torch.autograd.grad(expected, wide[1], retain_graph=True)
    assert whole.abs().max() > torch.finfo(torch.float16).max
    ours = gradients(head.loss(hidden, targets) / 8192 * 256.0, *leaves)
    for got, want in zip(ours, gradients(expected / 8192 * 256.0, *wide), strict=True):
        assert got.dtype == torch.float16
        assert (got.double() - want).norm() < 0.01 * want.norm()


def test_where_no_gradient_is_asked_for_none_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    head = make_head(15.0)
    hidden, targets = torch.randn(9, 24), torch.randint(0, 53, (9,))
    with_gradients = head.loss(hidden, targets)
    products: list[int] = []
    real = torch.mm

    def counted(*given: Any, **rest: Any) -> Tensor:
        products.append(1)
        return real(*given, **rest)

    monkeypatch.setattr(torch, "mm", counted)
    with torch.no_grad():
        assert head.loss(hidden, targets).equal(with_gradients.detach())
    assert len(products) == 1


@pytest.mark.parametrize("bias", [False, True])
def test_a_frozen_weight_gets_no_gradient_and_changes_no_other(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "LOGITS_AT_ONCE", 40)  # four rows at a time
    found = {}
    for frozen in (False, True):
        head = LanguageModelHead(config.Head(bias=bias), dim=6, vocab_size=10)
        torch.manual_seed(3)
        for weight in head.parameters():
            torch.nn.init.normal_(weight)
        head.weight.requires_grad_(not frozen)
        hidden = torch.randn(11, 6, requires_grad=True)
        head.loss(hidden, torch.randint(0, 10, (11,))).backward()
        assert (head.weight.grad is None) == frozen
        found[frozen] = [hidden.grad, None if head.bias is None else head.bias.grad]
    for mine, other in zip(found[False], found[True], strict=True):
        assert mine is other is None or torch.equal(mine, other)


@pytest.mark.parametrize("fields", [{}, {"bias": True}], ids=["plain", "bias"])
@pytest.mark.parametrize("shape", [(0, 5), (2, 0)])
def test_no_tokens_have_no_loss_and_no_gradients(shape: tuple[int, int], fields: dict[str, Any]) -> None:
    """As a sum over none has: ``cross_entropy`` with ``reduction="sum"`` says so too."""
    head = make_head(15.0, **fields)
    hidden = torch.randn(*shape, 24, requires_grad=True)
    loss = head.loss(hidden, torch.zeros(shape, dtype=torch.long))
    assert loss.shape == () and loss.dtype == torch.float32 and loss.item() == 0
    for leaf, gradient in zip([hidden, *head.parameters()], gradients(loss, hidden, *head.parameters()), strict=True):
        assert gradient.shape == leaf.shape and gradient.dtype == leaf.dtype and not gradient.any()


def written_out(logits_NV: Tensor, targets_N: Tensor, smoothing: float, z_loss: float) -> Tensor:
    """Smoothed cross entropy as torch has it, and the squared logarithm of the softmax's denominator."""
    scored = targets_N >= 0
    smoothed = F.cross_entropy(logits_NV, targets_N, ignore_index=-100, reduction="sum", label_smoothing=smoothing)
    return smoothed + z_loss * logits_NV[scored].exp().sum(-1).log().square().sum()


@pytest.mark.parametrize("cap", [None, 5.0, 40.0])
@pytest.mark.parametrize(("smoothing", "z_loss"), [(0.1, 0.0), (0.0, 0.01), (0.3, 0.5)])
@pytest.mark.parametrize("few", [4, 1000])
def test_smoothing_and_z_loss_equal_their_definitions(
    cap: float | None, smoothing: float, z_loss: float, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss, and the gradients of hidden states, weight and bias, of logits in float64."""
    monkeypatch.setattr(head_module, "rows_at_once", lambda _, logits=0: few if logits else 7)
    head = make_head(cap, bias=True)
    hidden = torch.randn(3, 10, 24, requires_grad=True)
    targets = torch.randint(0, 53, (3, 10))
    targets[1, 2:6] = -100
    ours = head.loss(hidden, targets, smoothing=smoothing, z_loss=z_loss)
    wide = [each.detach().double().requires_grad_() for each in (hidden, head.weight, head.bias)]
    logits = soft_cap(wide[0] @ wide[1].T + wide[2], cap)
    expected = written_out(logits.flatten(0, 1), targets.flatten(), smoothing, z_loss)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-6)
    for got, want in zip(gradients(ours, hidden, head.weight, head.bias), gradients(expected, *wide), strict=True):
        assert (got - want).abs().max() <= 2e-6 * want.abs().max()
