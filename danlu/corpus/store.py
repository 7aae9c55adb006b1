"""The token store: one memory-mapped stream of token ids with its documents' borders.

The stream is ``eot doc1 eot doc2 eot … docN eot``: every token but the first is a target, each
document starts behind an end-of-text token and its end is learned. A store is a folder:

    tokens-00000.bin …  the stream in shards of 2²⁶, little-endian uint16 (uint32 for vocabularies above 65,536)
    marks-00000.bin …   where pack.marks asks for it: uint8 for each token, what it begins (marks.py)
    starts.bin          little-endian int64 [documents + 1]: where each document's eot stands; last, the final eot
    documents.bin …     id, language, bytes, source of each document, in columns (table.py)
    by_length.bin …     the documents in the order of their lengths (lengths.py)
    sides.bin           where there are pairs of texts: how long the first side of each is (first_sides.py)
    hashes.bin          what each block of each file was (hashes.py)
    store.json          tokens, documents, tokenizer, vocab_size, eot, dtype, marks, languages, files (description.py)

Nothing of it is held in memory but ``store.json``, ``hashes.bin`` and the table of lengths.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from danlu.corpus import table
from danlu.corpus.description import read_description
from danlu.corpus.elsewhere import FILE as ELSEWHERE
from danlu.corpus.elsewhere import Elsewhere, ShardCache, blocks, bring, is_shard
from danlu.corpus.first_sides import FILE as SIDES
from danlu.corpus.first_sides import KIND, find_sides, sides_fit
from danlu.corpus.hashes import FILE as HASHES
from danlu.corpus.hashes import Hashes, check_all
from danlu.corpus.languages import Spoken, spoken
from danlu.corpus.lengths import FILES as LENGTH_FILES
from danlu.corpus.lengths import Lengths
from danlu.corpus.mapped import AT_ONCE, OPEN_SHARDS, joined, mapped, shard_names
from danlu.corpus.marks import BITS, Unit, all_bits
from danlu.corpus.table import DocumentTable
from danlu.errors import InputError
from danlu.tokenizers.tokenizer import Tokenizer

SMALL_BYTES = 64 << 20
"""A store that is no larger is read and compared with its hashes whenever it is opened."""


@dataclass(frozen=True)
class TokenStore:
    """A store on disk, open for reading; any slice is one read."""

    tokens: Any
    """``[tokens]`` ids, an array that is read where it is looked at."""
    starts: Any
    """``[documents + 1]`` int64, likewise."""
    documents: Sequence[dict[str, Any]]
    """``id``, ``language``, ``bytes`` and ``source`` of each."""
    vocab_size: int
    eot: int
    marks: Any = None
    """``[tokens]`` bits of what each token begins; None where the store has none."""
    marked: tuple[Unit, ...] = ()
    """What ``marks`` tell the beginnings of; the bits of others are 0."""
    sep: int | None = None
    """The token between the sides of a pair, which stands nowhere else; None where there are no pairs."""
    order: Lengths | None = None
    """The documents by length, where a file says so."""
    sides: Any = None
    """``[documents]`` tokens of the first side of each pair, 0 of what is none, where a file says so."""
    tokenizer: str | None = None
    """The identity of the tokenizer that it was packed with, where that is known."""

    @classmethod
    def open(cls, folder: Path) -> TokenStore:
        """The store in ``folder``. One of at most ``SMALL_BYTES`` is compared with its hashes, of a larger one the
        sizes of the files and the ends of the arrays are; :func:`check_store` reads it all.

        Raises:
            InputError: a file is missing, cut or not what ``store.json`` says.
        """
        about = read_description(folder)
        try:
            _check_numbers(about)
            hashes = hashes_of(folder, about)
            here = files_here(folder, hashes)
            as_long = all((folder / name).stat().st_size == hashes.sizes[name] for name in here)
            small = sum(hashes.sizes[name] for name in here) <= SMALL_BYTES
            if small:
                check_all(folder, hashes, here)
            store = cls._mapped(folder, about, hashes)
            whole = not small or store.table.numbers_fit()
        except FileNotFoundError as error:
            raise InputError(f"the token store in {folder} is damaged: {error.filename} is missing") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"the token store in {folder} is damaged: {error!r}") from None
        # Shards elsewhere are not fetched to look at their ends.
        if (
            not as_long
            or not whole
            or not store._fits(about)
            or (len(here) == len(hashes.sizes) and not store._ends_fit())
        ):
            raise InputError(f"the token store in {folder} is damaged: its files do not fit store.json")
        return store

    @classmethod
    def open_for(cls, tokenizer: Tokenizer, folder: Path) -> TokenStore:
        """The store in ``folder``, to be read with ``tokenizer``.

        Raises:
            InputError: it is damaged, or was packed with another tokenizer, as far as its hash tells.
        """
        store = cls.open(folder)
        if store.tokenizer != tokenizer.identity:
            was = "one that is not known" if store.tokenizer is None else f"{store.tokenizer[:12]}…"
            raise InputError(
                f"the token store in {folder} was packed with another tokenizer than this run's: "
                f"{was} of {store.vocab_size:,} tokens, not {tokenizer.identity[:12]}… of {tokenizer.vocab_size:,}"
            )
        return store

    @classmethod
    def _mapped(cls, folder: Path, about: dict[str, Any], hashes: Hashes) -> TokenStore:
        count, shard = int(about["tokens"]), int(about["shard_tokens"])
        marked = tuple(unit for unit in BITS if unit in about.get("marks", ()))

        place = Elsewhere.read(folder)

        def array(name: str, dtype: Any) -> Any:
            files = [folder / each for each in shard_names(name, count, shard)]
            if place is None:
                return joined(files, dtype, count, shard)
            # What is mapped takes room though it is deleted: the arrays of tokens and of marks have half of it each.
            at_once = min(OPEN_SHARDS, max(1, place.bytes // (2 * shard * np.dtype(dtype).itemsize)))
            return joined(files, dtype, count, shard, fetch=ShardCache(place, hashes).fetch, at_once=at_once)

        return cls(
            array("tokens", about["dtype"]), mapped(folder / "starts.bin", "<i8"),
            DocumentTable.open(folder, about["languages"]), int(about["vocab_size"]), int(about["eot"]),
            array("marks", np.uint8) if marked else None, marked, about.get("sep"), Lengths.open(folder),
            None if about.get("sep") is None else mapped(folder / SIDES, KIND), about.get("tokenizer"),
        )  # fmt: skip

    def _fits(self, about: dict[str, Any]) -> bool:
        """Whether the arrays are as long as they should be, and their ends what they should be."""
        assert self.order is not None and isinstance(self.documents, DocumentTable)
        starts, count = self.starts, len(self.documents)
        if (len(self.tokens), count) != (about["tokens"], about["documents"]) or len(starts) != count + 1:
            return False
        ends = starts[0] == 0 and starts[-1] == len(self.tokens) - 1
        marked = list(self.marked) == about.get("marks", [])
        pairs = self.sides is not None
        sorted_ = self.order.fits(count, pairs=pairs) and not (pairs and len(self.sides) != count)
        return bool(ends and marked and sorted_ and self.documents.whole())

    def _ends_fit(self) -> bool:
        """Whether the stream begins and ends with end-of-text, which have every mark, of as many marks as tokens."""
        if not self.tokens[0] == self.eot == self.tokens[-1]:
            return False
        every = all_bits(self.marked)
        return self.marks is None or (
            len(self.marks) == len(self.tokens) and bool(self.marks[0] == every == self.marks[-1])
        )

    def document(self, number: int) -> dict[str, Any]:
        """What the store knows of a document: ``id``, ``language``, ``bytes``, ``source``."""
        return dict(self.documents[number])

    def number_of(self, id: str) -> int | None:
        """The number of the first document with that id; all are looked through. None where there is none."""
        return self.table.ids.find(id)

    def lengths(self) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
        """Tokens of each document with its end-of-text, many documents at a time."""
        for first in range(0, len(self.documents), AT_ONCE):
            borders = np.asarray(self.starts[first : first + AT_ONCE + 1], dtype=np.int64)
            yield borders[1:] - borders[:-1]

    @cached_property
    def table(self) -> DocumentTable:
        """``documents`` in columns."""
        return self.documents if isinstance(self.documents, DocumentTable) else DocumentTable.of(self.documents)

    @cached_property
    def by_length(self) -> Lengths:
        """The documents in the order of their lengths; sorted here where no file says it."""
        return Lengths.of(self.starts, self.first_sides) if self.order is None else self.order

    @cached_property
    def first_sides(self) -> Any:
        """``[documents]`` tokens of the first side of each pair, 0 of what is none; None where there are no pairs.

        All tokens are looked through where no file says it.
        """
        if self.sides is not None or self.sep is None:
            return self.sides
        return find_sides(self.tokens, self.starts, self.sep)

    @cached_property
    def by_language(self) -> dict[str, Spoken]:
        """Numbers of the documents in each language, rising, of which none is listed."""
        return spoken(self.table)

    @property
    def border(self) -> int | None:
        """The token that parts documents; None in a store of one document, whose rows need no borders."""
        return self.eot if len(self.documents) > 1 else None

    @property
    def targets(self) -> int:
        """Tokens that are predicted: all but the first."""
        return len(self.tokens) - 1


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The numbers that hold the ids of such a vocabulary."""
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


def _check_numbers(about: dict[str, Any]) -> None:
    """Refuse a description that no store can have: its tokens would be read as other numbers.

    Raises:
        KeyError, ValueError: it is one.
    """
    for name, least in (("tokens", 1), ("documents", 0), ("shard_tokens", 1), ("vocab_size", 1)):
        if type(about[name]) is not int or about[name] < least:
            raise ValueError(f"store.json says {name}: {about[name]!r}")
    kind = token_dtype(about["vocab_size"]).str
    if about["dtype"] != kind:
        raise ValueError(f"store.json says dtype: {about['dtype']!r}, not {kind!r}")
    for name in ("eot", "sep") if about.get("sep") is not None else ("eot",):
        if type(about[name]) is not int or not 0 <= about[name] < about["vocab_size"]:
            raise ValueError(f"store.json says {name}: {about[name]!r}")
    if type(about.get("tokenizer", "")) is not str:
        raise ValueError(f"store.json says tokenizer: {about['tokenizer']!r}")
    languages = about["languages"]
    if not isinstance(languages, list) or any(type(each) is not str for each in languages):
        raise ValueError("store.json has no list of names as languages")


def hashes_of(folder: Path, about: dict[str, Any]) -> Hashes:
    """What the files of a store were when it was written.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError: nothing says so.
    """
    sizes = {str(name): int(size) for name, size in about["files"].items()}
    tokens, shard = int(about["tokens"]), int(about["shard_tokens"])
    if not 0 < tokens <= shard * len(sizes):
        raise ValueError("store.json lists too few files for its tokens")
    kinds = ("tokens", "marks") if about.get("marks") else ("tokens",)
    shards = [name for kind in kinds for name in shard_names(kind, tokens, shard)]
    sides = [] if about.get("sep") is None else [SIDES]
    if missing := sorted({*shards, "starts.bin", *table.FILES, *LENGTH_FILES, *sides} - sizes.keys()):
        raise ValueError(f"store.json does not list {missing[0]}")
    return Hashes.read((folder / HASHES).read_bytes(), sizes, about["hashes"])


def files_here(folder: Path, hashes: Hashes) -> list[str]:
    """The files of a store that lie in its folder: all, or those beside the shards of a store elsewhere."""
    elsewhere = (folder / ELSEWHERE).exists()
    return [name for name in hashes.sizes if not (elsewhere and is_shard(name))]


@dataclass(frozen=True, slots=True)
class Checked:
    """A store that is what was written."""

    bytes: int
    """That were read."""
    tokenizer: str | None
    """The identity of the one that it was packed with, where that is known."""


def check_store(folder: Path) -> Checked:
    """Read all of a store, but for shards elsewhere, and compare it with its hashes, and its parts with each other.

    Raises:
        InputError: something is not what was written; the line says which file, and where.
    """
    store, hashes = TokenStore.open(folder), hashes_of(folder, read_description(folder))
    here = files_here(folder, hashes)
    check_all(folder, hashes, here)
    rising = all((block > 0).all() for block in store.lengths())
    if not rising or not sides_fit(store.sides, store.lengths()) or not store.table.numbers_fit():
        raise InputError(f"the token store in {folder} is damaged: its documents do not fit its tokens")
    return Checked(sum(hashes.sizes[name] for name in here), store.tokenizer)


def check_store_at(url: str) -> Checked:
    """The same of a store elsewhere, with its shards, none of which is kept.

    Raises:
        InputError: it cannot be read, or something is not what was written; the line says which file, and where.
    """
    with TemporaryDirectory(prefix="danlu-") as name:
        folder = Path(name)
        bring(url, folder, folder, sys.maxsize)
        columns, hashes = check_store(folder), hashes_of(folder, read_description(folder))
        shards = (block for shard in filter(is_shard, hashes.sizes) for block in blocks(url, hashes, shard))
        return replace(columns, bytes=columns.bytes + sum(map(len, shards)))
