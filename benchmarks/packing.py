"""``danlu pack`` from shards to a store on the disk, beside the ``tokenizers`` library that encodes the same texts.

The peer has the texts in memory and throws its tokens away; Danlu reads and parses the shards, divides train from
held-out documents, encodes, and writes tokens, borders, ids and hashes: wanted is at least 0.9 of the peer's speed, on
as many threads. Then a store of many made documents: its memory after it is opened, a row of it read at random, and the
first row of a packed epoch, beside what a list of its documents and the int64 arrays of its pieces would take.

``python benchmarks/packing.py [FILE ...]``: files are JSON lines with a ``text``, plain or gzip-compressed; without
one, the texts are the books and articles of ``corpora/``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine, table

TARGET = 0.9
CORPORA = Path(__file__).parents[1] / "corpora"
CHUNK_CHARACTERS = 2000
ROW = 2048


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5, help="how often each side runs (default %(default)s)")
    parser.add_argument("--megabytes", type=int, default=20, help="of text that are packed (default %(default)s)")
    parser.add_argument("--vocab-size", type=int, default=16_384)
    parser.add_argument("--documents", type=int, default=10_000_000, help="of the made store (default %(default)s)")
    options = parser.parse_args()
    if options.rounds < 1 or options.megabytes < 1 or options.documents < 1:
        parser.error("--rounds, --megabytes and --documents must be at least 1")
    return run_benchmark(lambda: measure(options))


def measure(options: argparse.Namespace) -> list[Comparison]:
    say_machine()
    with TemporaryDirectory(prefix="danlu-benchmark-") as temporary:
        run = Path(temporary)
        megabytes, _ = in_fresh_process(prepare, run, options.files, options.megabytes, options.vocab_size)
        found = [speed(run, megabytes, name, side, options.rounds) for name, side in PEERS.items()]
        return [*found, memory(run, options.documents)]


def speed(run: Path, megabytes: float, name: str, peer: Callable[[Path], float], rounds: int) -> Comparison:
    """Both sides in turn, every second round backwards."""
    rates: dict[str, list[float]] = {"Danlu, pack": [], name: []}
    sides = {"Danlu, pack": ours, name: peer}
    for number in range(rounds):
        for side in list(sides)[:: -1 if number % 2 else 1]:
            seconds, _ = in_fresh_process(sides[side], run)
            rates[side].append(megabytes / seconds)
            say(f"round {number + 1}: {side}: {rates[side][-1]:.2f} MB/s")
    comparison = compare(f"packing speed: Danlu, pack / {name}", *rates.values(), unit="MB/s")
    met = "met" if comparison.ratio >= TARGET else "MISSED"
    say(f"{comparison.benchmark}: {comparison.ratio:.2f}; wanted at least {TARGET}: {met}")
    return comparison


def texts(files: list[Path]) -> Iterator[tuple[str, str]]:
    """Each text, and where it is from."""
    if files:
        for path in files:
            content = path.read_bytes()
            for line in (gzip.decompress(content) if path.suffix == ".gz" else content).split(b"\n"):
                if line:
                    yield json.loads(line)["text"], path.name
        return
    for path in sorted(CORPORA.rglob("*.txt")):
        text = path.read_text(encoding="utf-8")
        for start in range(0, len(text), CHUNK_CHARACTERS):
            yield text[start : start + CHUNK_CHARACTERS], path.name


def prepare(run: Path, files: list[Path], megabytes: int, vocab_size: int) -> float:
    """Shards of that much text or all there is, every n-th document, and a tokenizer that is trained on them."""
    from danlu.text.document import Document, shard_path
    from danlu.tokenizers.bpe import BPE

    found = list(texts(files))
    if not found:
        raise NotMeasuredError("there is no text")
    stride = max(1, sum(len(text.encode()) for text, _ in found) // (megabytes * 1_000_000))
    kept = found[::stride]
    (run / "clean").mkdir()
    (run / "tokenizer").mkdir()
    with shard_path(run / "clean", 0).open("wb") as file:
        for number, (text, source) in enumerate(kept):
            file.write(Document(f"{source}#{number}", text, {"source": source, "language": "und"}).line())
    BPE(vocab_size=vocab_size).train(text for text, _ in kept[::4]).save(run / "tokenizer")
    size = sum(len(text.encode()) for text, _ in kept) / 1e6
    say(f"{len(kept):,} documents, {size:.1f} MB of text")
    return size


def ours(run: Path) -> float:
    """Seconds of the stage."""
    from danlu.corpus.pack import Pack
    from danlu.recipe import Recipe
    from danlu.runs import Job

    out = run / "pack"
    shutil.rmtree(out, ignore_errors=True)
    job = Job(Recipe("packing", run, 1, {}), {name: run / name for name in ("clean", "tokenizer")}, out)
    began = time.perf_counter()
    Pack().run(job)
    return time.perf_counter() - began


def _peer(run: Path, encode: Callable[[Any], Callable[..., Any]]) -> float:
    import tokenizers

    from danlu.text.document import read_documents

    found = [document.text for document in read_documents(run / "clean")]
    tokenizer = tokenizers.Tokenizer.from_file(str(run / "tokenizer" / "tokenizer.json"))
    began = time.perf_counter()
    encode(tokenizer)(found, add_special_tokens=False)
    return time.perf_counter() - began


def encode_batch(run: Path) -> float:
    """Seconds of one call with all texts, which keeps all cores busy to the end."""
    return _peer(run, lambda tokenizer: tokenizer.encode_batch)


def encode_batch_fast(run: Path) -> float:
    """The same without places in the text."""
    return _peer(run, lambda tokenizer: tokenizer.encode_batch_fast)


PEERS: dict[str, Callable[[Path], float]] = {
    "tokenizers, encode_batch": encode_batch, "tokenizers, encode_batch_fast": encode_batch_fast,
}  # fmt: skip


def memory(run: Path, documents: int) -> Comparison:
    """Resident memory of a process that opens a store and reads rows, and what lists of its documents would take."""
    _, _ = in_fresh_process(make_store, run / "large", documents)
    steps, _ = in_fresh_process(look, run / "large")
    rows = [["", "seconds", "MB of its own", "MB with what is mapped"]]
    rows += [[name, f"{seconds:.3f}", f"{own / 1e6:.1f}", f"{all / 1e6:.1f}"] for name, seconds, own, all in steps]
    say(f"\na store of {documents:,} documents:\n{table(rows)}\n")
    listed, _ = in_fresh_process(look_listed, run / "large", min(documents, 1_000_000))
    lists = listed * documents / min(documents, 1_000_000)
    say(f"lists of the documents and of their pieces: {lists / 1e6:,.0f} MB")
    return compare("packing memory: opened and 1,000 rows read / lists", [steps[-1][2] / 1e6], [lists / 1e6], unit="MB")


def make_store(folder: Path, documents: int) -> None:
    """Documents of lengths as texts have them, a language in five and a source in ten thousand."""
    import numpy as np

    from danlu.corpus.store import StoreWriter
    from danlu.text.document import Document

    chance = np.random.default_rng(0)
    about = [{"language": f"l{number}", "source": ""} for number in range(5)]
    with StoreWriter(folder, vocab_size=50_000, eot=0) as writer:
        for first in range(0, documents, 100_000):
            count = min(100_000, documents - first)
            lengths = np.clip(chance.lognormal(2.5, 1.0, count).astype(np.int64), 1, 5000)
            tokens = chance.integers(1, 50_000, int(lengths.sum())).astype("<u2")
            ends = np.cumsum(lengths)
            for number in range(count):
                meta = {**about[number % 5], "source": f"files/{(first + number) // 10_000}.txt"}
                ids = tokens[ends[number] - lengths[number] : ends[number]]
                writer.add(Document(f"{meta['source']}#{number}", "", meta), ids)


def look(folder: Path) -> list[tuple[str, float, int, int]]:
    """What was done, its seconds, and the memory of the process after it beyond that before."""
    import numpy as np

    from danlu.corpus.reading import Packed, Stream
    from danlu.corpus.rows import Ints, Widths
    from danlu.corpus.store import TokenStore

    class Whole:
        room, longest, by_length = Widths(ROW), ROW, True

        def widths(self, body: Ints) -> Widths:
            return Widths(body)

        def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
            return Widths(bodies)

    before, steps = resident(), []

    def done(name: str, began: float) -> None:
        now = resident()
        steps.append((name, time.perf_counter() - began, now[0] - before[0], now[1] - before[1]))

    began = time.perf_counter()
    store = TokenStore.open(folder)
    done("opened", began)
    chance = np.random.default_rng(1)
    for name, reading in (("stream", Stream()), ("packed", Packed())):
        began = time.perf_counter()
        rows = reading.rows(store, Whole(), seed=1)
        rows[7 * rows.per_epoch + rows.per_epoch // 2]
        done(f"{name}: the middle row of epoch 7", began)
        began = time.perf_counter()
        for number in chance.integers(0, 5 * rows.per_epoch, 1000).tolist():
            rows[number]
        done(f"{name}: 1,000 rows more", began)
    began = time.perf_counter()
    for number in chance.integers(0, len(store.documents), 1000).tolist():
        store.document(number)
    done("1,000 documents looked up", began)
    return steps


def look_listed(folder: Path, documents: int) -> int:
    """Memory of so many documents in a list and of the arrays of their pieces."""
    import numpy as np

    from danlu.corpus.documents import chunks
    from danlu.corpus.store import TokenStore

    store, before = TokenStore.open(folder), resident()
    listed = list(store.documents[:documents])
    starts = np.array(store.starts[: documents + 1])
    cuts = chunks(TokenStore(store.tokens, starts, listed, store.vocab_size, store.eot), longest=ROW)
    assert len(cuts) >= len(listed)
    return resident()[0] - before[0]


def resident() -> tuple[int, int]:
    """Bytes of main memory that are the process's own, and with those of mapped files."""
    known = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    own, of_files = (int(known[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
    return own, own + of_files


if __name__ == "__main__":
    sys.exit(main())
