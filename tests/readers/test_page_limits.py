"""Pages that would hold up a reader are told, hostile or not, and no others."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.readers.page_limits import _ATTRIBUTE, _TAG
from danlu.readers.record import Raw, Rejected

Reads = Callable[..., list[Raw | Rejected]]
MANY = " ".join(f"a{number}" for number in range(2100))


@pytest.mark.parametrize(
    "page",
    [
        f"<p {MANY}>text</p>",
        f"<p {MANY.replace(' ', '=1 ')}>text</p>",
        "<p " + MANY.replace(" ", '="<>" ') + ">text</p>",
        f"<p {MANY.replace(' ', '=< ')}",
        f"<p/{MANY.replace(' ', '/')}>text</p>",
        "<p\n" + MANY.replace(" ", "\n") + "\n>text</p>",
        f"<!-- > --><b>x</b><script>if (a<b) '</p>'</script><p {MANY}>text</p>",
        f"<!--><p {MANY}>text</p>",
        f"<!---><p {MANY}>text</p>",
        f"<!-- a --!><p {MANY}>text</p>",
    ],
)
def test_thousands_of_attributes_are_refused(reads: Reads, page: str) -> None:
    (lost,) = reads("a.html", page)
    assert lost == Rejected(0, "too many attributes", "more than 2,000 in a tag")


@pytest.mark.parametrize(
    "page",
    [
        f"<p {' '.join(MANY.split()[:1990])}>text</p>",
        f"<p title='{MANY}'>text</p>",
        f'<p title="{MANY}">text</p>',
        f"<p title = \n '{MANY}'>text</p>",
        f"<p>text {MANY} < {MANY}</p>",
        f"<!-- <p {MANY}> --><p>text</p>",
        f"<script>for (i=0;i<n;i++) {MANY}</script><p>text</p>",
        f"<STYLE>a<b {MANY}</Style ><p>text</p>",
        "<p a b>" * 3000 + "text",
        f"<p style=color:red;{MANY.replace(' ', ';')}>text</p>",
    ],
)
def test_what_only_looks_so_is_read(reads: Reads, page: str) -> None:
    (record,) = reads("a.html", page, html="all")
    assert not isinstance(record, Rejected)


class _Counting(HTMLParser):
    counts: list[int]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.counts.append(len(attributes))


@given(st.lists(st.sampled_from(["a", "b=1", "c='>'", 'd="x y"', "e = 2", "/", "f=''", "g=<"]), max_size=9))
def test_attributes_are_counted_as_a_parser_does(attributes: list[str]) -> None:
    page = f"<p {' '.join(attributes)} >"
    parser = _Counting()
    parser.counts = []
    parser.feed(page)
    tag = _TAG.match(page)
    assert tag is not None and tag.end() == len(page) - 1
    assert [len(_ATTRIBUTE.findall(tag[2]))] == parser.counts
