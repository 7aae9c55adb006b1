"""One bad byte costs the line it is in, with its place; many of them are another encoding, and cost the file."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from danlu.readers import whole
from danlu.readers.damage import Damage, is_damage, marked, marks, without_marks
from danlu.readers.reading import read
from danlu.readers.record import LocalFile, Raw, Rejected, Wanted

Reads = Callable[..., list[Raw | Rejected]]
CHINESE = ["话说天下大势，分久必合，合久必分。", "周末七国分争，并入于秦。", "及秦灭之后，楚、汉分争，又并入于汉。"]
TAIWAN = ["這個問題是說明為什麼我們會在這裡，", "國家對於學生的時間。"]
JAPANESE = ["時間を選択してください。", "これは日本語の文章です。"]
ENGLISH = ["It was the best of times, it was the worst of times."]
FRENCH = ["C’était le meilleur des temps, c’était le pire des temps.", "Où êtes-vous allés hier après-midi ?", "Oui."]
GERMAN = ["Das ist schön, und größer als früher.", "Man könnte es glauben."]


def lines_of(text: list[str], count: int, ends: str = "\n") -> list[str]:
    return [text[number % len(text)] + ends for number in range(count)]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("encoding", "said", "text"),
    [
        ("utf-8", "utf-8", CHINESE),
        ("utf-8", "utf-8", FRENCH),
        ("utf-8", "utf-8", ENGLISH),
        ("gb18030", "gb18030", CHINESE),
        ("big5", "cp950", TAIWAN),
        ("euc_jp", "euc_jp", JAPANESE),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.txt.gz"])
def test_a_bad_byte_costs_its_line(
    reads: Reads, encoding: str, said: str, text: list[str], ends: str, name: str
) -> None:
    lines = [line.encode(encoding) for line in lines_of(text, 60, ends)]
    at = len(b"".join(lines[:30]))
    lines[30] = b"\xff" + lines[30]
    content = b"".join(lines)
    kept, lost = reads(name, gzip.compress(content) if name.endswith("gz") else content)
    assert isinstance(kept, Raw) and isinstance(lost, Rejected)
    expected = lines_of(text, 60, ends)
    assert kept.text == "".join(expected[:30] + expected[31:])
    assert kept.fields == {"lost_parts": "1"} | ({} if said == "utf-8" else {"encoding": said})
    assert (lost.number, lost.offset) == (1, at)
    assert lost.reason in ("not UTF-8", "not in its encoding", "unknown encoding")
    assert lost.detail.startswith(f"at byte {at}: 0xff")


def test_each_damaged_line_is_a_loss_of_its_own(reads: Reads) -> None:
    lines = [line.encode() for line in lines_of(CHINESE, 90)]
    starts = {number: len(b"".join(lines[:number])) for number in (5, 50, 51)}
    bad = {5: lines[5][1:], 50: lines[50][:-1] + b"\xe5\n", 51: b"a\0" + lines[51]}
    starts = {5: starts[5], 50: starts[50] - 1, 51: starts[51]}
    content = b"".join(bad.get(number, line) for number, line in enumerate(lines))
    kept, *lost = reads("a.txt", content)
    assert isinstance(kept, Raw)
    assert kept.text == "".join(line for number, line in enumerate(lines_of(CHINESE, 90)) if number not in bad)
    assert [(each.number, each.offset) for each in lost] == list(enumerate(starts.values(), 1))
    assert [each.reason for each in lost if isinstance(each, Rejected)] == ["not UTF-8", "not UTF-8", "binary"]
    assert kept.fields == {"lost_parts": "3"}


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
@pytest.mark.parametrize("packing", [gzip, lzma])
def test_a_packed_text_that_is_cut_keeps_what_comes_before(reads: Reads, name: str, packing: Any) -> None:
    chance = random.Random(5)
    text = "".join(chance.choice("天下大势分久必合合久必分周末七国\n") for _ in range(60_000))
    packed = packing.compress(text.encode())
    ending = {gzip: "gz", lzma: "xz"}[packing]
    kept, *lost = reads(f"{name}.{ending}", packed[: len(packed) * 9 // 10])
    assert isinstance(kept, Raw) and text.startswith(kept.text) and len(kept.text) > len(text) // 2
    assert kept.fields == {"lost_parts": str(len(lost))} and lost[-1].reason.startswith("truncated")
    assert abs((lost[-1].offset or 0) - len(kept.text.encode())) < 4
    (broken,) = reads(f"{name}.{ending}", packed[:-8] + b"sum?" + packed[-4:])
    assert isinstance(broken, Rejected) and broken.reason.startswith("damaged"), "any of it may be wrong"
    (whole,) = reads(f"{name}.{ending}", packed[:20])
    assert isinstance(whole, Rejected) and whole.reason.startswith("truncated")
    (bomb,) = reads(f"{name}.{ending}", packed, unpacked_bytes=50_000)
    assert isinstance(bomb, Rejected) and bomb.reason == "unpacks to too much"


def test_a_hole_of_a_disk_in_a_novel(reads: Reads) -> None:
    text = "".join(lines_of(ENGLISH, 900)).encode()
    kept, lost = reads("a.txt", text[:20_000] + bytes(4096) + text[24_096:])
    assert isinstance(kept, Raw) and isinstance(lost, Rejected) and lost.reason == "binary"
    assert set(kept.text.splitlines()) == set(ENGLISH) and lost.offset is not None and 19_900 < lost.offset <= 20_000


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("cp1250", "Zażółć gęślą jaźń, proszę państwa.\nplain\n"), ("cp1253", "Εν αρχή ην ο λόγος.\nplain\n")],
)
def test_another_encoding_costs_the_file(reads: Reads, encoding: str, text: str) -> None:
    (lost,) = reads("a.txt", text.encode(encoding) * 100)
    assert isinstance(lost, Rejected) and lost.reason == "unknown encoding"
    (lost,) = reads("a.txt", (GERMAN[0] + "\nplain\n").encode("cp1252") * 100, encoding="utf-8")
    assert isinstance(lost, Rejected) and lost.reason == "not UTF-8"


def test_two_encodings_in_one_file_are_not_guessed(reads: Reads) -> None:
    chinese = "".join(lines_of(CHINESE, 100)).encode()
    for share, kept in ((2, True), (100, False)):
        polish = "Zażółć gęślą jaźń\n".encode("cp1250") * share
        records = reads("a.txt", chinese + polish)
        assert isinstance(records[0], Raw) is kept, "few lines are lost alone, of many it is not known what they are"
        if kept:
            assert records[0].text == "".join(lines_of(CHINESE, 100)) and len(records) == 1 + share


def test_behind_a_byte_too_few_wide_text_is_lost_whole(reads: Reads) -> None:
    content = ("\ufeff" + "".join(lines_of(CHINESE, 90))).encode("utf-16-le")
    (lost,) = reads("a.txt", content[:501] + content[502:])
    assert isinstance(lost, Rejected)


def test_binary_files_are_lost_whole(reads: Reads) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", bytes(range(256)) * 99 + "".join(lines_of(CHINESE, 99)).encode("utf-16"))
    program = Path("/proc/self/exe").read_bytes()[:300_000]
    for content in (packed.getvalue(), program, "wide text\n".encode("utf-16-le")[1:] * 99):
        (lost,) = reads("a.txt", content)
        assert isinstance(lost, Rejected) and lost.reason in ("binary", "unknown encoding", "not in its encoding")


def test_of_what_is_mostly_bad_a_part_is_looked_at(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[bytes] = []

    def counting(line: bytes, own: str | None, wanted: Wanted) -> tuple[str, str] | None:
        lines.append(line)
        return of_line(line, own, wanted)

    of_line = whole._of_line
    monkeypatch.setattr(whole, "_of_line", counting)
    for noise in (random.Random(5).randbytes(90_000), random.Random(5).randbytes(90_000).replace(b"\0", b"\1")):
        lines.clear()
        (lost,) = reads("a.txt", noise)
        assert isinstance(lost, Rejected) and 0 < sum(map(len, lines)) < 45_000
    monkeypatch.setattr("danlu.readers.markup.marked", lambda *_: pytest.fail("each bad byte of it is marked"))
    for page in (noise, bytes(90_000)):
        (lost,) = reads("a.html", page)
        assert isinstance(lost, Rejected) and lost.reason in ("binary", "unknown encoding")


PAGE = "<html><head><title>{title}</title><script>{script}</script></head><body><article>{text}</article></body></html>"


@pytest.mark.parametrize("html", ["main", "all", "trafilatura"])
@pytest.mark.parametrize(("encoding", "text"), [("utf-8", CHINESE), ("gb18030", CHINESE), ("utf-8", ENGLISH)])
def test_a_bad_byte_in_a_page_costs_its_paragraph(reads: Reads, html: str, encoding: str, text: list[str]) -> None:
    paragraphs = [f"{text[number % len(text)]} {number}" for number in range(60)]
    page = PAGE.format(title="T", script="s", text="".join(f"<p>{each}</p>\n" for each in paragraphs)).encode(encoding)
    at = page.index(b" 30</p>")
    for bad, invalid in ((b"\xff", "quarantine"), (b"\0", "quarantine"), (b"\0", "replace")):
        kept, lost = reads("a.html", page[:at] + bad + page[at:], html=html, invalid=invalid)
        assert isinstance(kept, Raw) and isinstance(lost, Rejected)
        assert kept.text.split("\n") == [each for each in kept.text.split("\n") if "\ufffc" not in each]
        assert [each for each in paragraphs if each not in kept.text] == [paragraphs[30]]
        assert (lost.number, lost.offset) == (1, at) and lost.detail.startswith(f"at byte {at}")
        assert kept.fields == {"title": "T", "lost_parts": "1"} | (
            {"encoding": encoding} if encoding != "utf-8" else {}
        )


def test_damage_around_the_text_of_a_page(reads: Reads) -> None:
    text = "".join(f"<p>{line}</p>" for line in lines_of(CHINESE, 30, ""))
    page = PAGE.format(title="题T", script="SCRIPT", text=text).encode()
    (whole,) = reads("a.html", page)
    (kept,) = reads("a.html", page.replace(b"SCRIPT", b"\xff\xfe\0"))
    assert kept == whole, "nothing of the text is lost"
    kept, lost = reads("a.html", page.replace("题".encode(), b"\xe9\x98"))
    assert isinstance(kept, Raw) and isinstance(lost, Rejected)
    assert kept.text == whole.text and kept.fields == {"lost_parts": "1"} and lost.detail.endswith("in the title")


def test_pages_of_the_web_lose_their_paragraph(reads: Reads) -> None:
    text = "".join(f"<p>{line}</p>" for line in lines_of(CHINESE, 30, "")).encode() + b"<p>an \xff</p>"
    pages = [b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page for page in (text, text[:-11])]
    warc = b"".join(
        b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a/%d\r\nContent-Type: application/http\r\n"
        b"Content-Length: %d\r\n\r\n%s\r\n\r\n" % (number, len(page), page)
        for number, page in enumerate(pages)
    )
    damaged, lost, whole = reads("a.warc", warc)
    assert isinstance(damaged, Raw) and isinstance(lost, Rejected) and isinstance(whole, Raw)
    assert damaged.text.strip() == whole.text.strip() and damaged.fields["lost_parts"] == "1"
    assert (lost.number, lost.offset) == (damaged.number, 0) == (0, damaged.offset)
    assert lost.detail == f"at byte {text.index(255)}: 0xff in http://a/0"


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_bad_byte_in_a_list_of_json_costs_its_value(reads: Reads, encoding: str) -> None:
    rows = [{"text": f"{CHINESE[number % 3]} {number}", "n": number} for number in range(60)]
    content = json.dumps(rows, ensure_ascii=False).encode(encoding)
    at = content.index(b' 30"')
    records = reads("a.json", content[:at] + b"\xff" + content[at:])
    (lost,) = [record for record in records if isinstance(record, Rejected)]
    assert [record.text for record in records if isinstance(record, Raw)] == [
        row["text"] for row in rows if row["n"] != 30
    ]
    assert lost.number == 30 and lost.detail == f"at byte {at}: 0xff"
    assert lost.offset == content.rindex(b"{", 0, at)
    offsets = [record.offset or 0 for record in records]
    assert all((content[:at] + b"\xff" + content[at:])[offset : offset + 1] == b"{" for offset in offsets)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("utf-8", CHINESE), ("gbk", CHINESE), ("gb18030", CHINESE), ("big5", TAIWAN), ("euc_jp", JAPANESE)],
)
def test_bad_bytes_in_a_list_of_json_are_replaced_where_that_is_asked(
    reads: Reads, encoding: str, text: list[str]
) -> None:
    rows = [{"text": f"{text[number % len(text)]} {number}"} for number in range(9)]
    content = json.dumps(rows, ensure_ascii=False).encode(encoding)
    at = content.index(b' 4"')
    damaged = content[:at] + b"\xff\xff" + content[at:]
    records = reads("a.json", damaged, invalid="replace", encoding=encoding)
    assert [record.text for record in records if isinstance(record, Raw)] == [
        row["text"] for row in json.loads(damaged.decode(encoding, "replace"))
    ]
    starts = [damaged.rindex(b"{", 0, damaged.index(b' %d"' % number)) for number in range(9)]
    assert [record.offset for record in records] == starts


@pytest.mark.parametrize("before", [0, 70_000])
@pytest.mark.parametrize("invalid", ["quarantine", "replace"])
def test_a_nul_in_a_list_of_json_costs_its_value(reads: Reads, before: int, invalid: str) -> None:
    rows = [{"text": "x" * before}, {"text": CHINESE[0] + "NUL"}, {"text": CHINESE[1]}]
    content = json.dumps(rows, ensure_ascii=False).encode().replace(b"NUL", b"\0")
    at = content.index(b"\0")
    lost = Rejected(1, "binary", f"NUL at byte {at}")
    assert reads("a.json", content, invalid=invalid) == [Raw(0, "x" * before), lost, Raw(2, CHINESE[1])]


BAD = [b"\xff", b"\xc0", b"\0", b"\xf8\xf9", b"\xed\xa0\x80"]


@given(
    st.integers(40, 80).map(lambda count: [CHINESE[number % 3] * (number % 5 > 0) for number in range(count)]),
    st.lists(st.tuples(st.integers(0, 5000), st.sampled_from(BAD)), max_size=2),
)
@example([*CHINESE] * 20, [(0, b"\xff"), (1, b"\0")])
def test_what_is_kept_and_what_is_lost_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], damage: list[tuple[int, bytes]]
) -> None:
    content = "".join(f"{line}{CHINESE[0]}\n" for line in lines).encode()
    for place, bad in damage:
        content = content[:place] + bad + content[place:]
    path = tmp_path_factory.mktemp("damaged") / "a.txt"
    path.write_bytes(content)
    kept, *lost = read(LocalFile(path), Wanted())
    if isinstance(kept, Rejected):
        assert not lost and len(damage) == 2, "two lines of forty are much where a character is at stake"
        return
    rest = content.splitlines(keepends=True)
    for each in sorted(lost, key=lambda each: -(each.offset or 0)):
        start = each.offset or 0
        line = rest.pop(content[:start].count(b"\n"))
        assert content.startswith(line, start) and any(bad in line for _, bad in damage)
    assert kept.text.encode() == b"".join(rest)
    assert len(lost) <= len(damage) and [each.number for each in lost] == list(range(1, len(lost) + 1))


@given(st.binary(max_size=200), st.sampled_from(["utf-8", "gb18030", "big5hkscs", "cp1252", "cp949"]))
def test_marks_say_where_bad_bytes_are(content: bytes, encoding: str) -> None:
    text = marked(content, encoding)
    if text is None:
        assert b"\0" in content and encoding == "cp1252"
        return
    places = marks(text)
    assert without_marks(text) == content.replace(b"\0", b"\xff" * (b"\0" in content)).decode(encoding, "ignore")
    assert places == sorted(places) and all(0 <= place < len(content) for place in places)
    assert {place for place, byte in enumerate(content) if byte == 0 and encoding == "utf-8"} <= set(places)


def test_how_much_is_damage() -> None:
    assert is_damage(Damage(bad=10, beyond=100, lost=49, total=100), "utf-8")
    assert not is_damage(Damage(bad=10, beyond=100, lost=51, total=100), "utf-8")
    assert not is_damage(Damage(bad=11, beyond=100, lost=20, total=100), "utf-8")
    assert is_damage(Damage(bad=11, beyond=11, lost=5, total=100), "utf-8")
    assert is_damage(Damage(bad=11, beyond=11, lost=5, total=100), None)
    assert not is_damage(Damage(bad=11, beyond=11, lost=5, total=100), "gb18030")
    assert not is_damage(Damage(bad=2, beyond=100, lost=2, total=100), "gb18030")
    assert is_damage(Damage(bad=1, beyond=100, lost=20, total=100), "gb18030")
    assert not is_damage(Damage(bad=0, beyond=100, lost=0, total=0), "utf-8"), "no text, no damage"
