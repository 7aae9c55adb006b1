"""Text files, whole and as streams, in any encoding, and what is longer than a record may be."""

from __future__ import annotations

import gzip
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.readers.reading import read
from danlu.readers.record import LocalFile, Raw, Rejected, Wanted
from danlu.text.cuts import Blocks, Lines, Paragraphs, Separated, Whole

Reads = Callable[..., list[Raw | Rejected]]
CHINESE = "话说天下大势，分久必合，合久必分。\n周末七国分争，并入于秦。\n"
JAPANESE = "時間を選択してください。\nこれは日本語の文章です。\n"


@pytest.mark.parametrize(
    ("encoding", "name", "text"),
    [
        ("gbk", "gb18030", CHINESE),
        ("big5", "cp950", "這個問題是說明為什麼我們會在這裡，\n國家對於學生的時間。\n"),
        ("shift_jis", "cp932", JAPANESE),
        ("euc_jp", "euc_jp", JAPANESE),
        ("cp1252", "cp1252", "Das ist schön,\nund größer als früher.\n"),
        ("iso2022_jp", "iso2022_jp_ext", JAPANESE),
        ("hz", "hz", CHINESE),
        ("utf-16-le", "utf-16-le", CHINESE),
        ("utf-16-be", "utf-16-be", CHINESE),
        ("utf-32-be", "utf-32-be", CHINESE),
    ],
)
def test_an_encoding_is_detected_and_said(reads: Reads, encoding: str, name: str, text: str) -> None:
    content = text.encode(encoding)
    assert reads("a.txt", content) == [Raw(0, text, {"encoding": name})]
    lines = text.splitlines(keepends=True)
    expected = [Raw(number, line, {"encoding": name}) for number, line in enumerate(lines)]
    records = reads("b.txt", content, documents=Lines())
    assert records == expected
    assert [record.offset for record in records] == [0, len(lines[0].encode(encoding))]
    assert reads("c.txt.gz", gzip.compress(content), documents=Lines()) == expected


def test_what_is_in_utf8_says_nothing(reads: Reads) -> None:
    assert reads("a.txt", "\ufeff" + CHINESE) == [Raw(0, "\ufeff" + CHINESE)]
    assert [record.text for record in reads("a.txt", CHINESE, documents=Lines())] == CHINESE.splitlines(keepends=True)


def test_what_is_uncertain_is_quarantined_with_what_would_help(reads: Reads) -> None:
    text = "Zażółć gęślą jaźń\nplain\nproszę państwa\n"
    (rejected,) = reads("a.txt", text.encode("cp1250"))
    assert isinstance(rejected, Rejected) and rejected.reason == "unknown encoding"
    assert (
        rejected.detail.startswith("at byte 2: 0xbf; it could be ") and "set encoding of the source" in rejected.detail
    )
    by_line = reads("a.txt", text.encode("cp1250"), documents=Lines())
    assert [type(record) for record in by_line] == [Rejected, Raw, Rejected]
    assert by_line[2].offset == 24 and by_line[1] == Raw(1, "plain\n")
    assert reads("a.txt", text.encode("cp1250"), encoding="cp1250") == [Raw(0, text, {"encoding": "cp1250"})]


def test_an_encoding_that_is_given_is_kept_to(reads: Reads) -> None:
    (rejected,) = reads("a.txt", CHINESE.encode(), encoding="ascii")
    assert rejected == Rejected(0, "not in its encoding", "at byte 0: 0xe8 is not ascii")
    assert reads("a.txt", "\ufeffa".encode("utf-16-be"), encoding="utf-16")[0].fields == {"encoding": "utf-16-be"}


@pytest.mark.parametrize("before", [0, 3, 9])
def test_bad_bytes_in_utf8_cost_their_line_or_are_replaced(reads: Reads, before: int) -> None:
    lines = [f"第{number}行，分久必合，合久必分。\n".encode() for number in range(10)]
    content = b"".join(lines)
    at = len(b"".join(lines[:before]))
    damaged = content[:at] + b"\xff" + content[at:]
    whole, lost = reads("a.txt", damaged)
    assert isinstance(whole, Raw) and whole.text.encode() == b"".join(lines[:before] + lines[before + 1 :])
    assert isinstance(lost, Rejected) and lost.reason == "not UTF-8" and lost.detail.startswith(f"at byte {at}: 0xff")
    by_line = reads("a.txt", damaged, documents=Lines())
    (bad,) = [record for record in by_line if isinstance(record, Rejected)]
    assert len(by_line) == 10 and bad.reason == "not UTF-8" and bad.detail.startswith(f"at byte {at}: ")
    (replaced,) = reads("a.txt", damaged, invalid="replace")
    assert replaced.text.replace("\ufffd", "") == content.decode() and replaced.text.count("\ufffd") == 1


def test_lines_of_two_encodings_in_one_file(reads: Reads) -> None:
    content = CHINESE.encode("gb18030") * 30 + CHINESE.encode() + b"ascii\n"
    records = reads("a.txt", content, documents=Lines())
    assert [record.text for record in records[-3:]] == [*CHINESE.splitlines(keepends=True), "ascii\n"]
    assert [record.fields for record in records[-4:]] == [{"encoding": "gb18030"}, {}, {}, {}]


@pytest.mark.parametrize("around", ["utf-8", "gb18030", "cp1252"])
@pytest.mark.parametrize("documents", [Whole(), Lines()])
def test_japanese_of_mail_among_others(reads: Reads, around: str, documents: object) -> None:
    other = "Das ist schön, und größer.\n" if around == "cp1252" else CHINESE
    content = b"Subject: ~{ {x}\n" + JAPANESE.encode("iso2022_jp") + other.encode(around)
    records = reads("a.txt", content, documents=documents)
    text = "".join(record.text for record in records if isinstance(record, Raw))
    assert text == "Subject: ~{ {x}\n" + JAPANESE + other


@pytest.mark.parametrize("first", ["utf-8", "gb18030"])
def test_files_of_two_encodings_that_were_joined(reads: Reads, first: str) -> None:
    other = {"utf-8": "gb18030", "gb18030": "utf-8"}[first]
    content = CHINESE.encode(first) * 30 + CHINESE.encode(other) * 2 + b"ascii\n"
    (whole,) = reads("a.txt", content)
    assert whole == Raw(0, CHINESE * 32 + "ascii\n", {"encoding": "gb18030"})
    by_line = reads("a.txt", content, documents=Lines())
    assert "".join(record.text for record in by_line) == CHINESE * 32 + "ascii\n"
    said = [record.fields.get("encoding", "utf-8") for record in by_line]
    assert said == [first] * 60 + [other] * 4 + ["utf-8"]
    damaged = content + b"\xff" + CHINESE.encode(first)
    kept, lost = reads("a.txt", damaged)
    assert isinstance(kept, Raw) and isinstance(lost, Rejected) and lost.offset == len(content)
    assert kept.text == CHINESE * 32 + "ascii\n" + CHINESE[CHINESE.index("\n") + 1 :]
    (replaced,) = reads("a.txt", damaged, invalid="replace")
    assert replaced.text.replace("\ufffd", "") == CHINESE * 32 + "ascii\n" + CHINESE
    kept, *lost = reads("a.txt", content, encoding=first)
    assert kept.text == CHINESE * 30 + "ascii\n" and len(lost) == 4, "what is given is kept to"


@pytest.mark.parametrize("documents", [Whole(), Lines()])
def test_what_another_encoding_can_decode_too_stays_utf8(reads: Reads, documents: object) -> None:
    line = "他们说的话我都听见了\n"
    assert line.encode().decode("gb18030") == "浠栦滑璇寸殑璇濇垜閮藉惉瑙佷簡\n", "no error, and no text"
    records = reads("a.txt", CHINESE.encode("gb18030") * 15 + line.encode(), documents=documents)
    assert "".join(record.text for record in records) == CHINESE * 15 + line


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", CHINESE * 9 + "脛脛脛脛\n"),
        ("gb18030", CHINESE * 9 + "影片学员，\n影片学员影片学员\n"),
        ("cp1252", "Das ist schön,\nund größer als früher.\n" * 9 + "Spaß”\nCAFÉ”\n"),
    ],
)
def test_what_is_valid_utf8_by_chance_stays(reads: Reads, encoding: str, text: str) -> None:
    (record,) = reads("a.txt", text.encode(encoding))
    assert record == Raw(0, text, {"encoding": encoding})


def test_a_few_letters_of_utf8_stay_among_others_with_a_byte_each(reads: Reads) -> None:
    before = "Das ist schön,\nund größer als früher.\n" * 30
    (record,) = reads("a.txt", before.encode("cp1252") + "à la carte\ncafé\n".encode())
    assert record.text == before + "à la carte\ncafé\n"


WORDS = re.findall(
    r"\S+",
    "联通 影片 学员 目前 我们 时间 中国 问题 说明 学生 国家 他们 听见 可以 没有 知道 现在 这个 的 了 是 一 大 不 。",
)
LINES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(lambda words: "".join(words) + "\n")


@given(st.lists(LINES, min_size=1, max_size=30))
def test_text_of_common_words_is_never_taken_for_utf8(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.mktemp("common") / "a.txt"
    path.write_bytes((CHINESE + "".join(lines)).encode("gb18030"))
    assert [*read(LocalFile(path), Wanted())] == [Raw(0, CHINESE + "".join(lines), {"encoding": "gb18030"})]


@given(st.lists(st.tuples(LINES.filter(lambda line: len(line) > 3), st.booleans()), max_size=30))
def test_lines_of_two_encodings_come_out_whole(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, bool]]
) -> None:
    path = tmp_path_factory.mktemp("mixed") / "a.txt"
    content = [line.encode("utf-8" if is_utf8 else "gb18030") for line, is_utf8 in lines]
    path.write_bytes(CHINESE.encode("gb18030") * 20 + b"".join(content))
    (record,) = read(LocalFile(path), Wanted())
    assert isinstance(record, Raw) and record.text == CHINESE * 20 + "".join(line for line, _ in lines)


def test_nuls(reads: Reads) -> None:
    assert reads("a.txt", b"one\ntw\0o\nthree\n") == [Rejected(0, "binary", "NUL at byte 6")]
    by_line = reads("a.txt", b"one\ntw\0o\nthree\n", documents=Lines())
    assert by_line == [Raw(0, "one\n"), Rejected(1, "binary", "a NUL in the text at byte 4"), Raw(2, "three\n")]
    (half,) = reads("a.txt", "a\n".encode("utf-16") + b"\x00\xd8b\0")  # half a surrogate pair
    assert isinstance(half, Rejected) and half.reason == "not in its encoding"


@pytest.mark.parametrize("documents", [Lines(), Paragraphs(), Blocks()])
def test_an_empty_file_has_no_documents(reads: Reads, documents: object) -> None:
    assert reads("a.txt", b"", documents=documents) == reads("a.txt", b"\n \n\r\n", documents=documents) == []


@given(st.text(st.sampled_from("ab \n\r\u3000é"), max_size=60))
def test_streams_give_the_documents_of_the_whole(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.txt"
    path.write_bytes(text.encode())
    for cut in (Lines(), Paragraphs()):
        records = list(read(LocalFile(path), Wanted(documents=cut)))
        pieces = [piece for record in records if isinstance(record, Raw) for piece in cut.pieces(record.text)]
        assert pieces == list(cut.pieces(text))
        offsets = [text.encode()[record.offset or 0 :].decode() for record in records]
        assert all(rest.startswith(record.text) for rest, record in zip(offsets, records, strict=True))
    blocks = list(read(LocalFile(path), Wanted(documents=Blocks(characters=5))))
    if text.strip():
        assert "".join(record.text for record in blocks).strip() == text.strip()


def test_a_long_line_is_passed_over_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n" + b"x" * 10_000_000 + b"\ntwo\n")
    tracemalloc.start()
    records = list(read(LocalFile(path), Wanted(documents=Lines(), record_bytes=1000)))
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    reason = "at byte 4: the line is longer than 1,000 bytes (record_bytes)"
    assert records == [Raw(0, "one\n"), Rejected(1, "too long", reason), Raw(2, "two\n")]
    assert records[2].offset == 10_000_005
    (whole,) = read(LocalFile(path), Wanted(record_bytes=1000))
    assert whole == Rejected(0, "too long", "the file is longer than 1,000 bytes (record_bytes)")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_two_halves_of_characters_are_no_line_end(reads: Reads, encoding: str) -> None:
    lines = ["\ufeff\u0a05一\n", "一\u0a05一二\n", "\u0100\u0a0a\n"]
    records = reads("a.txt", "".join(lines).encode(encoding), documents=Lines())
    assert [record.text for record in records] == lines


def test_a_long_line_of_wide_characters_is_passed_over(reads: Reads) -> None:
    content = ("one\n" + "长" * 100_000 + "\n二二 the end\n").encode("utf-16")
    records = reads("a.txt", content, documents=Lines(), record_bytes=1000)
    assert [type(record) for record in records] == [Raw, Rejected, Raw]
    assert records[2].text == "二二 the end\n" and records[2].offset == 10 + 200_002


def test_lines_that_part_documents_are_in_none(reads: Reads) -> None:
    stories = "＊＊＊\n一\n\n二\n ＊＊＊ \n＊＊＊\n\n＊＊＊\n三\n＊＊＊\n"
    records = reads("a.txt", stories, documents=Separated(line="＊＊＊"))
    assert records == [Raw(1, "一\n\n二\n"), Raw(8, "三\n")]
    assert [record.offset for record in records] == [len("＊＊＊\n".encode()), stories.encode().index("三".encode())]


@pytest.mark.parametrize("documents", [Paragraphs(), Separated(), Blocks(characters=10**6)])
def test_of_a_packed_file_that_is_cut_the_last_record_is_kept_up_to_there(reads: Reads, documents: object) -> None:
    text = "".join(f"line {number} {number * 7919 % 10007}\n" for number in range(9000))
    packed = gzip.compress(text.encode(), mtime=0)
    kept, cut = reads("a.txt.gz", packed[: len(packed) // 2], documents=documents)
    assert isinstance(kept, Raw) and text.startswith(kept.text) and len(kept.text) > len(text) // 4
    assert kept.text.endswith("\n") and kept.fields == {"lost_parts": "1"}
    assert isinstance(cut, Rejected) and cut.reason == "truncated gzip"
    (broken,) = reads("a.txt.gz", packed[:-8] + b"sum?" + packed[-4:], documents=documents)
    assert isinstance(broken, Rejected) and broken.reason.startswith("damaged"), "any of it may be wrong"


@pytest.mark.parametrize("documents", [Paragraphs(), Separated(), Blocks()])
def test_a_nul_costs_its_line_where_the_file_is_cut(reads: Reads, documents: object) -> None:
    records = reads("a.txt", b"one\ntw\0o\nthree\n", documents=documents)
    assert records == [Raw(0, "one\n"), Rejected(1, "binary", "a NUL in the text at byte 4"), Raw(2, "three\n")]


def test_a_paragraph_without_end_is_passed_over(reads: Reads) -> None:
    content = "one\ntwo\n\n" + "more\n" * 1000 + "\nthree\n"
    records = reads("a.txt", content, documents=Paragraphs(), record_bytes=100)
    assert [getattr(record, "text", None) for record in records] == ["one\ntwo\n\n", None, "three\n"]
    assert records[1].reason == "too long" and records[1].offset == 9


@pytest.mark.parametrize("cut", [0, 1, 5, 12, 40, -8, -1])
def test_a_truncated_gzip_keeps_the_lines_that_are_whole(reads: Reads, cut: int) -> None:
    lines = [f"line {number} " + "x" * number + "\n" for number in range(300)]
    packed = gzip.compress("".join(lines).encode(), mtime=0)
    *good, last = reads("a.txt.gz", packed[:cut], documents=Lines())
    assert isinstance(last, Rejected) and last.reason in ("truncated gzip", "damaged gzip")
    assert [record.text for record in good] == lines[: len(good)] and last.number == len(good)
