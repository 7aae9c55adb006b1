"""Documents of a packed row attend by themselves, in batches of equal length: as if each came alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from danlu.nn import attention, config
from danlu.nn.patterns import Pattern, Window
from danlu.nn.run_attention import SHORT
from danlu.nn.sight import PADDING
from danlu.nn.transformer import Transformer

MakeModel = Callable[..., Transformer]
LENGTHS = (9, 9, 9, 4, 4, 1, 1, 1, 7)


def pack(lengths: tuple[int, ...], *, last: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and document numbers ``[1, N]``; the last document has the number ``last``, where there is one."""
    numbers = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    if last is not None:
        numbers[numbers == len(lengths) - 1] = last
    return torch.randint(0, 400, (1, len(numbers))), numbers[None]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kv_heads", [2, 4])
@pytest.mark.parametrize("pattern", [None, Window(8, 8), Window(8), Window(3, 3)], ids=str)
@pytest.mark.parametrize("short", [SHORT, 5])
@pytest.mark.parametrize(("few", "vector"), [(0, 16), (10**6, 16), (10**6, 4)])
def test_a_document_is_as_alone(  # noqa: PLR0913
    few: int,
    vector: int,
    causal: bool,
    kv_heads: int,
    pattern: Pattern | None,
    short: int,
    make_stack: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values and gradients; a window that leaves something out, and padding at the end, too."""
    monkeypatch.setattr("danlu.nn.run_attention.SHORT", short)
    monkeypatch.setattr("danlu.nn.runs.FEW", few)
    monkeypatch.setattr("danlu.nn.run_attention.VECTOR", vector)
    calls = []
    whole = attention.attend_in_runs
    monkeypatch.setattr(attention, "attend_in_runs", lambda *a, **k: calls.append(1) or whole(*a, **k))
    fields = {"kv_heads": kv_heads, "rotary": config.Rotary(), **({"pattern": pattern} if pattern else {})}
    model = make_stack(causal=causal, attention=fields)
    tokens, numbers = pack(LENGTHS, last=PADDING)
    hidden = model(tokens, segments=numbers)
    covers = pattern is None or (pattern.before >= 8 and (causal or pattern.after >= 8))  # type: ignore[attr-defined]
    assert bool(calls) is covers
    parts = [model(tokens[:, numbers[0] == number]) for number in range(len(LENGTHS) - 1)]
    alone = torch.cat(parts, 1)
    torch.testing.assert_close(hidden[:, : alone.shape[1]], alone, rtol=1e-6, atol=1e-6)
    weights = list(model.parameters())
    of_packed = torch.autograd.grad(hidden[:, : alone.shape[1]].square().sum(), weights, allow_unused=True)
    of_alone = torch.autograd.grad(alone.square().sum(), weights, allow_unused=True)
    for ours, theirs in zip(of_packed, of_alone, strict=True):
        if theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_row_may_be_longer_than_a_document(make_stack: MakeModel) -> None:
    model = make_stack(causal=False, entry=config.Entry(positions=config.Positions("learned")))
    model.config = replace(model.config, max_length=9)
    tokens, numbers = pack(LENGTHS)
    parts = [model(tokens[:, numbers[0] == number]) for number in range(len(LENGTHS))]
    torch.testing.assert_close(model(tokens, segments=numbers), torch.cat(parts, 1), rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="at most 9 tokens; got 10"):
        model(pack((10, 3))[0], segments=pack((10, 3))[1])


SOURCES = (3, 8, 2, 5, 5, 1, 4, 4, 9)


@pytest.mark.parametrize("bias", [config.RelativeBias(buckets=8, max_distance=6), config.Alibi(), None], ids=str)
@pytest.mark.parametrize("short", [SHORT, 5])
@pytest.mark.parametrize("few", [0, 10**6])
def test_both_sides_are_as_alone(
    few: int,
    short: int,
    bias: config.RelativeBias | config.Alibi | None,
    make_stack: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values and gradients of an encoder and a decoder whose scores have a bias by distance, and of all they learn."""
    monkeypatch.setattr("danlu.nn.run_attention.SHORT", short)
    monkeypatch.setattr("danlu.nn.runs.FEW", few)
    calls: list[int] = []
    for name in ("attend_in_runs", "attend_across"):
        whole = getattr(attention, name)
        monkeypatch.setattr(attention, name, lambda *a, whole=whole: calls.append(1) or whole(*a))
    model = make_stack(causal=True, encoder=True, bias=bias)
    (tokens, numbers), (source, of_source) = pack(LENGTHS), pack(SOURCES)
    hidden = model(tokens, segments=numbers, memory=model.encode(source, segments=of_source))
    assert len(calls) == 6  # two layers of the encoder, two of the decoder that look at both
    parts = []
    for number in range(len(LENGTHS)):
        memory = model.encode(source[:, of_source[0] == number])
        parts.append(model(tokens[:, numbers[0] == number], memory=memory))
    alone = torch.cat(parts, 1)
    assert len(calls) == 6
    torch.testing.assert_close(hidden, alone, rtol=1e-6, atol=1e-6)
    weights = list(model.parameters())
    of_packed = torch.autograd.grad(hidden.square().sum(), weights, allow_unused=True)
    of_alone = torch.autograd.grad(alone.square().sum(), weights, allow_unused=True)
    assert bias is None or any(grad is not None for grad in of_packed)
    for ours, theirs in zip(of_packed, of_alone, strict=True):
        if theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning")  # while torch traces
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_compiled_blocks_see_whole_rows(make_stack: MakeModel) -> None:
    """They are compiled for one shape of bias, and know nothing of documents by themselves."""
    model = make_stack(causal=False, bias=config.RelativeBias(buckets=8, max_distance=6))
    tokens, numbers = pack(LENGTHS)
    wanted = model(tokens, segments=numbers)
    for block in model.blocks:
        block.compile(backend="eager", dynamic=False)
    torch.testing.assert_close(model(tokens, segments=numbers), wanted, rtol=1e-6, atol=1e-6)
    with torch.compiler.set_stance("force_eager"):
        torch.testing.assert_close(model(tokens, segments=numbers), wanted, rtol=1e-6, atol=1e-6)
