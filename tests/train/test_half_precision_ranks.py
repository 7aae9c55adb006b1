"""float16 with a scaled loss, and masters in main memory, on two processes: what one process does with them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from launching import FIRST_SCALE, exit_codes, files, launch, launch_overflowing, launch_until, mesh_override

from danlu.files import read_json
from danlu.log import read_metrics
from danlu.train.checkpoint import checkpoints

Fresh = Callable[..., Path]


@pytest.mark.parametrize(
    "mesh",
    [
        {"data": 2},
        pytest.param({"shard": 2}, marks=pytest.mark.cluster),
        pytest.param({"tensor": 2}, marks=pytest.mark.cluster),
    ],
    ids=str,
)
def test_float16_trains_as_by_one(mesh: dict[str, int], fresh: Fresh) -> None:
    """The scale of the loss begins too high: all ranks leave the same steps out until it fits."""
    one, two = fresh("one"), fresh("two")
    settings = ("pretrain.budget.steps=30", "pretrain.precision=fp16", "pretrain.average.decay=0.9")
    assert exit_codes(launch_overflowing, 1, str(one), *settings) == [0]
    assert exit_codes(launch_overflowing, 2, str(two), *settings, *mesh_override(mesh)) == [0, 0]
    lines = [read_metrics(folder / "run" / "pretrain") for folder in (one, two)]
    skipped, its = ([line["step"] for line in each if "skipped" in line] for each in lines)
    assert skipped == its and 1 in skipped and len(skipped) < 20
    states = [
        read_json(checkpoints(folder / "run/pretrain/checkpoints")[-1] / "training" / "state.json")
        for folder in (one, two)
    ]
    scales = [state["history"]["scale"] for state in states if state is not None]
    assert scales[0] == scales[1] and scales[0]["value"] < FIRST_SCALE
    for name in ("loss", "grad_norm"):
        ours, theirs = ([line.get(name, 0.0) for line in each] for each in lines)
        np.testing.assert_allclose(theirs, ours, rtol=0.02)
    assert lines[0][-1]["loss"] < 0.95 * lines[0][0]["loss"]


@pytest.mark.cluster
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("mesh", [{"data": 2}, {"shard": 2}], ids=str)
def test_masters_in_main_memory_change_nothing(precision: str, mesh: dict[str, int], fresh: Fresh) -> None:
    here, there = fresh("here"), fresh("there")
    settings = ("pretrain.budget.steps=12", f"pretrain.precision={precision}", *mesh_override(mesh))
    assert exit_codes(launch, 2, str(here), *settings) == [0, 0]
    assert exit_codes(launch, 2, str(there), *settings, "pretrain.hardware.offload=true") == [0, 0]
    assert files(there) == files(here)


ALL_AT_ONCE = (
    "pretrain.precision=fp16", "pretrain.average.decay=0.9", "pretrain.hardware.offload=true",
    "pretrain.hardware.recompute=true", "pretrain.optimizer=normuon", "pretrain.layer_decay=0.8",
    "pretrain.clip={use: adaptive, limit: 0.02}",
    "pretrain.objective={use: clm, label_smoothing: 0.1, z_loss: 0.001}",
)  # fmt: skip


@pytest.mark.cluster
def test_a_killed_rank_leaves_no_trace_with_all_of_it_at_once(fresh: Fresh) -> None:
    straight, killed = fresh("straight"), fresh("killed")
    settings = ("pretrain.budget.steps=24", *ALL_AT_ONCE)
    assert exit_codes(launch, 2, str(straight), *settings) == [0, 0]
    assert exit_codes(launch_until, 2, 13, signal.SIGKILL, str(killed), *settings) == [3, -signal.SIGKILL]
    assert exit_codes(launch, 2, str(killed), *settings) == [0, 0]
    assert files(killed) == files(straight)
