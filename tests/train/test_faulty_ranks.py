"""What goes wrong on one rank alone - its numbers, its device, its files, its recipe - is told by its name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from launching import (
    exit_codes,
    launch,
    launch_failing,
    launch_spoilt,
    launch_with_a_bug,
    launch_with_another_recipe,
    launch_with_others,
    launch_without_recipe,
    launch_without_room_for_a_step,
)

from danlu.files import read_json, write_json
from danlu.parallel.verdict import LOST
from danlu.recipe import load_recipe
from danlu.runs import run_stages
from danlu.train.checkpoint import checkpoints, find_damage

pytestmark = pytest.mark.cluster
SHORT = ("pretrain.budget.steps=10",)
NAME = r"rank {} \(host [^ ]+, process \d+\)"


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    shutil.copytree(packed / "run", tmp_path / "a" / "run")
    shutil.copy(packed / "recipe.yaml", tmp_path / "a")
    return tmp_path / "a"


def said(folder: Path, size: int = 2) -> list[str]:
    return [line for rank in range(size) for line in (folder / f"err-{rank}").read_text().splitlines()]


@pytest.mark.parametrize(
    ("size", "victim", "how", "mesh", "what"),
    [
        (2, 1, "nan", {}, "loss is nan"),
        (3, 2, "inf", {}, "loss is inf"),
        (3, 1, "gradient nan", {}, "norm of the gradient is nan"),
        (2, 0, "gradient inf", {}, "norm of the gradient is nan"),
        (2, 1, "nan", {"shard": 2}, "loss is nan"),
    ],
    ids=str,
)
def test_who_alone_finds_no_numbers_is_named(
    size: int, victim: int, how: str, mesh: dict[str, int], what: str, folder: Path
) -> None:
    settings = [f"pretrain.hardware.mesh.{axis}={count}" for axis, count in mesh.items()]
    codes = exit_codes(launch_spoilt, size, how, victim, str(folder), *SHORT, "pretrain.batch=6", *settings)
    assert codes == [2] * size
    who = NAME.format(victim)
    told = [line for line in (folder / "out-0").read_text().splitlines() if " is left out: " in line]
    assert told and all(re.fullmatch(rf"step \d+ is left out: its {what}, on {who} alone", line) for line in told), told
    [line] = said(folder, size)
    assert line.startswith("danlu: error: the training has diverged, also after going back 3 times")
    assert re.search(rf"or have the memory and the device of {who} looked at; the last good checkpoint is kept$", line)


@pytest.mark.parametrize("mesh", [(), ("pretrain.hardware.mesh.shard=2",)], ids=["data", "shard"])
def test_who_alone_has_no_memory_for_a_step_is_named(mesh: tuple[str, ...], folder: Path) -> None:
    """The others wait for it by then, in a collective call or before one."""
    settings = ("pretrain.optimizer=adamw", "pretrain.save={steps: 2}", *SHORT, *mesh)
    assert exit_codes(launch_without_room_for_a_step, 2, str(folder), *settings) == [2, 2]
    [line] = said(folder)
    assert re.match(rf"danlu: error: on {NAME.format(1)}: too little memory for a step of the optimizer; ", line)
    found = checkpoints(folder / "run" / "pretrain" / "checkpoints")
    assert [(path.name, find_damage(path)) for path in found] == [("step-00000002", None), ("step-00000004", None)]


def test_of_shares_of_a_copy_both_are_named(folder: Path) -> None:
    """What one of them makes of the gradient is added up while it is made; of its loss it would be named alone."""
    settings = ("pretrain.budget.steps=20", "pretrain.hardware.mesh.shard=2")
    assert exit_codes(launch_spoilt, 4, "gradient nan", 3, str(folder), *settings) == [2] * 4
    who = f"{NAME.format(2)} and {NAME.format(3)}"
    told = [line for line in (folder / "out-0").read_text().splitlines() if " is left out: " in line]
    assert told and all(re.search(rf"is left out: .*, on {who} alone$", line) for line in told), told


def test_what_all_ranks_find_names_none(folder: Path) -> None:
    """Ranks that share products share the micro-batch too, and what becomes of it."""
    settings = (*SHORT, "pretrain.hardware.mesh.tensor=2")
    assert exit_codes(launch_spoilt, 2, "nan", 1, str(folder), *settings) == [2, 2]
    assert " is left out: its norm of the gradient is nan\n" in (folder / "out-0").read_text()
    [line] = said(folder)
    assert "lower the learning rates in pretrain.optimizer; the last good checkpoint is kept" in line


@pytest.mark.parametrize(
    "problem",
    [
        "CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be reported at some other call",
        "[gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.2]:46382",
    ],
)
def test_an_error_of_one_rank_is_told_with_its_first_line(problem: str, folder: Path) -> None:
    """Also one that looks as if another rank were gone, once none is."""
    codes = exit_codes(launch_failing, 2, problem, str(folder), *SHORT, seconds=30)
    assert codes[0] == LOST and codes[1] in (LOST, -1)  # its own watch may be faster than its error
    [line] = [line for line in said(folder) if line.startswith("danlu: ")]
    assert re.match(rf"danlu: error: {NAME.format(1)} failed \(RuntimeError: ", line)
    assert f"(RuntimeError: {problem.splitlines()[0]}); all ranks stop" in line


@pytest.mark.parametrize("victim", [0, 1])
def test_who_finds_no_recipe_tells_those_that_wait(victim: int, folder: Path) -> None:
    assert exit_codes(launch_without_recipe, 2, victim, str(folder), *SHORT, seconds=30) == [2, 2]
    [line] = said(folder)
    who = f"on {NAME.format(1)}: " if victim else ""
    assert re.fullmatch(f"danlu: error: {who}.*gone.yaml.*", line), line


@pytest.mark.parametrize("victim", [0, 1])
def test_a_bug_of_one_rank_before_all_have_met_is_told_at_once(victim: int, folder: Path) -> None:
    """With its traceback, by whoever has it."""
    codes = exit_codes(launch_with_a_bug, 2, victim, str(folder), *SHORT, seconds=30)
    assert codes == ([1, LOST] if victim == 0 else [LOST, 1])
    traceback = (folder / f"err-{victim}").read_text()
    what = "TypeError: object of type 'NoneType' has no len()"
    assert traceback.startswith("Traceback ") and traceback.endswith(f"{what}\n")
    others = "" if victim == 0 else f"danlu: error: on {NAME.format(1)}: {re.escape(what)}\n"
    assert re.fullmatch(others, (folder / f"err-{1 - victim}").read_text())


def test_where_nobody_finds_a_recipe_it_is_told_once(folder: Path) -> None:
    (folder / "recipe.yaml").unlink()
    assert exit_codes(launch, 2, str(folder), seconds=30) == [2, 2]
    assert len(said(folder)) == 1


def test_another_recipe_is_told_with_what_differs(folder: Path) -> None:
    assert exit_codes(launch_with_another_recipe, 2, str(folder), *SHORT) == [2, 2]
    wanted = "rank 1 has another recipe than rank 0: all need the same one; pretrain.batch is 8, on rank 0 4"
    assert said(folder) == [f"danlu: error: {wanted}"]


def test_another_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    """Two characters have changed places: as many, and of the same model."""
    shutil.copytree(folder / "run" / "tokenizer", tmp_path / "tokenizer")
    file = tmp_path / "tokenizer" / "tokenizer.json"
    known = read_json(file)
    assert known is not None
    vocabulary = known["model"]["vocab"]
    vocabulary["e"], vocabulary["t"] = vocabulary["t"], vocabulary["e"]
    write_json(file, known)
    assert exit_codes(launch_with_others, 2, "tokenizer", str(tmp_path), str(folder), *SHORT) == [2, 2]
    [line] = said(folder)
    who = NAME.format(1)
    assert re.match(rf"danlu: error: on {who}: the token store in .* was packed with another tokenizer", line), line


def test_another_text_is_refused(folder: Path, packed: Path, tmp_path: Path) -> None:
    shutil.copy(packed / "recipe.yaml", tmp_path)
    text = tmp_path / "text"
    shutil.copytree(packed / "text", text)
    for name in sorted(text.iterdir())[:20]:
        name.write_text(name.read_text()[::-1])
    recipe = load_recipe(tmp_path / "recipe.yaml", [f"run_dir={tmp_path / 'run'}", f"clean.sources=[{text}]"])
    run_stages(recipe, ["clean", "tokenizer", "pack"])
    assert exit_codes(launch_with_others, 2, "pack", str(tmp_path / "run"), str(folder), *SHORT) == [2, 2]
    [line] = said(folder)
    assert re.fullmatch(
        r"danlu: error: rank 1 has another text than rank 0: [\d,]+ tokens of .* not [\d,]+ tokens .*", line
    )
