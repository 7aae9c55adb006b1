"""Parts of the sources that are counted by themselves: files where there are few, else folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from danlu.readers.sources import SourceFile

MOST = 50
"""Parts of a source; where even its folders are more, it is counted as one."""


@dataclass(frozen=True, slots=True)
class SourcePart:
    """Files of one source that are counted together."""

    source: str
    """As the recipe names it."""
    name: str
    """The file, or the folder with a slash behind it, below the source; empty of all its files."""
    files: int


def source_parts(files: Sequence[SourceFile]) -> tuple[list[SourcePart], list[int]]:
    """The parts of all sources, in the order of their first files, and of each file which of them it is in."""
    parts: list[SourcePart] = []
    numbers: list[int] = []
    for _, group in groupby(files, key=lambda file: id(file.source)):
        together = list(group)
        names = _names([file.name for file in together])
        counts = {name: names.count(name) for name in dict.fromkeys(names)}
        places = {name: len(parts) + place for place, name in enumerate(counts)}
        source = together[0].source.path
        parts += [SourcePart(str(source), name, count) for name, count in counts.items()]
        numbers += [places[name] for name in names]
    return parts, numbers


def _names(files: list[str]) -> list[str]:
    """The part of each file of one source."""
    if len(files) <= MOST:
        return files if len(files) > 1 else [""]
    folders = [f"{name.partition('/')[0]}/" if "/" in name else "./" for name in files]
    return folders if 1 < len(set(folders)) <= MOST else [""] * len(files)
