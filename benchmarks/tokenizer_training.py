"""Learning from text without spaces: 200 MB as a whole in less than 4 GB of memory.

``--kind bpe`` (byte-level) learns from Chinese; ``--kind wordpiece`` from the same text with a letter of another script
for each Chinese character, for BERT takes those for words, and none without end is left.

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


def unspaced(text: str) -> str:
    """With a Hangul syllable for each Chinese character; they are as many bytes, and WordPiece cuts at none."""
    return CLAUSE.sub(lambda found: "".join(chr(0xAC00 + (ord(each) - 0x4E00) % 11_172) for each in found[0]), text)


def _crossed(clause: str, other: str) -> str:
    return clause[: len(clause) // 2] + other[len(other) // 2 :]


def write(folder: Path, megabytes: int, path: Path, kind: str) -> tuple[int, int]:
    """One document a line, as JSON; clauses of four characters and more, and how many of them differ."""
    clauses, every = set[int](), 0
    with path.open("w", encoding="utf-8") as out:
        for text in multiplied(folder, megabytes):
            found = CLAUSE.findall(text)
            clauses.update(map(hash, found))
            every += len(found)
            out.write(json.dumps(unspaced(text) if kind == "wordpiece" else text, ensure_ascii=False) + "\n")
    return every, len(clauses)


def read(path: Path) -> Iterator[str]:
    """The documents, one at a time."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


Learned = tuple[float, Sequence[object]]
"""Seconds, and the merges or tokens in order."""


def our_bpe(path: Path, vocab_size: int) -> Learned:
    """Danlu's, with the defaults of a recipe."""
    from danlu.tokenizers.bpe import BPE

    began = time.perf_counter()
    tokenizer = BPE(vocab_size=vocab_size).train(read(path))
    return time.perf_counter() - began, json.loads(tokenizer.to_json())["model"]["merges"]


def their_bpe(path: Path, vocab_size: int) -> Learned:
    """The library's."""
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


def our_wordpiece(path: Path, vocab_size: int) -> Learned:
    """Danlu's, cased: without accents Hangul would be more letters, and other ones."""
    from danlu.tokenizers.wordpiece import WordPiece

    began = time.perf_counter()
    tokenizer = WordPiece(vocab_size=vocab_size, lowercase=False, special=[]).train(read(path))
    return time.perf_counter() - began, sorted(tokenizer.tokens())


def their_wordpiece(path: Path, vocab_size: int) -> Learned:
    """The library's; which of two tokens as frequent is learned is chance in it."""
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    began = time.perf_counter()
    inner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=False)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=["<|endoftext|>", "[UNK]"],
        limit_alphabet=vocab_size // 3, show_progress=False,
    )  # fmt: skip
    inner.train_from_iterator(read(path), trainer)
    return time.perf_counter() - began, sorted(inner.get_vocab())


KINDS = {"bpe": (our_bpe, their_bpe), "wordpiece": (our_wordpiece, their_wordpiece)}


def measure(arguments: argparse.Namespace) -> Sequence[Comparison]:
    """Ours at full size, then both at the size of the peer."""
    say_machine()
    rows = [["trainer", "text", "seconds", "peak memory"]]
    with tempfile.TemporaryDirectory() as folder:
        whole, part = Path(folder) / "whole.jsonl", Path(folder) / "part.jsonl"
        ours, theirs = KINDS[arguments.kind]
        every, different = write(arguments.data, arguments.megabytes, whole, arguments.kind)
        say(f"{arguments.megabytes} MB: {every:,} clauses, of which {different:,} differ")
        (seconds, merges), memory = in_fresh_process(ours, whole, arguments.vocab_size)
        rows.append(_row("Danlu", arguments.megabytes, seconds, memory))
        verdict = "met" if memory < LIMIT else "NOT met"
        if arguments.peer_megabytes == arguments.megabytes:
            part = whole
        else:
            write(arguments.data, arguments.peer_megabytes, part, arguments.kind)
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
            say(_agreement(*learned))
    say(table(rows))
    say(f"{len(merges):,} merges or tokens from {arguments.megabytes} MB in less than {LIMIT / 1e9:.0f} GB: {verdict}")
    return [
        compare(f"{arguments.kind} training: peak memory", memory_of["ours"], memory_of["theirs"], unit="GB"),
        compare(f"{arguments.kind} training: time", seconds_of["ours"], seconds_of["theirs"], unit="s"),
    ]


def _agreement(ours: Sequence[object], theirs: Sequence[object]) -> str:
    if ours == theirs:
        return f"the {len(ours):,} that both have learned are the same"
    shared = len({json.dumps(each) for each in ours} & {json.dumps(each) for each in theirs})
    return f"of {len(ours):,} and {len(theirs):,} that they have learned, {shared:,} are the same"


def _row(name: str, megabytes: int, seconds: float, memory: int) -> list[str]:
    return [name, f"{megabytes} MB", f"{seconds:.0f}", f"{memory / 1e9:.2f} GB"]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of Chinese text")
    parser.add_argument("--kind", choices=sorted(KINDS), default="bpe")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--peer-megabytes", type=int, default=50)
    parser.add_argument("--vocab-size", type=int, default=32768)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    return run_benchmark(lambda: measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
