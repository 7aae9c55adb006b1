"""``--ray``: what is asked for, what is told where something is missing, and real workers of a local cluster."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_many import COMMON, ROOT, assert_same, exit_codes, files, launch

from danlu import cli
from danlu.errors import DanluError, InputError, Interrupted, RecipeError
from danlu.parallel.desk import End, Line, News
from danlu.recipe import load_recipe
from danlu.run_folder import RunFolder
from danlu.train.checkpoint import checkpoints
from danlu.train.on_ray import WorkersError, _settle, count_workers, share_out
from danlu.train.pretrain import Pretrain
from danlu.workers.cluster import check_answers

Fresh = Callable[..., Path]
LONG = 1e-4
"""Of the difference after hundreds of steps, as sums in another order round otherwise."""


def pretrain(**mesh: int) -> Pretrain:
    return Pretrain.model_validate({"hardware": {"mesh": mesh}})


@pytest.mark.parametrize(
    ("mesh", "workers", "count"),
    [({"data": 2}, None, 2), ({"data": 2, "shard": 3, "tensor": 2}, None, 12), ({}, 5, 5), ({"shard": 2}, 4, 4)],
)
def test_the_mesh_or_the_caller_says_how_many_workers(mesh: dict[str, int], workers: int | None, count: int) -> None:
    assert count_workers(pretrain(**mesh), workers) == count


@pytest.mark.parametrize(
    ("mesh", "workers", "problem"),
    [
        ({"shard": 2}, None, "--ray needs the number of workers: --workers N, or pretrain.hardware.mesh.data=N"),
        ({"data": 2}, 3, "pretrain.hardware.mesh: data 2 x shard 1 x tensor 1 = 2 is not the number of processes, 3"),
        ({}, 0, "--workers must be at least 1; got 0"),
    ],
)
def test_a_number_of_workers_that_cannot_be_is_refused(mesh: dict[str, int], workers: int | None, problem: str) -> None:
    with pytest.raises(DanluError) as refused:
        count_workers(pretrain(**mesh), workers)
    assert str(refused.value) == problem


@pytest.mark.parametrize(
    ("nodes", "workers", "device", "each", "enough"),
    [
        ([{"CPU": 8}], 2, "auto", {"CPU": 4}, True),
        ([{"CPU": 4}, {"CPU": 4}, {"CPU": 4}], 2, "auto", {"CPU": 4}, True),  # never more than one machine has
        ([{"CPU": 8}, {"CPU": 2}], 3, "auto", {"CPU": 2}, True),
        ([{"CPU": 16, "GPU": 4}], 4, "auto", {"CPU": 1, "GPU": 1}, True),
        ([{"CPU": 16, "GPU": 4}, {"CPU": 16}], 6, "auto", {"CPU": 1, "GPU": 1}, False),
        ([{"CPU": 16, "GPU": 4}], 2, "cpu", {"CPU": 8}, True),
        ([{"CPU": 16}], 2, "cuda", {"CPU": 1, "GPU": 1}, False),
        ([{"CPU": 1}], 2, "auto", {"CPU": 1}, False),
        ([{}], 2, "auto", {"CPU": 1}, False),
    ],
)  # fmt: skip
def test_what_a_worker_gets(nodes: Any, workers: int, device: str, each: dict[str, int], enough: bool) -> None:
    assert share_out(nodes, workers, device=device) == (each, enough)


NAMES = {0: "rank 0 (host a, process 7)", 1: "rank 1 (host b, process 8)"}


class Failed(Exception):  # noqa: N818
    """As Ray's WorkerGroupError."""

    worker_failures: dict[int, Exception] = {1: RuntimeError("ActorDiedError")}  # noqa: RUF012


def settled(error: Exception | None = None, said: str = "", **ends: End) -> tuple[str, int | str | None]:
    """The line that is left to be shown, and the exit code."""
    lines = [Line(said, True)] if said else []
    try:
        _settle(News(lines, NAMES, {int(rank[-1]): end for rank, end in ends.items()}), error)
    except Interrupted as stop:
        return f"interrupted: {stop}", stop.exit_code
    except WorkersError as failed:
        return str(failed), failed.exit_code
    except SystemExit as left:
        return "", left.code
    return "", 0


def test_the_command_leaves_as_the_workers_did() -> None:
    died = "rank 1 (host b, process 8) died; all ranks stop, run the same command to go on"
    assert settled(rank0=End(), rank1=End()) == ("", 0)
    assert settled(rank0=End(2, "no such file"), rank1=End(2)) == ("no such file", 2)
    assert settled(rank0=End(143, "stopped after step 3"), rank1=End(143)) == ("interrupted: stopped after step 3", 143)
    assert settled(rank0=End(1), rank1=End(3)) == ("", 1)  # a bug, whose traceback has been shown
    assert settled(Failed()) == (died, 3)
    assert settled(Failed(), "danlu: error: rank 1 hangs") == ("", 3)  # the watch has said so
    assert settled(RuntimeError("Traceback:\nno module danlu")) == (
        "Ray could not start the workers: no module danlu",
        2,
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--workers", "2"], "--workers is the number of Ray's workers; without --ray ADDRESS there are none"),
        (["--ray", "local"], "--ray needs the number of workers: --workers N, or pretrain.hardware.mesh.data=N"),
        (["--ray", "local", "--workers", "2"], "--ray needs the package ray: pip install ray[train]"),
    ],
)
@pytest.mark.parametrize("verb", ["pretrain", "run"])
def test_what_is_missing_is_one_line(
    verb: str, arguments: list[str], problem: str, packed: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main([verb, f"{packed}/recipe.yaml", f"run_dir={packed}/run", *arguments]) == 2
    assert capsys.readouterr().err == f"danlu: error: {problem}\n"


def test_a_launcher_and_ray_at_once_are_refused(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from danlu.train.on_ray import run_on_ray

    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "MASTER_ADDR": "a", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(InputError, match="--ray starts the processes itself"):
        run_on_ray(load_recipe(packed / "recipe.yaml"), ["pretrain"], address="local", workers=2)


def test_a_recipe_that_trains_nothing_is_refused(tmp_path: Path) -> None:
    from danlu.train.on_ray import run_on_ray

    (tmp_path / "recipe.yaml").write_text("tokenizer: {use: char}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="--ray is for recipes that train; this one has: tokenizer"):
        run_on_ray(load_recipe(tmp_path / "recipe.yaml"), ["tokenizer"], address="local", workers=2)


def test_workers_of_a_training_that_is_not_there_are_refused_before_anything_runs(tmp_path: Path) -> None:
    from danlu.train.with_ray import run_with_ray

    path = tmp_path / "recipe.yaml"
    path.write_text("clean: {sources: [nowhere]}\ntokenizer: {use: char}\npack: {}\n", encoding="utf-8")
    recipe, begun = load_recipe(path), list[str]()
    with pytest.raises(RecipeError, match="--ray is for recipes that train; this one has: clean, tokenizer, pack"):
        run_with_ray(recipe, ["clean", "tokenizer", "pack"], begun.append, "refuse", address="local", workers=2)
    assert not begun


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nobody_listens_is_told_at_once(form: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = form.format(taken.getsockname()[1])
        with pytest.raises(InputError, match=f"--ray {address}: no Ray cluster answers there .*refused"):
            check_answers(address)
        taken.listen()
        check_answers(address)
    for without_port in ("auto", "local"):
        check_answers(without_port)


@pytest.fixture
def fresh(packed: Path, tmp_path: Path) -> Fresh:
    """``fresh("a")``: a folder with a recipe and a run that is done up to ``pack``."""

    def make(name: str) -> Path:
        shutil.copytree(packed / "run", tmp_path / name / "run")
        shutil.copy(packed / "recipe.yaml", tmp_path / name)
        return tmp_path / name

    return make


@contextmanager
def on_ray(folder: Path, *overrides: str, workers: int = 2, address: str = "local") -> Iterator[subprocess.Popen[str]]:
    """``danlu pretrain --ray local``, in a process group of its own as a terminal would start it."""
    pytest.importorskip("ray")
    command = [
        sys.executable, "-m", "danlu", "pretrain", "recipe.yaml", "run_dir=run", *COMMON, *overrides,
        "--ray", address, "--workers", str(workers),
    ]  # fmt: skip
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as started:
        yield started
        started.kill()


def finished(started: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = started.communicate(timeout=120)
    return started.returncode, out, err


def wait_for_checkpoint(folder: Path, started: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while not checkpoints(folder / "run/pretrain/checkpoints") and time.monotonic() < until:
        assert started.poll() is None, started.communicate()
        time.sleep(0.1)


def workers_of(started: subprocess.Popen[str]) -> list[int]:
    """The processes of the session that Ray calls its training workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            name, session = (path / "cmdline").read_text(), os.getsid(int(path.name))
        except OSError:
            continue
        if session == started.pid and "RayTrainWorker" in name:
            found.append(int(path.name))
    return found


@pytest.mark.cluster
def test_two_workers_train_as_two_processes_and_as_one(fresh: Fresh) -> None:
    one, two, ray = fresh("one"), fresh("two"), fresh("ray")
    assert exit_codes(launch, 1, str(one)) == [0]
    assert exit_codes(launch, 2, str(two)) == [0, 0]
    with on_ray(ray) as started:
        code, out, err = finished(started)
    assert (code, err) == (0, "")
    assert out.startswith("pretrain: begins\n") and "; 2 processes: data 2" in out
    assert "pretrain: done in" in out.splitlines()[-1]
    assert_same(one, ray)
    assert_same(two, ray)
    assert files(ray).keys() == files(two).keys()
    assert {path.name for path in ray.iterdir()} == {"run", "recipe.yaml"}


@pytest.mark.cluster
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_goes_on_with_another_number_of_workers(number: int, code: int, fresh: Fresh) -> None:
    straight, stopped = fresh("straight"), fresh("stopped")
    steps = "pretrain.budget.steps=600"
    assert exit_codes(launch, 1, str(straight), steps) == [0]
    with on_ray(stopped, steps) as started:
        wait_for_checkpoint(stopped, started)
        os.killpg(started.pid, number) if number == signal.SIGINT else started.send_signal(number)
        left, out, err = finished(started)
    assert left == code, out + err
    assert err.startswith("danlu: stopped after step ") and err.count("\n") == 1
    step = int(err.partition("after step ")[2].split()[0])
    assert checkpoints(stopped / "run/pretrain/checkpoints")[-1].name == f"step-{step:08d}"
    with on_ray(stopped, steps, workers=1) as started:
        left, out, err = finished(started)
    assert (left, err) == (0, "")
    assert f"going on after step {step}\n" in out
    assert_same(straight, stopped, to=LONG)


@pytest.mark.cluster
def test_a_worker_that_dies_ends_the_run_by_name_and_the_next_goes_on(fresh: Fresh) -> None:
    one, killed = fresh("one"), fresh("killed")
    steps = "pretrain.budget.steps=400"
    assert exit_codes(launch, 1, str(one), steps) == [0]
    with on_ray(killed, steps) as started:
        wait_for_checkpoint(killed, started)
        victim = workers_of(started)[-1]
        os.kill(victim, signal.SIGKILL)
        begun = time.monotonic()
        code, out, err = finished(started)
    assert code == 3, out + err
    assert time.monotonic() - begun < 30
    [line] = err.splitlines()
    assert line.startswith("danlu: error: rank ") and f"process {victim}) died; all ranks stop" in line
    with on_ray(killed, steps) as started:
        code, out, err = finished(started)
    assert (code, err) == (0, "")
    assert "going on after step" in out
    assert_same(one, killed, to=LONG)


@pytest.mark.cluster
def test_errors_of_workers_are_shown_once(fresh: Fresh) -> None:
    folder = fresh("locked")
    with RunFolder(folder / "run").lock(), on_ray(folder) as started:
        code, _, err = finished(started)
    assert code == 2
    assert err.startswith("danlu: error: ") and " is in use by process " in err and err.count("\n") == 1


@pytest.mark.cluster
def test_a_cluster_that_is_not_there_is_one_line(fresh: Fresh) -> None:
    with on_ray(fresh("nowhere"), address="auto") as started:
        code, _, err = finished(started)
    assert code == 2
    assert err.startswith("danlu: error: --ray auto: ") and err.count("\n") == 1
