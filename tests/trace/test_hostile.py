"""What nobody should ask of a trace, and what should not lie in a run: the right answer, or one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from traced import Made

from danlu.cli import main

IDS = [
    "", "#", "a.jsonl", "a.jsonl#-1", "a.jsonl#" + "9" * 5000, "a.jsonl#1.99999", "a.jsonl\n#0", "\x1b[31m#0",
    "a\udcff#0", "!/#0", "!/" * 5000 + "#0", "x" * 10_000_000, "x" * 10_000_000 + "#0", "#1" * 1_000_000 + "x",
    "../../etc/passwd#0",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(IDS)))
def test_ids_that_are_none(made: Made, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", str(made.folder.path), "--", IDS[number]]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and len(captured.err) < 1000
    assert "\x1b" not in captured.err


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("clean/lineage.json", b"{"), ("clean/lineage.jsonl", b"{}\n"), ("clean/lineage.jsonl", b"\xff\xfe a.jsonl"),
        ("clean/documents-00000.jsonl", None), ("pack/train/store.json", b"[]"), ("pack/train/ids.bin", b""),
    ],
)  # fmt: skip
def test_a_damaged_run(
    made: Made, tmp_path: Path, file: str, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(made.folder.path, run)
    if content is None:
        (run / file).unlink()
    else:
        (run / file).write_bytes(content)
    assert main(["trace", str(run), "a.jsonl#0"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and Path(file).name.split(".")[0].split("-")[0] in captured.err


def test_while_clean_is_half_done_the_stores_know(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(made.folder.path, run)
    shutil.rmtree(run / "clean")
    (run / "clean").mkdir()
    (run / "recipe.yaml").write_text("no recipe: [")  # a document is found by the folder alone
    assert main(["trace", str(run), "b.txt#2.0"]) == 0
    assert f"{made.source}/books/b.txt, record 2, at byte " in capsys.readouterr().out
