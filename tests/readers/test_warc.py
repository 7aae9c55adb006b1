"""WARC and WET whole and damaged."""

from __future__ import annotations

import gzip
import io
import random
import re
import uuid
import zlib
from pathlib import Path

import brotli
import pytest
from backports import zstd
from fastwarc.warc import ArchiveIterator
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.readers.reading import read
from danlu.readers.record import LocalFile, Raw, Rejected, Wanted
from danlu.readers.warc import WarcStream

PAGE = "<html><head><title>页 {0}</title></head><body><article><p>第{0}页：春天来了，花都开了。</p></article>"
Written = tuple[str, str, bytes, list[tuple[str, str]]]
"""A record to write: its type, its status line, its body, its headers of HTTP."""


def page(number: int) -> bytes:
    return PAGE.format(number).encode("gbk")


def write(records: list[Written], *, packed: bool) -> bytes:
    """After ISO 28500, a member a record; fastwarc reads it too."""
    members = [_member("warcinfo", "application/warc-fields", "a.warc", b"software: test\r\n")]
    for number, (kind, status, body, headers) in enumerate(records):
        content_type = "application/http; msgtype=response" if kind == "response" else "text/plain"
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        block = f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body if kind == "response" else body
        members.append(_member(kind, content_type, f"http://example.org/{number}", block))
    return b"".join(gzip.compress(member, mtime=0) if packed else member for member in members)


def _member(kind: str, content_type: str, address: str, block: bytes) -> bytes:
    head = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, address)}>",
        "WARC-Target-URI": address,
        "WARC-Date": "2026-01-02T03:04:05Z",
        "Content-Type": content_type,
        "Content-Length": str(len(block)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"WARC/1.0\r\n{lines}\r\n".encode() + block + b"\r\n\r\n"


HTML = [("Content-Type", "text/html; charset=gb2312")]


def pages(count: int, *, packed: bool) -> bytes:
    return write([("response", "200 OK", page(number), HTML) for number in range(count)], packed=packed)


def records(path: Path, content: bytes, **wanted: int) -> list[Raw | Rejected]:
    path.write_bytes(content)
    return list(read(LocalFile(path), Wanted(**wanted)))  # type: ignore[arg-type]


def urls(found: list[Raw | Rejected]) -> list[int]:
    return [int(record.fields["url"].rpartition("/")[2]) for record in found if isinstance(record, Raw)]


def reasons(found: list[Raw | Rejected]) -> list[str]:
    return [record.reason for record in found if isinstance(record, Rejected)]


@pytest.mark.parametrize("packed", [False, True])
def test_pages_with_their_address_and_place(tmp_path: Path, packed: bool) -> None:
    content = pages(3, packed=packed)
    found = records(tmp_path / ("a.warc.gz" if packed else "a.warc"), content)
    assert reasons(found) == []
    first = found[0]
    assert isinstance(first, Raw)
    assert first.text.strip() == "第0页：春天来了，花都开了。"
    assert first.fields["url"] == "http://example.org/0"
    assert first.fields["date"] == "2026-01-02T03:04:05Z"
    assert first.fields["content_type"] == "text/html"
    assert first.fields["title"] == "页 0"
    plain = gzip.decompress(content) if packed else content
    places = [match.start() for match in re.finditer(rb"WARC/1\.\d\r\n", plain)]
    assert [record.offset for record in found] == places[1:]
    assert [record.number for record in found] == [1, 2, 3]


def test_the_same_records_as_fastwarc(tmp_path: Path) -> None:
    content = pages(20, packed=True)
    theirs = [record.headers["WARC-Target-URI"] for record in ArchiveIterator(io.BytesIO(content)) if record.is_http]
    ours = [record.fields["url"] for record in records(tmp_path / "a.warc.gz", content) if isinstance(record, Raw)]
    assert ours == theirs


def test_conversions_are_text(tmp_path: Path) -> None:
    content = write([("conversion", "", "从前有一座山。\n".encode(), [])], packed=True)
    [record] = records(tmp_path / "a.warc.wet.gz", content)
    assert isinstance(record, Raw)
    assert (record.text, record.fields["url"]) == ("从前有一座山。\n", "http://example.org/0")


@pytest.mark.parametrize("dictionary", [False, True])
def test_zstd_with_a_frame_a_record_and_a_dictionary(tmp_path: Path, dictionary: bool) -> None:
    members = pages(30, packed=False).split(b"\r\n\r\nWARC/")
    frames = [members[0] + b"\r\n\r\n", *(b"WARC/" + member + b"\r\n\r\n" for member in members[1:])]
    known = zstd.train_dict(frames, 2000) if dictionary else None
    head = b""
    if known is not None:
        held = zstd.compress(known.dict_content)
        head = b"\x5d\x2a\x4d\x18" + len(held).to_bytes(4, "little") + held
    packed = head + b"".join(zstd.compress(frame, zstd_dict=known) for frame in frames)
    assert urls(records(tmp_path / "a.warc.zst", packed)) == list(range(30))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "br", "zstd", "none after all"])
def test_content_encodings_are_undone(tmp_path: Path, coding: str) -> None:
    body = page(0)
    pack = {
        "gzip": gzip.compress, "deflate": zlib.compress, "raw deflate": lambda body: zlib.compress(body)[2:-4],
        "br": brotli.compress, "zstd": zstd.compress, "none after all": lambda body: body,
    }[coding]  # fmt: skip
    name = "gzip" if coding == "none after all" else coding.rsplit(maxsplit=1)[-1]
    half = pack(body)[:50], pack(body)[50:]
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in half) + b"0\r\n\r\n"
    headers = [*HTML, ("Content-Encoding", name), ("Transfer-Encoding", "chunked")]
    [record] = records(tmp_path / "a.warc", write([("response", "200 OK", chunked, headers)], packed=False))
    assert isinstance(record, Raw)
    assert "春天来了" in record.text


def test_what_is_no_page_is_told_once(tmp_path: Path) -> None:
    content = write(
        [
            ("response", "404 Not Found", page(0), HTML),
            ("response", "200 OK", b"\xff\xd8\xff", [("Content-Type", "image/jpeg")]),
            ("response", "200 OK", page(2), HTML),
            ("response", "200 OK", b"plain text", [("Content-Type", "text/plain")]),
        ],
        packed=True,
    )
    found = records(tmp_path / "a.warc.gz", content)
    assert urls(found) == [2, 3]
    [rejected] = [record for record in found if isinstance(record, Rejected)]
    assert rejected.reason == "WARC records that are no page"
    assert rejected.detail == "2 records: status 404 1, image/jpeg 1"


def test_damage_in_one_member_loses_that_record_alone(tmp_path: Path) -> None:
    content = bytearray(pages(50, packed=True))
    starts = [match.start() for match in re.finditer(rb"\x1f\x8b\x08", content)]
    for place in range(starts[26] + 40, starts[26] + 60):  # of page 25: behind the warcinfo
        content[place] = 0xFF
    found = records(tmp_path / "a.warc.gz", bytes(content))
    assert urls(found) == [number for number in range(50) if number != 25]
    assert reasons(found) == ["damaged gzip"]


@pytest.mark.parametrize("lost", [0, 25, 49])
def test_a_page_whose_check_sum_is_wrong_is_not_given(tmp_path: Path, lost: int) -> None:
    """Its text can be another one, and valid: what a flipped bit in a literal of deflate makes of it."""
    content = bytearray(pages(50, packed=True))
    starts = [match.start() for match in re.finditer(rb"\x1f\x8b\x08", content)]
    end = [*starts, len(content)][lost + 2]  # behind the warcinfo
    content[end - 8] ^= 1  # RFC 1952: CRC32, then the size
    found = records(tmp_path / "a.warc.gz", bytes(content))
    assert urls(found) == [number for number in range(50) if number != lost]
    assert reasons(found) == ["damaged gzip"]
    assert [record.number for record in found] == list(range(1, 51))


def test_a_member_cut_out_loses_that_record_alone(tmp_path: Path) -> None:
    content = pages(50, packed=True)
    starts = [match.start() for match in re.finditer(rb"\x1f\x8b\x08", content)]
    found = records(tmp_path / "a.warc.gz", content[: starts[26] + 100] + content[starts[27] :])
    assert urls(found) == [number for number in range(50) if number != 25]
    assert reasons(found) == ["damaged gzip"]


@pytest.mark.parametrize("change", [-40, 30, 4000])
def test_a_wrong_length_loses_that_record_alone(tmp_path: Path, change: int) -> None:
    parts = re.split(rb"(?=WARC/1\.\d\r\n)", pages(20, packed=False))
    length = re.search(rb"Content-Length: (\d+)", parts[6])
    assert length is not None
    parts[6] = parts[6].replace(length[0], b"Content-Length: %d" % (int(length[1]) + change), 1)
    found = records(tmp_path / "a.warc", b"".join(parts))
    assert urls(found) == [number for number in range(20) if number != 4]
    assert reasons(found) == ["damaged WARC record"]


def test_a_length_beyond_the_limit_swallows_no_records(tmp_path: Path) -> None:
    parts = re.split(rb"(?=WARC/1\.\d\r\n)", pages(20, packed=False))
    parts[6] = re.sub(rb"Content-Length: ", b"Content-Length: 99999", parts[6], count=1)
    found = records(tmp_path / "a.warc", b"".join(parts), record_bytes=50_000)
    assert urls(found) == [number for number in range(20) if number != 4]
    assert reasons(found) == ["damaged WARC record"]


def test_what_a_wrong_length_has_swallowed_is_not_copied_for_every_line() -> None:
    parts = re.split(rb"(?=WARC/1\.\d\r\n)", pages(300, packed=False))
    parts[2] = re.sub(rb"Content-Length: ", b"Content-Length: 99", parts[2], count=1)
    stream = WarcStream(io.BytesIO(b"".join(parts)), 1 << 30)
    found = [(id(stream._back), record) for record in stream.records()]
    assert len(found) == 301 and len({place for place, _ in found}) <= 3


def test_a_disk_that_fails_costs_no_page_before() -> None:
    class Failing(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            return line if (line := super().readline(size)) else self.fail()

        def fail(self) -> bytes:
            raise OSError(5, "Input/output error")

    warc = pages(3, packed=False)
    found = []
    with pytest.raises(OSError, match="Input/output"):
        for record in WarcStream(Failing(warc), 1 << 30).records():
            found.append(record)
    assert found == list(WarcStream(io.BytesIO(warc), 1 << 30).records()) != []


def test_bytes_between_records_are_told_once(tmp_path: Path) -> None:
    parts = re.split(rb"(?=WARC/1\.\d\r\n)", pages(5, packed=False))
    parts[3] = b"\x80junk\nmore junk" + parts[3][20:]
    found = records(tmp_path / "a.warc", b"".join(parts))
    assert urls(found) == [0, 2, 3, 4]
    assert reasons(found) == ["damaged WARC record"] or reasons(found) == ["damaged WARC"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.8, 0.99])
def test_of_a_file_cut_short_the_whole_pages_are_read(tmp_path: Path, packed: bool, share: float) -> None:
    content = pages(40, packed=packed)
    found = records(tmp_path / ("a.warc.gz" if packed else "a.warc"), content[: int(share * len(content))])
    assert urls(found) == list(range(len(urls(found))))
    assert len(urls(found)) >= int(40 * share) - 2
    assert len(reasons(found)) == 1
    assert reasons(found)[0].startswith("truncated")


def test_a_page_beyond_the_limit_is_passed_over(tmp_path: Path) -> None:
    long = [("response", "200 OK", b"<html>" + b"x" * 100_000, HTML), ("response", "200 OK", page(1), HTML)]
    bomb = ("response", "200 OK", gzip.compress(bytes(5_000_000)), [*HTML, ("Content-Encoding", "gzip")])
    found = records(tmp_path / "a.warc", write([*long, bomb], packed=False), record_bytes=50_000)
    assert urls(found) == [1]
    assert reasons(found) == ["too long", "unpacks to too much"]


def test_damage_inside_a_page_beyond_the_limit_is_told(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(300_000)
    written = [("response", "200 OK", page(0), HTML), ("response", "200 OK", noise, HTML)]
    content = write([*written, ("response", "200 OK", page(2), HTML)], packed=True)
    last = content.rindex(b"\x1f\x8b\x08")
    cut = records(tmp_path / "a.warc.gz", content[: last - 100_000], record_bytes=50_000)
    assert urls(cut) == [0] and reasons(cut) == ["truncated gzip"]
    went_on = records(tmp_path / "b.warc.gz", content[: last - 100_000] + content[last:], record_bytes=50_000)
    assert urls(went_on) == [0, 2] and reasons(went_on) == ["truncated gzip"]


@pytest.mark.parametrize("long", [True, False])
def test_a_bomb_that_is_passed_over_is_told(tmp_path: Path, long: bool) -> None:
    """In a page beyond the limit, or behind a record that is told already: the rest of the file is not read."""
    bomb = _member("response", "application/http", "http://example.org/1", bytes(5_000_000))
    if not long:
        bomb = bomb.replace(b"Content-Length: ", b"Content-Length: x")
    content = pages(1, packed=True) + gzip.compress(bomb) + pages(1, packed=True)
    found = records(tmp_path / "a.warc.gz", content, record_bytes=50_000, unpacked_bytes=2_000_000)
    told = ["unpacks to too much"] if long else ["damaged WARC record", "unpacks to too much"]
    assert urls(found) == [0] and reasons(found) == told


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_flipped_bytes_come_out_as_rejected(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    packed = data.draw(st.booleans())
    content = bytearray(pages(4, packed=packed))
    places = st.integers(0, len(content) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        content[place] = value
    found = records(tmp_path_factory.mktemp("a") / ("a.warc.gz" if packed else "a.warc"), bytes(content))
    assert len(found) <= 12


def test_a_damaged_beginning_of_a_member_is_passed_over_once(tmp_path: Path) -> None:
    """What the member before it was given is not looked through again, for ever."""
    content = bytearray(pages(4, packed=True))
    second = content.index(b"\x1f\x8b", 1)
    content[second] ^= 1
    found = records(tmp_path / "a.warc.gz", bytes(content))
    assert urls(found) == [1, 2, 3] and reasons(found) == ["junk after gzip"]
