"""Texts with their labels beside them, ``__label__good __label__long A fine film``, as fastText reads them (Joulin et
al. 2017, arXiv:1607.01759): a word that begins with the mark is a label, wherever it stands in its line.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from danlu.data.content import ending
from danlu.data.example import Place
from danlu.data.rows import Row, Table

_MARK = "__label__"
_LABEL = re.compile(rf"(?<!\S){_MARK}(\S*)\s*")
_WITH_COMMA = re.compile(rf"((?:{_MARK}[^\s,]+[\s,]+)*{_MARK}[^\s,]+)\s*,\s*")
"""Labels, and the comma behind them, as if commas parted cells."""
_CELL = re.compile(rf"{_MARK}[^\s,]*,")


def read_fasttext(path: Path, text: str, named: Collection[str] = ()) -> Table | None:
    """A row a line, with its label, or with a list of labels where one line has several; None where these are no such
    lines. One without any is a row without a label; columns stand as in the file.

    Args:
        named: columns that there should be, as an earlier file has them: ``label``, or ``labels`` of several.
    """
    if _MARK not in text:
        return None
    lines = {number: _bare(line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()}
    marked = [line for line in lines.values() if _is_marked(line)]
    table = "," if ending(path) == ".csv" else "\t"
    first = next(iter(lines.values()))
    # Without a label it names columns, or these are texts, unless most others have one.
    if not _is_marked(first) and (table in first or len(marked) * 2 <= len(lines)):
        return None
    if table == "," and _CELL.match(marked[0]):  # whose other cell may have quotes
        return None
    if all(map(_WITH_COMMA.match, marked)):
        lines = {number: _without_comma(line) for number, line in lines.items()}
    found = {number: _parted(line) for number, line in lines.items()}
    several = any(len(labels) > 1 for labels, _ in found.values()) and "label" not in named
    name = "labels" if several or "labels" in named else "label"
    rows = tuple(
        Row(Place(path, number), {"text": words, name: _cell(labels) if name == "label" else labels})
        for number, (labels, words) in found.items()
    )
    columns = (name, "text") if marked[0].startswith(_MARK) else ("text", name)
    return Table(path, columns, rows, named=True, marked=True, notes=(f"labels behind {_MARK}",))


def _bare(line: str) -> str:
    """The line without quotes around all of it, in which pandas encloses one with a comma."""
    if not (line.startswith('"') and line.endswith('"') and _MARK in line):
        return line
    inner = line[1:-1]
    return line if '"' in inner.replace('""', "") else inner.replace('""', '"')


def _is_marked(line: str) -> bool:
    """Whether it begins or ends with a label."""
    return line.startswith(_MARK) or line.rsplit(maxsplit=1)[-1].startswith(_MARK)


def _without_comma(line: str) -> str:
    found = _WITH_COMMA.match(line)
    return line if found is None else f"{found[1].replace(',', ' ')} {line[found.end() :]}"


def _cell(labels: list[str]) -> str | list[str] | None:
    """The only label; None where there is none, and all of them where that is too many."""
    return labels if len(labels) > 1 else next(iter(labels), None)


def _parted(line: str) -> tuple[list[str], str]:
    """The labels of a line, each once, and its text."""
    return list(dict.fromkeys(_LABEL.findall(line))), _LABEL.sub("", line).strip()
