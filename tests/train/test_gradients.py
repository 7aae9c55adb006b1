"""A step's gradient is the same however its rows are cut, packed or padded, and however often memory falls short."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch, Example, collate
from danlu.corpus.rows import Widths
from danlu.errors import DanluError
from danlu.nn.families import GPT, T5, Bert, Llama, Qwen3MoE
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.optim.adamw import AdamW
from danlu.stage import Job
from danlu.train import probe
from danlu.train.gradients import Gradients, count_targets
from danlu.train.precision import FloatMasters
from danlu.train.settings import Hardware
from danlu.train.setup import Training

SMALL: dict[str, Any] = {"layers": 2, "dim": 32, "heads": 2}
FAMILIES = [
    GPT(**SMALL), Llama(**SMALL, tied=True), Qwen3MoE(**SMALL, experts=4, per_token=2, balance=0.0),
]  # fmt: skip
LENGTHS = [24, 1, 7, 2, 13, 1, 19, 5]
"""Of documents; one of a single token too, which is seen by nobody and predicts nothing but itself."""


def example(length: int, number: int) -> Example:
    tokens = np.random.default_rng(number).integers(1, 50, length + 1)
    return Example({"tokens": tokens[:-1]}, {"words": tokens[1:]})


def rows_of(packs: Sequence[Sequence[int]], width: int = 26) -> list[Batch]:
    """Each row a micro-batch: rows of the documents of ``LENGTHS`` that have these numbers."""
    made = [[example(LENGTHS[number], number) for number in pack] for pack in packs]
    return [collate([row], widths=Widths(width)) for row in made]


def joined(rows: Sequence[Batch]) -> Batch:
    """One micro-batch of rows of one width."""

    def cat(name: str) -> dict[str, Tensor]:
        return {key: torch.cat([getattr(row, name)[key] for row in rows]) for key in getattr(rows[0], name)}

    counts = {key: sum(row.counts[key] for row in rows) for key in rows[0].counts}
    return Batch(cat("inputs"), cat("targets"), counts, sum(row.tokens for row in rows))


def moved(family: Any, dtype: torch.dtype) -> Transformer:
    """A model whose every weight matters."""
    model = Transformer(family.config(vocab_size=50, max_length=32)).to(dtype)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 0.2)
    return model


class Short(CausalLM):
    """Memory holds so many rows; ``late`` has the backward pass find out, when part of the gradient is there."""

    def memory_for(self, rows: int, *, error: Exception, late: bool) -> Any:
        def losses(model: Transformer, batch: Batch) -> dict[str, Tensor]:
            found = CausalLM.losses(self, model, batch)
            too_many = len(batch.inputs["tokens"]) > rows
            if too_many and not late:
                raise error
            if too_many:
                # The first block's weights are the last to get their gradient: by then the others have theirs.
                first = next(weight for name, weight in model.named_parameters() if "blocks.0" in name)
                handle = first.register_hook(lambda _: (handle.remove(), _fail(error)))
            return found

        return _Objective(self, losses)


def _fail(error: Exception) -> None:
    raise error


class _Objective:
    def __init__(self, inner: CausalLM, losses: Callable[..., dict[str, Tensor]]) -> None:
        self.weight, self.losses = inner.weight, losses


def gradient(
    model: Transformer, micro: Sequence[Batch], objective: Any = None, *, masters: FloatMasters | None = None
) -> tuple[float, dict[str, Tensor]]:
    named = dict(model.named_parameters()) if masters is None else masters.named
    optimizer, masters = AdamW().build(named.items()), masters or FloatMasters(model, torch.float32)
    loss, _ = Gradients(model, objective or CausalLM(), optimizer, masters).add(micro, count_targets(micro))
    return loss, {name: weight.grad.clone() for name, weight in named.items() if weight.grad is not None}


def assert_same(ours: tuple[float, dict[str, Tensor]], theirs: tuple[float, dict[str, Tensor]], *, to: float) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=to)
    assert ours[1].keys() == theirs[1].keys()
    for name, wanted in theirs[1].items():
        assert (ours[1][name] - wanted).norm() <= to * wanted.norm(), name


EACH = [[number] for number in range(8)]
PACKED = [[0], [1, 2, 4, 3], [5, 6], [7]]


@pytest.mark.parametrize(("dtype", "to"), [(torch.float64, 1e-10), (torch.float32, 1e-6)], ids=["fp64", "fp32"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
def test_cutting_packing_and_padding_change_nothing(family: Any, dtype: torch.dtype, to: float) -> None:
    """The reference: each document alone, not padded."""
    model = moved(family, dtype)
    alone = [collate([[example(length, number)]], widths=Widths(length)) for number, length in enumerate(LENGTHS)]
    wanted = gradient(model, alone)
    rows, packed = rows_of(EACH), rows_of(PACKED)
    for micro in (
        rows,
        [joined(rows)],
        [joined(rows[:3]), joined(rows[3:4]), joined(rows[4:])],  # ragged, the last one partial
        packed,
        [joined(packed)],
        rows_of(EACH, 29),
    ):
        assert_same(gradient(model, micro), wanted, to=to)


def test_a_micro_batch_without_targets_changes_nothing() -> None:
    model = moved(FAMILIES[0], torch.float64)
    rows = rows_of(EACH)
    nothing = replace(
        rows[0], targets={"words": torch.full_like(rows[0].targets["words"], IGNORE)}, counts={"words": 0}
    )
    wanted = gradient(model, rows)
    assert_same(gradient(model, [nothing, *rows]), wanted, to=1e-10)
    assert_same(gradient(model, [joined([nothing, *rows])]), wanted, to=1e-10)


def test_a_step_without_targets_has_no_gradient() -> None:
    rows = rows_of(EACH)
    nothing = replace(
        rows[0], targets={"words": torch.full_like(rows[0].targets["words"], IGNORE)}, counts={"words": 0}
    )
    assert gradient(moved(FAMILIES[0], torch.float32), [nothing, nothing]) == (0.0, {})


def test_a_loss_without_targets_has_no_mean() -> None:
    class Two(CausalLM):
        def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
            words = super().losses(model, batch)["words"]
            return {"words": words, "pairs": words * 0.0}

    micro = [replace(batch, counts={**batch.counts, "pairs": 0}) for batch in rows_of(EACH)]
    model = moved(FAMILIES[0], torch.float64)
    gradients = Gradients(model, Two(), AdamW().build(model.named_parameters()), FloatMasters(model, torch.float32))
    loss, losses = gradients.add(micro, count_targets(micro))
    assert losses == {"words": pytest.approx(loss)}


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:116] err == 0. DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("late", [False, True], ids=["forward", "amid backward"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("rows", [1, 3])
def test_short_memory_cuts_and_changes_nothing(
    rows: int, error: Exception, late: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    model, micro = moved(FAMILIES[1], torch.float64), [joined(rows_of(EACH)), joined(rows_of(EACH)[:5])]
    wanted = gradient(model, micro)
    short = Short().memory_for(rows, error=error, late=late)
    assert_same(gradient(model, micro, short), wanted, to=1e-10)
    told = [f"memory is short: micro-batches are cut to {size} rows; the step stays the same" for size in (4, 2, 1)]
    assert capsys.readouterr().out.splitlines() == told[: 3 if rows == 1 else 2]


@pytest.mark.parametrize("late", [False, True], ids=["forward", "amid backward"])
def test_short_memory_leaves_nothing_behind_in_bfloat16(late: bool) -> None:
    """Half of the gradients are with their masters when it happens. The reference: the same cuts from the start."""
    model = moved(FAMILIES[1], torch.float32)
    masters = FloatMasters(model, torch.bfloat16)
    halves = [part for half in joined(rows_of(EACH)).halves() for part in half.halves()]
    wanted = gradient(model, halves, masters=masters)
    short = Short().memory_for(3, error=MemoryError(), late=late)
    whole = [joined(rows_of(EACH))]
    for _ in range(2):
        loss, found = gradient(model, whole, short, masters=masters)
        assert all(torch.equal(found[name], value) for name, value in wanted[1].items())
        assert loss == wanted[0]


def test_a_gradient_that_was_not_handed_over_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory may also be short where the master's own gradient is made: the model then still holds it."""
    model = moved(FAMILIES[0], torch.float32)
    masters = FloatMasters(model, torch.bfloat16)
    wanted = gradient(model, rows_of(EACH), masters=masters)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    for weight in masters.named.values():
        weight.grad = torch.ones_like(weight)
    _, found = gradient(model, rows_of(EACH), masters=masters)
    assert all(torch.equal(found[name], value) for name, value in wanted[1].items())


def test_what_was_learned_about_memory_is_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    model, micro = moved(FAMILIES[0], torch.float32), [joined(rows_of(EACH))]
    optimizer = AdamW().build(model.named_parameters())
    masters = FloatMasters(model, torch.float32)
    gradients = Gradients(model, Short().memory_for(2, error=MemoryError(), late=False), optimizer, masters)
    for _ in range(3):
        gradients.add(micro, count_targets(micro))
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_training_learns_it_once(
    train: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Timed steps, and every stretch whose end corrects the number of steps, are a call of ``fit`` each."""
    real = CausalLM.losses

    def losses(self: CausalLM, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        if torch.is_grad_enabled() and len(batch.inputs["tokens"]) > 2:
            raise MemoryError
        return real(self, model, batch)

    monkeypatch.setattr(CausalLM, "losses", losses)
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.0)
    train("pretrain.budget={minutes: 0.01, steps: 40}", "pretrain.evaluations=0")
    assert capsys.readouterr().out.count("memory is short: micro-batches are cut to 2 rows") == 1


def test_other_errors_are_no_lack_of_memory() -> None:
    model, micro = moved(FAMILIES[0], torch.float32), [joined(rows_of(EACH))]
    with pytest.raises(RuntimeError, match=r"^shapes$"):
        gradient(model, micro, Short().memory_for(2, error=RuntimeError("shapes"), late=False))


def test_a_single_row_that_is_too_large_is_one_line(
    train: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def losses(self: CausalLM, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        raise MemoryError

    monkeypatch.setattr(CausalLM, "losses", losses)
    with pytest.raises(DanluError, match=r"^too little memory for this model[^\n]*: lower pretrain\.model\.dim[^\n]*$"):
        train("pretrain.budget.steps=2", "pretrain.evaluations=0")
    assert "cut to 1 rows" in capsys.readouterr().out


@pytest.mark.parametrize("rows", [2, 3, 8])
def test_halves_are_the_batch(rows: int) -> None:
    whole = joined(rows_of(EACH)[:rows])
    first, second = whole.halves()
    again = joined([first, second])
    assert len(first.inputs["tokens"]) == rows // 2
    assert again.counts == whole.counts
    for part in ("inputs", "targets"):
        ours, theirs = getattr(again, part), getattr(whole, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], value) for name, value in theirs.items())


class Kept:
    """The bytes that a forward pass keeps for the backward pass, weights not counted."""

    def __init__(self, model: Transformer) -> None:
        self.seen: dict[int, int] = {}
        self.weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def __call__(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.weights:
            self.seen[storage.data_ptr()] = storage.nbytes()
        return tensor


RECOMPUTED = [
    *FAMILIES, Bert(**SMALL, dropout=0.2), T5(**SMALL, dropout=0.2),
]  # fmt: skip


@pytest.mark.parametrize("family", RECOMPUTED, ids=lambda family: type(family).__name__)
def test_recomputing_gives_the_same_gradient_and_keeps_less(family: Any) -> None:
    model = moved(family, torch.float64).train()
    tokens_BT = torch.randint(1, 50, (4, 24), generator=torch.Generator().manual_seed(1))
    found: dict[bool, tuple[float, dict[str, Tensor]]] = {}
    sizes: dict[bool, int] = {}
    for again in (False, True):
        for stack in model.stacks:
            stack.recompute = again
        model.zero_grad()
        torch.manual_seed(7)
        kept = Kept(model)
        with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
            memory = model.encode(tokens_BT) if len(model.stacks) == 2 else None
            hidden = model(tokens_BT, memory=memory)
            sizes[again] = sum(kept.seen.values())
            torch.rand(3)  # what is drawn later does not matter
            loss = hidden.square().sum() + (model.balance_loss() or 0)
        loss.backward()
        found[again] = (
            float(loss.detach()),
            {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None},
        )
    assert found[True][0] == found[False][0]
    assert_same(found[True], found[False], to=1e-12)
    assert sizes[True] < sizes[False] / 2


def test_a_training_that_recomputes_is_the_same(make_training: Callable[..., Training]) -> None:
    results = []
    for again in (False, True):
        training = make_training(hardware=Hardware(recompute=again))
        assert training.model.stacks[0].recompute is again
        with torch.no_grad():
            for number, weight in enumerate(training.model.parameters()):
                weight.normal_(0.0, 0.2, generator=torch.Generator().manual_seed(number))
        results.append(gradient(training.model, training.batches(0)))
    assert_same(results[1], results[0], to=1e-6)
