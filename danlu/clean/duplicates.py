"""What is said twice: the protocol of every kind of duplicate, its sketches on disk, and what is decided about them.

Three passes. Each part of the text is *sketched* by itself (:func:`write_sketch`): little is kept of a document, enough
to find its copies. Then one process *decides* over the sketches of all parts, in bounded memory. Then each part is
*cut* by itself (:func:`apply`). Of copies the first one stays, in the order of parts and of documents within them: the
sources that a recipe names first come first. What is decided depends neither on memory nor on how parts are cut.

A kind of duplicate is a :class:`Duplicates` choice; a plug-in outside adds its own by ``use: my.module:Thing``.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from danlu.clean.arrays import Arrays, Growing, read_about, read_arrays, write_arrays
from danlu.errors import InputError
from danlu.files import atomic_write
from danlu.recipe import Choice

Sketch = Arrays
"""What is kept of some documents: arrays by name, whose first axis goes along the documents, or along what is in them;
the arrays of two lists of documents, joined, are those of both lists in a row."""

CUT = np.dtype([("document", "<i8"), ("start", "<i8"), ("end", "<i8"), ("first", "<i8")])
"""A copy: in this document (its number in its part from 0) the characters from ``start`` to ``end`` are also in the
document of the number ``first`` (counted over all parts), which comes before it or is the same one."""
WHOLE = -1
"""The ``end`` of a copy that is the whole document, which falls."""


class DuplicatesChoice(Protocol):
    """Settings of a kind of duplicate.

    It may also have ``cuts``: whether it cuts documents and drops none (:func:`deciding_order`).
    """

    reason: ClassVar[str]
    """Why a document falls, for the counts: a few words."""

    def sketch(self, texts: Sequence[str]) -> Sketch:
        """What deciding needs to know of these documents: of each one alone, whatever documents are beside it."""

    def decide(self, parts: Sequence[Sketched], out: Path) -> list[Path]:
        """Write for each part the file of its copies (:func:`write_cuts`) into the folder ``out``, in order."""


class Duplicates(Choice):
    """Settings that all kinds of duplicates have."""

    sources: Literal["across", "within"] = "across"
    """Compare documents of all sources, or only those of one source with each other."""
    memory: int = Field(default=1_000_000_000, ge=1_000_000)
    """Bytes of memory that deciding may take, beside one part's sketches; more text takes more disk instead."""

    @property
    def cuts(self) -> bool:
        """Whether it cuts documents, and drops none."""
        return False

    def salt(self, part: Sketched) -> np.uint64:
        """What to mix into the keys of a part, so that only keys which shall be compared can be equal."""
        if self.sources == "across":
            return np.uint64(0)
        digest = hashlib.blake2b(part.source.encode(errors="surrogatepass"), digest_size=8).digest()
        return np.uint64(int.from_bytes(digest, "little"))


@dataclass(frozen=True)
class Sketched:
    """A part of the text as deciding sees it."""

    path: Path
    """The file of its sketches."""
    source: str = ""
    """The source that it is of; a part is of one source."""
    earlier: tuple[Path, ...] = ()
    """What other choices have decided about it: documents that fell there are left out, on either side."""

    @cached_property
    def documents(self) -> int:
        """How many documents it has."""
        return int(read_about(self.path)["documents"])

    def load(self) -> Sketch:
        """Its arrays, mapped from the file: what is not looked at is not read."""
        return read_arrays(self.path)

    def standing(self) -> NDArray[np.bool_]:
        """Which documents, of all, have not fallen."""
        standing = np.ones(self.documents, np.bool_)
        for path in self.earlier:
            cuts = read_cuts(path)
            standing[cuts["document"][cuts["end"] == WHOLE]] = False
        return standing


class Sketches:
    """The sketches of one part while it is read, in files: memory does not grow with the part.

    Args:
        path: of the file that they become; there are hidden ones beside it until then.
    """

    def __init__(self, choice: DuplicatesChoice, path: Path) -> None:
        self._choice, self._path = choice, path
        self._columns = {name: Growing(path.with_name(f".{path.name}.{name}"), none)
                         for name, none in choice.sketch([]).items()}  # fmt: skip
        self._documents = 0

    def add(self, texts: Sequence[str]) -> None:
        """Sketch more documents."""
        for name, values in self._choice.sketch(texts).items():
            self._columns[name].add(values)
        self._documents += len(texts)

    def close(self, *, whole: bool = True) -> None:
        """Make one file of them that appears whole (safetensors), or none."""
        with ExitStack() as stack:
            arrays = {name: stack.enter_context(column.closed()) for name, column in self._columns.items()}
            if whole:
                write_arrays(self._path, arrays, {"documents": str(self._documents)})


def deciding_order(choices: Sequence[DuplicatesChoice]) -> list[int]:
    """The numbers of the choices in the order in which they decide: what drops documents before what cuts them.

    What is cut out of a document stands in one before it, which must not fall later: both would be gone.
    """
    return sorted(range(len(choices)), key=lambda number: bool(getattr(choices[number], "cuts", False)))


def write_sketch(path: Path, choice: DuplicatesChoice, batches: Iterable[Sequence[str]]) -> None:
    """Sketch the documents of one part, in lists of any length, into a file that appears whole (safetensors)."""
    sketches = Sketches(choice, path)
    for texts in batches:
        sketches.add(texts)
    sketches.close()


def write_cuts(out: Path, part: int, columns: Mapping[str, NDArray[np.int64] | int]) -> Path:
    """Write the copies of one part, in order of documents and places; it appears whole. Returns its path."""
    rows = np.broadcast_arrays(*(columns[name] for name in CUT.names or ()))
    cuts = np.empty(rows[0].shape, CUT)
    for name, values in zip(CUT.names or (), rows, strict=True):
        cuts[name] = values
    buffer = io.BytesIO()
    np.save(buffer, cuts)
    path = out / f"{part:06}.npy"
    atomic_write(path, buffer.getvalue())
    return path


def read_cuts(path: Path) -> NDArray[Any]:
    """The copies of one part: (copies,) of :data:`CUT`.

    Raises:
        InputError: it is damaged or something else.
    """
    try:
        cuts: NDArray[Any] = np.load(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is damaged: {error}") from None
    if cuts.dtype != CUT:
        raise InputError(f"{path} holds no copies of documents")
    return cuts


def by_document(*cuts: NDArray[Any]) -> dict[int, NDArray[Any]]:
    """The copies that some choices found in one part, of each document that has any: (copies,) by its number there."""
    together = np.concatenate(cuts)
    together = together[np.argsort(together["document"], kind="stable")]
    numbers, starts = np.unique(together["document"], return_index=True)
    return dict(zip(numbers.tolist(), np.split(together, starts[1:]), strict=True)) if len(together) else {}


def apply(text: str, cuts: NDArray[Any]) -> str | None:
    """The document without what is a copy; None where it falls, or where nothing but white space would be left.

    Args:
        cuts: its copies, of one choice or of several, in any order; they may overlap.
    """
    if (cuts["end"] == WHOLE).any():
        return None
    kept, place = [], 0
    for start, end in sorted(zip(cuts["start"].tolist(), cuts["end"].tolist(), strict=True)):
        kept.append(text[place:start])
        place = max(place, end)
    left = "".join([*kept, text[place:]])
    return left if left.strip() else None
