"""Learning byte-level BPE from Chinese text, which has no spaces: 200 MB as a whole in less than 4 GB of memory.

The peer is the trainer of the ``tokenizers`` library, on the same text, cut into the same words. The text is that of
``--data``, multiplied: in each further copy the first half of every clause goes on with the second half of another,
so that hardly any clause comes twice. ``--peer-megabytes`` spares the peer, which may need more memory than there is.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from process import in_fresh_process
from report import Comparison, compare, run_benchmark, say, say_machine, table

SOURCES = ("classics_zh.jsonl.gz", "docs_zh.jsonl.gz", "wiki_zh.jsonl.gz", "cluecorpus_small_sample.txt.gz")
CLAUSE = re.compile("[\u4e00-\u9fff]{4,}")
LIMIT = 4_000_000_000
"""Bytes of memory that ours may take, all told."""
DOCUMENT = 4000
"""Characters of a document of a further copy, about."""


def sources(folder: Path) -> Iterator[str]:
    """The documents that are multiplied."""
    for name in SOURCES:
        with gzip.open(folder / name, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"] if ".jsonl" in name else line.rstrip("\n")


def multiplied(folder: Path, megabytes: int) -> Iterator[str]:
    """Documents of so much text altogether."""
    texts = list(sources(folder))
    clauses = [found for text in texts for found in CLAUSE.findall(text)]
    left, chance = megabytes * 1_000_000, random.Random(0)
    while True:
        for text in texts:
            yield text
            left -= len(text.encode())
            if left <= 0:
                return
        texts = [CLAUSE.sub(lambda found: _crossed(found[0], chance.choice(clauses)), text) for text in texts]


def _crossed(clause: str, other: str) -> str:
    return clause[: len(clause) // 2] + other[len(other) // 2 :]


def write(folder: Path, megabytes: int, path: Path) -> tuple[int, int]:
    """One document a line, as JSON; clauses of four characters and more, and how many of them differ."""
    clauses, every = set[int](), 0
    with path.open("w", encoding="utf-8") as out:
        for text in multiplied(folder, megabytes):
            found = CLAUSE.findall(text)
            clauses.update(map(hash, found))
            every += len(found)
            out.write(json.dumps(text, ensure_ascii=False) + "\n")
    return every, len(clauses)


def read(path: Path) -> Iterator[str]:
    """The documents, one at a time."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def ours(path: Path, vocab_size: int) -> tuple[float, list[object]]:
    """Seconds, and the merges."""
    from danlu.tokenizers.bpe import BPE

    began = time.perf_counter()
    tokenizer = BPE(vocab_size=vocab_size).train(read(path))
    return time.perf_counter() - began, json.loads(tokenizer.to_json())["model"]["merges"]


def theirs(path: Path, vocab_size: int) -> tuple[float, list[object]]:
    """The same of the library."""
    import tokenizers
    from tokenizers import Regex, models, pre_tokenizers, trainers

    from danlu.tokenizers.bpe import WORDS

    began = time.perf_counter()
    inner = tokenizers.Tokenizer(models.BPE())
    cut = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    inner.train_from_iterator(read(path), trainer)
    return time.perf_counter() - began, json.loads(inner.to_str())["model"]["merges"]


def measure(arguments: argparse.Namespace) -> Sequence[Comparison]:
    """Ours at full size, then both at the size of the peer."""
    say_machine()
    rows = [["trainer", "text", "seconds", "peak memory"]]
    with tempfile.TemporaryDirectory() as folder:
        whole, part = Path(folder) / "whole.jsonl", Path(folder) / "part.jsonl"
        every, different = write(arguments.data, arguments.megabytes, whole)
        say(f"{arguments.megabytes} MB: {every:,} clauses, of which {different:,} differ")
        (seconds, merges), memory = in_fresh_process(ours, whole, arguments.vocab_size)
        rows.append(_row("Danlu", arguments.megabytes, seconds, memory))
        verdict = "met" if memory < LIMIT else "NOT met"
        if arguments.peer_megabytes == arguments.megabytes:
            part = whole
        else:
            write(arguments.data, arguments.peer_megabytes, part)
        seconds_of: dict[str, list[float]] = {"ours": [], "theirs": []}
        memory_of: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(arguments.rounds):
            learned = []
            for name, side in (("ours", ours), ("theirs", theirs)):
                (took, found), peak = in_fresh_process(side, part, arguments.vocab_size)
                learned.append(found)
                seconds_of[name].append(took)
                memory_of[name].append(peak / 1e9)
                rows.append(_row("Danlu" if side is ours else "tokenizers", arguments.peer_megabytes, took, peak))
            say(f"the {len(learned[0]):,} merges are {'the same' if learned[0] == learned[1] else 'NOT the same'}")
    say(table(rows))
    say(f"{len(merges):,} merges from {arguments.megabytes} MB in less than {LIMIT / 1e9:.0f} GB: {verdict}")
    return [
        compare("BPE training: peak memory", memory_of["ours"], memory_of["theirs"], unit="GB"),
        compare("BPE training: time", seconds_of["ours"], seconds_of["theirs"], unit="s"),
    ]


def _row(name: str, megabytes: int, seconds: float, memory: int) -> list[str]:
    return [name, f"{megabytes} MB", f"{seconds:.0f}", f"{memory / 1e9:.2f} GB"]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/pretrain/zh"))
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--peer-megabytes", type=int, default=50)
    parser.add_argument("--vocab-size", type=int, default=32768)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    return run_benchmark(lambda: measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
