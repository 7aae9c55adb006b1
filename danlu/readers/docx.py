"""docx (ECMA-376): paragraphs are parted by blank lines, the cells of a table's row by tabs, rows by line ends.

Deleted and moved text, field codes, phonetic guides, comments, headers and footers are left out; headings are
paragraphs; footnotes and endnotes follow the text, where the source asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator

from danlu.readers.limits import budget_of
from danlu.readers.record import Content, Damaged, Raw, Rejected, Wanted, checked
from danlu.readers.xml import parse_xml
from danlu.readers.zip import Entry, entries, open_entry

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STRICT = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_LEFT_OUT = {"del", "moveFrom", "instrText", "rt", "rPr", "pPr"}
_ENCRYPTED = b"\xd0\xcf\x11\xe0"
"""A compound file: what Word writes with a password, and files of before 2007 under another ending."""
_PROPERTIES = {
    "{http://purl.org/dc/elements/1.1/}title": "title",
    "{http://purl.org/dc/elements/1.1/}creator": "author",
}


class Paragraphs:
    """Gathers the text of a part of a document: the handler of its events."""

    def __init__(self, most: int) -> None:
        self.blocks: list[str] = []
        self._line: list[str] = []
        self._cells: list[list[str]] = []  # of every table that is open: the cells of its row
        self._paragraphs: list[list[str]] = []  # of every cell that is open
        self._passed = 0
        self._in_text = False
        self._note: str | None = None
        self._left = most

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        short = name.replace(_STRICT, _W).removeprefix(_W)
        if self._passed or short in _LEFT_OUT or name == _FALLBACK:
            self._passed += 1
        elif short == "t" or name == _MATH:
            self._in_text = True
        elif short == "tab":
            self._line.append("\t")
        elif short in ("br", "cr"):
            self._line.append("\n")
        elif short == "noBreakHyphen":
            self._line.append("-")
        elif short == "tr":
            self._cells.append([])
        elif short == "tc":
            self._paragraphs.append([])
        elif short in ("footnote", "endnote") and attributes.get(name.rpartition("}")[0] + "}type"):
            self._passed += 1  # the line that parts notes from text

    def end(self, name: str) -> None:
        """An element ends."""
        if self._passed:
            self._passed -= 1
            return
        short = name.replace(_STRICT, _W).removeprefix(_W)
        self._in_text = False
        if short == "p":
            self._block("".join(self._line).strip())
            self._line = []
        elif short == "tc" and self._paragraphs:
            cell = " ".join(self._paragraphs.pop())
            if self._cells:
                self._cells[-1].append(cell)
        elif short == "tr" and self._cells:
            row = "\t".join(self._cells.pop())
            if row.strip():
                self._row(row)
        elif short == "tbl" and not self._paragraphs and self.blocks and self.blocks[-1].endswith("\n"):
            self.blocks[-1] = self.blocks[-1].rstrip("\n")

    def text(self, text: str) -> None:
        """Characters inside the element that began last."""
        if self._in_text and not self._passed:
            self._left -= len(text)
            if self._left < 0:
                raise Damaged("too long", "the text is longer than a record may be (record_bytes)")
            self._line.append(text)

    def _block(self, text: str) -> None:
        if text:
            (self._paragraphs[-1] if self._paragraphs else self.blocks).append(text)

    def _row(self, row: str) -> None:
        row = row.replace("\n", " ")
        if self._paragraphs:  # a table in a cell
            self._paragraphs[-1].append(row)
        elif self.blocks and self.blocks[-1].endswith("\n"):
            self.blocks[-1] += row + "\n"
        else:
            self.blocks.append(row + "\n")


def read_docx(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """One record a file, with ``title`` and ``author``."""
    budget = budget_of(content, wanted)
    with content.local() as path:
        with path.open("rb") as file:
            if file.read(4) == _ENCRYPTED:
                yield Rejected(0, "encrypted", "by Word, with a password; or a .doc of Word before 2007")
                return
        found, damage = entries(path)
        parts = {entry.name.lower(): entry for entry in found}
        if "word/document.xml" not in parts:
            told = damage or Damaged("not docx", "it has no word/document.xml")
            yield Rejected(0, told.reason, told.detail)
            return

        def read_part(name: str, gather: Paragraphs | _Properties) -> None:
            entry: Entry = parts[name]
            if entry.problem:
                raise Damaged(entry.problem, name)
            with open_entry(path, entry, budget) as part:
                parse_xml(part, gather.start, gather.end, gather.text)

        paragraphs = Paragraphs(wanted.record_bytes)
        read_part("word/document.xml", paragraphs)
        for notes in ("word/footnotes.xml", "word/endnotes.xml"):
            if wanted.notes and notes in parts:
                read_part(notes, paragraphs)
        properties = _Properties()
        if "docprops/core.xml" in parts:
            read_part("docprops/core.xml", properties)
    text = "\n\n".join(block.rstrip("\n") for block in paragraphs.blocks)
    fields = {name: value for name, value in properties.found.items() if value}
    yield checked(Raw(0, ""), text + "\n" if text else "", fields, wanted.text_field, "in the document")
    if damage is not None:
        yield Rejected(1, damage.reason, damage.detail)


class _Properties:
    """The title and the author."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._name: str | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._name = _PROPERTIES.get(name)

    def end(self, name: str) -> None:
        self._name = None

    def text(self, text: str) -> None:
        if self._name is not None:
            self.found[self._name] = (self.found.get(self._name, "") + text)[:1000]
