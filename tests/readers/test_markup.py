"""Pages: Markdown and HTML, and what is wrong in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.readers.markup import read_page
from danlu.readers.record import Raw, Rejected, Wanted

Reads = Callable[..., list[Raw | Rejected]]
ARTICLE = "".join(
    f"<p>Paragraph {number} of the story says that a long time ago things were otherwise.</p>" for number in range(8)
)
PAGE = (
    "<html><head><meta charset='{0}'><title>A  title\n here</title><style>p {{}}</style></head><body>"
    "<nav><a href='/'>Home</a> <a href='/about'>About us</a></nav><article><h1>Heading</h1>{1}</article>"
    "<footer>Copyright notice, all rights reserved</footer><script>var x = 1;</script></body></html>"
)
MARKDOWN = """---
title: "A page"
tags: [a, b]
---
# Heading

Some *emphasis* and a [link](http://x.y), with `code`.
Second line.

```python
print("a *b*")
```

| a | b |
|---|---|
| 1 | 2 |

- one
- two
"""


def test_the_main_text_of_a_page(reads: Reads) -> None:
    page = PAGE.format("utf-8", ARTICLE)
    (main,) = reads("a.html", page)
    assert isinstance(main, Raw) and main.fields == {"title": "A title here"}
    assert "Paragraph 7 of" in main.text and "Heading" in main.text
    assert not any(other in main.text for other in ("Copyright", "About us", "var x", "p {}"))
    (everything,) = reads("a.htm", page, html="all")
    assert "Copyright" in everything.text and "var x" not in everything.text


def test_trafilatura_by_choice(reads: Reads) -> None:
    pytest.importorskip("trafilatura")
    (main,) = reads("a.html", PAGE.format("utf-8", ARTICLE), html="trafilatura")
    assert "Paragraph 7 of" in main.text and "Copyright" not in main.text and main.fields["title"]
    assert reads("a.html", b"", html="trafilatura") == [Raw(0, "")]


@pytest.mark.parametrize(
    ("meta", "encoding", "said", "text"),
    [
        ("gb2312", "gb18030", "gb18030", "話说天下大势"),  # one sign that GB 2312 lacks
        ("big5", "big5", "big5hkscs", "這個問題"),
        ("shift_jis", "cp932", "cp932", "①時間を選択"),
        ("iso-8859-1", "cp1252", "cp1252", "“café”"),
        ("utf-8", "utf-8", None, "话说天下大势"),
        ("gbk", "utf-8", None, "話說天下大勢"),  # it says wrongly
        ("utf-8", "gb18030", "gb18030", "话说天下大势，我们的国家"),
        ("nonsense", "gb18030", "gb18030", "话说天下大势，我们的国家"),
        ("utf-16", "utf-8", None, "话说天下大势"),
    ],
)
def test_a_page_says_what_it_is_in_and_may_be_wrong(
    reads: Reads, meta: str, encoding: str, said: str | None, text: str
) -> None:
    page = f"<html><head><meta charset={meta}><title>x</title></head><body><p>{text}</p></body></html>".encode(encoding)
    (record,) = reads("a.html", page, html="all")
    assert isinstance(record, Raw) and record.text.strip() == text
    assert record.fields == {"title": "x", **({"encoding": said} if said else {})}


@pytest.mark.parametrize(
    ("stated", "encoding"),
    [("iso-8859-1", "gb18030"), ("windows-1251", "gb18030"), ("gb2312", "big5"), ("big5", "gb18030"),
     ("iso-8859-2", "gb18030"), ("gbk", "cp932"), ("windows-1251", "koi8-r"), ("undefined", "gb18030"),
     ("punycode", "gb18030"), ("utf-7", "gb18030")],
)  # fmt: skip
def test_a_page_that_is_certainly_in_another_encoding_is_read_in_that(reads: Reads, stated: str, encoding: str) -> None:
    texts = {
        "gb18030": "话说天下大势，分久必合，合久必分。",
        "big5": "這個問題是說明為什麼我們會在這裡，國家對於學生的時間。",
        "cp932": "時間を選択してください。これは日本語の文章です。",
        "koi8-r": "Это поле обязательно для заполнения.",
    }
    text = texts[encoding]
    page = f"<html><head><meta charset={stated}></head><body><p>{text}</p></body></html>".encode(encoding)
    (record,) = reads("a.html", page, html="all")
    assert isinstance(record, Raw) and record.text.strip() == text
    polish = "<meta charset=iso-8859-2><p>Zażółć gęślą jaźń, proszę państwa".encode("iso-8859-2")
    (record,) = reads("b.html", polish, html="all")
    assert isinstance(record, Raw) and record.text.strip() == "Zażółć gęślą jaźń, proszę państwa"


def test_japanese_of_mail_is_ascii_only_to_look_at(reads: Reads) -> None:
    for stated in ("iso-2022-jp", "utf-8"):
        page = f"<meta charset={stated}><p>これは日本語の文章です。".encode("iso2022_jp")
        (record,) = reads("a.html", page, html="all")
        assert isinstance(record, Raw) and record.text.strip() == "これは日本語の文章です。"


def test_http_is_asked_before_the_meta_tag() -> None:
    page = "<meta charset=cp1252><p>Это поле".encode("koi8-r")
    record, lost = read_page(page, Wanted(html="all"), declared="KOI8-R")
    assert not lost
    assert isinstance(record, Raw) and record.text.strip() == "Это поле"


@pytest.mark.parametrize("cut", [0, 1, 30, 90, 200, 400, -1])
def test_a_truncated_page_is_read_as_far_as_it_goes(reads: Reads, cut: int) -> None:
    (record,) = reads("a.html", PAGE.format("utf-8", ARTICLE).encode()[:cut])
    assert isinstance(record, Raw)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<p>a\0b", "binary"),
        (b"\x89PNG\r\n\x1a\n\0\0", "binary"),
        (b"<p>" + bytes([0x81, 0x8D, 0x90]), "unknown encoding"),
    ],
)
def test_what_is_no_page(reads: Reads, content: bytes, reason: str) -> None:
    (rejected,) = reads("a.html", content)
    assert isinstance(rejected, Rejected) and rejected.reason == reason


def test_deep_pages_do_not_break_it(reads: Reads) -> None:
    for page in ("<div>" * 200_000, "<div>" * 9000 + "</div>" * 9000, "<SPAN ><article>" * 5000):
        (record,) = reads("a.html", page + "text")
        assert isinstance(record, Rejected) and record.reason == "nested too deep"
    (flat,) = reads("a.html", "<div>text</div>" * 5000, html="all")
    assert isinstance(flat, Raw) and flat.text.count("text") == 5000
    (entity,) = reads("a.html", "<p>&#xD800;&#0;&#x10FFFF;x", html="all")
    assert isinstance(entity, Raw)
    entity.text.encode()


@given(st.binary(max_size=300))
def test_no_bytes_break_it(content: bytes) -> None:
    for page in (b"<p>" + content, "<p>话说天下大势，分久必合，合久必分。</p>".encode() * 30 + content):
        found, lost = read_page(page, Wanted(html="all"))
        assert isinstance(found, Raw) or not lost
        assert isinstance(found, Rejected) or found.fields.get("lost_parts", "0") == str(len(lost))


def test_markdown_without_its_front_matter(reads: Reads) -> None:
    (record,) = reads("a.md", MARKDOWN)
    assert record == Raw(0, MARKDOWN[MARKDOWN.index("# Heading") :], {"title": "A page"})
    (without,) = reads("a.md", MARKDOWN, code_blocks=False)
    assert "print" not in without.text and "`code`" in without.text and "| 1 | 2 |" in without.text


def test_markdown_as_plain_text(reads: Reads) -> None:
    (plain,) = reads("a.md", MARKDOWN, markdown="plain")
    assert plain.text == (
        'Heading\n\nSome emphasis and a link, with code.\nSecond line.\n\nprint("a *b*")\n\n'
        "a\tb\n\n1\t2\n\none\n\ntwo\n"
    )
    (without,) = reads("a.md", MARKDOWN, markdown="plain", code_blocks=False)
    assert "print" not in without.text and "with code." in without.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n",
        "---\ntitle: x\n",
        "--- \nnot settings",
        "a\n---\nb\n---\n",
        "```\nnever ends",
        "> " * 5000,
        "[" * 5000,
    ],
)
def test_markdown_that_is_cut_or_odd(reads: Reads, text: str) -> None:
    assert reads("a.md", text) == [Raw(0, text)]
    assert isinstance(reads("a.md", text, markdown="plain", code_blocks=False)[0], Raw)
