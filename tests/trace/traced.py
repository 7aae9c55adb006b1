"""A run whose sources are of every sort that a trace has to find its way in: parts, archives, packed files, tables."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow
import pyarrow.parquet

from danlu.recipe import Recipe, load_recipe
from danlu.run_folder import RunFolder
from danlu.runs import run_stages

RECIPE = """
run_dir: {run}
seed: 5
clean:
  sources:
    - {{path: {source}/web, language: en}}
    - {{path: {source}/books, language: en, documents: lines, license: CC0-1.0}}
    - {{path: {source}/rest, language: en}}
  rules: [empty, gopher_quality]
  duplicates: [exact]
tokenizer: {{use: bpe, vocab_size: 300}}
pack: {{split: {{use: hash, fraction: 0.1}}}}
pretrain:
  model: {{use: gpt, layers: 1, dim: 16}}
  sequence: 32
  batch: 3
  budget: {{steps: 2}}
"""
WORDS = "the sun and the moon were of the same size to all that had to walk with them that be long ago"


def text(number: int) -> str:
    """One that the rules leave, another for each number."""
    words = WORDS.split()
    turned = words[number % len(words) :] + words[: number % len(words)]
    return f"Tale {number}. " + ". ".join([" ".join(turned).capitalize()] * 3 + [" ".join(turned[::-1])]) + "."


@dataclass
class Made:
    """The run, and what its sources hold, written down while they were made."""

    recipe: Recipe
    folder: RunFolder
    source: Path
    records: dict[str, bytes] = field(default_factory=dict)
    """Id to the bytes of its record; of formats that have no places its text."""
    texts: dict[str, str] = field(default_factory=dict)


def _lines(made: Made, name: str, numbers: range) -> bytes:
    lines = [json.dumps({"text": text(number)}).encode() + b"\n" for number in numbers]
    for place, (line, number) in enumerate(zip(lines, numbers, strict=True)):
        made.records[f"{name}#{place}"], made.texts[f"{name}#{place}"] = line, text(number)
    return b"".join(lines)


def write_sources(made: Made) -> None:
    web, books, rest = (made.source / name for name in ("web", "books", "rest"))
    for folder in (web, books, rest):
        folder.mkdir(parents=True)
    (web / "a.jsonl").write_bytes(
        _lines(made, "a.jsonl", range(40)) + b"no json\n" + json.dumps({"text": text(3)}).encode()
    )
    (web / "short.jsonl").write_text('{"text": "Too short."}\n{"text": ""}\n')
    lines = [f"{text(100 + number)}\n" for number in range(3)]
    (books / "b.txt").write_text("\n" + "".join(lines))
    for number, line in enumerate(lines, start=1):
        made.records[f"b.txt#{number}.0"], made.texts[f"b.txt#{number}.0"] = line.encode(), line.rstrip("\n")
    (rest / "c.jsonl.gz").write_bytes(gzip.compress(_lines(made, "c.jsonl.gz", range(200, 203))))
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("deep/d.jsonl", _lines(made, "e.tar.gz!/in.zip!/deep/d.jsonl", range(300, 302)))
    packed = gzip.compress(_lines(made, "e.tar.gz!/f.jsonl.gz", range(310, 312)))
    with tarfile.open(rest / "e.tar.gz", "w:gz") as tar:
        for name, content in (("in.zip", inner.getvalue()), ("f.jsonl.gz", packed)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    pyarrow.parquet.write_table(pyarrow.table({"text": [text(400), text(401)]}), rest / "g.parquet")
    made.texts |= {"g.parquet#0": text(400), "g.parquet#1": text(401)}


def make(folder: Path, stages: Sequence[str] = ("clean", "tokenizer", "pack")) -> Made:
    """The sources and the run, up to what a training reads."""
    path = folder / "r.yaml"
    path.write_text(RECIPE.format(run=folder / "run", source=folder / "source"))
    recipe = load_recipe(path)
    made = Made(recipe, RunFolder(recipe.run_dir), folder / "source")
    write_sources(made)
    run_stages(recipe, stages, lambda line: None, begin=lambda stage: None)
    return made
