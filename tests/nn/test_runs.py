"""Documents of a packed row attend by themselves, in batches of equal length: as if each came alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from danlu.nn import attention, config
from danlu.nn.patterns import Pattern, Window
from danlu.nn.runs import SHORT, WASTE, Run, find_runs
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


@given(st.lists(st.integers(1, 6), min_size=1, max_size=30), st.sampled_from([0, 200]))
def test_runs_are_the_row(lengths: list[int], few: int) -> None:
    _, numbers = pack(tuple(lengths))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.nn.runs.FEW", few)
        runs = find_runs(numbers)
    assert runs is not None
    assert [length for run in runs for length in run.lengths] == lengths
    assert [run.start for run in runs] == [0, *(run.end for run in runs[:-1])]
    for run in runs:
        scores = len(run.lengths) * run.longest**2
        assert scores <= few or scores - sum(length**2 for length in run.lengths) <= WASTE * scores
    assert few or all(one.lengths[0] != next_.lengths[0] for one, next_ in pairwise(runs) if one.alike)


def test_many_of_one_length_are_a_run_of_their_own() -> None:
    """They need no padding; a few of it are put to their neighbours, behind as well as before."""
    _, numbers = pack((21, 20, *[19] * 20, 18, *[17] * 20, *[16] * 3))
    runs = find_runs(numbers)
    assert runs is not None
    assert [run.lengths for run in runs] == [(21, 20), (19,) * 20, (18,), (17,) * 20, (16,) * 3]
    assert [run.start for run in runs] == [0, 41, 421, 439, 779]


def test_a_number_that_comes_again_makes_no_run() -> None:
    assert find_runs(torch.tensor([[0, 0, 1, 1, 2, 3, 4]])) == (Run(0, (2, 2, 1, 1, 1)),)
    assert find_runs(torch.tensor([[0, 0, 1, 1, 2, 3, 0]])) is None


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
    monkeypatch.setattr("danlu.nn.runs.SHORT", short)
    monkeypatch.setattr("danlu.nn.runs.FEW", few)
    monkeypatch.setattr("danlu.nn.runs.VECTOR", vector)
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
