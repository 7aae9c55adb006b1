"""The text that ships with the repository is what its README says."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest

CORPORA = Path(__file__).parents[1] / "corpora"
DATA = Path(__file__).parents[2] / "shared" / "data" / "pretrain"


def chapters(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_the_readme_names_every_file_and_its_hash() -> None:
    stated = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", (CORPORA / "README.md").read_text(), re.MULTILINE))
    files = [path for path in CORPORA.rglob("*") if path.is_file() and path.name != "README.md"]
    actual = {hashlib.sha256(path.read_bytes()).hexdigest(): str(path.relative_to(CORPORA)) for path in files}
    assert stated == actual
    assert sum(path.stat().st_size for path in files) < 4_000_000


@pytest.mark.skipif(not DATA.is_dir(), reason="the data that the files were taken from is not here")
def test_the_files_are_whole_parts_of_their_sources() -> None:
    here, there = CORPORA / "zh/classics_zh.jsonl.gz", DATA / "zh/classics_zh.jsonl.gz"
    part = [{name: row[name] for name in ("id", "title", "text")} for row in chapters(there)[::3]]
    assert chapters(here) == part
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part)
    assert gzip.decompress(here.read_bytes()) == lines.encode()
    assert here.read_bytes()[4:8] == bytes(4)
    shakespeare = "en/tinyshakespeare.txt"
    assert (CORPORA / shakespeare).read_bytes() == (DATA / shakespeare).read_bytes()
