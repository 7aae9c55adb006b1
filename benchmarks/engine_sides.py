"""The first pass of ``clean`` on each engine: read JSON lines, normalise, name the language, drop by rules, write.

What is done with a document is the same function of Danlu's everywhere; how it gets there and what becomes of the
result is the engine's. Each side is called in a process of its own: ``side(source, out, workers)``.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

RULES = [{"use": "empty"}, {"use": "gopher_repetition"}, {"use": "gopher_quality"}]
STORE_BYTES = 200 * 2**20
"""For the objects of a local Ray."""


def judging() -> Callable[[str], str | None]:
    """From a text to the text as it is kept, or None where a rule drops it."""
    from danlu.clean.stage import Clean
    from danlu.readers.record import LocalFile, Raw
    from danlu.readers.sources import SourceFile
    from danlu.recipe import build

    stage = build(Clean, {"sources": ["text"], "rules": RULES}, key="clean")
    rules = [choice.make() for choice in stage.rules]
    file = SourceFile("text", LocalFile(Path("text")), stage.sources[0])

    def judge(text: str) -> str | None:
        [document] = stage.documents(file, Raw(0, text))
        return None if any(rule(document) for rule in rules) else document.text

    return judge


def danlu(source: Path, out: Path, workers: int, *more: str) -> None:
    """``danlu clean``, whole: it also reads and writes down what every other engine leaves out."""
    from danlu import cli
    from danlu.clean import stage

    stage.PORTION_BYTES = max(path.stat().st_size for path in source.iterdir())  # a portion a file, as the others have
    out.mkdir()
    recipe = out / "recipe.yaml"
    section = {"sources": [str(source)], "rules": RULES, "duplicates": [], "workers": workers}
    recipe.write_text(json.dumps({"run_dir": str(out), "clean": section}), encoding="utf-8")
    sys.exit(cli.main(["clean", str(recipe), *more]))


def danlu_on_ray(source: Path, out: Path, workers: int) -> None:
    """``danlu clean --ray local``."""
    danlu(source, out, workers, "--ray", "local")


def datatrove(source: Path, out: Path, workers: int) -> None:
    """Its reader, its writer and its local executor, a task a file."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    tasks = len(list(source.glob("*.jsonl")))
    steps = [JsonlReader(str(source)), judged_documents, JsonlWriter(str(out / "kept"), compression=None)]
    LocalPipelineExecutor(steps, tasks=tasks, workers=workers, logging_dir=str(out / "logs")).run()


def judged_documents(data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
    """A step of datatrove's."""
    judge = judging()
    for document in data:
        text = judge(document.text)
        if text is not None:
            document.text = text
            yield document


class Judge:
    """Texts to texts in lists, as Daft and Ray Data want it; made once a process."""

    def __init__(self) -> None:
        self._judge = judging()

    def one(self, text: str) -> str | None:
        return self._judge(text)

    def batch(self, rows: dict[str, Any]) -> dict[str, Any]:
        judged = [self._judge(text) for text in rows["text"].tolist()]
        return {"text": [text for text in judged if text is not None]}


def daft(source: Path, out: Path, workers: int) -> None:
    """Its engine for one machine, which calls the function in processes."""
    import daft as engine

    class Judged(Judge):
        @engine.method(return_dtype=engine.DataType.string())  # type: ignore[untyped-decorator]
        def one(self, text: str) -> str | None:
            return super().one(text)

    judge = engine.cls(Judged, use_process=True, max_concurrency=workers)()
    rows = engine.read_json(f"{source}/*.jsonl", schema={"text": engine.DataType.string()})
    judged = rows.select(judge.one(engine.col("text")).alias("text"))
    judged.where(engine.col("text").not_null()).write_json(str(out))


def ray_data(source: Path, out: Path, workers: int) -> None:
    """Ray Data on a Ray of this machine, which calls the function in actors."""
    from danlu.workers.cluster import connected, load_ray

    ray = load_ray("'ray[data]'")
    with connected(ray, "local", workers + 1):  # one to read, or the actors would wait for ever
        from ray import data

        rows = data.read_json(sorted(map(str, source.glob("*.jsonl"))))
        judged = rows.select_columns(["text"]).map_batches(
            RayJudge, batch_size=64, batch_format="numpy", compute=data.ActorPoolStrategy(size=workers)
        )
        judged.write_json(str(out))


class RayJudge(Judge):
    """Ray Data calls the instance."""

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        return self.batch(rows)


SIDES: dict[str, tuple[Callable[[Path, Path, int], None], str | None]] = {
    "Danlu": (danlu, None),
    "Danlu --ray": (danlu_on_ray, "ray"),
    "datatrove": (datatrove, "datatrove"),
    "Daft": (daft, "daft"),
    "Ray Data": (ray_data, "ray"),
}
"""By name, with the package that a side needs."""


def near_copies(texts: list[str]) -> dict[str, float]:
    """Of texts and copies with one character of a hundred changed: how many are near (half of 200 entries agree).

    Daft's expression hashes five words in a row, as parted by spaces, of text in small letters without punctuation.
    """
    import daft as engine

    from danlu.clean.minhash import MinHash

    chance = random.Random(0)
    copies = []
    for text in texts:
        letters = list(text)
        for place in chance.sample(range(len(letters)), len(letters) // 100):
            letters[place] = "x"
        copies.append("".join(letters))
    rows = engine.from_pydict({"text": texts, "copy": copies})
    hashed = [engine.col(name).normalize(remove_punct=True, lowercase=True).minhash(num_hashes=200, ngram_size=5)
              for name in ("text", "copy")]  # fmt: skip
    theirs = rows.select(*hashed).to_pydict()
    agree = [sum(one == other for one, other in zip(*pair, strict=True)) / 200
             for pair in zip(theirs["text"], theirs["copy"], strict=True)]  # fmt: skip
    choice = MinHash()
    ours = (choice.sketch(texts)["entries"] == choice.sketch(copies)["entries"]).mean(axis=1)
    return {"Danlu": float((ours >= 0.5).mean()), "Daft": sum(share >= 0.5 for share in agree) / len(agree)}


def call(name: str, source: str, out: str, workers: int) -> None:
    """One side."""
    SIDES[name][0](Path(source), Path(out), workers)


def written(out: Path) -> list[Path]:
    """The files with texts that a side has left, by name."""
    if (out / "clean").is_dir():
        return sorted((out / "clean").glob("documents-*.jsonl"))
    inside = out / "kept" if (out / "kept").is_dir() else out
    return sorted(path for path in inside.rglob("*") if path.suffix in (".json", ".jsonl"))


def kept(out: Path) -> list[str]:
    """The texts that a side has written, in the order of its files."""
    lines = (line for path in written(out) for line in path.read_bytes().split(b"\n") if line)
    return [json.loads(line)["text"] for line in lines]
