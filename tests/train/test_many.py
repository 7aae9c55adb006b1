"""``danlu pretrain`` on several processes: the training that one process does, whatever becomes of one of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks
import torch
from launching import (
    COMMON,
    exit_codes,
    files,
    launch,
    launch_counting,
    launch_hanging,
    launch_in_int8,
    launch_on_another_processor,
    launch_short,
    launch_until,
    launch_without_compiler,
    mesh_override,
)
from safetensors.torch import load_file

from danlu.corpus.batches import IGNORE
from danlu.log import read_metrics
from danlu.parallel.mesh import Place
from danlu.recipe import load_recipe
from danlu.run_folder import RunFolder
from danlu.runs import run_stages
from danlu.train.checkpoint import checkpoints
from danlu.train.gradients import OwnBatches
from danlu.train.settings import Hardware
from danlu.train.setup import Training

ROOT = Path(__file__).parent.parent.parent
MESH = "pretrain.hardware.mesh"
Fresh = Callable[..., Path]


@pytest.fixture(scope="session")
def special(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``packed``, with the special tokens of BERT and T5."""
    folder = tmp_path_factory.mktemp("special")
    known = (packed / "recipe.yaml").read_text(encoding="utf-8")
    (folder / "recipe.yaml").write_text(known.replace("{use: char}", "{use: char, special: [bert, t5]}"))
    run_stages(load_recipe(folder / "recipe.yaml", [f"run_dir={folder}/run"]), ["clean", "tokenizer", "pack"])
    return folder


def measured(folder: Path) -> list[tuple[float, ...]]:
    return [
        (line["step"], line["loss"], line["grad_norm"], line["tokens"], line.get("heldout_loss", 0.0))
        for line in read_metrics(folder / "run" / "pretrain")
    ]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "run" / "pretrain" / "model" / "model.safetensors")


def assert_same(one: Path, other: Path, *, to: float = 1e-6) -> None:
    np.testing.assert_allclose(measured(other), measured(one), rtol=to, atol=to)
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(theirs[name], weight, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("micro_batch", [1, 2, 4])
def test_all_ranks_together_read_what_one_reads(
    size: int, micro_batch: int, make_training: Callable[..., Training]
) -> None:
    whole = make_training(batch=8, hardware=Hardware(micro_batch=8)).batches
    parts = make_training(batch=8, hardware=Hardware(micro_batch=micro_batch)).batches
    assert isinstance(parts, OwnBatches)
    for step in (0, 5):
        [expected] = whole(step)
        own = [OwnBatches(parts.whole, Place(rank, size))(step) for rank in range(size)]
        for name in ("tokens", "segments"):
            read = torch.cat([batch.inputs[name] for mine in own for batch in mine])
            assert torch.equal(read, expected.inputs[name])
        shared = [OwnBatches(parts.whole, Place(rank, 1, size))(step) for rank in range(size)]
        assert len({len(mine) for mine in shared}) == 1  # they go through the model together
        assert sum(batch.tokens for mine in shared for batch in mine) == expected.tokens
        assert sum(batch.counts.get("words", 0) for mine in shared for batch in mine) == int(
            (expected.targets["words"] != IGNORE).sum()
        )


def test_two_ranks_train_as_one(fresh: Fresh) -> None:
    one, two = fresh("one"), fresh("two")
    settings = ("pretrain.budget.steps=50", "pretrain.average.decay=0.9")
    assert exit_codes(launch, 1, str(one), *settings) == [0]
    assert exit_codes(launch, 2, str(two), *settings) == [0, 0]
    assert_same(one, two)
    told = (two / "out-0").read_text().splitlines()
    assert "; 2 processes: data 2" in told[1]
    assert (two / "out-1").read_text() == ""
    figures = [RunFolder(folder / "run").figures("pretrain") for folder in (one, two)]
    assert [each["parameters"] for each in figures] == [figures[0]["parameters"]] * 2
    # Once done it stays done, however many ask.
    assert exit_codes(launch, 1, str(two), *settings, "pretrain.hardware.mesh.watch.stuck=20") == [0]
    assert (two / "out-0").read_text() == "pretrain: unchanged, skipped\n"


def test_a_step_has_six_collective_calls(fresh: Fresh) -> None:
    """What is counted, what was lost, gradients to their owners, their norm, and weights from either owner."""
    folder = fresh("calls")
    assert exit_codes(launch_counting, 2, str(folder), "pretrain.budget.steps=6", "pretrain.save.steps=6") == [0, 0]
    wanted = "all_gather all_gather all_to_all_single all_gather broadcast broadcast"
    assert [(folder / f"calls-{rank}").read_text() for rank in range(2)] == [wanted] * 2


CLIPPINGS = ["none", "norm, limit: 0.2", "value, limit: 0.005", "adaptive, limit: 0.02"]
MESHES = [(3, {}), (4, {}), (2, {"shard": 2}), (3, {"shard": 3}), (2, {"tensor": 2}), (4, {"shard": 2, "tensor": 2})]


@pytest.mark.cluster
@pytest.mark.parametrize(("size", "mesh"), MESHES, ids=str)
def test_any_mesh_trains_as_one(size: int, mesh: dict[str, int], fresh: Fresh) -> None:
    one, many = fresh("one"), fresh("many")
    settings = ("pretrain.budget.steps=50", "pretrain.average.decay=0.9")
    assert exit_codes(launch, 1, str(one), *settings) == [0]
    assert exit_codes(launch, size, str(many), *settings, *mesh_override(mesh)) == [0] * size
    assert_same(one, many)


@pytest.mark.cluster
@pytest.mark.parametrize("clipping", CLIPPINGS)
def test_gradients_are_clipped_as_by_one(clipping: str, fresh: Fresh) -> None:
    one, two = fresh("one"), fresh("two")
    settings = ("pretrain.budget.steps=20", f"pretrain.clip={{use: {clipping}}}")
    exit_codes(launch, 1, str(one), *settings)
    exit_codes(launch, 2, str(two), *settings)
    assert_same(one, two)


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("family", "objective"),
    [("bert", "mlm"), ("t5", "span_corruption"), ("bert", "mlm, rate: 0.02")],
)
@pytest.mark.parametrize("mesh", [{"data": 2}, {"shard": 2}], ids=str)
def test_other_objectives_train_as_by_one(
    family: str, objective: str, mesh: dict[str, int], fresh: Fresh, special: Path
) -> None:
    one, two = fresh("one", special), fresh("two", special)
    settings = (
        f"pretrain.model={{use: {family}, layers: 2, dim: 32, heads: 2}}",
        f"pretrain.objective={{use: {objective}}}",
        "pretrain.rows=packed",
        "pretrain.budget.steps=30",
    )
    assert exit_codes(launch, 1, str(one), *settings) == [0], (one / "err-0").read_text()
    assert exit_codes(launch, 2, str(two), *settings, *mesh_override(mesh)) == [0, 0]
    assert_same(one, two)


@pytest.mark.cluster
@pytest.mark.parametrize("mesh", [{"data": 2}, {"shard": 2}], ids=str)
def test_int8_trains_as_by_one(mesh: dict[str, int], fresh: Fresh) -> None:
    """Ranks round the micro-batches that one process rounds. Gradients that are summed in another order differ in their
    last bits, most of which the weights lose in bfloat16: what is left is small beside what int8 makes."""
    one, two, without = fresh("one"), fresh("two"), fresh("without")
    settings = ("pretrain.budget.steps=30",)
    assert exit_codes(launch_in_int8, 1, str(one), *settings) == [0]
    assert exit_codes(launch_in_int8, 2, str(two), *settings, *mesh_override(mesh)) == [0, 0]
    assert exit_codes(launch, 1, str(without), *settings, "pretrain.precision=bf16") == [0]
    assert "precision int8: as asked" in (two / "out-0").read_text()
    losses, ours, others = (np.array([line[1] for line in measured(folder)]) for folder in (one, two, without))
    np.testing.assert_allclose(ours[0], losses[0], rtol=1e-6)
    assert np.abs(ours - losses).mean() < 0.1 * np.abs(others - losses).mean()


def test_int8_is_refused_where_ranks_share_products(fresh: Fresh) -> None:
    folder = fresh("shared")
    assert exit_codes(launch_in_int8, 2, str(folder), f"{MESH}.tensor=2") == [2, 2]
    said = [(folder / f"err-{rank}").read_text() for rank in range(2)]
    assert said == [
        "danlu: error: pretrain.precision int8 needs pretrain.hardware.mesh.tensor 1; got 2\n", ""
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((2, {}), (1, {})),
        pytest.param((1, {}), (2, {}), marks=pytest.mark.cluster),
        pytest.param((2, {"shard": 2}), (2, {}), marks=pytest.mark.cluster),
        pytest.param((3, {}), (2, {"tensor": 2}), marks=pytest.mark.cluster),
    ],
    ids=str,
)
def test_a_stopped_training_goes_on_with_another_number_of_processes(before: Any, after: Any, fresh: Fresh) -> None:
    """The last rank alone is asked to stop, after step 9; all stop after the same step, the next one."""
    straight, stopped = fresh("straight"), fresh("stopped")
    settings = ("pretrain.budget.steps=24", "pretrain.average.decay=0.9")
    exit_codes(launch, 1, str(straight), *settings)
    size, mesh = before
    codes = exit_codes(
        launch_until, size, 9 if size > 1 else 10, signal.SIGTERM, str(stopped), *settings, *mesh_override(mesh)
    )
    assert codes == [128 + signal.SIGTERM] * size
    assert checkpoints(stopped / "run/pretrain/checkpoints")[-1].name == "step-00000010"
    said = [(stopped / f"err-{rank}").read_text() for rank in range(size)]
    assert said[0].startswith("danlu: stopped after step 10 as asked")
    assert said[1:] == [""] * (size - 1)
    size, mesh = after
    assert exit_codes(launch, size, str(stopped), *settings, *mesh_override(mesh)) == [0] * size
    assert "going on after step 10" in (stopped / "out-0").read_text()
    assert_same(straight, stopped)


@pytest.mark.cluster
def test_a_killed_rank_stops_all_and_the_next_run_is_an_undisturbed_one(fresh: Fresh) -> None:
    straight, killed = fresh("straight"), fresh("killed")
    settings = ("pretrain.budget.steps=24",)
    exit_codes(launch, 2, str(straight), *settings)
    begun = time.monotonic()
    assert exit_codes(launch_until, 2, 13, signal.SIGKILL, str(killed), *settings) == [3, -signal.SIGKILL]
    assert time.monotonic() - begun < 30
    [line] = (killed / "err-0").read_text().splitlines()
    assert line.startswith("danlu: error: rank 1 (host ") and "it is dead or stopped" in line
    assert exit_codes(launch, 2, str(killed), *settings) == [0, 0]
    assert files(killed) == files(straight)


@pytest.mark.cluster
def test_a_hanging_rank_stops_all(fresh: Fresh) -> None:
    folder = fresh("hanging")
    begun = time.monotonic()
    assert exit_codes(launch_hanging, 2, 13, str(folder)) == [3, 3]
    assert time.monotonic() - begun < 30
    said = [line for rank in range(2) for line in (folder / f"err-{rank}").read_text().splitlines()]
    assert len(said) == 1 and said[0].startswith("danlu: error: rank 1 (host ") and " hangs: " in said[0]


def test_memory_that_is_short_on_one_rank_has_all_cut_alike(fresh: Fresh) -> None:
    two, short = fresh("two"), fresh("short")
    settings = ("pretrain.budget.steps=3", "pretrain.hardware.micro_batch=2")
    exit_codes(launch, 2, str(two), *settings)
    assert exit_codes(launch_short, 2, str(short), *settings) == [0, 0]
    assert_same(two, short)
    [cut] = [line for line in (short / "out-0").read_text().splitlines() if line.startswith("memory is short")]
    assert cut == "memory is short: micro-batches are cut to 1 rows; the step stays the same"


def test_machines_that_would_compute_in_different_types_are_refused(fresh: Fresh) -> None:
    folder = fresh("unlike")
    assert exit_codes(launch_on_another_processor, 2, str(folder), "pretrain.precision=auto") == [2, 2]
    said = [(folder / f"err-{rank}").read_text() for rank in range(2)]
    assert said[0].startswith(
        "danlu: error: rank 1 has another number type than rank 0: float32, not bfloat16; all ranks need the same: set "
    )
    assert (said[0].count("\n"), said[1]) == (1, "")


@pytest.mark.cluster
def test_a_machine_without_a_compiler_does_the_first_step_with_the_others(fresh: Fresh) -> None:
    one, two = fresh("one"), fresh("two")
    exit_codes(launch, 2, str(one), "pretrain.budget.steps=3")
    assert exit_codes(launch_without_compiler, 2, str(two), "pretrain.budget.steps=3") == [0, 0]
    assert_same(one, two)


def test_ranks_that_share_weights_cannot_cut(fresh: Fresh) -> None:
    folder = fresh("short")
    settings = ("pretrain.budget.steps=3", "pretrain.hardware.micro_batch=2", "pretrain.hardware.mesh.shard=2")
    assert exit_codes(launch_short, 2, str(folder), *settings) == [2, 2]
    said = [(folder / f"err-{rank}").read_text() for rank in range(2)]
    assert "".join(said).count("memory is short, and ranks that share a model cannot cut") == 1


@pytest.mark.parametrize(
    ("size", "overrides", "problem"),
    [
        (3, [f"{MESH}.shard=2"], f"{MESH}: shard 2 x tensor 1 does not divide the number of processes, 3"),
        (2, [f"{MESH}.data=3"], f"{MESH}: data 3 x shard 1 x tensor 1 = 3 is not the number of processes, 2"),
        (2, ["pretrain.batch=zero"], "pretrain.batch must be a whole number; got 'zero'"),
        (2, ["pretrain.schedule=plateau", "pretrain.evaluations=0"], "pretrain: schedule plateau needs held-out "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_said_once(
    size: int, overrides: list[str], problem: str, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fresh("refused")
    assert exit_codes(launch, size, str(folder), *overrides) == [2] * size
    said = [(folder / f"err-{rank}").read_text() for rank in range(size)]
    assert said[0].startswith(f"danlu: error: {problem}")
    assert said[0].count("\n") == 1
    assert said[1:] == [""] * (size - 1)


def test_a_run_folder_in_use_is_refused_once(fresh: Fresh) -> None:
    folder = fresh("locked")
    with RunFolder(folder / "run").lock():
        assert exit_codes(launch, 2, str(folder)) == [2, 2]
    assert " is in use by process " in (folder / "err-0").read_text()
    assert (folder / "err-1").read_text() == ""


@pytest.mark.cluster
def test_minutes_give_all_ranks_the_same_number_of_steps(fresh: Fresh) -> None:
    folder = fresh("minutes")
    assert exit_codes(launch, 2, str(folder), "pretrain.budget={minutes: 0.05}") == [0, 0]
    figures = RunFolder(folder / "run").figures("pretrain")
    assert figures["steps"] == read_metrics(folder / "run" / "pretrain")[-1]["step"] > 5


@pytest.mark.cluster
def test_early_stopping_ends_where_it_does_with_one(fresh: Fresh) -> None:
    one, two = fresh("one"), fresh("two")
    settings = (
        "pretrain.budget.steps=60", "pretrain.evaluations=30", "pretrain.optimizer={use: adamw, lr: 0.05}",
        "pretrain.early_stopping={patience: 2}",
    )  # fmt: skip
    exit_codes(launch, 1, str(one), *settings)
    assert exit_codes(launch, 2, str(two), *settings) == [0, 0]
    assert len(measured(one)) < 60
    assert_same(one, two, to=1e-4)


@pytest.mark.slow
def test_torchrun_and_sigterm_to_it(fresh: Fresh) -> None:
    folder = fresh("torchrun")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(ranks.free_port()),
        "-m", "danlu", "pretrain", f"{folder}/recipe.yaml", f"run_dir={folder}/run", *COMMON,
    ]  # fmt: skip
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    long = [*command, "pretrain.budget.steps=100000"]
    with subprocess.Popen(long, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        until = time.monotonic() + 120
        while not checkpoints(folder / "run/pretrain/checkpoints") and time.monotonic() < until:
            time.sleep(0.2)
        started.send_signal(signal.SIGTERM)
        out, err = started.communicate(timeout=60)
    assert err.count("as asked; the work is saved") == 1, out + err
    step = int(err.partition("stopped after step ")[2].split()[0])
    assert checkpoints(folder / "run/pretrain/checkpoints")[-1].name == f"step-{step:08d}"
    shutil.rmtree(folder / "run" / "pretrain")
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    one = fresh("one")
    exit_codes(launch, 1, str(one))
    assert_same(one, folder)
