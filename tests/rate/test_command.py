"""``danlu rate`` as a process and as a command line: it serves, goes on, reports, and refuses in one line."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from danlu import cli
from danlu.rate.opening import open_study
from danlu.rate.store import Store, open_store
from danlu.rate.study import PREFERENCE

Writes = Callable[[str, list[dict[str, object]]], Path]
Makes = Callable[..., Store]


@pytest.fixture(autouse=True)
def files(write: Writes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        write(f"{name}.jsonl", [{"prompt": f"p{place}", "text": f"{name}{place}"} for place in range(3)])
    write("other.jsonl", [{"prompt": "q", "text": "x"}])
    Path("rubric.yaml").write_text(
        "criteria: [{name: style, question: 'Stylish?', scale: {worst: 'no', best: 'yes'}}]", encoding="utf-8"
    )


def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """A server of its own, and where it listens."""
    command = [sys.executable, "-m", "danlu", "rate", *arguments, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(r"http://127\.0\.0\.1:\d+", line):
            return process, found[0]
    raise AssertionError(process.communicate()[1])


def test_serve_stop_go_on_report(capsys: pytest.CaptureFixture[str]) -> None:
    process, url = start("a.jsonl", "b.jsonl", "--out", "r.db", "--raters", "1")
    browser = build_opener(HTTPCookieProcessor())
    for path, fields in (("/join", {"name": "Ada"}), ("/rate", {"choice": "left"})):
        with browser.open(f"{url}/") as page:
            text = page.read().decode()
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text))
        browser.open(url + path, urlencode({**hidden, **fields}).encode()).close()
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    assert process.returncode == 143
    assert error == "danlu: stopped; 1 of 3 ratings are in r.db; 'danlu rate report r.db' tells what they say\n"
    process, _ = start("--out", "r.db")
    process.send_signal(signal.SIGINT)
    assert "1 of 3 ratings" in process.communicate()[1]
    assert process.returncode == 130
    assert cli.main(["rate", "report", "r.db", "--out", "page.html"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1 rating by 1 rater of 2 models on 3 prompts, in pairs\n")
    assert "Win rates" in out and out.endswith("report: page.html\n")
    assert "Win rates" in Path("page.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith("r.")) == ["r.db"]


def test_the_same_answers_go_on(make: Makes) -> None:
    files = [Path("a.jsonl"), Path("b.jsonl")]
    first = open_study(files, Path("r.db"), rubric=None, raters=None, seed=None)
    rater = first.join("Ada")
    given = first.give(rater)
    assert given is not None
    first.rate(rater, given.number, {PREFERENCE: "first"})
    again = open_study(files, Path("r.db"), rubric=None, raters=5, seed=1)
    assert again.study.raters == 5 and len(again.ratings()) == 1
    assert open_study([], Path("r.db"), rubric=None, raters=None, seed=None) == again == open_store(Path("r.db"))


def test_one_file_is_scored_and_a_rubric_scores_many(capsys: pytest.CaptureFixture[str]) -> None:
    alone = open_study([Path("a.jsonl")], Path("one.db"), rubric=None, raters=None, seed=None)
    assert alone.study.criteria == ["overall"] and len(alone.items) == 3
    assert "answers are scored as a whole" in capsys.readouterr().out
    both = [Path("a.jsonl"), Path("b.jsonl")]
    scored = open_study(both, Path("two.db"), rubric=Path("rubric.yaml"), raters=None, seed=None)
    assert scored.study.criteria == ["style"] and len(scored.items) == 6


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["a.jsonl", "other.jsonl", "--out", "n.db"], "other.jsonl has no answer to the prompt of a.jsonl, line 1"),
        (["a.jsonl", "b.jsonl"], "--out"),
        (["--out", "n.db"], "name the files of answers"),
        (["a.jsonl", "b.jsonl", "--out", "n.db", "--raters", "0"], "--raters must be at least 1; got 0"),
        (["a.jsonl", "b.jsonl", "--out", "n.db", "--rubric", "none.yaml"], "no rubric at none.yaml"),
        (["a.jsonl", "b.jsonl", "--out", "none/n.db"], "there is no folder 'none'"),
        (["a.jsonl", "b.jsonl", "--out", "n.db", "--port", "-1"], "--port must be from 0 to 65535"),
        (["a.jsonl", "b.jsonl", "--out", "a.jsonl"], "a.jsonl is no database that danlu rate has made"),
        (["a.jsonl", "--out", "r.db"], "r.db is of another study: it is of a, b, not a"),
        (["a.jsonl", "b.jsonl", "--out", "r.db", "--seed", "2"], "its seed is 1, not 2"),
        (["a.jsonl", "b.jsonl", "--out", "r.db", "--rubric", "rubric.yaml"], "rated in another way"),
        (["--out", "r.db", "--raters", "0"], "--raters must be at least 1; got 0"),
        (["--out", "r.db", "--seed", "9"], "has its rubric and its seed"),
        (["report", "none.db"], "there is no database none.db"),
        (["report", "r.db"], "r.db holds no rating yet"),
        (["report", "a.jsonl"], "is no database that danlu rate has made"),
    ],
)
def test_what_can_be_mended_is_one_line(arguments: list[str], line: str, capfd: pytest.CaptureFixture[str]) -> None:
    open_study([Path("a.jsonl"), Path("b.jsonl")], Path("r.db"), rubric=None, raters=None, seed=None)
    assert cli.main(["rate", *arguments]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and line in error
    assert {path.name for path in Path().iterdir()} == {
        "a.jsonl", "b.jsonl", "other.jsonl", "rubric.yaml", "r.db",
    }  # fmt: skip


def test_changed_answers_are_another_study() -> None:
    from danlu.errors import InputError

    files = [Path("a.jsonl"), Path("b.jsonl")]
    open_study(files, Path("r.db"), rubric=None, raters=None, seed=None)
    lines = Path("b.jsonl").read_text(encoding="utf-8").splitlines()
    changed = [{**json.loads(line), "text": "another"} for line in lines]
    Path("b.jsonl").write_text("".join(json.dumps(each) + "\n" for each in changed), encoding="utf-8")
    with pytest.raises(InputError, match="it has other answers"):
        open_study(files, Path("r.db"), rubric=None, raters=None, seed=None)
