"""Some forty kinds of bad input, through the real command line: exit code 2 and one line that says what to do."""

from __future__ import annotations

import gzip
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from danlu import cli
from danlu.run_folder import RunFolder

RECIPE = """
clean: {sources: [text]}
tokenizer: {use: bpe, vocab_size: 300}
pack: {split: {use: tail, fraction: 0.2}}
pretrain:
  model: {use: gpt, layers: 1, dim: 32}
  sequence: 16
  batch: 2
  budget: {steps: 2}
  optimizer: muon
  compile: "off"
evaluate: {tasks: [perplexity]}
"""
RUN = Path("runs/r")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, its text and a finished run, small enough to be made in a moment."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "text").mkdir()
    (folder / "text" / "a.txt").write_text("All the world's a stage, and all the players.\n" * 20, encoding="utf-8")
    (folder / "r.yaml").write_text(RECIPE, encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        for verb in ("clean", "tokenizer", "pack", "pretrain"):
            assert cli.main([verb, "r.yaml"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").mkdir()
    Path("text/a.txt").write_text("All the world's a stage.\n" * 20, encoding="utf-8")
    Path("r.yaml").write_text(RECIPE, encoding="utf-8")
    Path("clean.yaml").write_text(
        "clean: {sources: [{path: text, language: en}]}", encoding="utf-8"
    )  # no torch, no language model: starts at once


def one_line(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """The line on standard error; there must be exactly one, and the exit code 2."""
    captured = capsys.readouterr()
    assert code == 2, captured
    lines = captured.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("danlu: error: "), captured.err
    assert "Traceback" not in captured.out
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["clean", "q.yaml"], "no recipe at q.yaml; did you mean 'r.yaml'? (choices: clean.yaml, r.yaml)"),
        (["clean", "text"], "text is a folder, not a recipe"),
        (["clean", "r.yaml", "clean.sorces=[text]"], "clean.sorces: unknown key; did you mean 'sources'?"),
        (["clean", "r.yaml", "claen.form=NFC"], "unknown key 'claen'; did you mean 'clean'?"),
        (["clean", "r.yaml", "clean.sources=[txt]"], "clean.sources.0: no file or folder 'txt'; did you mean 'text'?"),
        (["clean", "r.yaml", "clean.sources=[r.yaml]"], "clean.sources.0: cannot tell how to read 'r.yaml'"),
        (["clean", "r.yaml", "clean.sources=[]"], "clean.sources must be a list of at least 1; got []"),
        (
            ["clean", "r.yaml", "clean.normalise.form=NFD"],
            "clean.normalise.form must be 'NFC', 'NFKC' or 'none'; got 'NFD'",
        ),
        (
            ["clean", "r.yaml", "clean.rules=[emty]"],
            "clean.rules.0.use: unknown rule 'emty'; did you mean 'empty'?",
        ),
        (["clean", "r.yaml", "tokenizer.vocab_size=12"], "tokenizer.vocab_size must be at least 257; got 12"),
        (["clean", "r.yaml", "tokenizer.vocab_size=-1"], "tokenizer.vocab_size must be at least 257; got -1"),
        (["clean", "r.yaml", "tokenizer.vocab_size=many"], "tokenizer.vocab_size must be a whole number; got 'many'"),
        (["clean", "r.yaml", "tokenizer.use=bpi"], "tokenizer.use: unknown tokenizer 'bpi'; did you mean 'bpe'?"),
        (["clean", "r.yaml", "pack.split.fraction=1"], "pack.split.fraction must be less than 1; got 1"),
        (["clean", "r.yaml", "pretrain.batch=0"], "pretrain.batch must be at least 1; got 0"),
        (["clean", "r.yaml", "pretrain.model.layers=-2"], "pretrain.model.layers must be at least 1; got -2"),
        (["clean", "r.yaml", "pretrain.model.heads=5"], "pretrain.model: dim (32) divided by heads must be an even"),
        (
            ["clean", "r.yaml", "pretrain.optimizer={use: adamw, betas: [0.9, 0.95, 0.99]}"],
            "pretrain.optimizer.betas must be a list of at most 2; got [0.9, 0.95, 0.99]",
        ),
        (["clean", "r.yaml", "pretrain.optimizer=moun"], "unknown optimizer 'moun'; did you mean 'muon'?"),
        (
            ["clean", "r.yaml", "pretrain.optimizer=:T"],
            "pretrain.optimizer.use must be a name or module:Thing; got ':T'",
        ),
        (["clean", "r.yaml", "pretrain.optimizer.adamw_betas=[0.8, 1.2]"], "must be less than 1; got 1.2"),
        (
            ["clean", "r.yaml", "pretrain.clip={use: norm, limit: .inf}"],
            "pretrain.clip.limit must be a finite number; got inf",
        ),
        (
            ["clean", "r.yaml", "pretrain.schedule={use: wsd, warmup: 0.5}"],
            "pretrain.schedule: warmup and decay must be at most 1 together; got 0.5 and 0.6",
        ),
        (["clean", "r.yaml", "pretrain.budget={}"], "pretrain.budget: needs one of minutes, tokens, steps, epochs"),
        (["clean", "r.yaml", "pretrain.compile=yes"], "pretrain.compile must be 'auto', 'on' or 'off'; got 'yes'"),
        (["clean", "r.yaml", "seed=-1"], "seed must be at least 0; got -1"),
        (["clean", "r.yaml", "seed"], "an override is key.path=value; got 'seed'"),
        (["clean", "r.yaml", "seed=[1"], "seed: '[1' is not YAML"),
        (["clean", "r.yaml", "run_dir=text/a.txt"], "cannot write to text/a.txt: a part of the path is a file"),
        (["clean", "r.yaml", "run_dir=text/a.txt/x"], "a part of the path is a file"),
        (["clean", "r.yaml", "run_dir=/sys/danlu"], "cannot write to /sys/danlu: permission denied"),
        (["tokenizer", "r.yaml"], "tokenizer needs the output of clean; run 'danlu clean' first, or 'danlu run'"),
        (["generate", "r.yaml"], "the recipe has no section 'generate' (it has: clean, tokenizer, pack, pretrain"),
        (["cleen", "r.yaml"], 'Unknown command "cleen". Did you mean "clean"?'),
        (["clean", "r.yaml", "--fast"], "Unknown option: --fast"),
        (["clean"], "RECIPE requires an argument"),
        (["generate", "r.yaml", "--promt", "x"], "Unknown option: --promt. Did you mean --prompt?"),
        (["generate", "r.yaml", "--prompt"], "--prompt requires an argument"),
        (["init", "tex"], "no folder 'tex'; did you mean 'text'?"),
        (["init", "text", "--out", "r.yaml"], "r.yaml exists and stays as it is"),
        (["init", "text", "--out", "none/r.yaml"], "cannot write to none/r.yaml: there is no folder 'none'"),
    ],
)
def test_words_that_are_wrong(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert words in one_line(capsys, cli.main(arguments))
    assert not RUN.exists() or not any(RUN.glob("*/done.json"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "r.yaml is empty; a recipe needs at least one section"),
        (b"clean: [", "r.yaml is not YAML"),
        (b"\x00\x01\x02", "r.yaml is not YAML"),
        (b"clean: \xff", "r.yaml is no recipe: it is not UTF-8 text (byte 7)"),
        (b"- clean", "r.yaml must be a mapping of sections; got ['clean']"),
        (b"seed: 1", "a recipe needs at least one section (choices: clean, tokenizer"),
        (b"clean: {sources: [text]}\nclean: {sources: [text]}", "the key 'clean' is there twice (line 2, column 1)"),
        (b"clean:", "clean.sources is required"),
        (b"clean: text", "clean must be a mapping of settings; got 'text'"),
    ],
)
def test_recipes_that_are_none(capsys: pytest.CaptureFixture[str], content: bytes, words: str) -> None:
    Path("r.yaml").write_bytes(content)
    assert words in one_line(capsys, cli.main(["clean", "r.yaml"]))
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("", b"", "no file in text ends in .txt .text .md .markdown"),
        ("a.xls", b"\xd0\xcf", "; left out: 1 of kinds that no reader takes (.xls 1)"),
        ("a.txt", b"", "no document is left; of 1 records 0 kept, 1 dropped (empty 1)"),
        ("a.txt", b"\x7fELF\x00\x00", "no document is left; of 1 records 0 kept, 1 quarantined (binary 1)"),
        ("a.txt", b"abc\xff", "no document is left; of 1 records 0 kept, 1 quarantined (unknown encoding 1)"),
        ("a.jsonl", b'{"text": "a"', "1 quarantined ("),
        ("a.jsonl", b'{"body": "a"}', "1 quarantined ("),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n', mtime=0)[:12], "1 quarantined (truncated gzip 1)"),
        ("a.parquet", b"PAR1", "1 quarantined ("),
    ],
)
def test_text_that_is_none(capsys: pytest.CaptureFixture[str], name: str, content: bytes, words: str) -> None:
    Path("text/a.txt").unlink()
    if name:
        Path("text", name).write_bytes(content)
    assert words in one_line(capsys, cli.main(["clean", "r.yaml"]))
    assert not (RUN / "clean" / "done.json").exists()


def test_two_runs_in_one_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(RUN).lock():
        line = one_line(capsys, cli.main(["clean", "r.yaml"]))
    assert f"runs/r is in use by process {os.getpid()} since" in line
    assert [path.name for path in RUN.iterdir()] == [".lock"]


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    """Change one bit of the last byte."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("verb", "file", "damage", "words"),
    [
        ("pretrain", "pack/done.json", halve, "pretrain needs the output of pack; run 'danlu pack' first"),
        (
            "pretrain",
            "pack/train/tokens-00000.bin",
            halve,
            "tokens-00000.bin is missing or damaged; run 'danlu pack' first",
        ),
        (
            "pretrain",
            "pack/train/tokens-00000.bin",
            flip,
            "tokens-00000.bin is missing or damaged; run 'danlu pack' first",
        ),
        ("pretrain", "tokenizer/tokenizer.json", Path.unlink, "tokenizer.json is missing or damaged"),
        ("evaluate", "pretrain/model/model.safetensors", halve, "model.safetensors is missing or damaged"),
        ("evaluate", "pretrain/model/config.json", flip, "config.json is missing or damaged"),
    ],
)
def test_outputs_that_are_damaged(
    capsys: pytest.CaptureFixture[str],
    finished: Path,
    verb: str,
    file: str,
    damage: Callable[[Path], None],
    words: str,
) -> None:
    shutil.copytree(finished, ".", dirs_exist_ok=True)
    capsys.readouterr()
    damage(RUN / file)
    overrides = ["pretrain.budget.steps=3"] if verb == "pretrain" else []
    assert words in one_line(capsys, cli.main([verb, "r.yaml", *overrides]))


def test_outputs_made_with_other_settings(capsys: pytest.CaptureFixture[str], finished: Path) -> None:
    shutil.copytree(finished, ".", dirs_exist_ok=True)
    capsys.readouterr()
    line = one_line(capsys, cli.main(["pretrain", "r.yaml", "tokenizer.vocab_size=290"]))
    assert "tokenizer.vocab_size (290, was 300) changed since tokenizer ran; run 'danlu tokenizer' first" in line


def danlu(*arguments: str, before: str = "", limit_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """A process of its own, in a mount namespace of its own where ``before`` is a shell command to run first."""
    command = [sys.executable, "-m", "danlu", *arguments]
    if before:
        command = ["unshare", "-rm", "sh", "-c", f'{before} && exec "$@"', "sh", *command]

    def limit() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)


def mountable() -> bool:
    return (
        shutil.which("unshare") is not None and danlu("--version", before="mount -t tmpfs tmpfs text").returncode == 0
    )


def test_no_space() -> None:
    if not mountable():
        pytest.skip("no file system can be mounted here")
    Path("text/a.txt").write_text("All the world's a stage.\n" * 20_000, encoding="utf-8")
    Path("runs").mkdir()
    done = danlu("clean", "clean.yaml", before="mount -t tmpfs -o size=200k tmpfs runs")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.endswith(": no space left on the disk\n")


def test_a_read_only_place() -> None:
    if not mountable():
        pytest.skip("no file system can be mounted here")
    Path("runs").mkdir()
    done = danlu("clean", "clean.yaml", before="mount -t tmpfs -o ro tmpfs runs")
    assert done.returncode == 2
    assert done.stderr == "danlu: error: cannot write to runs/clean: the file system is read-only\n"


def test_a_file_that_may_not_grow() -> None:
    Path("text/a.txt").write_text("All the world's a stage.\n" * 20_000, encoding="utf-8")
    done = danlu("clean", "clean.yaml", limit_bytes=100_000)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.endswith(": the file would be larger than the system allows\n")


def test_a_list_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    rule = "clean.rules=[{use: bad_words, lists: {en: nowhere.txt}}]"
    assert "clean: there is no file nowhere.txt" in one_line(capsys, cli.main(["clean", "r.yaml", rule]))
    assert not RUN.exists()
