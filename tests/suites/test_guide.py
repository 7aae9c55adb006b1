"""What docs/guides/zero_shot.md says: its commands, recipe and programs run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from danlu import catalog
from danlu.cli import main
from danlu.files import read_json
from danlu.recipe import load_recipe

tasks = pytest.importorskip("harness_tasks", reason="lm-evaluation-harness is not installed (pip install lm-eval)")
GUIDE = Path(__file__).parents[2] / "docs/guides/zero_shot.md"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def place(whole_decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the guide names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shutil.copytree(whole_decoder, "story")
    exam = [{"subject": "agronomy", **{key.lower() if len(key) > 1 else key: value for key, value in row.items()}}
            for row in [*tasks.ROWS["cmmlu"], *tasks.SHOTS]]  # fmt: skip
    rows = {"lambada": tasks.ROWS["lambada"], "science": tasks.ROWS["arc"], "arc_challenge": tasks.ROWS["arc"],
            "piqa": tasks.ROWS["piqa"], "cmmlu_test": exam, "cmmlu_dev": exam}  # fmt: skip
    for name, each in rows.items():
        tasks.write_rows(Path(f"{name}.jsonl"), each)
    import gzip

    pairs = "".join(json.dumps(row) + "\n" for row in tasks.ROWS["blimp"])
    Path("blimp.jsonl.gz").write_bytes(gzip.compress(pairs.encode()))
    return tmp_path


def test_the_commands_run(place: Path) -> None:
    (block,) = blocks("bash")
    for line in block.splitlines():
        assert main(shlex.split(line)[1:]) == 0, line
    figures = read_json(place / "answers" / "figures.json")
    assert figures is not None and list(figures) == ["lambada", "blimp", "science"]


def test_the_recipe_is_one(place: Path) -> None:
    (place / "r.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    stage = load_recipe(place / "r.yaml").section("evaluate")
    names = [Path(path).name for path in stage.external_files()]  # type: ignore[attr-defined]
    assert names == ["blimp.jsonl.gz", "cmmlu_test.jsonl", "cmmlu_dev.jsonl", "arc_challenge.jsonl"]


def test_the_harness_runs_as_the_guide_says(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, manager = blocks("python")
    task = (
        blocks("yaml")[1]
        .replace("/path/to/lm_eval/tasks", str(tasks.TASKS))
        .replace("piqa.jsonl", str(place / "piqa.jsonl"))
    )
    (place / "tasks").mkdir()
    (place / "tasks" / "local_piqa.yaml").write_text(task.replace("}}", f"}}, cache_dir: {place / 'cache'}}}"))
    found: dict[str, Any] = {}
    exec(manager.replace("folder/of/that/file", str(place / "tasks")), found)
    exec(program, found)
    assert 0 <= float(capsys.readouterr().out.strip().splitlines()[-1]) <= 1


def test_the_table_has_all_suites() -> None:
    table = re.findall(r"^\| (`[a-z`, ]+) \|", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = {name for cell in table for name in re.findall(r"`(\w+)`", cell)} - {"suite"}
    assert named == set(catalog.names("suite"))
