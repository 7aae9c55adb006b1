"""What ``scale.py`` measures: a sample of the text, the passes of ``clean`` over it, deciding, ``pack``."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from report import NotMeasuredError

SECTION = {
    "rules": [
        {"use": "empty"},
        {"use": "gopher_repetition"},
        {"use": "gopher_quality"},
        {"use": "c4"},
        {"use": "private"},
    ],
    "duplicates": [{"use": "exact"}, {"use": "minhash"}],
}
SHARD_BYTES = 500_000
LOOK_UPS = 200
MADE_DOCUMENTS = 200_000
COPIES = 0.1
"""The share of made signatures that nearly repeat an earlier one."""


@dataclass(frozen=True)
class Cleaned:
    """A run of ``clean`` in one process: seconds by part of it, sizes in bytes."""

    text: int
    cut: float
    hash: float
    draft: float
    decide: float
    write: float
    documents: int
    drafts: int
    sketches: int
    kept: int


@dataclass(frozen=True)
class Decided:
    """The second pass of ``minhash`` on made signatures."""

    documents: int
    seconds: float
    temporary: int
    memory: int
    """The most of its own at once; pages of files, which the system takes back where it needs them, not counted."""
    look_up: float
    """Seconds to open the sketches of one part."""


def draw_text(source: Path, out: Path, megabytes: float) -> tuple[float, int]:
    """Write text of the folder's files, drawn by chance, as JSON lines; seconds a byte to read it, and bytes.

    Files are read in an order of chance from their beginnings, each for at most an eighth of the whole.
    """
    from danlu.readers.record import Raw
    from danlu.readers.sources import Source, find_files

    files = find_files([Source(path=source)], key="folder").files
    random.Random(0).shuffle(files)
    out.mkdir()
    wanted, seconds = int(megabytes * 1e6), 0.0
    lines: list[bytes] = []
    size = 0
    for file in files:
        began, taken = time.perf_counter(), 0
        for record in file.records():
            if isinstance(record, Raw):
                lines.append(json.dumps({"text": record.text}, ensure_ascii=False).encode() + b"\n")
                taken += len(lines[-1])
            if taken >= wanted / 8 or size + taken >= wanted:
                break
        seconds += time.perf_counter() - began
        size += taken
        if size >= wanted:
            break
    random.Random(1).shuffle(lines)
    for number, shard in enumerate(_shards(lines)):
        (out / f"{number:05d}.jsonl").write_bytes(shard)
    return seconds / max(1, size), size


def _shards(lines: Sequence[bytes]) -> Iterator[bytes]:
    shard = b""
    for line in lines:
        shard += line
        if len(shard) >= SHARD_BYTES:
            yield shard
            shard = b""
    if shard:
        yield shard


def clean(text: Path, out: Path, megabytes: float) -> Cleaned:
    """The passes of ``clean`` over so much of the text, each timed, in this process."""
    import numpy as np

    from danlu.clean.portions import portions
    from danlu.clean.source_parts import source_parts
    from danlu.clean.stage import Clean
    from danlu.files import hash_file
    from danlu.recipe import build
    from danlu.workers.processes import Workers

    stage = build(Clean, {"sources": [str(text)], **SECTION, "workers": 1}, key="clean")
    found = stage.find().files
    ends = np.cumsum([file.content.size or 0 for file in found])
    files = found[: int(np.searchsorted(ends, megabytes * 1e6)) + 1]
    size = sum(file.content.size or 0 for file in files)
    out.mkdir()
    with Workers("clean", 1) as workers:
        times = [time.perf_counter()]
        for file in files:
            hash_file(Path(str(file.path)))
        times.append(time.perf_counter())
        todo = portions(files, size=SHARD_BYTES // 2)
        times.append(time.perf_counter())
        stage._draft(todo, out, workers)
        times.append(time.perf_counter())
        drafts, sketches = _size(out / "drafts"), _size(out / "drafts", "*/sketches-*")
        rulings = stage._decide(todo, out)
        times.append(time.perf_counter())
        counts, _ = stage._finish(rulings, out, workers, source_parts(files)[0])
        times.append(time.perf_counter())
    hashed, cut, drafted, decided, written = (after - before for before, after in pairwise(times))
    documents = sum(1 for shard in (out / "drafts").glob("*/documents.jsonl") for _ in shard.open("rb"))
    if not sum(each.kept for each in counts):
        raise NotMeasuredError("no document is left of the sample: a run on such text writes nothing")
    kept = _size(out, "documents-*.jsonl")
    return Cleaned(size, cut, hashed, drafted, decided, written, documents, drafts, sketches, kept)


def _size(folder: Path, pattern: str = "*") -> int:
    """Bytes of the files below a folder whose paths fit; some may just be going."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.match(pattern):
                with suppress(FileNotFoundError):
                    total += path.stat().st_size
    return total


@dataclass(frozen=True)
class Packed:
    """``tokenizer`` and the passes of ``pack``, one process on one core: seconds a byte of the shards of documents."""

    read: float
    """To draw what a tokenizer learns from."""
    encode: float
    gather: float
    columns: float
    """Seconds a document."""
    stored: float
    """Bytes of the stores a byte."""


def packing(text: Path, out: Path) -> Packed:
    """The passes of ``pack`` with byte-level BPE of 8,192 tokens; the columns are those of many made documents."""
    from danlu.corpus.gathering import Gathered, Gathering
    from danlu.corpus.pack import Pack
    from danlu.corpus.portions import portions
    from danlu.corpus.split import PARTS
    from danlu.corpus.store_writer import finish
    from danlu.recipe import load_recipe
    from danlu.runs import run_stages
    from danlu.stage import Job
    from danlu.text.document import document_shards, read_documents
    from danlu.tokenizers.stage import sample

    out.mkdir()
    tokenizer = {"use": "bpe", "vocab_size": 8192}
    sections = {"run_dir": str(out), "clean": {"sources": [str(text)]}, "tokenizer": tokenizer, "pack": {}}
    (out / "recipe.yaml").write_text(json.dumps(sections), encoding="utf-8")
    recipe = load_recipe(out / "recipe.yaml")
    folder = run_stages(recipe, ["clean", "tokenizer"], _nothing, begin=_nothing)
    began = time.perf_counter()
    for _ in sample(read_documents(folder.stage("clean")), 0.01):
        pass
    read = time.perf_counter() - began
    todo, store = portions(document_shards(folder.stage("clean"))), folder.stage("pack")
    job = Job(recipe, {name: folder.stage(name) for name in ("clean", "tokenizer")}, store)
    drafting = Pack().drafting(job)
    missing = [(portion, drafting.made_from(portion)) for portion in drafting.missing(todo)]
    make = drafting()
    times = [time.perf_counter()]
    for each in missing:
        make(each)
    times.append(time.perf_counter())
    found, write = [Gathered.of(store, part, len(todo)) for part in PARTS], Gathering(store)()
    for part in found:
        (store / part.part).mkdir()
        for shard in part.shards():
            write(shard)
    times.append(time.perf_counter())
    for part in found:
        part.write_columns(store)
        finish(store / part.part, part.about)
    size = sum(portion.size for portion in todo)
    encoded, gathered = (after - before for before, after in pairwise(times))
    stored = sum(_size(store / part) for part in PARTS)
    return Packed(read / size, encoded / size, gathered / size, _columns(out / "made"), stored / size)


def _columns(out: Path) -> float:
    """Seconds a document of what one process writes in the second pass."""
    from danlu.corpus.drafts import FILE, Draft
    from danlu.corpus.gathering import Gathered, Gathering
    from danlu.corpus.store_writer import ColumnsWriter, finish
    from danlu.text.document import Document

    drafts = [Draft.of(out, number).folder for number in range(10)]
    for number, draft in enumerate(drafts):
        with ColumnsWriter(draft / "train", vocab_size=8192, eot=0) as writer:
            for place in range(MADE_DOCUMENTS // len(drafts)):
                meta = {"source": f"files/{number}-{place // 100}.jsonl", "language": "en"}
                writer.add(Document(f"{meta['source']}#{place}", "", meta), [1] * (place % 1000))
        (draft / FILE).write_text(json.dumps({"train": writer.known()}), encoding="ascii")
    found, write = Gathered.of(out, "train", len(drafts)), Gathering(out)()
    (out / "train").mkdir()
    known = {name: hashes for _, name, hashes in map(write, found.shards())}
    began = time.perf_counter()
    found.write_columns(out)
    finish(out / "train", found.about, known)
    return (time.perf_counter() - began) / MADE_DOCUMENTS


def _nothing(_: str) -> None:
    pass


def decide(folder: Path, documents: int, memory: float) -> Decided:
    """The second pass of ``minhash`` with its defaults; a tenth of the documents nearly repeat another."""
    import numpy as np
    from safetensors.numpy import save_file

    from danlu.clean.duplicates import Sketched
    from danlu.clean.minhash import MinHash

    folder.mkdir()
    choice, chance = MinHash(memory=int(memory)), np.random.default_rng(0)
    parts, together = [], 20_000
    for start in range(0, documents, together):
        count = min(together, documents - start)
        entries = chance.integers(1, 1 << 16, (count, choice.bands * choice.rows), np.uint16)
        copies = chance.choice(count - 1, int(COPIES * count), replace=False) + 1
        changed = chance.random((len(copies), entries.shape[1])) < 0.3
        entries[copies] = np.where(changed, entries[copies], entries[copies - 1])
        path = folder / f"{start}.sketches"
        save_file({"entries": entries}, path, {"documents": str(count)})
        parts.append(Sketched(path))
    out, over = folder / "decided", threading.Event()
    out.mkdir()
    disk, own = [0], [_own_memory()]

    def watch() -> None:
        while not over.wait(0.05):
            disk.append(_size(out))
            own.append(_own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    choice.decide(parts, out)
    seconds = time.perf_counter() - began
    over.set()
    watcher.join()
    began = time.perf_counter()
    for part in parts * LOOK_UPS:
        part.load()
    return Decided(documents, seconds, max(disk), max(own), (time.perf_counter() - began) / len(parts) / LOOK_UPS)


def _own_memory() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))
