"""The end of a stage, killed anywhere in it: what was done is not done again, and what has to go goes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from danlu import catalog, run_folder
from danlu.recipe import load_recipe
from danlu.run_folder import RunFolder
from danlu.runs import run_stages
from danlu.stage import Figures, Job, Stage

RAN: list[str] = []
"""The stages that really ran, in order."""
FOLDER = RunFolder(Path("runs/r"))


class Brew(Stage):
    """Goes on from drafts, which are of no use in the end."""

    resumable: ClassVar[bool] = True
    neutral: ClassVar[tuple[str, ...]] = ("ice",)
    cups: int = 2
    ice: bool = False

    def run(self, job: Job) -> Figures:
        RAN.append("brew")
        drafts = job.out / "drafts" / "00000"
        found = drafts.exists()
        drafts.mkdir(parents=True, exist_ok=True)
        (drafts / "leaves.txt").write_text("leaves", encoding="utf-8")
        (job.out / "pot").mkdir(exist_ok=True)
        for cup in range(self.cups):
            (job.out / "pot" / f"{cup}.txt").write_text(f"tea {cup}", encoding="utf-8")
        return {"cups": self.cups, "strength": float("inf"), "drafts": found}

    def tidy(self, out: Path) -> None:
        RAN.append("tidy")
        shutil.rmtree(out / "drafts", ignore_errors=True)


class Pour(Stage):
    """Begins anew where it was stopped."""

    needs: ClassVar[tuple[str, ...]] = ("brew",)

    def run(self, job: Job) -> Figures:
        RAN.append("pour")
        (job.out / "cup.txt").write_text("tea", encoding="utf-8")
        return {}


@pytest.fixture(autouse=True)
def kitchen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stages = {name: f"{__name__}:{name.title()}" for name in ("brew", "pour")}
    monkeypatch.setattr(catalog, "CATALOG", {"stage": stages})
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text("brew:\npour:\n", encoding="utf-8")
    RAN.clear()


def run(*overrides: str) -> tuple[list[str], list[str]]:
    """Run all stages; what was called, and what was said."""
    RAN.clear()
    said: list[str] = []
    loaded = load_recipe(Path("r.yaml"), overrides)
    run_stages(loaded, list(loaded.sections), said.append, begin=lambda name: said.append(f"{name}: begins"))
    return list(RAN), said


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def at(name: str, file: str) -> Callable[[Any, str, Any], None]:
    """Stop in the function ``name`` of the module where it is given a path that ends so."""
    real = getattr(run_folder, name)

    def stopping(path: Path, *more: Any) -> Any:
        if path.as_posix().endswith(file):
            raise KeyboardInterrupt
        return real(path, *more)

    return stopping  # type: ignore[return-value]


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    """All that an undisturbed run leaves in the folders of the stages."""
    run("run_dir=whole")
    return files(tmp_path / "whole")


def files(folder: Path) -> dict[str, bytes]:
    def found() -> Iterator[Path]:
        for stage in ("brew", "pour"):
            yield from (path for path in (folder / stage).rglob("*") if path.name != "done.json")

    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found() if path.is_file()}


@pytest.mark.parametrize(
    ("name", "file", "again"),
    [
        ("sync_file", "brew/pot/1.txt", ["brew", "tidy", "pour"]),  # run() has returned, and nobody knows yet
        ("write_json", "brew/ran.json", ["brew", "tidy", "pour"]),
        ("hash_file", "brew/pot/0.txt", ["tidy", "pour"]),
        ("hash_file", "brew/pot/1.txt", ["tidy", "pour"]),
        ("write_json", "brew/done.json", ["tidy", "pour"]),
        ("hash_file", "pour/cup.txt", ["tidy"]),  # brew is done, and tidied once more
        ("write_json", "pour/done.json", ["tidy"]),
    ],
)
def test_what_is_stopped_once_all_is_there_is_only_finished(
    monkeypatch: pytest.MonkeyPatch, whole: dict[str, bytes], name: str, file: str, again: list[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, name, at(name, file))
        with pytest.raises(KeyboardInterrupt):
            run()
    stage = file.partition("/")[0]
    ran, said = run()
    assert ran == again
    finished = f"{stage}: the last run was stopped when all was there; it is only finished"
    assert (finished in said) == (stage not in again) and (f"{stage}: begins" in said) == (stage in again)
    assert files(FOLDER.path) == whole, "not a draft, and not a mark is left"
    assert FOLDER.figures("brew") == {"cups": 2, "strength": float("inf"), "drafts": name in ("sync_file", "write_json")
                                      and file != "brew/done.json" and stage == "brew"}  # fmt: skip
    assert {*(FOLDER.done("brew") or {})["outputs"]} == {"pot/0.txt", "pot/1.txt"}
    assert run()[0] == ["tidy"]


def test_drafts_that_a_kill_behind_done_json_left_go_with_the_next_run(
    monkeypatch: pytest.MonkeyPatch, whole: dict[str, bytes]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Brew, "tidy", stop)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert (FOLDER.stage("brew") / "done.json").exists() and (FOLDER.stage("brew") / "drafts").exists()
    assert FOLDER.damaged("brew") is None
    assert run()[0] == ["tidy", "pour"]
    assert files(FOLDER.path) == whole


def test_drafts_do_not_go_to_previous(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Brew, "tidy", stop)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert run("brew.cups=1")[0] == ["tidy", "brew", "tidy", "pour"]
    assert not FOLDER.figures("brew")["drafts"]
    kept = FOLDER.path / "previous" / "brew-1"
    assert (kept / "pot/1.txt").exists() and not (kept / "drafts").exists()


@pytest.mark.parametrize("override", ["brew.ice=true", "brew.cups=1", "seed=2"])
def test_what_was_made_from_something_else_is_not_finished(monkeypatch: pytest.MonkeyPatch, override: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "hash_file", stop)
        with pytest.raises(KeyboardInterrupt):
            run()
    ran = FOLDER.stage("brew") / "ran.json"
    assert ran.exists()
    with monkeypatch.context() as patch:
        patch.setattr(Brew, "run", stop)
        with pytest.raises(KeyboardInterrupt):
            run(override)
    assert not ran.exists(), "the folder is being written to: what was said of it holds no longer"
    assert run(override)[0][0] == "brew"
    assert FOLDER.figures("brew")["drafts"] == (override == "brew.ice=true")


def test_a_mark_that_a_kill_left_beside_done_json_makes_no_damage_good(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name == "ran.json" and path.exists():
            raise KeyboardInterrupt
        real(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert (FOLDER.stage("brew") / "ran.json").exists() and FOLDER.done("brew") is not None
    (FOLDER.stage("brew") / "pot/0.txt").write_text("dust", encoding="utf-8")
    assert run()[0] == ["tidy", "brew", "tidy", "pour"]
    assert (FOLDER.stage("brew") / "pot/0.txt").read_text(encoding="utf-8") == "tea 0"


def test_what_a_kill_left_half_written_goes(monkeypatch: pytest.MonkeyPatch, whole: dict[str, bytes]) -> None:
    """A process that is killed cannot remove the hidden file that was to become a whole one."""
    for file in ("recipe.yaml", "brew/begun.json", "brew/ran.json", "brew/done.json", "pour/done.json"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", at_replacing(file))
            patch.setattr(Path, "unlink", killed_before_removing(file))
            with pytest.raises(KeyboardInterrupt):
                run()
        assert list((FOLDER.path / file).parent.glob(f".{Path(file).name}.*"))
    run()
    assert files(FOLDER.path) == whole
    assert [path.name for path in FOLDER.path.glob(".*")] == [".lock"]


def at_replacing(file: str) -> Callable[[Path, Path], Path]:
    real = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if target.as_posix().endswith(file):
            raise KeyboardInterrupt
        return real(path, target)

    return replace


def killed_before_removing(file: str) -> Callable[..., None]:
    """Python's own tidying up is what a kill leaves out."""
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if not path.as_posix().endswith(".partial") or path.parent.name != (FOLDER.path / file).parent.name:
            real(path, missing_ok)

    return unlink
