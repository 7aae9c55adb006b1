"""Texts with their labels before or behind them, ``__label__good __label__long A fine film``, as fastText reads them
(Joulin et al. 2017, arXiv:1607.01759).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from danlu.data.example import Place
from danlu.data.rows import Row, Table

_MARK = "__label__"
_BEFORE = re.compile(rf"(?:{_MARK}\S+(?:\s+|$))+")
_BEHIND = re.compile(rf"(?:(?:^|\s+){_MARK}\S+)+$")


def read_fasttext(path: Path, text: str, named: Collection[str] = ()) -> Table | None:
    """A row a line, with its label, or with a list of labels where one line has several; None where the first line has
    none. A line without any is a row without a label; columns stand as in the file.

    Args:
        named: columns that there should be, as an earlier file has them: ``label``, or ``labels`` of several.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    before = _BEFORE.match(lines[0][1]) is not None
    if not (before or _BEHIND.search(lines[0][1])):
        return None
    found = [(number, *_parted(line)) for number, line in lines]
    if all(words.startswith(",") for _, _, words in found):  # as if commas parted cells
        found = [(number, labels, words[1:].strip()) for number, labels, words in found]
    several = any(len(labels) > 1 for _, labels, _ in found) and "label" not in named
    name = "labels" if several or "labels" in named else "label"
    rows = tuple(
        Row(Place(path, number), {"text": words, name: _cell(labels) if name == "label" else labels})
        for number, labels, words in found
    )
    columns = (name, "text") if before else ("text", name)
    return Table(path, columns, rows, named=True, notes=(f"labels behind {_MARK}",))


def _cell(labels: list[str]) -> str | list[str] | None:
    """The only label; None where there is none, and all of them where that is too many."""
    return labels if len(labels) > 1 else next(iter(labels), None)


def _parted(line: str) -> tuple[list[str], str]:
    """The labels of a line, each once, and its text."""
    before = _BEFORE.match(line)
    rest = line[before.end() :] if before else line
    behind = _BEHIND.search(rest)
    words = rest[: behind.start()] if behind else rest
    marked = f"{before[0] if before else ''} {behind[0] if behind else ''}".split()
    return list(dict.fromkeys(each.removeprefix(_MARK) for each in marked)), words.strip()
