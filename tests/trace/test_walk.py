"""The walk of a document whose record holds private data, and fields that are named as what is found out."""

from __future__ import annotations

import json
from pathlib import Path

from danlu.clean.stage import Clean
from danlu.recipe import Recipe, build
from danlu.stage import Job
from danlu.trace.fates import Cleaned
from danlu.trace.walk import walk


def test_the_shard_shows_what_is_hidden_and_the_source_what_is_there(tmp_path: Path) -> None:
    """The file is the user's own, and a trace that did not show its bytes could not tell whether they were hidden."""
    line = json.dumps({"text": "Mail li@qq.com.", "author": "li@qq.com", "encoding": "no such thing"})
    (tmp_path / "a.jsonl").write_text(line)
    stage = build(Clean, {"sources": [str(tmp_path / "a.jsonl")], "rules": ["private"]}, key="clean")
    (tmp_path / "out").mkdir()
    stage.run(Job(Recipe("test", tmp_path / "out", 1, {"clean": stage}), {}, tmp_path / "out"))
    told = walk(Cleaned(tmp_path / "out"), "a.jsonl#0")
    assert told["source"].pop("raw") == line and bytes.fromhex(told["source"].pop("raw_hex")) == line.encode()
    assert told["text"] == "Mail [EMAIL]." and told["clean"]["meta"]["author"] == "[EMAIL]"
    assert "li@" not in json.dumps(told)
