"""The commands and the rubric of docs/guides/rate.md, as they stand there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from danlu import cli
from danlu.rate.store import Store, open_store

PAGE = (Path(__file__).parent.parent.parent / "docs" / "guides" / "rate.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All but the two answers, which tests of the README write; instead of people a loop rates."""
    monkeypatch.chdir(tmp_path)
    for name in ("small", "large"):
        rows = [{"prompt": f"p{n}", "text": f"{name} {n}", "end": "stop", "tokens": 2, "seed": n} for n in range(4)]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (rubric,) = blocks("yaml")
    Path("rubric.yaml").write_text(rubric, encoding="utf-8")

    def people(store: Store, **_: Any) -> None:
        for name in ("Ada", "Bob", "Cleo"):
            rater = store.join(name)
            while (given := store.give(rater)) is not None:
                value = "first" if store.study.rubric is None else 4
                store.rate(rater, given.number, dict.fromkeys(store.study.criteria, value))

    monkeypatch.setattr("danlu.rate.running.run", people)
    commands = [line.split("  #")[0] for block in blocks("bash") for line in block.splitlines()]
    ran = [shlex.split(line)[1:] for line in commands if line.startswith("danlu rate")]
    assert len(ran) == 3
    for arguments in ran:
        assert cli.main(arguments) == 0, arguments
    assert "12 ratings by 3 raters of 2 models on 4 prompts, in pairs" in capsys.readouterr().out
    assert Path("ratings.html").exists()
    assert len(open_store(Path("scores.db")).ratings()) == 24
    assert cli.main(["rate", "report", "scores.db"]) == 0
    assert "Scores: relevance" in capsys.readouterr().out


def test_every_option_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rate", "--help"]) == 0
    options = set(re.findall(r"--\w+", capsys.readouterr().out)) - {"--help", "--version"}
    assert options == set(re.findall(r"^\| `(--\w+)", PAGE, flags=re.MULTILINE))
