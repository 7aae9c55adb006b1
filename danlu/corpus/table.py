"""What a store knows of its documents: columns on the disk, of which nothing is held in memory.

    documents.bin                 [documents] the bytes of its text, the number of its source, of its language
    ids.bin, id_ends.bin          the ids behind each other, UTF-8, and behind which byte each ends
    sources.bin, source_ends.bin  the sources, likewise; documents that follow each other share an entry

Names of languages stand in ``store.json``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np

from danlu.corpus.mapped import AT_ONCE, Array, Ints, Spliced, mapped

ROW = np.dtype([("bytes", "<i8"), ("source", "<u4"), ("language", "<u4")])
FILES = ("documents.bin", "ids.bin", "id_ends.bin", "sources.bin", "source_ends.bin")
KNOWN_SOURCES = 1 << 14
"""Sources that a writer remembers; one that comes back after so many others gets a second entry."""
KEPT_ROWS = 4096

Flags = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Strings:
    """Texts behind each other."""

    content: Array
    """``[bytes]`` uint8."""
    ends: Array
    """``[texts]`` int64."""

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: int) -> str:
        start = int(self.ends[number - 1]) if number else 0
        return self.content[start : int(self.ends[number])].tobytes().decode()

    def all(self) -> list[str]:
        """Each, in memory."""
        content, ends = self.content.tobytes(), self.ends.tolist()
        return [content[begin:end].decode() for begin, end in pairwise([0, *ends])]

    def find(self, text: str) -> int | None:
        """The number of the first that is ``text``; all are looked through, a block at a time."""
        wanted = text.encode(errors="surrogatepass")  # half a pair, which is no id, may be asked for
        for first in range(0, len(self), AT_ONCE):
            ends = np.asarray(self.ends[first : first + AT_ONCE])
            begin = int(self.ends[first - 1]) if first else 0
            block = self.content[begin : int(ends[-1])].tobytes()
            starts = np.concatenate(([begin], ends[:-1])) - begin
            alike = np.flatnonzero(ends - begin - starts == len(wanted))
            for number in alike.tolist():
                if block.startswith(wanted, int(starts[number])):
                    return first + int(number)
        return None


class DocumentTable(Sequence[dict[str, Any]]):
    """The documents of a store: ``id``, ``language``, ``bytes``, ``source`` of each, read when asked for."""

    def __init__(self, rows: Any, ids: Strings, sources: Strings, languages: Sequence[str]) -> None:
        self.rows, self.ids, self.sources, self.languages = rows, ids, sources, tuple(languages)

    @classmethod
    def open(cls, folder: Path, languages: Sequence[str]) -> DocumentTable:
        """That of the store in ``folder``.

        Raises:
            OSError, ValueError: a file is missing, or cut.
        """
        ids, sources = (
            Strings(mapped(folder / f"{name}s.bin", np.uint8), mapped(folder / f"{name}_ends.bin", "<i8"))
            for name in ("id", "source")
        )
        return cls(mapped(folder / "documents.bin", ROW), ids, sources, languages)

    def whole(self) -> bool:
        """Whether the files can belong together; the rows are not read."""
        strings = all(
            len(each.content) == (int(each.ends[-1]) if len(each) else 0) for each in (self.ids, self.sources)
        )
        return strings and len(self.rows) == len(self.ids)

    def numbers_fit(self) -> bool:
        """Whether every row names a source and a language that there are, and every text ends behind it begins."""
        for rows in self._blocks():
            if (rows["source"] >= len(self.sources)).any() or (rows["language"] >= len(self.languages)).any():
                return False
        return all(_rises(each.ends) for each in (self.ids, self.sources))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, number: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, number: int | slice) -> Any:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        place = range(len(self))[int(number)]
        row = self.rows[place]
        return {
            "id": self.ids[place], "language": self.languages[row["language"]], "bytes": int(row["bytes"]),
            "source": self.sources[int(row["source"])],
        }  # fmt: skip

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[number] for number in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _blocks(self) -> Iterator[Array]:
        return (np.asarray(self.rows[first : first + AT_ONCE]) for first in range(0, len(self), AT_ONCE))

    def spoken(self) -> Iterator[Array]:
        """The number of each document's language, a block at a time."""
        return (rows["language"] for rows in self._blocks())

    def sizes(self) -> Iterator[Array]:
        """Bytes of each document's text, a block at a time."""
        return (rows["bytes"] for rows in self._blocks())

    def present(self) -> list[str]:
        """The languages that documents are in, sorted."""
        found = np.zeros(len(self.languages), dtype=np.bool_)
        for numbers in self.spoken():
            found[numbers] = True
        return sorted(self.languages[number] for number in np.flatnonzero(found).tolist())

    def some_sources(self, most: int) -> list[str]:
        """Up to so many sources, sorted."""
        names: set[str] = set()
        for rows in self._blocks():
            for number in np.unique(rows["source"]).tolist():
                names.add(self.sources[number])
                if len(names) == most:
                    return sorted(names)
        return sorted(names)

    def chosen(self, language: Callable[[str], bool], source: Callable[[str], bool] | None) -> Iterator[Flags]:
        """Whether each document is of such a language and source, a block at a time; each name is asked for once.

        Args:
            source: None where any will do, so that the sources need not be read.
        """
        languages = np.array([language(name) for name in self.languages], dtype=np.bool_)
        if source is None:
            return (languages[rows["language"]] for rows in self._blocks())
        sources = np.array([source(self.sources[number]) for number in range(len(self.sources))], dtype=np.bool_)
        return (languages[rows["language"]] & sources[rows["source"]] for rows in self._blocks())

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]]) -> DocumentTable:
        """A table in memory of entries as :meth:`__getitem__` gives them; what one lacks is empty."""
        languages: dict[str, int] = {}
        sources: dict[str, int] = {}
        rows, ids = [], []
        for entry in entries:
            language = languages.setdefault(entry.get("language", "und"), len(languages))
            source = sources.setdefault(entry.get("source", ""), len(sources))
            rows.append((entry.get("bytes", 0), source, language))
            ids.append(entry.get("id", ""))
        return cls(np.array(rows, dtype=ROW), _strings(ids), _strings([*sources]), [*languages])

    def only(self, firsts: Ints, behind: Ints) -> TablePart:
        """The documents between these numbers."""
        return TablePart(self, firsts, behind)


class TablePart(DocumentTable):
    """Stretches of a table behind each other."""

    def __init__(self, whole: DocumentTable, firsts: Ints, behind: Ints) -> None:
        rows = Spliced(whole.rows, firsts, behind)
        super().__init__(rows, whole.ids, whole.sources, whole.languages)
        self._whole, self._firsts, self._before = whole, firsts, rows.borders

    def numbers(self, places: Ints) -> Ints:
        """Of documents of this part, by their places in it, the numbers in the whole table."""
        stretch = np.searchsorted(self._before, places, side="right") - 1
        return np.asarray(self._firsts[stretch] + places - self._before[stretch])

    @overload
    def __getitem__(self, number: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, number: int | slice) -> Any:
        if isinstance(number, slice):
            return super().__getitem__(number)
        return self._whole[int(self.numbers(np.array([range(len(self))[int(number)]]))[0])]


class TableWriter:
    """Writes the files of a table, a document at a time."""

    def __init__(self, folder: Path) -> None:
        self.languages: dict[str, int] = {}
        self._files: dict[str, BinaryIO] = {name: (folder / name).open("wb") for name in FILES}
        self._sources: OrderedDict[str, int] = OrderedDict()
        self._source_count = 0
        self._ends = {"id": 0, "source": 0}
        self._rows: list[tuple[int, int, int]] = []
        self._id_ends: list[int] = []

    def add(self, id: str, *, language: str, size: int, source: str) -> None:
        """One document; ``size`` is the bytes of its text."""
        code = self.languages.setdefault(language, len(self.languages))
        self._rows.append((size, self._source(source), code))
        self._id_ends.append(self._put("id", id))
        if len(self._rows) == KEPT_ROWS:
            self._flush()

    def extend(self, table: DocumentTable) -> None:
        """The documents of another table, with the bytes that come of adding each."""
        self._flush()
        codes = [self.languages.setdefault(name, len(self.languages)) for name in table.languages]
        languages, names = np.array(codes, dtype="<u4"), table.sources.all()
        for block in table._blocks():
            rows, sources = block.copy(), block["source"]
            firsts = np.flatnonzero(np.concatenate(([True], sources[1:] != sources[:-1])))
            numbers = [self._source(names[number]) for number in sources[firsts].tolist()]
            rows["source"] = np.repeat(numbers, np.diff(firsts, append=len(rows)))
            rows["language"] = languages[rows["language"]]
            self._files["documents.bin"].write(rows.tobytes())
        self._files["id_ends.bin"].write((np.asarray(table.ids.ends) + self._ends["id"]).astype("<i8").tobytes())
        self._files["ids.bin"].write(table.ids.content.tobytes())
        self._ends["id"] += len(table.ids.content)

    def _source(self, name: str) -> int:
        number = self._sources.get(name)
        if number is None:
            number, self._source_count = self._source_count, self._source_count + 1
            self._sources[name] = number
            self._files["source_ends.bin"].write(np.array([self._put("source", name)], dtype="<i8").tobytes())
            if len(self._sources) > KNOWN_SOURCES:
                self._sources.popitem(last=False)
        else:
            self._sources.move_to_end(name)
        return number

    def _put(self, what: str, text: str) -> int:
        content = text.encode()
        self._files[f"{what}s.bin"].write(content)
        self._ends[what] += len(content)
        return self._ends[what]

    def _flush(self) -> None:
        self._files["documents.bin"].write(np.array(self._rows, dtype=ROW).tobytes())
        self._files["id_ends.bin"].write(np.array(self._id_ends, dtype="<i8").tobytes())
        self._rows, self._id_ends = [], []

    def close(self) -> None:
        """All that was added is in the files then."""
        self._flush()
        for file in self._files.values():
            file.close()


def _strings(texts: Sequence[str]) -> Strings:
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(each) for each in encoded], dtype=np.int64)
    return Strings(np.frombuffer(b"".join(encoded), dtype=np.uint8), ends)


def _rises(ends: Array) -> bool:
    """Whether none is below the one before, looked through a block at a time."""
    for first in range(0, len(ends), AT_ONCE):
        block = np.asarray(ends[max(0, first - 1) : first + AT_ONCE])
        if (np.diff(block) < 0).any() or int(block[0]) < 0:
            return False
    return True
