"""Sentences whose words have their tag behind a slash, ``我/r 爱/v 北京/ns``, as the People's Daily corpus (PFR) and
the Brown corpus are written, or behind a low line, ``北京_NR``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from danlu.data.example import Place
from danlu.data.rows import Row, Table

_MARKS = {"/": "slashes", "_": "low lines"}
_SHARE = 0.95
"""Of the cells those that are texts, and of the words those that have a tag, at least: prose with slashes has far
fewer."""
_LOOKED_AT = 200
_FEW, _MOST = 12, 0.5
"""So many different tags there may be, or such a share of all words."""
_LONGEST = 12
"""Characters of a tag."""
_NUMBER = re.compile(r"\d{8}-\d{2}-\d{3}-\d{3}")
"""What each paragraph of PFR begins with; it is no word of it."""
_HAS_CELLS = re.compile(r'\t|^"|,"')
"""Of a table, whose cells tabs or quotes part."""
_COMMA_WITHIN = re.compile(r"\S[,;]\S")
"""In every line where commas part cells, ``1,我/r 爱/v``; ``,/w`` is a word, and not every line has ``1,000/m``."""
_COLUMNS = ("tokens", "tags")


def read_slashed(path: Path, text: str) -> Table | None:
    """A text with such a sentence a line, maybe below a first line that names it; None where it is anything else."""
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    header = len(lines) > 1 and not any(mark in lines[0][1] for mark in _MARKS)
    begin = [line for _, line in lines[:_LOOKED_AT]]
    if any(map(_HAS_CELLS.search, begin)) or (len(begin) > 1 and all(map(_COMMA_WITHIN.search, begin))):
        return None
    rows = tuple(Row(Place(path, number), {"1": line}) for number, line in lines[int(header) :])
    table = Table(path, ("1",), rows, named=False)
    parted = with_tags_apart(table)
    return None if parted is table else parted


def with_tags_apart(table: Table) -> Table:
    """The table with lists of tokens and of their tags in the place of a column of such sentences; any other as it
    is."""
    if any(isinstance(cell, list) for cell in table.rows[0].cells.values()):  # it has sentences already
        return table
    found = [(column, mark) for column in table.columns if (mark := _mark_of(table.values(column))) is not None]
    if len(found) != 1 or any(name in table.columns for name in _COLUMNS if name != found[0][0]):
        return table
    column, mark = found[0]
    rows = []
    for row in table.rows:
        sentence = str(row.cells.get(column) or "").strip()
        tokens, tags = _apart(sentence, mark)
        if tokens or not sentence:  # an empty cell is told as such; of PFR a number may stand alone
            others = {name: cell for name, cell in row.cells.items() if name != column}
            rows.append(replace(row, cells={**others, _COLUMNS[0]: tokens or None, _COLUMNS[1]: tags or None}))
    columns = (*(name for name in table.columns if name != column), *_COLUMNS)
    of = f" of column {column!r}, which is read as {' and '.join(_COLUMNS)}" if table.named else ""
    note = f"tags behind {_MARKS[mark]}{of}"
    return replace(table, columns=columns, rows=tuple(rows), named=True, notes=(*_spared(table.notes), note))


def _spared(notes: Sequence[str]) -> list[str]:
    return [note for note in notes if note != "no header"]


def _mark_of(cells: Sequence[Any]) -> str | None:
    """What stands between words and tags; None where these are no such sentences."""
    there = [cell for cell in cells[:_LOOKED_AT] if cell not in (None, "")]
    texts = [cell for cell in there if isinstance(cell, str)]
    if not texts or len(texts) < _SHARE * len(there):
        return None
    words = [word for each in texts for word in each.split()]
    for mark in _MARKS:
        parts = [word.rpartition(mark) for word in words]
        tagged = [(token, tag) for token, _, tag in parts if token and tag and len(tag) <= _LONGEST]
        tags = [tag for token, tag in tagged if "://" not in token]
        named = sum(_is_name(tag) and not (mark == "_" and _may_be_named(token, tag)) for token, tag in tagged)
        few = len(set(tags)) <= max(_FEW, _MOST * len(words))
        if len(words) > len(texts) and len(tags) >= _SHARE * len(words) and few and named * 2 > len(tags):
            return mark
    return None


def _is_name(tag: str) -> bool:
    """Whether it begins as the name of a tag and not with a sign, and is no file: ``src/main.py`` is no tagged word."""
    return tag[0].isalpha() and tag.isascii() and not {".", "_"} & set(tag)


def _may_be_named(token: str, tag: str) -> bool:
    """Whether a program may call something so, ``user_name``: in small letters, and none of them Chinese."""
    return token.isascii() and tag == tag.lower()


def _apart(sentence: str, mark: str) -> tuple[list[str], list[str]]:
    """The words and their tags; one without has an empty one, which is told as such.

    Brackets of PFR around names of several words, ``[中国/ns 政府/n]nt``, are left out.
    """
    tokens, tags = [], []
    for number, word in enumerate(sentence.split()):
        token, found, tag = word.rpartition(mark)
        if not (found and token and tag):
            token, tag = word, ""
        if number == 0 and _NUMBER.fullmatch(token):
            continue
        if mark == "/":
            token, tag = token[1:] if token[0] == "[" and len(token) > 1 else token, tag.partition("]")[0] or tag
        tokens.append(token)
        tags.append(tag)
    return tokens, tags
