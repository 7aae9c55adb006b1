"""A half-done stage whose settings or inputs have changed: refused with the difference, or as told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from danlu import catalog, run_folder
from danlu.differences import differences, listed
from danlu.errors import CheckpointError, InputError
from danlu.recipe import load_recipe
from danlu.run_folder import Changed, RunFolder
from danlu.runs import run_stages
from danlu.stage import Figures, Job, Stage

RAN: list[str] = []
"""The stages that really ran, in order."""


class Grow(Stage):
    capitals: bool = False

    def run(self, job: Job) -> Figures:
        RAN.append("grow")
        (job.out / "fruit.txt").write_text("PEAR" if self.capitals else "pear", encoding="utf-8")
        return {}


class Press(Stage):
    needs: ClassVar[tuple[str, ...]] = ("grow",)
    twice: bool = False

    def run(self, job: Job) -> Figures:
        RAN.append("press")
        fruit = (job.inputs["grow"] / "fruit.txt").read_text(encoding="utf-8")
        (job.out / "juice.txt").write_text(fruit * (1 + self.twice), encoding="utf-8")
        return {}


class Drink(Stage):
    """Takes five sips, goes on where it was stopped, and has them to lose."""

    needs: ClassVar[tuple[str, ...]] = ("press",)
    resumable: ClassVar[bool] = True
    neutral: ClassVar[tuple[str, ...]] = ("ice",)
    sips: int = 5
    ice: bool = False

    def progress(self, out: Path) -> str | None:
        glass = out / "glass.txt"
        return f"{len(glass.read_text(encoding='utf-8'))} sips" if glass.exists() else None

    def run(self, job: Job) -> Figures:
        RAN.append("drink")
        glass = job.out / "glass.txt"
        begun_at = len(glass.read_text(encoding="utf-8")) if glass.exists() else 0
        for sip in range(begun_at, self.sips):
            if (job.recipe.run_dir / "spill").exists() and sip == 3:
                raise RuntimeError("spilled")
            with glass.open("a", encoding="utf-8") as file:
                file.write(str(sip))
        return {"begun_at": begun_at}


@pytest.fixture(autouse=True)
def orchard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stages = {name: f"{__name__}:{name.title()}" for name in ("grow", "press", "drink")}
    monkeypatch.setattr(catalog, "CATALOG", {"stage": stages})
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text("grow:\npress:\ndrink:\n", encoding="utf-8")


def run(*overrides: str, stages: list[str] | None = None, changed: Changed = "refuse") -> list[str]:
    """Run (all) stages; those that really ran."""
    RAN.clear()
    loaded = load_recipe(Path("r.yaml"), overrides)
    run_stages(loaded, stages or list(loaded.sections), lambda line: None, begin=lambda name: None, changed=changed)
    return list(RAN)


FOLDER = RunFolder(Path("runs/r"))


def spill() -> None:
    """A run that breaks in the middle of drink."""
    FOLDER.path.mkdir(parents=True, exist_ok=True)
    (FOLDER.path / "spill").touch()
    with pytest.raises(RuntimeError, match="spilled"):
        run()
    (FOLDER.path / "spill").unlink()


def snapshot() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in FOLDER.path.rglob("*") if path.is_file() and path.name != ".lock"}


def change_press() -> None:
    """As another command may: press now says something else."""
    run("press.twice=true", stages=["press"])


@pytest.mark.parametrize(
    ("overrides", "before", "difference"),
    [
        (["drink.sips=6"], None, "drink.sips: 5 -> 6"),
        (["drink.sips=6", "drink.ice=true"], None, "drink.sips: 5 -> 6"),
        (["press.twice=true"], change_press, "press/juice.txt changed"),
    ],
)
def test_a_half_done_stage_with_something_to_lose_is_refused_where_anything_changed(
    overrides: list[str], before: Callable[[], None] | None, difference: str
) -> None:
    spill()
    if before is not None:
        before()
    whole = snapshot()
    with pytest.raises(CheckpointError) as caught:
        run(*overrides)
    assert str(caught.value) == (
        f"drink is half done (3 sips), and since it began: {difference}; --changed restart begins anew and keeps that "
        "in runs/r/previous, --changed go-on goes on from it with what is new"
    )
    assert snapshot() == whole, "what is refused leaves no trace"
    assert run(*overrides, changed="go-on")[-1:] == ["drink"]
    assert FOLDER.figures("drink") == {"begun_at": 3}
    assert run(*overrides, changed="go-on") == []


def refuse(name: str, monkeypatch: pytest.MonkeyPatch, *, note: str = "") -> None:
    """A stage that refuses its settings, after it has written a note of what it reads."""
    stage = {"grow": Grow, "press": Press, "drink": Drink}[name]

    def run_and_refuse(self: Stage, job: Job) -> Figures:
        if note:
            (job.out / note).write_text("said", encoding="utf-8")
        raise InputError("not so")

    monkeypatch.setattr(stage, "run", run_and_refuse)


def test_a_stage_that_is_refused_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse("press", monkeypatch)
    with pytest.raises(InputError, match="not so"):
        run()
    assert not FOLDER.stage("press").exists() and FOLDER.done("grow") is not None


def test_the_output_of_a_stage_that_is_refused_the_next_time_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    whole = {path: data for path, data in snapshot().items() if path.parent != FOLDER.path}
    with monkeypatch.context() as patch:
        refuse("press", patch, note="data.json")
        patch.setattr(Press, "notes", ("data.json",))
        with pytest.raises(InputError, match="not so"):
            run("press.twice=true")
    assert {path: data for path, data in snapshot().items() if path.parent != FOLDER.path} == whole
    assert not (FOLDER.path / "previous").exists() and run() == []


def test_a_half_done_stage_that_is_refused_keeps_what_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    spill()
    with monkeypatch.context() as patch:
        refuse("drink", patch)
        with pytest.raises(InputError, match="not so"):
            run("drink.sips=6", changed="go-on")
    assert run() == ["drink"], "with the former settings nothing has changed"
    assert FOLDER.figures("drink") == {"begun_at": 3}


def test_what_is_refused_after_it_has_done_something_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def sip_and_refuse(self: Stage, job: Job) -> Figures:
        (job.out / "glass.txt").write_text("0", encoding="utf-8")
        raise InputError("not so")

    with monkeypatch.context() as patch:
        patch.setattr(Drink, "run", sip_and_refuse)
        with pytest.raises(InputError, match="not so"):
            run()
    assert (FOLDER.stage("drink") / "begun.json").exists()
    run()
    assert FOLDER.figures("drink") == {"begun_at": 1}


def test_a_changed_half_done_stage_restarts_when_told_and_the_former_is_kept() -> None:
    spill()
    run("drink.sips=6", changed="restart")
    assert FOLDER.figures("drink") == {"begun_at": 0}
    assert (FOLDER.path / "previous" / "drink-1" / "glass.txt").read_text(encoding="utf-8") == "012"


def test_told_to_restart_an_unchanged_stage_goes_on() -> None:
    spill()
    run(changed="restart")
    assert FOLDER.figures("drink") == {"begun_at": 3}


def test_a_change_of_the_files_before_it_is_found_when_they_have_been_made_again() -> None:
    spill()
    with pytest.raises(CheckpointError, match=r"since it began: press/juice\.txt changed; "):
        run("grow.capitals=true")
    assert RAN == ["grow", "press"]
    assert run() == ["grow", "press", "drink"], "with the former settings the files are the former ones"
    assert FOLDER.figures("drink") == {"begun_at": 3}


def test_neutral_settings_are_no_reason_to_refuse() -> None:
    spill()
    run("drink.ice=true")
    assert FOLDER.figures("drink") == {"begun_at": 3}


def test_a_seed_a_version_and_a_lost_record_are_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    spill()
    with pytest.raises(CheckpointError, match=r"since it began: seed: 1 -> 2; "):
        run("seed=2")
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "__version__", "9.9")
        with pytest.raises(CheckpointError, match=r'since it began: danlu: "[^"]*" -> "9\.9"; '):
            run()
    with monkeypatch.context() as patch:
        patch.setattr(Drink, "version", 2)
        with pytest.raises(CheckpointError, match="since it began: the version of drink changed; "):
            run()
    (FOLDER.stage("drink") / "begun.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"since it began: runs/r/drink/begun\.json is missing or damaged; "):
        run()


def test_a_file_that_no_stage_has_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the examples of a fine-tuning: it once said that the sources had changed, and not which."""
    for name in ("ice.txt", "straw.txt"):
        Path(name).write_text("cold", encoding="utf-8")
    monkeypatch.setattr(Drink, "external_files", lambda self: [Path("ice.txt"), Path("straw.txt")])
    spill()
    Path("straw.txt").write_text("long", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"since it began: straw\.txt changed; "):
        run()
    monkeypatch.setattr(Drink, "external_files", lambda self: [Path("ice.txt")])
    with pytest.raises(CheckpointError, match=r"since it began: straw\.txt is gone; "):
        run()
    begun = FOLDER.stage("drink") / "begun.json"
    record = json.loads(begun.read_text(encoding="utf-8"))
    del record["outside"]
    begun.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(CheckpointError, match="since it began: the sources of drink changed; "):
        run()


def test_what_another_version_of_a_stage_has_made_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it wrote may be what nobody reads any more; it says so and does not only skip it."""
    run()
    monkeypatch.setattr(Press, "version", 1)
    assert run() == ["press"], "its output is the same, and so nothing follows from it"
    assert run() == []


def test_the_first_ten_differences_are_shown() -> None:
    record = {"made_from": {"settings": {str(n): n for n in range(14)}}, "files": {"pack": {"a": "1", "b": "1"}}}
    now = {"made_from": {"settings": {"0": 0}}, "files": {"pack": {"a": "2", "c": "1"}}}
    found = differences(record, now, "x", neutral=["13"])
    assert found[:1] == ["x.1: 1 -> null"]
    assert found[-3:] == ["pack/a changed", "pack/b is gone", "pack/c is new"]
    assert listed(found).endswith("x.10: 10 -> null and 5 more")


def test_how_often_is_measured_is_no_free_choice() -> None:
    """Early stopping and a plateau follow from the held-out losses; how checkpoints are saved decides nothing."""
    from danlu.train.pretrain import Pretrain

    settings = ({"evaluations": count, "save": {"steps": count}} for count in (3, 5))
    was, now = ({"made_from": {"settings": each}, "files": {}} for each in settings)
    found = differences(was, now, "pretrain", neutral=Pretrain.neutral)
    assert found == ["pretrain.evaluations: 3 -> 5"]
