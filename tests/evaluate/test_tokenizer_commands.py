"""``danlu tokenizer`` and its verbs: the stage as before, comparisons as a table and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from danlu import cli
from danlu.evaluate.tokenizer_table import shortest

TEXT = "It was the best of times, they said.\n话说天下大势，分久必合，合久必分。\n"


@pytest.fixture(autouse=True)
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text("\n".join([*(json.dumps({"text": line}) for line in TEXT.split("\n")[:2]), "{broken"]))
    return Path("a.jsonl")


def test_the_verb_alone_is_the_stage(capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.yaml").write_text("clean: {sources: [a.jsonl]}\ntokenizer: {use: char}\n")
    assert cli.main(["clean", "r.yaml"]) == 0
    assert cli.main(["tokenizer", "r.yaml", "seed=2", "--changed", "restart"]) == 2  # clean ran with another seed
    assert "seed (2, was 1) changed" in capsys.readouterr().err
    assert cli.main(["tokenizer", "r.yaml"]) == 0
    assert Path("runs/r/tokenizer/done.json").is_file()
    assert cli.main(["tokenizer", "compare", "r.yaml", "--passes", "1"]) == 0  # on its own clean documents
    assert "r.yaml (BPE" in capsys.readouterr().out


def test_a_table_by_language(kinds: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(kinds["WordPiece"]), str(kinds["byte level"])]
    assert cli.main(["tokenizer", "compare", *names, "--text", "a.jsonl", "--passes", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "a.jsonl: 1 records cannot be read and are left out; danlu clean says why\n"
    rows = [[cell.strip() for cell in line.split("│")] for line in captured.out.splitlines() if "│" in line]
    english, chinese = (next(row for row in rows if row[1].startswith(each)) for each in ("en: 36B", "zh: 51B"))
    assert english[3].isdigit() and english[5].endswith("a word") and english[7:8] == ["0.0%"]
    assert chinese[5].endswith("a character")
    assert [row[6:8] for row in rows if "BPE" in row[2]] == [["—", "100.0%"]] * 2


def test_json_holds_the_same_figures(kinds: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--text", "a.jsonl", "--passes", "3", "--limit", "30", "--json"]
    assert cli.main(["tokenizer", "compare", str(kinds["Unigram"]), *arguments]) == 0
    english, chinese = json.loads(capsys.readouterr().out)
    assert (english["language"], english["bytes"], english["words"], len(english["seconds"])) == ("en", 30, 7, 3)
    assert english["bytes_per_token"] == 30 / english["tokens"]
    assert english["tokens_per_word"] == english["tokens"] / 7
    assert (chinese["language"], chinese["characters"], chinese["kind"]) == ("zh", 10, "Unigram")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "danlu tokenizer compare needs at least one tokenizer: a recipe, a folder or a file"),
        (["gone"], "there is no tokenizer gone: no file, no folder, no recipe"),
        (["a.jsonl"], "cannot tell what tokenizer a.jsonl is by its name"),
        (["gone", "--passes", "0"], "--passes must be at least 1; got 0"),
        (["gone", "--limit", "-1"], "--limit must be at least 1; got -1"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tokenizer", "compare", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"danlu: error: {line}") and captured.err.count("\n") == 1 and captured.out == ""


def test_names_are_as_short_as_tells_them_apart() -> None:
    assert shortest(["/a/b/gpt2", "x/bert"]) == ["gpt2", "bert"]
    assert shortest(["/a/b/gpt2", "/a/c/gpt2"]) == ["b/gpt2", "c/gpt2"]
    assert shortest(["/m/a/tokenizer.json", "/m/b/tokenizer.json"]) == ["a/tokenizer.json", "b/tokenizer.json"]
    assert shortest(["same", "same"]) == ["same", "same"]
