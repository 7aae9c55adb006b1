"""CoNLL: a token a line with its columns, a blank line behind a sentence.

Columns are parted by tabs, or where there are none, by white space. Lines of white space alone are blank. Comments
(``# sent_id = 1``) and document marks (``-DOCSTART-``) are left out, as are CoNLL-U's ranges (``1-2``) and empty
nodes (``8.1``). Columns have no names, but for those of CoNLL-U in a file that is called so, and those of a first line
that says them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from danlu.data.content import ending
from danlu.data.example import Place
from danlu.data.names import TAGS, TOKEN, TOKENS, plain_name
from danlu.data.rows import Row, Table
from danlu.errors import shown

_COMMENT = re.compile(r"#\s?((newdoc|newpar)\b|[\w:.-]+( [\w:.-]+)?\s*=\s)")
_NO_WORD = re.compile(r"\d+[-.]\d+")
_POSITION_TOKENS = 10
"""Fewer tokens could end with such digits by chance."""
_POSITION_MISSES = 0.01
"""Share of the tokens that need not end with their position in the word."""

CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""What the columns of CoNLL-U are called (https://universaldependencies.org/format.html)."""

Token = tuple[int, list[str]]
"""Its line, and its columns."""


def read_conll(path: Path, text: str) -> Table:
    """A row a sentence; each cell is the list of its tokens' cells in that column.

    Raises:
        InputError: a line has more or fewer columns than those before it, or there is no sentence.
    """
    sentences: list[list[Token]] = [[]]
    width, tabs = 0, False
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.removesuffix("\r")
        if not line.strip() or line.startswith("-DOCSTART-"):
            if sentences[-1]:
                sentences.append([])
            continue
        if line.startswith("#") and _is_comment(line, begins=not sentences[-1], width=width, tabs=tabs):
            continue
        tabs = tabs or (not width and "\t" in line)
        cells = line.rstrip("\t").split("\t") if tabs else line.split()
        width = width or len(cells)
        if len(cells) != width:
            what = "column" if len(cells) == 1 else "columns"
            hint = f": {shown(line.strip())!r}" if len(cells) < width else ""
            raise Place(path, number).error(f"it has {len(cells)} {what}, and the lines before it {width}{hint}")
        sentences[-1].append((number, cells))
    if not sentences[-1]:
        sentences.pop()
    if not sentences:
        raise Place(path, 1).error("the file holds no sentence")
    if width > 2 and sentences[0][0][1][0].partition("-")[0] == "1":
        sentences = [[token for token in each if not _NO_WORD.fullmatch(token[1][0])] for each in sentences]
    notes = [f"{width} columns"]
    if width > 1 and _strip_positions(sentences):
        notes.append("each token without the digit of its place in the word")
    named = _take_names(sentences) or (CONLLU if ending(path) == ".conllu" and width == len(CONLLU) else ())
    names = named or tuple(str(place) for place in range(1, width + 1))
    rows = tuple(_row(path, names, each) for each in sentences if each)
    if not rows:
        raise Place(path, 1).error("the file holds no sentence below the names of its columns")
    return Table(path, names, rows, named=bool(named), notes=tuple(notes))


def _take_names(sentences: Sequence[list[Token]]) -> tuple[str, ...]:
    """The names of the columns, taken off the first sentence, where its first line is no token but says them: a column
    for tokens, one for tags whose name is no tag of any line below."""
    names = [cell.strip() for cell in sentences[0][0][1]]
    plain = [plain_name(name) for name in names]
    tags = [place for place, name in enumerate(plain) if name in TAGS]
    if len(set(plain)) < len(plain) or not tags or not {*TOKEN, *TOKENS} & {*plain} - {*TAGS}:
        return ()
    rest = [cells for sentence in sentences for _, cells in sentence][1:]
    if any(cells[place] == names[place] for place in tags for cells in rest):
        return ()
    del sentences[0][0]
    return tuple(names)


def _is_comment(line: str, *, begins: bool, width: int, tabs: bool) -> bool:
    """Whether a line that begins with # is no token, such as a hashtag."""
    cells = len(line.split("\t") if tabs else line.split())
    if begins and _COMMENT.match(line) and (not width or "\t" not in line):
        return True
    return begins and bool(width) and cells != width and line.startswith("# ")


def _row(path: Path, names: Sequence[str], sentence: Sequence[Token]) -> Row:
    lines = tuple(number for number, _ in sentence)
    cells = {name: [token[place] for _, token in sentence] for place, name in enumerate(names)}
    return Row(Place(path, lines[0]), cells, lines)


def _strip_positions(sentences: Sequence[Sequence[Token]]) -> bool:
    """Take off the place in its word that Weibo's data set puts behind each character (``科0 技1``), if it is there."""
    tokens = [cells[0] for sentence in sentences for _, cells in sentence]
    if len(tokens) < _POSITION_TOKENS or not all(len(token) > 1 and token[-1] in "0123456789" for token in tokens):
        return False
    misses, bare = 0, []
    for sentence in sentences:
        before = -1
        for _, cells in sentence:
            following = str(before + 1)
            place = following if cells[0].endswith(following) else cells[0][-1]
            misses += place not in (following, "0")
            before = int(place)
            bare.append(cells[0][: -len(place)])
    if misses > _POSITION_MISSES * len(tokens) or not all(bare):
        return False
    for (_, cells), token in zip((token for sentence in sentences for token in sentence), bare, strict=True):
        cells[0] = token
    return True
