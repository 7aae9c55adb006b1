"""EPUB 2 and 3: a book's pages in the order of its spine, each by the reader of HTML; one record a book.

What an ``encryption.xml`` names beside fonts is locked (DRM): such a book is quarantined.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from danlu.readers.limits import Budget, budget_of
from danlu.readers.markup import read_page
from danlu.readers.record import Content, Damaged, Raw, Rejected, Wanted, checked
from danlu.readers.whole import lost_field
from danlu.readers.xml import parse_xml
from danlu.readers.zip import Entry, entries, open_entry

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_DC = "{http://purl.org/dc/elements/1.1/}"
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document")
_PIECE = 1 << 20


@dataclass(slots=True)
class _Book:
    """The members of the archive, by their names."""

    path: Path
    members: dict[str, Entry]
    budget: Budget

    def __post_init__(self) -> None:
        """Where the book lies in a folder of the archive, as one who packed that folder left it, names begin there."""
        roots = [name.removesuffix(_CONTAINER) for name in self.members if name.endswith(f"/{_CONTAINER}")]
        if _CONTAINER not in self.members and len(roots) == 1:
            self.members = {name.removeprefix(roots[0]): entry for name, entry in self.members.items()}

    def entry(self, name: str) -> Entry:
        if name not in self.members:
            raise Damaged("damaged EPUB", f"it has no {name}")
        entry = self.members[name]
        if entry.problem:
            raise Damaged(entry.problem, name)
        return entry

    def parse(self, name: str, gather: _Container | _Encryption | _Package) -> None:
        with open_entry(self.path, self.entry(name), self.budget) as file:
            parse_xml(file, gather.start, gather.end, gather.text)

    def page(self, name: str, most: int) -> bytes:
        pieces: list[bytes] = []
        with open_entry(self.path, self.entry(name), self.budget) as file:
            while piece := file.read(_PIECE):
                pieces.append(piece)
                most -= len(piece)
                if most < 0:
                    raise Damaged("too long", f"{name} is longer than a record may be (record_bytes)")
        return b"".join(pieces)


class _Quiet:
    """Events that are passed over."""

    def end(self, name: str) -> None:
        pass

    def text(self, text: str) -> None:
        pass


class _Container(_Quiet):
    def __init__(self) -> None:
        self.package = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name.endswith("}rootfile") and not self.package:
            self.package = attributes.get("full-path", "")


class _Encryption(_Quiet):
    def __init__(self) -> None:
        self.locked: list[str] = []
        self._method = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name.endswith("}EncryptionMethod"):
            self._method = attributes.get("Algorithm", "")
        elif name.endswith("}CipherReference") and self._method not in _FONTS:
            self.locked.append(attributes.get("URI", ""))


@dataclass
class _Package:
    """What the package says: the title, the authors, the pages in order."""

    fields: dict[str, str] = field(default_factory=dict)
    items: dict[str, tuple[str, str]] = field(default_factory=dict)
    spine: list[str] = field(default_factory=list)
    _name: str | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._name = {f"{_DC}title": "title", f"{_DC}creator": "author"}.get(name)
        if self._name in self.fields:
            self.fields[self._name] += ", "
        kind = name.rpartition("}")[2]
        if kind == "item":
            self.items[attributes.get("id", "")] = (attributes.get("href", ""), attributes.get("media-type", ""))
        elif kind == "itemref":
            self.spine.append(attributes.get("idref", ""))

    def end(self, name: str) -> None:
        self._name = None

    def text(self, text: str) -> None:
        if self._name is not None:
            self.fields[self._name] = (self.fields.get(self._name, "") + text)[:1000]


def read_epub(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """One record a book, with ``title`` and ``author``; pages and lines that cannot be read are rejected behind it."""
    with content.local() as path:
        found, damage = entries(path)
        book = _Book(path, {entry.name: entry for entry in found}, budget_of(content, wanted))
        encryption, container, package = _Encryption(), _Container(), _Package()
        if _ENCRYPTION in book.members:
            book.parse(_ENCRYPTION, encryption)
        if encryption.locked:
            yield Rejected(0, "encrypted", f"DRM on {len(encryption.locked)} files, {encryption.locked[0]} the first")
            return
        book.parse(_CONTAINER, container)
        book.parse(container.package, package)
        texts, broken = _read_pages(book, package, posixpath.dirname(container.package), wanted)
    if texts or not broken:
        text = "\n\n".join(texts) + "\n" if texts else ""
        fields = {**package.fields, **lost_field(len(broken))}
        yield checked(Raw(0, ""), text, fields, wanted.text_field, "in the book")
    yield from broken
    if damage is not None:
        yield Rejected(len(broken) + 1, damage.reason, damage.detail)


def _read_pages(book: _Book, package: _Package, folder: str, wanted: Wanted) -> tuple[list[str], list[Rejected]]:
    """The texts of the pages that have some, and those that cannot be read."""
    texts: list[str] = []
    broken: list[Rejected] = []
    left = wanted.record_bytes
    seen: set[str] = set()
    everything = replace(wanted, html="all")  # a page of a book has nothing around its text
    for reference in package.spine:
        href, kind = package.items.get(reference, ("", ""))
        if reference in seen or (kind and kind not in _PAGES):
            continue
        seen.add(reference)
        name = posixpath.normpath(posixpath.join(folder, unquote(href.partition("#")[0])))
        try:
            page, lost = read_page(book.page(name, left), everything)
        except Damaged as error:
            page, lost = Rejected(0, error.reason, error.detail), []
        for each in (*([page] if isinstance(page, Rejected) else []), *lost):
            broken.append(Rejected(len(broken) + 1, each.reason, f"{name}: {each.detail}"))
        if isinstance(page, Rejected):
            if book.budget.over or page.reason == "too long":
                break
        elif page.text.strip():
            texts.append(page.text.strip())
            left -= len(page.text)
    return texts, broken
