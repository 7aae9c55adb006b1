"""Run folders: what is skipped, what runs again and why, who may work, what a crash leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from danlu import catalog, run_folder, runs
from danlu.errors import InputError, OutOfMemoryError, OutputError, RecipeError, RunLockedError
from danlu.log import MetricsLog
from danlu.recipe import Recipe, load_recipe
from danlu.run_folder import RunFolder
from danlu.runs import run_stages
from danlu.stage import Figures, Job, Stage

RAN: list[str] = []
"""The stages that really ran, in order."""


class Grow(Stage):
    """Reads files outside the run folder."""

    source: Path = Path("seeds.txt")
    capitals: bool = False

    def external_files(self) -> list[Path]:
        if not self.source.exists():
            raise InputError(f"grow.source: no file {str(self.source)!r}")
        return [self.source]

    def run(self, job: Job) -> Figures:
        RAN.append("grow")
        text = self.source.read_text(encoding="utf-8").strip()
        (job.out / "part").mkdir()
        (job.out / "part" / "fruit.txt").write_text(text.upper() if self.capitals else text, encoding="utf-8")
        MetricsLog(job.out).write(len(RAN), times=float(len(RAN)))  # differs at every run, as times do
        (job.out / "checkpoints").touch()
        return {"letters": len(text)}


class Press(Stage):
    """Reads what grow wrote."""

    needs: ClassVar[tuple[str, ...]] = ("grow",)
    twice: bool = False

    def run(self, job: Job) -> Figures:
        RAN.append("press")
        fruit = (job.inputs["grow"] / "part" / "fruit.txt").read_text(encoding="utf-8")
        (job.out / "juice.txt").write_text(f"{fruit}{fruit if self.twice else ''} {job.seed}", encoding="utf-8")
        return {}


class Drink(Stage):
    """Takes five sips, and goes on where it was stopped."""

    needs: ClassVar[tuple[str, ...]] = ("press",)
    resumable: ClassVar[bool] = True
    sips: int = 5

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


class Label(Stage):
    """Reads what press wrote, and says how drink went where that is known."""

    needs: ClassVar[tuple[str, ...]] = ("press",)
    wants: ClassVar[tuple[str, ...]] = ("drink",)

    def run(self, job: Job) -> Figures:
        RAN.append("label")
        return {"drink": RunFolder(job.recipe.run_dir).current(job.recipe, "drink")}


@pytest.fixture(autouse=True)
def orchard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stages = {name: f"{__name__}:{name.title()}" for name in ("grow", "press", "drink", "label")}
    monkeypatch.setattr(catalog, "CATALOG", {"stage": stages})
    monkeypatch.chdir(tmp_path)
    Path("seeds.txt").write_text("pear\n", encoding="utf-8")
    Path("r.yaml").write_text("grow:\npress:\ndrink:\n", encoding="utf-8")
    RAN.clear()


def recipe(*overrides: str) -> Recipe:
    return load_recipe(Path("r.yaml"), overrides)


def run(*overrides: str, stages: list[str] | None = None) -> tuple[list[str], list[str]]:
    """Run (all) stages; the stages that really ran, and what was said."""
    RAN.clear()
    said: list[str] = []
    loaded = recipe(*overrides)
    run_stages(loaded, stages or list(loaded.sections), said.append, begin=lambda name: None)
    return list(RAN), said


FOLDER = RunFolder(Path("runs/r"))


def test_everything_runs_once() -> None:
    assert run()[0] == ["grow", "press", "drink"]
    assert run() == ([], ["grow: unchanged, skipped", "press: unchanged, skipped", "drink: unchanged, skipped"])
    assert FOLDER.figures("grow") == {"letters": 4}
    assert load_recipe(FOLDER.path / "recipe.yaml") == Recipe("recipe", Path("runs/r"), 1, recipe().sections)
    assert json.loads((FOLDER.path / "env.json").read_text(encoding="utf-8"))["python"] == sys.version.split()[0]
    done = FOLDER.done("grow")
    assert done is not None and list(done["outputs"]) == ["part/fruit.txt"], "logs for people decide nothing"
    assert not list(FOLDER.path.glob("*/begun.json")) and not (FOLDER.path / "previous").exists()
    (FOLDER.stage("grow") / "checkpoints").unlink()
    assert run()[0] == [] and run("press.twice=true", stages=["press"])[0] == ["press"], "nor what it went on from"


@pytest.mark.parametrize(
    ("overrides", "ran", "why"),
    [
        (["drink.sips=4"], ["drink"], "drink: drink.sips (4, was 5) changed"),
        (["press.twice=true"], ["press", "drink"], "press: press.twice (true, was false) changed"),
        (["grow.capitals=true"], ["grow", "press", "drink"], "press: the output of grow changed"),
        (["seed=2"], ["grow", "press", "drink"], "grow: seed (2, was 1) changed"),
    ],
)
def test_a_change_runs_exactly_what_depends_on_it(overrides: list[str], ran: list[str], why: str) -> None:
    run()
    really, said = run(*overrides)
    assert really == ran
    assert any(line.startswith(why) for line in said), said
    assert run(*overrides)[0] == []


def test_figures_that_a_stage_wants_run_it_again_and_their_lack_stops_nothing() -> None:
    Path("r.yaml").write_text("grow:\npress:\ndrink:\nlabel:\n", encoding="utf-8")
    run(stages=["grow", "press", "label"])
    assert FOLDER.figures("label") == {"drink": {}}
    run(stages=["drink"])
    assert run()[1][3].startswith("label: the figures of drink changed; it runs again")
    assert FOLDER.figures("label") == {"drink": {"begun_at": 0}}
    assert run()[0] == []


@pytest.mark.parametrize("override", ["drink.sips=4", "press.twice=true", "seed=2"])
def test_figures_made_from_something_else_are_not_current(override: str) -> None:
    run()
    assert FOLDER.current(recipe(), "drink") == {"begun_at": 0}
    if override == "press.twice=true":
        run(override, stages=["press"])
    assert FOLDER.current(recipe(override), "drink") == {}
    Path("seeds.txt").unlink()
    assert FOLDER.current(recipe(), "grow") == {"letters": 4}, "the raw files may be elsewhere"
    assert FOLDER.current(Recipe("r", FOLDER.path, 1, {}), "drink") == {}, "the recipe has no such stage"


def test_a_refused_command_leaves_no_trace() -> None:
    with pytest.raises(InputError, match="press needs the output of grow"):
        run(stages=["press"])
    assert [path.name for path in FOLDER.path.iterdir()] == [".lock"]
    run()
    before = [(FOLDER.path / name).stat().st_mtime_ns for name in ("recipe.yaml", "env.json")]
    with pytest.raises(InputError, match=r"drink needs the output of grow, but grow\.capitals"):
        run("grow.capitals=true", stages=["drink"])
    assert [(FOLDER.path / name).stat().st_mtime_ns for name in ("recipe.yaml", "env.json")] == before


def test_a_stage_says_what_it_ran_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in ("grow", "press"):
        monkeypatch.setattr(runs, "environment", lambda stage=stage: {"python": f"that of {stage}"})
        run(stages=[stage])
    run(stages=["grow"])  # skipped: it stays what it was made on
    told = [(FOLDER.done(stage) or {})["environment"]["python"] for stage in ("grow", "press")]
    assert told == ["that of grow", "that of press"]


def test_a_changed_source_runs_what_reads_it() -> None:
    run()
    Path("seeds.txt").write_text("plum\n", encoding="utf-8")
    really, said = run()
    assert really == ["grow", "press", "drink"]
    assert said[0].startswith("grow: the files that it reads changed; it runs again")


def test_the_same_output_stops_the_chain() -> None:
    run()
    Path("seeds.txt").write_text("pear", encoding="utf-8")  # without the line end, which grow strips
    assert run()[0] == ["grow"], "grow's output is the same, byte for byte, though its metrics.jsonl is not"


def test_another_version_runs_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr(run_folder, "__version__", "0.0.0")
    really, said = run()
    assert really == ["grow", "press", "drink"] and "the version of danlu changed" in said[0]


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_output_is_made_again(damage: str) -> None:
    run()
    juice = FOLDER.stage("press") / "juice.txt"
    juice.unlink() if damage == "missing" else juice.write_text("wat", encoding="utf-8")
    really, said = run()
    assert really == ["press"], "press gives the same again, so drink stays"
    assert "juice.txt is missing or damaged" in said[1]


@pytest.mark.parametrize("text", ["", '{"stage": "pre', "[]", "{}", '{"fingerprint": 1, "outputs": []}'])
def test_a_damaged_done_json_counts_as_not_done(text: str) -> None:
    run()
    (FOLDER.stage("press") / "done.json").write_text(text, encoding="utf-8")
    assert run()[0] == ["press"]


def test_nothing_finished_is_ever_lost() -> None:
    for sips in (5, 4, 3):
        run(f"drink.sips={sips}")
    kept = {
        path.name: (path / "glass.txt").read_text(encoding="utf-8") for path in (FOLDER.path / "previous").iterdir()
    }
    assert kept == {"drink-1": "01234", "drink-2": "0123"}


def spill() -> None:
    """A run that breaks in the middle of drink."""
    FOLDER.path.mkdir(parents=True, exist_ok=True)
    (FOLDER.path / "spill").touch()
    with pytest.raises(RuntimeError, match="spilled"):
        run()
    (FOLDER.path / "spill").unlink()


def test_a_resumable_stage_goes_on_where_it_was() -> None:
    spill()
    assert run()[0] == ["drink"]
    assert FOLDER.figures("drink") == {"begun_at": 3}
    assert (FOLDER.stage("drink") / "glass.txt").read_text(encoding="utf-8") == "01234"


def test_a_resumable_stage_with_other_settings_begins_anew_and_keeps_the_half_done() -> None:
    """Where there is nothing that would be lost; tests/test_half_done.py has the others."""
    spill()
    run("drink.sips=6")
    assert FOLDER.figures("drink") == {"begun_at": 0}
    assert (FOLDER.path / "previous" / "drink-1" / "glass.txt").read_text(encoding="utf-8") == "012"


def test_a_stage_that_is_not_resumable_begins_in_an_empty_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drink, "resumable", False)
    spill()
    run()
    assert FOLDER.figures("drink") == {"begun_at": 0}
    assert not (FOLDER.path / "previous").exists(), "half-done and of no use: it is not kept"


def test_one_stage_needs_those_before_it() -> None:
    with pytest.raises(InputError, match="press needs the output of grow; run 'danlu grow' first, or 'danlu run'"):
        run(stages=["press"])
    run(stages=["grow"])
    assert run(stages=["press"])[0] == ["press"]


def test_one_stage_refuses_inputs_made_with_other_settings() -> None:
    run()
    with pytest.raises(
        InputError, match=r"press needs the output of grow, but grow.capitals \(true, was false\) changed"
    ):
        run("grow.capitals=true", "press.twice=true", stages=["press"])
    with pytest.raises(InputError, match=r"drink needs the output of grow, but grow.capitals"):
        run("grow.capitals=true", stages=["drink"])
    with pytest.raises(InputError, match=r"but seed \(2, was 1\) changed since grow ran"):
        run("seed=2", stages=["press"])


def test_one_stage_refuses_damaged_inputs() -> None:
    run()
    (FOLDER.stage("grow") / "part" / "fruit.txt").write_text("pea", encoding="utf-8")
    with pytest.raises(InputError, match=r"grow.part.fruit.txt is missing or damaged; run 'danlu grow' first"):
        run("press.twice=true", stages=["press"])


def test_one_stage_goes_on_where_the_raw_files_are_not() -> None:
    run(stages=["grow"])
    Path("seeds.txt").unlink()
    assert run(stages=["press"])[0] == ["press"]


def test_a_section_that_is_needed_but_not_there() -> None:
    Path("r.yaml").write_text("press:\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="press needs the section 'grow', which the recipe lacks"):
        run()


def test_a_missing_source_is_told_before_anything_is_written() -> None:
    with pytest.raises(InputError, match=r"no file 'nothing\.txt'"):
        run("grow.source=nothing.txt")
    assert not Path("runs").exists()


def test_the_second_of_two_runs_is_refused() -> None:
    with FOLDER.lock():
        with pytest.raises(RunLockedError, match=f"runs/r is in use by process {os.getpid()} since .* run_dir="):
            run()
        assert not FOLDER.stage("grow").exists()
    assert run()[0] == ["grow", "press", "drink"]


def test_a_killed_run_leaves_no_lock() -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from danlu.run_folder import RunFolder
        with RunFolder(Path("runs/r")).lock():
            print("locked", flush=True)
            time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        with pytest.raises(RunLockedError, match=f"process {process.pid}"):
            run()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert run()[0] == ["grow", "press", "drink"]


def test_a_run_dir_that_is_a_file() -> None:
    Path("runs").mkdir()
    Path("runs/r").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot write to runs/r: a part of the path is a file"):
        run()
    Path("runs/r").unlink()
    with pytest.raises(OutputError, match="a part of the path is a file"):
        run("run_dir=seeds.txt/r")


def refuse_with(number: int) -> Callable[..., None]:
    def refuse(self: Stage, job: Job) -> None:
        raise OSError(number, os.strerror(number), str(job.out / "x"))

    return refuse


@pytest.mark.parametrize(("number", "words"), [(28, "no space left on the disk"), (30, "the file system is read-only")])
def test_the_disk_refuses(monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
    monkeypatch.setattr(Press, "run", refuse_with(number))
    with pytest.raises(OutputError, match=f"cannot write to runs/r/press/x: {words}"):
        run()
    monkeypatch.undo()


def test_a_full_disk_in_the_words_of_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Stage, job: Job) -> None:
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(Press, "run", refuse)
    with pytest.raises(OutputError, match="cannot write to runs/r: no space left on the disk"):
        run()


def test_the_system_refuses_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Stage, job: Job) -> None:
        raise MemoryError("Unable to allocate 37.4 MiB")

    monkeypatch.setattr(Press, "run", refuse)
    told = (
        r"^press: the memory that a process may use is used up \(Unable to allocate 37\.4 MiB\): give it more; the same"
    )
    with pytest.raises(OutOfMemoryError, match=told):
        run()
    monkeypatch.undo()


def test_a_bug_stays_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(self: Stage, job: Job) -> None:
        (job.out / "x").mkdir()
        (job.out / "x").mkdir()

    monkeypatch.setattr(Press, "run", bug)
    with pytest.raises(FileExistsError):
        run()
    assert FOLDER.done("press") is None and FOLDER.done("grow") is not None
