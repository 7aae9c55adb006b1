"""Pages: Markdown and HTML. A file is one record; what is its title stands beside the text."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from typing import Any

from danlu.optional import optional
from danlu.readers.damage import Damage, beyond_ascii, is_damage, marked, marks, without_marks
from danlu.readers.lines import undecodable
from danlu.readers.main_text import with_passages
from danlu.readers.page_limits import refusal
from danlu.readers.record import Content, Raw, Rejected, Wanted, checked
from danlu.readers.whole import (
    UNREADABLE,
    decode,
    encoding_field,
    lost_field,
    read_but_end,
    read_text,
    read_whole,
)
from danlu.text.encodings import MARKS, SEVEN_BIT, WIDE, Detected, contradicts, detect_whole, is_known, of_marked

_FRONT = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE)
"""Settings of a page in YAML, before its text."""
_FRONT_LIMIT = 100_000
_TITLE = re.compile(r"""^title:[ \t]*(["']?)(.+?)\1[ \t]*\r?$""", re.MULTILINE)
_META = re.compile(rb"""<meta[^>]{0,500}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)
_MOST_BAD = 0.1
"""Share of the bytes of a page that may be bad; more are no damage, and each is marked in some ten bytes of memory."""
_META_WITHIN = 4096
"""Bytes; HTML's own rule is 1024, which real pages do not keep."""
_HTML_NAMES = {  # of the WHATWG's Encoding Standard, where Python's codec of the name is narrower than browsers'
    "gb2312": "gb18030", "gbk": "gb18030", "gb_2312-80": "gb18030", "x-gbk": "gb18030", "big5": "big5hkscs",
    "iso-8859-1": "cp1252", "latin1": "cp1252", "ascii": "cp1252", "us-ascii": "cp1252", "iso8859-1": "cp1252",
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "x-sjis": "cp932", "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949", "iso-8859-9": "cp1254", "tis-620": "cp874", "unicode": "utf-8", "utf-16": "utf-8",
    "utf-16le": "utf-8", "utf-16be": "utf-8",
}  # fmt: skip
_BROWSERS = frozenset({
    "utf-8", "gb18030", "big5hkscs", "cp950", "euc_jp", "iso2022_jp", "cp932", "cp949", "koi8-r", "koi8-u", "cp866",
    "cp874", "mac-roman", "mac-cyrillic", *(f"cp{number}" for number in range(1250, 1259)),
    *(f"iso8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
})  # fmt: skip
"""The encodings of that standard, by Python's names."""


def read_html(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """The main text of a page, or all of it; its encoding is what a mark says, its meta tag, or what is detected."""
    page = read_whole(content, wanted)
    if isinstance(page, Rejected):
        yield page
        return
    found, lost = read_page(page, wanted)
    yield found
    yield from lost


def read_page(page: bytes, wanted: Wanted, declared: str | None = None) -> tuple[Raw | Rejected, list[Rejected]]:
    """The text of a page, and what of it is lost: its end, or those lines of its text that are damaged.

    Damage in what is no text (scripts, styles, what lies around the main text) costs nothing.

    Args:
        declared: the encoding that HTTP's header names.
    """
    found, end = read_but_end(page, lambda some: _read_html(_decoded_page(some, wanted, declared), wanted))
    if end is not None and isinstance(found, Raw):
        found.fields |= lost_field(1)
        return found, [end]
    if not isinstance(found, Rejected) or found.reason not in UNREADABLE:
        return found, []
    return _in_part(page, wanted, declared) or (found, [])


def _read_html(decoded: tuple[str, str] | Rejected, wanted: Wanted) -> Raw | Rejected:
    """The text of a page by what it is and what it was in."""
    if isinstance(decoded, Rejected):
        return decoded
    html, encoding = decoded
    if (why := refusal(html)) is not None:
        return Rejected(0, *why, 0)
    title, body = _trafilatura(html) if wanted.html == "trafilatura" else _resiliparse(html, wanted.html == "main")
    fields = {**({"title": title} if title else {}), **encoding_field(encoding)}
    return checked(Raw(0, "", offset=0), body, fields, wanted.text_field, "in the page")


def _decoded_page(page: bytes, wanted: Wanted, declared: str | None) -> tuple[str, str] | Rejected:
    for encoding in _stated(page, wanted, declared):
        try:  # a page may say wrongly what it is in, and UTF-8 is none by chance
            return page.decode(), "utf-8"
        except UnicodeDecodeError:
            pass
        if contradicts(detect_whole(page), encoding):
            break
        try:
            return page.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    found = decode(page, wanted)
    return found if isinstance(found, Rejected) else (found.text, found.encoding)


def _stated(page: bytes, wanted: Wanted, declared: str | None) -> Iterator[str]:
    """What is said of the encoding of a page that has no mark, by HTTP and by its meta tag, where browsers know it."""
    if wanted.encoding is not None or any(page.startswith(mark) for mark, _ in MARKS) or b"\0" in page:
        return
    meta = _META.search(page, 0, _META_WITHIN)
    for name in (declared, meta[1].decode() if meta is not None else None):
        encoding = _HTML_NAMES.get(name.lower(), name.lower()) if name is not None else ""
        if not _is_of_pages(encoding):
            continue
        if page.isascii() and detect_whole(page).encoding in SEVEN_BIT:
            return
        yield encoding


def _in_part(page: bytes, wanted: Wanted, declared: str | None) -> tuple[Raw, list[Rejected]] | None:
    """The text of a damaged page and the lines that it lacks; None where it is uncertain what it is in, or too much
    would be lost."""
    sound = page.replace(b"\0", b"")
    if wanted.encoding is not None:
        detected = Detected(of_marked(page, wanted.encoding))
    else:
        detected = detect_whole(sound)
        stated = [each for each in _stated(sound, wanted, declared) if not contradicts(detected, each)]
        if detected.encoding is None and stated:
            detected = Detected(stated[0])
    encoding = detected.encoding
    if encoding in (*WIDE, *SEVEN_BIT):  # behind a byte too few all is garbage, or may be
        return None
    if not sound or sound.decode(encoding or "utf-8", "replace").count("\ufffd") > _MOST_BAD * len(page):
        return None
    html = marked(page, encoding or "utf-8")
    found = None if html is None else _read_html((html, encoding or "utf-8"), wanted)
    if html is None or not isinstance(found, Raw):
        return None
    total = len(without_marks(found.text))
    lost = _damaged_lines(found, page, detected)
    bad = len(marks(html))
    damage = Damage(bad, bad + beyond_ascii(without_marks(html)), total - len(found.text), total)
    return (found, lost) if is_damage(damage, encoding) else None


def _damaged_lines(found: Raw, page: bytes, detected: Detected) -> list[Rejected]:
    """Take the lines with bad bytes out of the text of a page, and its title where that has some."""
    kept: list[str] = []
    lost: list[Rejected] = []
    title = found.fields.get("title", "")
    for line, where in ((title, ", in the title"), *((line, "") for line in found.text.split("\n"))):
        if not (places := marks(line)):
            kept += [] if where else [line]
            continue
        if where:
            del found.fields["title"]
        start = places[0]
        place = f"at byte {start}: 0x{page[start]:02x}"
        reason, detail = ("binary", place) if page[start] == 0 else undecodable(detected, place, b"")
        lost.append(Rejected(len(lost) + 1, reason, detail + where, start))
    found.text = "\n".join(kept)
    found.fields |= lost_field(len(lost))
    return lost


def _is_of_pages(encoding: str) -> bool:
    """Whether browsers know it: Python knows more, such as UTF-7, and what others mean by that is their affair."""
    return bool(encoding) and is_known(encoding) and codecs.lookup(encoding).name in _BROWSERS


def _resiliparse(html: str, main: bool) -> tuple[str, str]:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    def text_of(page: str | HTMLTree, main: bool) -> str:
        return extract_plain_text(page, main_content=main, preserve_formatting=True, alt_texts=False)

    tree = HTMLTree.parse(html)
    text = text_of(tree, main)
    if main and text.strip():
        text = with_passages(text, html, lambda page: text_of(tree if page is html else page, False))
    return " ".join((tree.title or "").split()), text


def _trafilatura(html: str) -> tuple[str, str]:
    trafilatura = optional("trafilatura", purpose="html: trafilatura")
    found: Any = trafilatura.bare_extraction(html, with_metadata=True)
    return ((found.title or ""), (found.text or "")) if found is not None else ("", "")


def read_markdown(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """A page without its front matter: as it is written or as plain text, with its blocks of code or without."""
    found = read_text(content, wanted)
    if isinstance(found, Rejected):
        yield found
        return
    text, title = found.text, ""
    front = _FRONT.match(text, 0, _FRONT_LIMIT)
    if front is not None:
        named = _TITLE.search(front[1])
        title = named[2] if named is not None else ""
        text = text[front.end() :]
    if wanted.markdown == "plain" or not wanted.code_blocks:
        text = _plain(text, code=wanted.code_blocks) if wanted.markdown == "plain" else _without_code(text)
    yield Raw(0, text, {**({"title": title} if title else {}), **found.fields}, 0)
    yield from found.lost


def _tokens(text: str) -> Sequence[Any]:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def _without_code(text: str) -> str:
    lines = text.splitlines(keepends=True)
    for token in _tokens(text):
        if token.type in ("fence", "code_block"):
            first, last = token.map
            lines[first:last] = [""] * (last - first)
    return "".join(lines)


def _plain(text: str, *, code: bool) -> str:
    """What a reader sees: blocks parted by blank lines, cells of tables by tabs; no markup, no pictures, no HTML."""
    blocks = [""]
    for token in _tokens(text):
        if token.type in ("fence", "code_block"):
            blocks += [token.content.rstrip("\n"), ""] if code else []
        elif token.type == "inline":
            blocks[-1] += "".join(map(_seen, token.children))
        elif token.type in ("td_close", "th_close"):
            blocks[-1] += "\t"
        elif token.type in ("tr_close", "list_item_close", "paragraph_close", "heading_close"):
            blocks.append("")
    return "\n\n".join(block for block in (block.strip() for block in blocks) if block) + "\n"


def _seen(token: Any) -> str:
    if token.type in ("text", "code_inline"):
        return str(token.content)
    return "\n" if token.type in ("softbreak", "hardbreak") else ""
