"""FlexAttention against ``scaled_dot_product_attention`` with the masks of ``Sight``; tables of blocks against pairs.

On processors it writes out all scores and asks the rule for each, so that its kernels and their use of the table are
not tested but by what is marked ``gpu``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn.attention import flex_attention as of_torch
from torch.nn.attention import sdpa_kernel

from danlu.nn import attention, flex
from danlu.nn.families import GPT, Bert, Family, Llama, ModernBert
from danlu.nn.flex import BLOCK, make_flexes
from danlu.nn.patterns import FULL, BigBird, Fixed, Pattern, Strided, Window
from danlu.nn.positions import alibi_slopes
from danlu.nn.sight import PADDING, Sight
from danlu.nn.transformer import Transformer
from danlu.train.compiling import compile_blocks

CPU = torch.device("cpu")
PATTERNS = [FULL, Window(40), Window(0), Window(20, 30), Strided(16), Fixed(32, 3), BigBird(block=16)]

pytestmark = [
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
    pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]


@pytest.fixture
def gradients_on_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch has them, for tests of its own, and refuses them to others."""
    monkeypatch.setattr(of_torch, "_validate_device", lambda *tensors: None)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch, gradients_on_processors: None) -> Iterator[None]:
    monkeypatch.setattr(flex, "has_kernels", lambda blocks, device: True)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def documents(length: int) -> Tensor:
    """Two rows, the second padded at its end; no border is that of a block."""
    places = torch.arange(length)
    return torch.stack([places // 77, torch.where(places < 2 * length // 3, places // 33, PADDING)]).int()


def sight(
    length: int,
    *,
    causal: bool,
    segments: Tensor | None = None,
    prefix: Tensor | None = None,
    bias: Tensor | None = None,
) -> Sight:
    pair, pair_of_prefix = (None if each is None else (each, each) for each in (segments, prefix))
    made = Sight(
        queries=length, keys=length, causal=causal, own=True, device=CPU, segments=pair, prefix=pair_of_prefix
    )  # fmt: skip
    made.bias = bias
    return made


def heads(length: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Four of queries to two of keys and values."""
    torch.manual_seed(length)
    return [torch.randn(2, count, length, 16, dtype=dtype, requires_grad=True) for count in (4, 2, 2)]


def compare(out: Tensor, wanted: Tensor, given: Sequence[Tensor], segments: Tensor | None) -> None:
    """Results and gradients, but of padding, which only has to be a number."""
    tolerance = 1e-10 if out.dtype == torch.float64 else 1e-6
    assert out.isfinite().all()
    if segments is not None:
        real = (segments != PADDING)[:, None, :, None]
        out, wanted = out * real, wanted * real
    torch.testing.assert_close(out, wanted, rtol=tolerance, atol=tolerance)
    grad = torch.randn_like(out)
    for ours, theirs in zip(
        torch.autograd.grad(out, given, grad), torch.autograd.grad(wanted, given, grad), strict=True
    ):
        assert ours.isfinite().all()
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=5 * tolerance)


@pytest.mark.usefixtures("gradients_on_processors")
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_equals_attention_with_the_mask(pattern: Pattern, causal: bool, packed: bool) -> None:
    length = 180
    segments = documents(length) if packed else None
    whole = sight(length, causal=causal, segments=segments)
    flexes = make_flexes(whole, [pattern])
    if not packed and pattern is FULL:
        assert flexes == ()  # torch's kernels need no mask
        return
    given = heads(length)
    wanted = F.scaled_dot_product_attention(*given, attn_mask=whole.mask(pattern), scale=0.3, enable_gqa=True)
    compare(flexes[0].attend(*given, 0.3), wanted, given, segments)


@pytest.mark.usefixtures("gradients_on_processors")
@pytest.mark.parametrize("length", [1, 5, BLOCK, BLOCK + 1])
def test_any_length_in_float32(length: int) -> None:
    segments = documents(length)
    whole = sight(length, causal=True, segments=segments)
    given = heads(length, torch.float32)
    wanted = F.scaled_dot_product_attention(*given, attn_mask=whole.mask(FULL), enable_gqa=True)
    compare(make_flexes(whole, [FULL])[0].attend(*given, 0.25), wanted, given, segments)


@pytest.mark.usefixtures("gradients_on_processors")
@pytest.mark.parametrize("packed", [True, False])
def test_a_prefix_is_seen_both_ways(packed: bool) -> None:
    length = 150
    segments = documents(length) if packed else None
    prefix = torch.arange(length)[None] < torch.tensor([[140], [20]])
    whole = sight(length, causal=True, segments=segments, prefix=prefix)
    given = heads(length)
    wanted = F.scaled_dot_product_attention(*given, attn_mask=whole.mask(FULL), scale=0.3, enable_gqa=True)
    compare(make_flexes(whole, [FULL])[0].attend(*given, 0.3), wanted, given, segments)


def test_both_tables_are_of_as_many_rows() -> None:
    """The kernels take the number of a row from the first one for both, and would read behind the end of a shorter."""
    length = 300
    prefix = torch.arange(length)[None] < torch.tensor([[140], [20]])
    [made] = make_flexes(sight(length, causal=True, prefix=prefix), [Window(40)])
    blocks = made.blocks
    assert blocks.full_kv_indices is not None and blocks.full_q_indices is not None
    for few, full in ((blocks.kv_indices, blocks.full_kv_indices), (blocks.q_indices, blocks.full_q_indices)):
        assert few.shape == full.shape and few.stride() == full.stride()
        assert few.shape[0] == 2


@pytest.mark.usefixtures("gradients_on_processors")
@pytest.mark.parametrize("causal", [True, False])
def test_alibi_takes_off_what_the_bias_does(causal: bool) -> None:
    length = 150
    places = torch.arange(length)
    slopes = torch.tensor(alibi_slopes(4), dtype=torch.float64)
    bias = -slopes[None, :, None, None] * (places[:, None] - places[None, :]).abs()
    segments = documents(length)
    wanted_mask = sight(length, causal=causal, segments=segments, bias=bias).mask(Window(90, 90))
    given = heads(length)
    wanted = F.scaled_dot_product_attention(*given, attn_mask=wanted_mask, scale=0.3, enable_gqa=True)
    whole = sight(length, causal=causal, segments=segments)
    compare(make_flexes(whole, [Window(90, 90)], slopes)[0].attend(*given, 0.3), wanted, given, segments)


def dense(blocks: Any, count: int) -> tuple[Tensor, Tensor]:
    """``[B, N, M]`` twice: the blocks of keys that are partly and wholly seen, from the lists that kernels read."""
    found = []
    for many, numbers in (
        (blocks.kv_num_blocks, blocks.kv_indices), (blocks.full_kv_num_blocks, blocks.full_kv_indices),
    ):  # fmt: skip
        rows = torch.zeros(many.shape[0], count, count, dtype=torch.bool)
        for row in range(many.shape[0]):
            for number in range(count):
                rows[row, number, numbers[row, 0, number, : many[row, 0, number]].long()] = True
        found.append(rows)
    return found[0], found[1]


@settings(max_examples=40, deadline=None)
@given(
    pattern=st.sampled_from([*PATTERNS, Window(200), Strided(300), Fixed(256, 2), BigBird()]),
    causal=st.booleans(), length=st.integers(1, 5 * BLOCK), borders=st.lists(st.integers(1, 600), max_size=5),
    padded=st.integers(0, 200), prefix=st.integers(0, 300),
)  # fmt: skip
def test_no_block_that_is_seen_is_left_out_and_none_is_whole_that_is_not(
    pattern: Pattern, causal: bool, length: int, borders: list[int], padded: int, prefix: int
) -> None:
    places = torch.arange(length)
    numbers = torch.zeros(length, dtype=torch.int32)
    for border in borders:
        numbers += (places >= border).int()
    segments = torch.where(places < length - padded, numbers, PADDING).int()[None] if borders else None
    before = (places < prefix)[None] if prefix and causal else None
    whole = sight(length, causal=causal, segments=segments, prefix=before)
    for each in make_flexes(whole, [pattern]):
        count = -(-length // BLOCK)
        partly, wholly = dense(each.blocks, count)
        sees = of_torch.create_mask(each.blocks.mask_mod, 1, 1, length, length, device="cpu")[0, 0]
        if segments is not None:  # what the rule says is what Sight says
            real = segments[0] != PADDING
            torch.testing.assert_close(sees[real], whole.mask(pattern)[0, 0][real])
        padding = (0, count * BLOCK - length) * 2
        by_block = F.pad(sees, padding).view(count, BLOCK, count, BLOCK).transpose(1, 2)
        anything, everything = by_block.any(3).any(2), by_block.all(3).all(2)
        assert not (partly & wholly).any()
        assert (partly | wholly)[0].logical_or(~anything).all()
        assert everything[wholly[0]].all()


def test_documents_and_windows_leave_out_all_that_is_far() -> None:
    """As few blocks as torch's own table, which is worked out from all pairs."""
    length = 8 * BLOCK
    segments = (torch.arange(length) // 200)[None].int()
    for pattern, numbers in ((FULL, segments), (Window(100), None), (Window(64, 64), segments)):
        whole = sight(length, causal=True, segments=numbers)
        [made] = make_flexes(whole, [pattern])
        theirs = of_torch.create_block_mask(made.blocks.mask_mod, 1, 1, length, length, device="cpu")
        for ours, wanted in zip(dense(made.blocks, 8), dense(theirs, 8), strict=True):
            torch.testing.assert_close(ours, wanted)


FAMILIES: list[tuple[Family, int]] = [
    (GPT(layers=3, dim=64, heads=4), 1), (Llama(layers=3, dim=64, heads=4, kv_heads=2), 1),
    (ModernBert(layers=3, dim=64, heads=4), 2), (Bert(layers=3, dim=64, heads=4), 1),
]  # fmt: skip
"""With the number of kinds of blocks."""


def losses(model: Transformer, step: int) -> Tensor:
    """Documents of other lengths at every step."""
    torch.manual_seed(step)
    places = torch.arange(150)
    segments = torch.stack([places // (20 + 7 * step), (places + step) // 31])
    segments[0, 140:] = PADDING
    tokens = torch.randint(0, 60, segments.shape)
    hidden = model(tokens, segments=segments)
    return (hidden * torch.randn_like(hidden) * (segments != PADDING)[..., None]).sum()


def gradients(model: Transformer, step: int) -> list[Tensor]:
    model.zero_grad()
    losses(model, step).backward()
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


def drawn(family: Family) -> Transformer:
    model = Transformer(family.config(vocab_size=60, max_length=150)).train()
    torch.manual_seed(1)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.1)
    return model


@pytest.mark.parametrize(("family", "kinds"), FAMILIES, ids=str)
def test_a_compiled_model_comes_to_the_same_and_is_compiled_once(
    family: Family, kinds: int, as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = drawn(family)
    for block in model.blocks:
        block.compile(backend="aot_eager", dynamic=False)
    counters.clear()
    found = [gradients(model, step) for step in range(3)]
    assert counters["stats"]["unique_graphs"] == kinds
    assert not counters["graph_break"]
    monkeypatch.setattr(flex, "has_kernels", lambda blocks, device: False)
    plain = drawn(family)
    for step, ours in enumerate(found):
        for one, other in zip(ours, gradients(plain, step), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_layer_with_dropout_or_narrow_heads_goes_another_way(as_on_a_gpu: None) -> None:
    x = torch.zeros(1, 1, 1)
    wide = drawn(Llama(layers=2, dim=64, heads=4))
    assert flex.serves(wide.blocks, x)
    assert not flex.serves(drawn(Llama(layers=2, dim=32, heads=4)).blocks, x)
    wide.blocks[1].attention.dropout = 0.1
    assert not flex.serves(wide.blocks, x)
    assert flex.serves(wide.eval().blocks, x)


def test_only_compiled_blocks_on_gpus_that_train_have_kernels() -> None:
    model = drawn(Llama(layers=2, dim=64, heads=4))
    cuda = torch.device("cuda")
    assert not flex.has_kernels(model.blocks, cuda)
    for block in model.blocks:
        block.compile()
    assert flex.has_kernels(model.blocks, cuda)
    assert not flex.has_kernels(model.blocks, CPU)
    with torch.no_grad():
        assert not flex.has_kernels(model.blocks, cuda)


@pytest.mark.gpu
@pytest.mark.parametrize(("family", "kinds"), FAMILIES, ids=str)
def test_the_kernels_come_to_what_a_processor_does(family: Family, kinds: int) -> None:
    on_gpu, on_processor = drawn(family), drawn(family).double()
    on_gpu.cuda()
    assert compile_blocks(on_gpu, "on", steps=None).on

    def step(model: Transformer, device: str, dtype: torch.dtype) -> list[Tensor]:
        torch.manual_seed(0)
        places = torch.arange(150)
        segments = torch.stack([places // 40, torch.where(places < 140, places // 31, PADDING)]).to(device)
        tokens = torch.randint(0, 60, segments.shape).to(device)
        weights = torch.randn(2, 150, 64).to(device, dtype) * (segments != PADDING)[..., None]
        (model(tokens, segments=segments) * weights).sum().backward()
        return [weight.grad.cpu().double() for weight in model.parameters() if weight.grad is not None]

    pairs = zip(step(on_gpu, "cuda", torch.float32), step(on_processor, "cpu", torch.float64), strict=True)
    for ours, wanted in pairs:
        assert (ours - wanted).norm() < 1e-2 * wanted.norm() + 1e-6


def whole_rows(model: Transformer, device: str) -> None:
    """A step on rows of one text, which need no mask."""
    tokens = torch.randint(0, 60, (2, 150), generator=torch.Generator().manual_seed(0)).to(device)
    hidden = model(tokens)
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (hidden * weights.to(hidden)).sum().backward()


def test_the_order_of_kernels_is_no_break_in_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """On processors it means nothing, so that both come to the same."""
    monkeypatch.setattr(attention, "LONGEST", 0)  # else processors have a way of their own
    plain, ordered = (drawn(Llama(layers=2, dim=64, heads=4, kv_heads=2)) for _ in range(2))
    whole_rows(plain, "cpu")
    monkeypatch.setattr(attention, "_fastest_kernel", lambda q: sdpa_kernel(attention.FASTEST, set_priority=True))
    counters.clear()
    torch._dynamo.reset()
    for block in ordered.blocks:
        block.compile(backend="aot_eager", dynamic=False, fullgraph=True)
    whole_rows(ordered, "cpu")
    assert counters["stats"]["unique_graphs"] == 1
    for one, other in zip(ordered.parameters(), plain.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)


WIDE: list[Family] = [Llama(layers=2, dim=256, heads=4, kv_heads=2), Bert(layers=2, dim=256, heads=4)]


def on_gpu_in_bfloat16(family: Family) -> Transformer:
    model = drawn(family).cuda().bfloat16()
    assert compile_blocks(model, "on", steps=None).on
    return model


@pytest.mark.gpu
@pytest.mark.parametrize("family", WIDE, ids=str)
def test_rows_of_one_text_come_to_what_a_processor_does(family: Family) -> None:
    """All gradients as one: some are nothing but what rounding leaves."""
    on_gpu, on_processor = on_gpu_in_bfloat16(family), drawn(family).double()
    whole_rows(on_gpu, "cuda")
    whole_rows(on_processor, "cpu")
    ours, wanted = (
        torch.cat([weight.grad.cpu().double().flatten() for weight in model.parameters() if weight.grad is not None])
        for model in (on_gpu, on_processor)
    )
    assert (ours - wanted).norm() < 5e-2 * wanted.norm()


@pytest.mark.gpu
@pytest.mark.parametrize("family", WIDE, ids=str)
def test_rows_of_one_text_go_by_cudnn(family: Family) -> None:
    model = on_gpu_in_bfloat16(family)
    whole_rows(model, "cuda")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        whole_rows(model, "cuda")
    names = [event.key for event in seen.key_averages()]
    assert any("cudnn" in name for name in names), names
