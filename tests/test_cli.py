"""The command line: what it says, and how it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from danlu import catalog, cli
from danlu.errors import Interrupted
from danlu.recipe import load_recipe

RECIPE = """
clean: {sources: [text]}
tokenizer: {use: bpe, vocab_size: 300}
"""

VERBS = [
    *catalog.names("stage"), "run", "plan", "report", "init", "schema", "doctor", "verify",
    "import", "embed", "similar", "rate", "trace",
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").mkdir()
    Path("text/a.txt").write_text("All the world's a stage.\n" * 20, encoding="utf-8")
    Path("text/b.jsonl").write_text('{"text": "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。"}\n', encoding="utf-8")
    Path("r.yaml").write_text(RECIPE, encoding="utf-8")


def danlu(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    command = [sys.executable, "-m", "danlu", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )


def test_help_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for verb in VERBS:
        assert f"\n│ {verb} " in out, verb


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        assert cli.main([verb, "--help"]) == 0
        assert capsys.readouterr().out.startswith("Usage: danlu ")


def test_help_loads_nothing_heavy() -> None:
    program = "import sys; from danlu.cli import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "danlu.cli" in loaded
    assert not loaded & {"torch", "pydantic", "yaml", "numpy", "tokenizers", "rich.markdown", "danlu.recipe"}


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"{cli.__version__}\n"


def test_stages_run_and_are_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clean", "r.yaml"]) == 0
    assert cli.main(["tokenizer", "r.yaml", "tokenizer.vocab_size=270"]) == 0
    done = json.loads(Path("runs/r/tokenizer/done.json").read_text(encoding="utf-8"))
    assert done["figures"]["vocab_size"] == 270
    capsys.readouterr()
    assert cli.main(["tokenizer", "r.yaml", "tokenizer.vocab_size=270"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "tokenizer: unchanged, skipped\n" and captured.err == ""


def test_the_schema_is_json_for_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == {*catalog.names("stage"), "run_dir", "seed"}


def test_doctor_says_what_will_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"processor", "memory", "disk", "torch", "gpu", "precision", "compilation"} <= set(names)


def test_doctor_names_the_command_for_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("danlu.doctor.version", lambda package: None)
    assert cli.main(["doctor"]) == 0
    assert "(pip install tensorboard)" in capsys.readouterr().out


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr("danlu.clean.stage.Clean.run", bug)
    with pytest.raises(ZeroDivisionError):
        cli.main(["clean", "r.yaml"])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C; the same command goes on from here"),
        (Interrupted("saved at step 7", signal=15), 143, "saved at step 7"),
        (Interrupted("saved at\n step 7", signal=2), 130, "saved at step 7"),
    ],
)
def test_stopped(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    line: str,
) -> None:
    def stop(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr("danlu.clean.stage.Clean.run", stop)
    assert cli.main(["clean", "r.yaml"]) == code
    assert capsys.readouterr().err == f"danlu: {line}\n"


def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "danlu", "init", "text"], stdout=write_end, stderr=subprocess.PIPE, check=False
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
@pytest.mark.parametrize("arguments", [["schema"], ["--help"], ["--version"], ["rate", "--help"]])
def test_lines_that_a_full_disk_has_lost_are_one_line_in_the_end(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "danlu", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == (
        "danlu: error: not all lines could be written to standard output: No space left on device; the work is done\n"
    )


def test_a_process_of_its_own_leaves_with_the_code() -> None:
    done = danlu("clean", "r.yaml", "clean.normalise.form=NFD")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines() == [
        "danlu: error: clean.normalise.form must be 'NFC', 'NFKC' or 'none'; got 'NFD'; did you mean 'NFC'?"
    ]


@pytest.mark.parametrize("field", ["text", "content"])
def test_init_writes_a_recipe_that_works(capsys: pytest.CaptureFixture[str], field: str) -> None:
    folder = Path("a folder: with # odd name")
    folder.mkdir()
    lines = [json.dumps({"title": "x", field: f"The {n}th day of the long voyage across the sea."}) for n in range(100)]
    (folder / "days.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "long.txt").write_text("It was a dark and stormy night.\n\n" * 4000, encoding="utf-8")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    assert cli.main(["init", str(folder), "--out", "mine.yaml"]) == 0
    assert "mine.yaml: written" in capsys.readouterr().out
    written = Path("mine.yaml").read_text(encoding="utf-8")
    assert "1 .jsonl, 1 .txt (1 other files are left out)" in written and "en 100%" in written
    assert ("text_field: content" in written) is (field == "content")
    assert list(load_recipe(Path("mine.yaml")).sections)[:4] == ["clean", "tokenizer", "pack", "pretrain"]
    assert cli.main(["clean", "mine.yaml"]) == 0
    figures = json.loads(Path("runs/mine/clean/done.json").read_text(encoding="utf-8"))["figures"]
    assert figures["documents_kept"] > 100 and figures["language.en.documents"] == figures["documents_kept"]
    assert cli.main(["init", str(folder), "--out", "mine.yaml"]) == 2
    assert Path("mine.yaml").read_text(encoding="utf-8") == written, "a recipe is never overwritten"


def test_init_says_which_languages(capsys: pytest.CaptureFixture[str]) -> None:
    Path("text/b.txt").write_text("天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。" * 30, encoding="utf-8")
    Path("text/b.jsonl").unlink()
    assert cli.main(["init", "text"]) == 0
    written = Path("recipe.yaml").read_text(encoding="utf-8")
    assert "zh 78%, en 22%" in written and "\n      language:" not in written
