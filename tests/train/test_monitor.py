"""What a run measures on the way, and what happens where the disk refuses it."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from danlu.corpus.batches import Batch, collate, make_batch, make_examples
from danlu.corpus.reading import Stream
from danlu.corpus.rows import Widths
from danlu.corpus.store import TokenStore
from danlu.corpus.stream import StreamRows
from danlu.errors import DanluError
from danlu.log import MetricsLog, Progress, read_metrics
from danlu.nn.families import GPT
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.objectives.protocol import Shape, Total
from danlu.parallel.mesh import Place
from danlu.stage import Job
from danlu.train import monitor as module
from danlu.train.guard import Anomalies, Guard
from danlu.train.history import History
from danlu.train.loop import StepInfo
from danlu.train.monitor import Heldout, Measured, Monitor
from danlu.train.pretrain import Pretrain, heldout_of
from danlu.train.setup import Training

MakeTraining = Callable[..., Training]


def info(step: int, **changes: Any) -> StepInfo:
    return StepInfo(**{"step": step, "loss": 2.5, "grad_norm": 0.5, "lr": 1.0, "targets": 10, "tokens": 10, **changes})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in its last element; every look at it takes a second."""
    now = [0.0]

    def look() -> float:
        now.append(now[-1] + 1)
        return now[-1]

    monkeypatch.setattr(module.time, "perf_counter", look)
    return now


def make_monitor(folder: Path, **settings: Any) -> Monitor:
    history = History(Guard(Anomalies()), tokens=settings.pop("tokens", 0))
    known: dict[str, Any] = {"heldout": lambda: Measured(3.25), "heldout_steps": frozenset({2}), "history": history}
    return Monitor(MetricsLog(folder), Progress("test", 10, "steps"), **{**known, **settings})


def test_a_line_a_step(tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    monitor = make_monitor(tmp_path, tokens=1000, seconds=50.0)
    for step in (1, 2, 3):
        monitor(info(step, loss=3.0 - step / 10))
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert [line["tokens"] for line in lines] == [1010, 1020, 1030]
    assert [line["loss"] for line in lines] == [2.9, 2.8, 2.7]
    assert [line.get("heldout_loss") for line in lines] == [None, 3.25, None]
    seconds = [line["seconds"] for line in lines]
    assert 50 < seconds[0] < seconds[1] < seconds[2]
    assert (monitor.tokens, monitor.loss, round(monitor.seconds, 3)) == (1030, 2.7, seconds[-1])
    assert lines[0]["tokens_per_second"] == pytest.approx(10 / (seconds[0] - 50))
    assert capsys.readouterr().out == "step 2: loss 2.800, held-out 3.250\n"


def test_a_step_that_scored_nothing_has_no_loss(tmp_path: Path) -> None:
    monitor = make_monitor(tmp_path)
    monitor(info(1))
    monitor(info(2, loss=0.0, grad_norm=0.0, targets=0))
    assert ["loss" in line for line in read_metrics(tmp_path)] == [True, False]
    assert monitor.loss == 2.5


def test_the_loss_of_a_step_that_was_left_out_is_not_that_of_the_training(tmp_path: Path) -> None:
    """A spike at the last step once was what the training was said to have come to."""
    monitor = make_monitor(tmp_path)
    monitor(info(1))
    monitor(info(2, loss=1000.0, skipped=True))
    assert [line["loss"] for line in read_metrics(tmp_path)] == [2.5, 1000.0]
    assert monitor.loss == 2.5


def test_losses_by_name_are_columns_where_there_is_more_than_words(tmp_path: Path) -> None:
    monitor = make_monitor(tmp_path, heldout=lambda: Measured(3.0, {"a.words": 2.0, "b.pair": 1.0}))
    for step, losses in ((1, {"words": 2.5}), (2, {"a.words": 2.5})):
        monitor(info(step, losses=losses))
    first, second = ({name: line[name] for name in line if "." in name} for line in read_metrics(tmp_path))
    assert first == {}
    assert second == {"loss.a.words": 2.5, "heldout_loss.a.words": 2.0, "heldout_loss.b.pair": 1.0}


def test_the_time_of_a_held_out_measurement_is_not_in_the_pace(tmp_path: Path, clock: list[float]) -> None:
    def heldout() -> Measured:
        clock.append(clock[-1] + 1000)
        return Measured(3.0)

    monitor = make_monitor(tmp_path, heldout=heldout)
    for step in (1, 2, 3):
        monitor(info(step))
    paces = [line["tokens_per_second"] for line in read_metrics(tmp_path)]
    assert min(paces) >= 5
    first, second, third = (line["seconds"] for line in read_metrics(tmp_path))
    assert second - first > 1000 > third - second  # but it is in the time, from the step that it belongs to


def test_a_disk_that_refuses_metrics_is_told_once_and_half_a_line_is_never_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = make_monitor(tmp_path, heldout_steps=frozenset())
    monitor(info(1))
    real, full = os.write, [True]

    def write(descriptor: int, data: bytes) -> int:
        if not full[0]:
            return real(descriptor, data)
        if len(data) > 10:
            return real(descriptor, data[:10])  # the room that was left
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    for step in (2, 3):
        monitor(info(step))
    full[0] = False
    monitor(info(4))
    assert [(line["step"], line["tokens"]) for line in read_metrics(tmp_path)] == [(1, 10), (4, 40)]
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "could not write metrics at step 2 ([Errno 28] No space left on device); training goes on without them"
    ]


@pytest.mark.parametrize("batch", [1, 5, 32, 100])
def test_held_out_loss_is_the_mean_over_the_first_rows(batch: int, make_training: MakeTraining, packed: Path) -> None:
    training = make_training()
    torch.nn.init.normal_(training.model.head.weight, std=0.5)
    rows = StreamRows(TokenStore.open(packed / "run" / "pack" / "heldout"), 24, 1)
    assert rows.per_epoch > 7
    examples = [make_examples(training.example, rows[n], np.random.default_rng(0)) for n in range(7)]
    alone = [collate([example], widths=Widths(24)) for example in examples]
    expected = sum(float(CausalLM().losses(training.model, part)["words"].detach()) for part in alone)
    form = Shape(CausalLM(), 24)
    sample = Stream().sample(rows.store, form, tokens=7 * 24 - 5, seed=1)
    found = Heldout(CausalLM(), sample, training.example, batch).loss(training.model)
    assert found == pytest.approx(expected / sum(part.counts["words"] for part in alone), rel=1e-5)
    assert found != pytest.approx(math.log(rows.store.vocab_size), rel=1e-3)
    assert all(weight.grad is None for weight in training.model.parameters())


class Asked(CausalLM):
    """An objective that may look at a whole step before it."""

    by_step: ClassVar[bool] = False

    def of_step(self, model: Transformer, micro: Sequence[Batch], total: Total) -> CausalLM:
        """It smooths so much that one sees that it has been asked."""
        assert self.by_step and sum(len(batch.inputs["tokens"]) for batch in micro) == 19
        return CausalLM(label_smoothing=0.5)


class Reckoned(Asked):
    """One that does."""

    by_step: ClassVar[bool] = True


@pytest.mark.parametrize("kind", [CausalLM, Asked, Reckoned])
def test_batches_of_held_out_rows_are_made_once(
    kind: type[CausalLM], make_training: MakeTraining, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each when its turn comes; before all of them only where the loss reckons with the whole sample."""
    training, events = make_training(), list[str]()
    torch.nn.init.normal_(training.model.head.weight, std=0.5)
    store = TokenStore.open(packed / "run" / "pack" / "heldout")
    sample = Stream().sample(store, Shape(CausalLM(), 24), tokens=19 * 24, seed=1)
    smoothed = CausalLM(label_smoothing=0.5 if kind is Reckoned else 0.0)
    wanted = Heldout(smoothed, sample, training.example, 8).measure(training.model)
    made, losses = make_batch, CausalLM.losses
    monkeypatch.setattr(module, "make_batch", lambda *a: events.append("made") or made(*a))
    monkeypatch.setattr(CausalLM, "losses", lambda *a: events.append("measured") or losses(*a))
    found = Heldout(kind(), sample, training.example, 8).measure(training.model)
    in_turn = ["made", "measured"] * 3
    assert events == (sorted(in_turn) if kind is Reckoned else in_turn)
    assert found.loss == pytest.approx(wanted.loss, rel=1e-6)


def short(rows: int, error: Exception) -> CausalLM:
    """An objective for whose losses memory holds so many rows."""

    class Short(CausalLM):
        def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
            found = super().losses(model, batch)
            if len(batch.inputs["tokens"]) > rows:
                raise error
            return found

    return Short()


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")], ids=type)
def test_held_out_rows_that_memory_does_not_hold_are_measured_fewer_at_a_time(
    rows: int, error: Exception, make_training: MakeTraining, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = make_training()
    torch.nn.init.normal_(training.model.head.weight, std=0.5)
    store = TokenStore.open(packed / "run" / "pack" / "heldout")
    sample = Stream().sample(store, Shape(CausalLM(), 24), tokens=19 * 24, seed=1)
    expected = Heldout(CausalLM(), sample, training.example, 8).measure(training.model)
    capsys.readouterr()
    measured = Heldout(short(rows, error), sample, training.example, 8)
    for _ in range(2):  # it is learned once
        found = measured.measure(training.model)
        assert (found.loss, found.losses["words"]) == pytest.approx((expected.loss, expected.losses["words"]), rel=1e-5)
    sizes = (4, 2, 1) if rows == 1 else (4, 2)
    told = [f"memory is short: held-out rows are measured {size} at a time; the loss stays the same" for size in sizes]
    assert capsys.readouterr().out.splitlines() == told
    assert training.model.training and training.cuts.halvings == 0


def test_what_cutting_held_out_rows_cannot_help_is_raised(make_training: MakeTraining, packed: Path) -> None:
    training = make_training()
    sample = Stream().sample(
        TokenStore.open(packed / "run" / "pack" / "heldout"), Shape(CausalLM(), 24), tokens=8 * 24, seed=1
    )
    for rows, error, shared, expected, words in (
        (0, MemoryError("no room"), False, MemoryError, "^no room$"),
        (3, RuntimeError("shapes"), False, RuntimeError, "^shapes$"),
        (3, MemoryError(), True, DanluError, "^memory is short, and ranks that share a model cannot cut .* now 8$"),
    ):
        heldout = Heldout(short(rows, error), sample, training.example, 8, shared)
        with pytest.raises(expected, match=words):
            heldout.measure(training.model)


@pytest.mark.parametrize(("place", "shared"), [(Place(0, 2), False), (Place(0, 1, 2), True), (Place(0, 1, 1, 2), True)])
def test_ranks_that_share_a_model_do_not_cut_held_out_rows(
    place: Place, shared: bool, make_training: MakeTraining, packed: Path
) -> None:
    training = make_training()
    store = TokenStore.open(packed / "run" / "pack" / "heldout")
    masters = cast(Any, SimpleNamespace(place=place))
    settings = Pretrain(model=GPT(layers=2, dim=32, heads=2), sequence=24)
    assert heldout_of(settings, replace(training, masters=masters), store, seed=1).shared is shared


def test_a_training_measures_on_where_memory_is_short(
    train: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = read_metrics(train("pretrain.budget.steps=4", "pretrain.evaluations=2", out="expected").out)
    real = CausalLM.losses

    def losses(self: CausalLM, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        if not torch.is_grad_enabled() and len(batch.inputs["tokens"]) > 2:
            raise MemoryError
        return real(self, model, batch)

    monkeypatch.setattr(CausalLM, "losses", losses)
    capsys.readouterr()
    lines = read_metrics(train("pretrain.budget.steps=4", "pretrain.evaluations=2").out)
    for name in ("loss", "heldout_loss"):
        found, wanted = ([line[name] for line in each if name in line] for each in (lines, expected))
        assert found == pytest.approx(wanted, rel=1e-5) and len(found) >= 2
    assert capsys.readouterr().out.count("memory is short: held-out rows are measured 2 at a time") == 1
