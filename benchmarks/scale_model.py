"""From measured rates to hours, nodes, disk and memory for much more text: what ``scale.py`` foretells, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

DECIDING_BYTES = 1_000_000_000.0
"""``memory`` of the kinds of duplicates, where a recipe does not say it."""
PORTION_BYTES = 32_000_000.0
BANDS, ROW_BYTES, MEMORY_SHARES = 50, 128, 4
"""Of ``minhash``: rows a document, memory that sorting one takes, and into how many shares the memory goes."""


@dataclass(frozen=True)
class Line:
    """``constant + slope * x``."""

    constant: float
    slope: float

    def at(self, x: float) -> float:
        return self.constant + self.slope * x


def fit_line(xs: Sequence[float], ys: Sequence[float]) -> Line:
    """Least squares, neither part below zero: a start takes time, and more text does not take less.

    Raises:
        ValueError: there are fewer than two places.
    """
    if len(set(xs)) < 2 or len(xs) != len(ys):
        raise ValueError(f"a line needs two places; got {list(xs)}")
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    constant = mean_y - slope * mean_x
    if constant < 0:
        return Line(0.0, max(0.0, sum(x * y for x, y in zip(xs, ys, strict=True)) / sum(x * x for x in xs)))
    return Line(constant, slope) if slope > 0 else Line(mean_y, 0.0)


@dataclass(frozen=True)
class Rates:
    """What was measured; seconds are of one core and a byte of text, as JSON lines, where nothing else is said."""

    document_bytes: float
    """Of text, a document."""
    unpack: float
    """To read the text as it is stored; it adds to ``draft``."""
    draft: float
    write: float
    hash: float
    cut: float
    """To find where the portions of a file of lines begin."""
    read: float
    """To read a byte of the shards of documents as the stage ``tokenizer`` does."""
    encode: float
    """The first pass of ``pack``, a byte of its shards of documents."""
    gather: float
    """The shards of its second pass, likewise."""
    columns: float
    """What one process writes of a document then."""
    stored: float
    """Bytes of its stores a byte of the shards of documents."""
    decide: Line
    """Seconds for so many documents, but for looking up signatures in the portions."""
    look_up: float
    """To open the sketches of one portion, which each of the files that rows are dealt into does."""
    drafts: float
    """Bytes of drafts, sketches included, a byte of text."""
    kept: float
    """Bytes of shards a byte of text."""
    sketches: float
    """Bytes of sketches a document."""
    temporary: float
    """Bytes of temporary files a document, while it is decided."""
    decide_memory: Line
    """Bytes of the deciding process, for so many documents."""
    worker_memory: float
    """Bytes of a process that drafts."""


@dataclass(frozen=True)
class Forecast:
    """One run of a stage on so many cores; seconds by part of it."""

    cores: int
    shared: Mapping[str, float]
    """What all cores do together."""
    alone: Mapping[str, float]
    """What one process does while the others wait."""
    network: float
    """Bytes a second to and from the shared disk while all cores work."""

    @property
    def seconds(self) -> float:
        return sum(self.shared.values()) + sum(self.alone.values())

    @property
    def efficiency(self) -> float:
        """The share of all cores' time in which they have something to do."""
        return sum(self.shared.values()) / self.seconds

    @property
    def longest(self) -> str:
        """The part that takes longest."""
        parts = {**self.shared, **self.alone}
        return max(parts, key=lambda part: parts[part])


def deciding(rates: Rates, text_bytes: float, memory: float) -> float:
    """Seconds of the second pass of ``minhash`` with its defaults, at so many bytes of ``memory``.

    Rows are dealt into files that fit into a share of the memory (danlu/clean/repeats.py). For each file the signatures
    of the documents that met there are looked up, in most of the portions, on either side of a pair: files and portions
    both grow with the text.
    """
    documents = text_bytes / rates.document_bytes
    files = -(-documents * BANDS * ROW_BYTES // (memory / MEMORY_SHARES))
    portions = -(-text_bytes // PORTION_BYTES)
    return rates.decide.at(documents) + 2 * files * min(portions, documents) * rates.look_up


def foretell(rates: Rates, text_bytes: float, cores: int, memory: float = DECIDING_BYTES) -> Forecast:
    """A run on ``text_bytes`` of text; ``memory`` is that of ``clean.duplicates``."""
    shared = {
        "drafts": (rates.draft + rates.unpack) * text_bytes / cores,
        "shards": rates.write * text_bytes / cores,
    }
    alone = {
        "hash of the sources": rates.hash * text_bytes,
        "cutting into portions": rates.cut * text_bytes,
        "deciding": deciding(rates, text_bytes, memory),
        "hash of the shards": rates.hash * rates.kept * text_bytes,
    }
    moved = (1 + 2 * rates.drafts + rates.kept) * text_bytes  # read, drafts written and read, shards written
    return Forecast(cores, shared, alone, moved / sum(shared.values()))


def foretell_tokenizer(rates: Rates, text_bytes: float, cores: int) -> Forecast:
    """``tokenizer`` on what ``clean`` has left of ``text_bytes`` of text: all is read to draw what is learned from, and
    again for the figures of every language; learning takes the time of ``sample_bytes``, which more text does not
    change, and is not in it."""
    kept = rates.kept * text_bytes
    alone = {"reading, twice": 2 * rates.read * kept, "hash of the shards": rates.hash * kept}
    return Forecast(cores, {}, alone, 0.0)


def foretell_pack(rates: Rates, text_bytes: float, cores: int) -> Forecast:
    """``pack`` of what ``clean`` has left of ``text_bytes`` of text."""
    kept = rates.kept * text_bytes
    shared = {"encoding": rates.encode * kept / cores, "shards of tokens": rates.gather * kept / cores}
    alone = {
        "columns of documents": rates.columns * text_bytes / rates.document_bytes,
        "hashes": rates.hash * (1 + rates.stored) * kept,  # of what it reads and writes, for the fingerprint
    }
    moved = (1 + 3 * rates.stored) * kept  # read; drafts written and read, stores written
    return Forecast(cores, shared, alone, moved / sum(shared.values()))
