"""``danlu pack`` from shards to a store on the disk, beside the ``tokenizers`` library that encodes the same texts.

The peer has the texts in memory and throws its tokens away; Danlu reads and parses the shards, divides train from
held-out documents, encodes, and writes tokens, borders, ids and hashes: wanted is at least 0.9 of the peer's speed, on
as many threads. Then stores of many made documents and pairs (``packing_memory.py``): for each way in which documents
become rows, the time to a step in the middle of the eighth epoch and the memory, beside what a list of the documents
and the int64 arrays of their pieces would take.

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

from packing_memory import memory
from process import in_fresh_process
from report import Comparison, NotMeasuredError, compare, run_benchmark, say, say_machine

TARGET = 0.9
CORPORA = Path(__file__).parents[1] / "corpora"
CHUNK_CHARACTERS = 2000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5, help="how often each side runs (default %(default)s)")
    parser.add_argument("--megabytes", type=int, default=20, help="of text that are packed (default %(default)s)")
    parser.add_argument("--vocab-size", type=int, default=16_384)
    parser.add_argument("--documents", type=int, default=10_000_000, help="of the made stores (default %(default)s)")
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
        return [*found, *memory(run, options.documents)]


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
    from danlu.stage import Job

    out = run / "pack"
    shutil.rmtree(out, ignore_errors=True)
    job = Job(Recipe("packing", run, 1, {}), {name: run / name for name in ("clean", "tokenizer")}, out)
    began = time.perf_counter()
    pack = Pack()
    pack.run(job)
    pack.tidy(out)
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


if __name__ == "__main__":
    sys.exit(main())
