"""What a run has come to is told whole, and cannot harm a terminal."""

from __future__ import annotations

import json
from pathlib import Path

from danlu.evaluate.results import figure_lines, sample_texts
from danlu.run_folder import RunFolder


def test_samples_are_read_whole_and_can_do_no_harm(tmp_path: Path) -> None:
    samples = [
        {"prompt": "a\u2028b", "text": "c\x85d\x1b[2J\x9be\r\n\tf", "language": "en"},
        {"prompt": "却说", "text": "曹操", "language": "zh"},
    ]
    run = RunFolder(tmp_path)
    assert sample_texts(run) == []
    run.stage("generate").mkdir(parents=True)
    lines = "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)
    (run.stage("generate") / "samples.jsonl").write_bytes(lines.encode())
    assert sample_texts(run) == [
        "sample (en); the model writes from ⟩ on\na\u2028b⟩c\ufffdd\ufffd[2J\ufffde\ufffd\n\tf",
        "sample (zh); the model writes from ⟩ on\n却说⟩曹操",
    ]


def test_figures_in_words() -> None:
    figures = {
        "files": 1200,
        "loss": 1.23456,
        "rate": 18234.6,
        "en.tokens": 5,
        "en.ppl": 41.0,
        "train.zh.bytes": 3,
        "why": "so",
    }
    assert figure_lines(figures) == [
        "files 1,200, loss 1.235, rate 18,235, why so",
        "en: tokens 5, ppl 41",
        "train.zh: bytes 3",
    ]
