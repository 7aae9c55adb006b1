"""Text for ``clean.py``: real paragraphs put together anew, and planted copies of which it is known what they copy.

A collection is cut into blocks of a few sentences. Each pass over it shuffles the blocks and puts some together, so
that two documents share a block or two at most, and as many passes are made as the size asks for. Among them stand

- *copies* that are the same but for white space;
- *near copies*: of the words (in Chinese: characters) 1 to 8 % are replaced by others of the text, or left
  out, or a line is put before and behind; the true Jaccard index of each is written down;
- *relatives*, which are no copies: half of the blocks are those of another document, an index of 0.4 at most.

A document and its copies are a *family*. Everything follows from the seed.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "zh")
BLOCK = {"en": 400, "zh": 150}
"""Characters of a block at least; no line of more than three times as many stays whole."""
MEDIAN = {"en": 3000, "zh": 1000}
"""Characters of a document, of which the middle half has 0.5 to 2 times as many."""
FEWEST_BLOCKS = 6
COPIED, EXACT, RELATED = 0.08, 0.02, 0.02
"""Shares of documents that have near copies, a copy, a relative."""
MOST_COPIES, MOST_RELATED = 3, 0.4
RATES = (0.01, 0.08)
PART_BYTES = 31_000_000
"""Of a file."""
FIRST = 0.25
"""Share of the files that lie in the folder ``first``."""
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s*")
_ENDS = re.compile(r"[.!?。！？][\"'”’」』]?\Z")
_WORDS = {"en": re.compile(r"\S+(?= )"), "zh": re.compile(r"[\u4e00-\u9fff]")}
_LINES = {
    "en": ("Posted by the editors on the 4th of this month.", "Read more of these stories in our archive."),
    "zh": ("本文由编辑部整理并于本月四日发布。", "更多精彩的文章请见本站的往期目录。"),
}


@dataclass(frozen=True)
class Made:
    """A document, and what is known of it."""

    text: str
    family: int
    kind: str
    """``original``, ``copy``, ``relative``, or how a near copy was made."""
    rate: float = 0.0
    jaccard: float = 1.0
    """Of a copy and its original."""


def make_corpus(source: Path, out: Path, language: str, megabytes: float, seed: int = 0) -> None:
    """Write ``out/texts/first/*.jsonl``, ``out/texts/rest/*.jsonl`` and ``out/key.jsonl``, which appears last.

    Args:
        source: a folder with ``*.jsonl`` or ``*.txt``, plain or ``.gz``; a line of ``.txt`` is a document.
    """
    target = int(megabytes * 1e6)
    parts = max(4, -(-target // PART_BYTES))
    chance = random.Random(f"{seed} {language}")
    collections = [blocks for path in sorted(source.iterdir()) if (blocks := read_blocks(path, language))]
    documents = mixed(collections, language, chance)
    with (out / ".key.jsonl").open("w", encoding="utf-8") as key:
        for part in range(parts):
            name = f"{'first' if part < parts * FIRST else 'rest'}/{part:03d}.jsonl"
            path = out / "texts" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            written = number = 0
            with path.open("w", encoding="utf-8") as file:
                while written < target / parts:
                    made = next(documents)
                    document_id = f"{name}#{number}"
                    line = json.dumps({"id": document_id, "text": made.text}, ensure_ascii=False)
                    file.write(f"{line}\n")
                    written += len(line.encode()) + 1
                    number += 1
                    facts = {"family": made.family, "kind": made.kind, "rate": made.rate, "jaccard": made.jaccard}
                    key.write(json.dumps({"id": document_id, **facts}) + "\n")
    (out / ".key.jsonl").rename(out / "key.jsonl")


def read_blocks(path: Path, language: str) -> list[str]:
    """The different blocks of a file, in order; none of a file of another kind."""
    name = path.name.removesuffix(".gz")
    if not name.endswith((".jsonl", ".txt")):
        return []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] if name.endswith(".jsonl") else line for line in file]
    blocks = (block for text in texts for block in blocks_of(text, BLOCK[language]))
    return list(dict.fromkeys(blocks))


def blocks_of(text: str, least: int) -> Iterator[str]:
    """Lines, or parts of long ones, as many together as have ``least`` characters.

    Lines that do not end as sentences do are left out, as C4's rules would: else what the rules leave of two documents
    could be much more alike than the two. What is left at the end falls.
    """
    together: list[str] = []
    for line in filter(_ENDS.search, map(str.strip, text.split("\n"))):
        for part in [line] if len(line) <= 3 * least else _sentences(line, least):
            together.append(part)
            if sum(map(len, together)) >= least:
                yield "\n".join(together)
                together = []


def _sentences(paragraph: str, least: int) -> Iterator[str]:
    """The sentences of a paragraph, as many together as have ``least`` characters."""
    gathered = ""
    for sentence in _SENTENCE.split(paragraph):
        gathered += f" {sentence}" if gathered and gathered[-1].isascii() else sentence
        if len(gathered) >= least:
            yield gathered
            gathered = ""
    if gathered:
        yield gathered


def passes(blocks: list[str], language: str, chance: random.Random) -> Iterator[list[str]]:
    """Documents without end, as lists of blocks; each block once in a pass."""
    shuffled = list(blocks)
    while True:
        chance.shuffle(shuffled)
        place = 0
        while place < len(shuffled):
            wanted = MEDIAN[language] * chance.lognormvariate(0, 1)
            end, length = place, 0
            while end < len(shuffled) and (length < wanted or end - place < FEWEST_BLOCKS):
                length += len(shuffled[end])
                end += 1
            if end - place >= FEWEST_BLOCKS:
                yield shuffled[place:end]
            place = end


def mixed(collections: list[list[str]], language: str, chance: random.Random) -> Iterator[Made]:
    """Documents of all collections, by their size, and planted ones some way behind what they are made of."""
    streams = [passes(blocks, language, chance) for blocks in collections]
    weights = [sum(map(len, blocks)) for blocks in collections]
    waiting: list[Any] = []
    family = 0
    while True:
        (stream,) = chance.choices(streams, weights)
        blocks = next(stream)
        text = "\n\n".join(blocks)
        yield Made(text, family, "original")
        drawn = chance.random()
        if drawn < COPIED:
            for _ in range(chance.randint(1, MOST_COPIES)):
                waiting.append(partial(near_copy, text, family, language, chance))
        elif drawn < COPIED + EXACT:
            waiting.append(partial(Made, text.replace("\n\n", "\n \n"), family, "copy"))
        elif drawn < COPIED + EXACT + RELATED:
            half = "\n\n".join(chance.sample(blocks, len(blocks) // 2) + next(stream)[: len(blocks) - len(blocks) // 2])
            if (index := jaccard(text, half, language)) <= MOST_RELATED:
                family += 1
                waiting.append(partial(Made, half, family, "relative", jaccard=round(index, 4)))
        family += 1
        while len(waiting) > 50 and chance.random() < 0.5:
            yield waiting.pop(chance.randrange(len(waiting)))()


def near_copy(text: str, family: int, language: str, chance: random.Random) -> Made:
    """A copy of ``text`` with known edits."""
    kind = chance.choice(("replaced", "left out", "framed"))
    rate = chance.uniform(*RATES) if kind != "framed" else RATES[0]
    words = _WORDS[language].findall(text)

    def instead(found: re.Match[str]) -> str:
        if chance.random() >= rate:
            return found[0]
        return chance.choice(words) if kind != "left out" else ""

    copied = _WORDS[language].sub(instead, text)
    if kind == "framed":
        before, behind = _LINES[language]
        copied = f"{before}\n\n{copied}\n\n{behind}"
    return Made(copied, family, kind, round(rate, 4), round(jaccard(text, copied, language), 4))


def jaccard(one: str, other: str, language: str) -> float:
    """The index of the sets of nine letters in a row, of three Chinese characters, in plain Python."""
    width = 9 if language == "en" else 3
    first, second = (
        {letters[start : start + width] for start in range(len(letters) - width + 1)}
        for letters in ("".join(filter(str.isalnum, text)).lower() for text in (one, other))
    )
    return len(first & second) / len(first | second)
