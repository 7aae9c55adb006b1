"""Counting the words of a text in bounded memory: what is rare stands in one long row of bytes, not in a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from danlu.tokenizers.merges import BREAK, CountedWords

MOST_WORDS = 1 << 20
"""Different words in the table; a quarter of a gigabyte."""
END = 0xFF
"""Ends a word in the rows; no byte of UTF-8."""
LINE_END = 10
"""Ends a word where rows are read as characters."""
CODE_POINTS = 0x110000
PART = 1 << 18
"""Characters of a long text that are cut into words at once."""
_SAFE = re.compile("(?<=[A-Za-zа-яก-ะぁ-ゖァ-ヺ一-龥가-힣])(?=[ \n.,;:!?\u3000，。、；：！？])")
"""A letter before a mark or a space; no version of Unicode has them otherwise."""


class WordCounts:
    """How often each word occurs; exact, whatever the text.

    A word whose row is written out before it comes again stands in several rows, each with a part of its count: for
    who adds up counts of pairs in words it is the same.
    """

    def __init__(self, *, most_words: int = MOST_WORDS) -> None:
        self._most, self._table = most_words, Counter[str]()
        self._rows: dict[int, bytearray] = {}
        """By count."""
        self._single = Counter[str]()
        """Words of one byte, which are in no row, for there is no pair in them."""

    def add(self, words: Iterable[str]) -> None:
        """Count ``words``."""
        self._table.update(words)
        if len(self._table) > self._most:
            self._write_out()

    def symbols(self, id_of_byte: NDArray[np.int32]) -> CountedWords:
        """All words, as ids of their bytes; the counting is then over.

        Args:
            id_of_byte: 256 ids.
        """
        self._close()
        table = np.append(id_of_byte[:END], np.int32(BREAK))
        rows = [(count, self._rows.pop(count)) for count in sorted(self._rows)]
        symbols = np.empty(1 + sum(len(row) for _, row in rows), dtype=np.int32)
        symbols[0], begins = BREAK, [1]
        for _, row in rows:
            begins.append(begins[-1] + len(row))
            for place in range(0, len(row), PART):
                piece = np.frombuffer(row, dtype=np.uint8)[place : place + PART]
                symbols[begins[-2] + place :][: len(piece)] = table[piece]
        return CountedWords(
            symbols, np.array([0, *begins[1:-1]], dtype=np.int64), np.array([count for count, _ in rows] or [1])
        )

    def letters(self) -> tuple[Counter[str], Counter[str]]:
        """How often each character begins a word, and how often it goes on with one; nothing is counted after that.

        No word may have a line end in it.
        """
        self._close()
        first, within = np.zeros((2, CODE_POINTS), dtype=np.int64)
        for count, row in self._rows.items():
            for letters in _letters(row):
                begins = _begins(letters)
                for sums, found in ((first, letters[begins]), (within, letters[~begins])):
                    here = np.bincount(found)
                    sums[: len(here)] += count * here
        within[LINE_END] = 0
        return _counter(first) + self._single, _counter(within)

    def symbols_of_letters(self, first: NDArray[np.int32], within: NDArray[np.int32]) -> CountedWords:
        """All words, as ids of their characters; the counting is then over.

        Args:
            first: by code point, the id of a character that begins a word; negative where it is left out of it.
            within: the same for one that goes on with a word.
        """
        self._close()
        counts = sorted(self._rows)
        most = 1 + sum(len(letters) for count in counts for letters in _letters(self._rows[count]))
        symbols, end, begins = np.empty(most, dtype=np.int32), 1, [1]
        symbols[0] = BREAK
        for count in counts:
            for letters in _letters(self._rows.pop(count)):
                ids, ends = np.where(_begins(letters), first[letters], within[letters]), letters == LINE_END
                ids[ends] = BREAK
                ids = ids[(ids >= 0) | ends]
                symbols[end : end + len(ids)] = ids
                end += len(ids)
            begins.append(end)
        return CountedWords(symbols[:end], np.array([0, *begins[1:-1]], dtype=np.int64), np.array(counts or [1]))

    def _close(self) -> None:
        """Write out all words."""
        for word, count in self._table.items():
            self._write(word, count)
        self._table.clear()

    def _write_out(self) -> None:
        """The rarest words, until half of the table is free."""
        sizes, left, rare = Counter(self._table.values()), len(self._table), 0
        while left > self._most // 2:
            rare += 1
            left -= sizes[rare]
        for word, count in self._table.items():
            if count <= rare:
                self._write(word, count)
        self._table = Counter({word: count for word, count in self._table.items() if count > rare})

    def _write(self, word: str, count: int) -> None:
        content = word.encode()
        if len(content) > 1:
            row = self._rows.setdefault(count, bytearray())
            row += content
            row.append(END)
        elif content:
            self._single[word] += count


def _letters(row: bytearray) -> Iterator[NDArray[np.uint32]]:
    """Code points of whole words, each with a line end behind it."""
    place = 0
    while place < len(row):
        end = row.find(END, place + PART) + 1 or len(row)
        text = row[place:end].replace(bytes([END]), bytes([LINE_END])).decode()
        yield np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        place = end


def _begins(letters: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which of them begin a word: those behind a line end, and the first one, for the last of all is a line end."""
    return np.roll(letters == LINE_END, 1)


def _counter(counts: NDArray[np.int64]) -> Counter[str]:
    return Counter({chr(code): int(counts[code]) for code in np.flatnonzero(counts).tolist()})


def parts(text: str, *, size: int = PART) -> Iterator[str]:
    """``text`` in parts of about ``size`` characters, which are cut into the same words as the whole.

    But where for as many characters again no letter stands before a space or a common mark: there it is cut anywhere.
    """
    begin = 0
    while len(text) - begin > 2 * size:
        safe = _SAFE.search(text, begin + size, begin + 2 * size)
        end = begin + 2 * size if safe is None else safe.start()
        yield text[begin:end]
        begin = end
    yield text[begin:]
