"""Pages: Markdown and HTML. A file is one record; what is its title stands beside the text."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from typing import Any

from danlu.optional import optional
from danlu.readers.main_text import with_passages
from danlu.readers.record import Content, Raw, Rejected, Wanted, checked
from danlu.readers.whole import decode, encoding_field, read_but_end, read_text_and_end, read_whole
from danlu.text.encodings import MARKS, SEVEN_BIT, contradicts, detect_whole, is_known

_FRONT = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE)
"""Settings of a page in YAML, before its text."""
_FRONT_LIMIT = 100_000
_TITLE = re.compile(r"""^title:[ \t]*(["']?)(.+?)\1[ \t]*\r?$""", re.MULTILINE)
_META = re.compile(rb"""<meta[^>]{0,500}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)
_DEEPEST = 2000
_NESTING = re.compile(
    r"<(/?)(?:div|span|section|article|main|header|footer|nav|aside|ul|ol|dl|table|blockquote|form|center|figure|details)\b",
    re.IGNORECASE,
)
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
    found, end = read_but_end(page, lambda some: read_page(some, wanted))
    yield found
    if end is not None:
        yield end


def read_page(page: bytes, wanted: Wanted, declared: str | None = None) -> Raw | Rejected:
    """The text of a page.

    Args:
        declared: the encoding that HTTP's header names.
    """
    text = _decoded_page(page, wanted, declared)
    if isinstance(text, Rejected):
        return text
    html, encoding = text
    if _is_deep(html):
        return Rejected(0, "nested too deep", f"more than {_DEEPEST:,} elements in one another", 0)
    title, body = _trafilatura(html) if wanted.html == "trafilatura" else _resiliparse(html, wanted.html == "main")
    fields = {**({"title": title} if title else {}), **encoding_field(encoding)}
    return checked(Raw(0, "", offset=0), body, fields, wanted.text_field, "in the page")


def _decoded_page(page: bytes, wanted: Wanted, declared: str | None) -> tuple[str, str] | Rejected:
    if wanted.encoding is None and not any(page.startswith(mark) for mark, _ in MARKS):
        meta = _META.search(page, 0, _META_WITHIN)
        for name in (declared, meta[1].decode() if meta is not None else None):
            encoding = _HTML_NAMES.get(name.lower(), name.lower()) if name is not None else ""
            if not _is_of_pages(encoding) or b"\0" in page:
                continue
            if page.isascii() and detect_whole(page).encoding in SEVEN_BIT:
                break
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


def _is_of_pages(encoding: str) -> bool:
    """Whether browsers know it: Python knows more, such as UTF-7, and what others mean by that is their affair."""
    return bool(encoding) and is_known(encoding) and codecs.lookup(encoding).name in _BROWSERS


def _is_deep(html: str) -> bool:
    """Whether so many elements stand in one another that looking for the main text would take minutes."""
    if html.count("<") <= 2 * _DEEPEST:
        return False
    depth = 0
    for tag in _NESTING.finditer(html):
        depth = max(0, depth - 1) if tag[1] else depth + 1
        if depth > _DEEPEST:
            return True
    return False


def _resiliparse(html: str, main: bool) -> tuple[str, str]:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(html)
    text = extract_plain_text(tree, main_content=main, preserve_formatting=True, alt_texts=False)
    if main and text.strip():
        whole = extract_plain_text(tree, main_content=False, preserve_formatting=True, alt_texts=False)
        text = with_passages(text, whole)
    return " ".join((tree.title or "").split()), text


def _trafilatura(html: str) -> tuple[str, str]:
    trafilatura = optional("trafilatura", purpose="html: trafilatura")
    found: Any = trafilatura.bare_extraction(html, with_metadata=True)
    return ((found.title or ""), (found.text or "")) if found is not None else ("", "")


def read_markdown(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """A page without its front matter: as it is written or as plain text, with its blocks of code or without."""
    found, end = read_text_and_end(content, wanted)
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
    if end is not None:
        yield end


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
