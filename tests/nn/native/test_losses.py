"""Losses in C++ against the same in torch, which tests/nn/test_int8_head.py holds against float64."""

from __future__ import annotations

import pytest
import torch

from danlu.nn import config
from danlu.nn.int8_head import Int8LanguageModelHead
from danlu.nn.narrow_loss import Sums, narrow_chunk_loss
from danlu.nn.native.losses import has_losses, native_chunk_loss

pytestmark = pytest.mark.skipif(not has_losses(None), reason="this processor has no AVX-512")


def sums(count: int, vocab_size: int, *, largest: int = 200_000) -> Sums:
    generator = torch.Generator().manual_seed(vocab_size)
    return Sums(
        torch.randint(-largest, largest, (count, vocab_size), dtype=torch.int32, generator=generator),
        torch.rand(count, 1, generator=generator) * 1e-2 + 1e-3,
        torch.rand(1, vocab_size, generator=generator) * 1e-2,
        None,
        torch.tensor(1234, dtype=torch.int32),
    )


@pytest.mark.parametrize("cap", [None, 15.0, 30.0, 200.0])
@pytest.mark.parametrize(("smoothing", "z_loss"), [(0.0, 0.0), (0.1, 0.0), (0.0, 1e-2), (0.1, 1e-2)])
@pytest.mark.parametrize("vocab_size", [7, 16, 1003, 8192])
def test_everything_equals_what_torch_makes(
    cap: float | None, smoothing: float, z_loss: float, vocab_size: int
) -> None:
    given = sums(9, vocab_size)
    targets = torch.randint(0, vocab_size, (9,), generator=torch.Generator().manual_seed(1))
    targets[4] = -1
    rooms = [torch.full((10, vocab_size), 77, dtype=torch.int8) for _ in range(2)]
    found = native_chunk_loss(given, targets, rooms[0][:9], cap, smoothing, z_loss)
    wanted = narrow_chunk_loss(given, targets, rooms[1][:9], cap, smoothing, z_loss)
    assert found.total.item() == pytest.approx(wanted.total.item(), rel=1e-5)
    torch.testing.assert_close(found.scale_N1, wanted.scale_N1, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(found.pull_N1, wanted.pull_N1, rtol=1e-4, atol=1e-6)
    assert found.scale_N1[4] == found.pull_N1[4] == 0
    apart = (rooms[0].int() - rooms[1].int()).abs()
    assert apart.max() <= 1 and apart.sum() <= 1e-3 * apart.numel()  # a number at the very edge may fall otherwise
    assert rooms[0][:9].any() and rooms[0][9].eq(77).all()


@pytest.mark.parametrize("cap", [None, 15.0])
def test_logits_of_any_size(cap: float | None) -> None:
    given, targets = sums(3, 100, largest=2**31 - 1), torch.tensor([0, 1, 2])
    rooms = [torch.empty(3, 100, dtype=torch.int8) for _ in range(2)]
    found, wanted = (
        way(given, targets, room, cap, 0.0, 0.0)
        for way, room in zip((native_chunk_loss, narrow_chunk_loss), rooms, strict=True)
    )
    assert found.total.isfinite()
    assert found.total.item() == pytest.approx(wanted.total.item(), rel=1e-5)


def test_a_target_that_is_no_word_is_refused() -> None:
    with pytest.raises(IndexError, match="target 16 is no word of a vocabulary of 16"):
        native_chunk_loss(sums(2, 16), torch.tensor([-1, 16]), torch.empty(2, 16, dtype=torch.int8), None, 0.0, 0.0)


def test_the_head_takes_it_where_it_is_compiled_and_has_no_bias() -> None:
    for bias in (False, True):
        head = Int8LanguageModelHead(config.Head(bias=bias), dim=8, vocab_size=16)
        head.compile_loss(dynamic=False)
        assert (head.loops.of_chunk is native_chunk_loss) is not bias
        head.without_compilation()
        assert head.loops.of_chunk is narrow_chunk_loss
