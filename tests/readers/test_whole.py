"""Files that are read whole: what cannot be read at the end alone is lost alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from danlu.readers.record import Raw, Rejected

Reads = Callable[..., list[Raw | Rejected]]
CHINESE = "话说天下大势，分久必合，合久必分。\n周末七国分争，并入于秦。\n" * 20
JAPANESE = "時間を選択してください。\nこれは日本語の文章です。\n" * 20


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
@pytest.mark.parametrize(
    ("encoding", "text", "end"),
    [
        ("utf-8", CHINESE, "国".encode()[:1]),
        ("utf-8", CHINESE, "国".encode()[:2]),
        ("utf-8", "“It was the best of times,” he said — twice.\n" * 20, "—".encode()[:2]),
        ("utf-8", CHINESE, bytes(512)),
        ("utf-8", "It was the best of times.\n" * 20, bytes(512)),
        ("gb18030", CHINESE, "国".encode("gb18030")[:1]),
        ("euc_jp", JAPANESE, "国".encode("euc_jp")[:1]),
    ],
)
def test_a_file_that_was_cut_loses_its_end_alone(reads: Reads, name: str, encoding: str, text: str, end: bytes) -> None:
    page = f"<html><body><p>{text}</p>" if name == "a.html" else text
    content = page.encode(encoding)
    kept, lost = reads(name, content + end, html="all")
    assert isinstance(kept, Raw) and isinstance(lost, Rejected)
    assert kept.text.split() == text.split()
    assert (lost.number, lost.offset) == (1, len(content))
    assert lost.detail == f"{len(end)} bytes at the end, from byte {len(content)}"


@pytest.mark.parametrize(
    "content",
    [
        b"price \xa4",  # nothing before it says that this is UTF-8 and was cut
        (CHINESE[:9] + "\ud800" + CHINESE[:9]).encode("utf-8", "surrogatepass"),
        CHINESE.encode()[:61] + b"\xff" + CHINESE.encode()[61:120] + b"\xe5",
        bytes(600),
        b"text\0" + b"more text " * 9 + bytes(600),
    ],
)
def test_what_is_wrong_elsewhere_too_is_lost_whole(reads: Reads, content: bytes) -> None:
    (lost,) = reads("a.txt", content)
    assert isinstance(lost, Rejected)
