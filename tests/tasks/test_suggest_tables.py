"""What ``danlu init`` takes tables for that people make for themselves, with units, numbers of rows and empty cells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from danlu import cli


def test_a_newcomers_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ratings with their unit, several labels under a name of its own, none too, and whole exports of Label Studio."""
    said = {"from_name": "tone", "to_name": "text", "type": "choices"}
    tasks = [
        {
            "id": n,
            "data": {"text": f"a film {n}"},
            "annotations": [{"result": [{**said, "value": {"choices": ["ab"[n % 2]]}}]}],
        }
        for n in range(20)
    ]
    kinds = ["物流、质量", "质量", "", "物流"]
    files = {
        "regress.csv": "点评,评分\n" + "".join(f"第{n}家店,{n % 9 / 2 + 1:g}分\n" for n in range(40)),
        "multi_label.csv": "反馈,问题标签\n" + "".join(f"订单{n}号来了,{kinds[n % 4]}\n" for n in range(40)),
        "classify.json": json.dumps(tasks),
        "classify.csv": "序号,评价,等级\n1,好吃,好\n2,难吃,坏\n",  # the numbers of rows are no labels
        "classify.tsv": "text\tlabel\n" + "".join(f"text {n}\tclass {n % 12}\n" for n in range(60)),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        out = tmp_path / f"{name}.yaml"
        assert cli.main(["init", str(tmp_path / name), "--out", str(out)]) == 0
        assert f"task: {name.partition('.')[0]} " in out.read_text(encoding="utf-8"), name
    assert "label from column '等级'" in (tmp_path / "classify.csv.yaml").read_text(encoding="utf-8")
    assert "labels from column '问题标签'" in capsys.readouterr().out


def test_one_label_alone_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("评价内容,评价等级\n" + "".join(f"文本{n}很长,好\n" for n in range(40)))
    assert cli.main(["init", str(tmp_path / "a.csv"), "--out", str(tmp_path / "r.yaml")]) == 2
