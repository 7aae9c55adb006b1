"""Archives: members of every kind of name, links, bombs, damage; nothing is written under a member's name."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.readers import limits
from danlu.readers.reading import read
from danlu.readers.record import LocalFile, Raw, Rejected, Wanted

LINES = "".join(json.dumps({"text": f"line {number}"}) + "\n" for number in range(500))
FILES = {"a.txt": "A text.", "b/c.jsonl": LINES, "b/第一章.txt": "从前有一座山。"}


def make_zip(files: dict[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def make_tar(files: dict[str, str | bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def records(path: Path, content: bytes, **wanted: int) -> list[Raw | Rejected]:
    path.write_bytes(content)
    return list(read(LocalFile(path), Wanted(**wanted)))  # type: ignore[arg-type]


def texts(found: list[Raw | Rejected]) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for record in found:
        if isinstance(record, Raw):
            members.setdefault(record.member, []).append(record.text)
    return members


def reasons(found: list[Raw | Rejected]) -> list[tuple[str, str]]:
    return [(record.member, record.reason) for record in found if isinstance(record, Rejected)]


WHOLE = {
    "a.txt": ["A text."],
    "b/c.jsonl": [f"line {number}" for number in range(500)],
    "b/第一章.txt": ["从前有一座山。"],
}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_in_every_method_of_zipfile(tmp_path: Path, method: int) -> None:
    found = records(tmp_path / "a.zip", make_zip(dict(FILES), method))
    assert texts(found) == WHOLE
    assert reasons(found) == []


def test_zip64_written_as_a_stream(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A text.")
    with (tmp_path / "a.zip").open("wb") as out:
        subprocess.run(["zip", "-q", "-fz", "-", "a.txt"], cwd=tmp_path, stdout=out, check=True)
    whole = (tmp_path / "a.zip").read_bytes()
    assert texts(records(tmp_path / "b.zip", whole)) == {"a.txt": ["A text."]}
    cut = records(tmp_path / "c.zip", whole[: whole.index(b"PK\1\2")])
    assert texts(cut) == {"a.txt": ["A text."]}
    assert reasons(cut) == [("", "damaged zip")]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz", ".tar.zst"])
def test_tar_in_every_form(tmp_path: Path, form: int, ending: str) -> None:
    long = "深" * 30 + "/" + "x" * 80 + ".txt"
    files = dict(FILES) if form == tarfile.USTAR_FORMAT else {**FILES, long: "deep"}
    packed = make_tar(files, form)
    packed = gzip.compress(packed) if ending in (".tar.gz", ".tgz") else packed
    packed = zstd.compress(packed) if ending == ".tar.zst" else packed
    found = records(tmp_path / f"a{ending}", packed)
    assert texts(found) == (WHOLE if form == tarfile.USTAR_FORMAT else {**WHOLE, long: ["deep"]})
    assert reasons(found) == []


def test_what_the_tar_command_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("A text.")
    subprocess.run(["tar", "-czf", "a.tar.gz", "in"], cwd=tmp_path, check=True)
    assert texts(list(read(LocalFile(tmp_path / "a.tar.gz"), Wanted()))) == {"in/a.txt": ["A text."]}


@pytest.mark.parametrize("encoding", ["gbk", "cp932"])
def test_names_that_windows_writes(tmp_path: Path, encoding: str) -> None:
    name = {"gbk": "中文小说/第一章 我们的故事.txt", "cp932": "日本語の小説/これは物語の始まりです.txt"}[encoding]
    raw = name.encode(encoding)
    packed = make_zip({"x" * len(raw): "A text."}).replace(b"x" * len(raw), raw)
    assert texts(records(tmp_path / "a.zip", packed)) == {name: ["A text."]}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_lead_out_of_the_archive_are_labels(tmp_path: Path, make: object) -> None:
    (tmp_path / "in").mkdir()
    before = sorted(tmp_path.rglob("*"))
    names = ["../../out.txt", "/etc/passwd.txt", "..\\out.txt", "a.txt"]
    kind = ".zip" if make is make_zip else ".tar"
    found = records(tmp_path / "in" / f"a{kind}", make({name: name for name in names}))  # type: ignore[operator]
    assert sorted(text for [text] in texts(found).values()) == sorted(names)
    assert sorted(tmp_path.rglob("*")) == [*before, tmp_path / "in" / f"a{kind}"]
    assert not Path("/etc/passwd.txt").exists()


def test_links_devices_and_doubles(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind, name in ((tarfile.SYMTYPE, "a.txt"), (tarfile.LNKTYPE, "b.txt"), (tarfile.CHRTYPE, "c.txt")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for text in (b"one", b"two"):
            info = tarfile.TarInfo("d.txt")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    found = records(tmp_path / "a.tar", out.getvalue())
    assert texts(found) == {"d.txt": ["one"], "d.txt~2": ["two"]}
    wanted = [("a.txt", "link in an archive"), ("b.txt", "link in an archive"), ("c.txt", "device in an archive")]
    assert reasons(found) == wanted


def test_hidden_members_and_unknown_kinds_are_told_once(tmp_path: Path) -> None:
    names = ["__MACOSX/._a.txt", ".git/config.txt", "a.jpg", "b.jpg", "c", "a.txt"]
    found = records(tmp_path / "a.zip", make_zip(dict.fromkeys(names, "A text.")))
    assert texts(found) == {"a.txt": ["A text."]}
    [rejected] = [record for record in found if isinstance(record, Rejected)]
    assert rejected.reason == "archive members that no reader takes"
    assert rejected.detail == "5 members: hidden 2, .jpg 2, no ending 1"


def test_archives_in_archives_to_a_depth(tmp_path: Path) -> None:
    inner = make_zip({"a.txt": "A text."})
    for level in range(3):
        inner = (
            make_tar({f"{level}.zip": inner})
            if level == 1
            else make_zip({f"{level}.{'tar' if level == 2 else 'zip'}": inner})
        )
    found = records(tmp_path / "a.zip", inner)
    assert texts(found) == {"2.tar!/1.zip!/0.zip!/a.txt": ["A text."]}
    found = records(tmp_path / "a.zip", inner, archive_depth=3)
    assert reasons(found) == [("2.tar!/1.zip!/0.zip", "archives nested too deep")]


def test_encrypted_members_are_quarantined(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("secret")
    (tmp_path / "b.txt").write_text("open")
    subprocess.run(["zip", "-q", "-P", "x", "a.zip", "a.txt"], cwd=tmp_path, check=True)
    subprocess.run(["zip", "-q", "a.zip", "b.txt"], cwd=tmp_path, check=True)
    found = list(read(LocalFile(tmp_path / "a.zip"), Wanted()))
    assert texts(found) == {"b.txt": ["open"]}
    assert reasons(found) == [("a.txt", "encrypted")]


def test_a_bomb_of_archives_is_cut_off_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PLAIN_BYTES", 3_000_000)
    bottom = make_zip({"0.txt": bytes(1_000_000)})
    inner = make_zip({f"{number}.zip": bottom for number in range(16)})
    found = records(tmp_path / "a.zip", make_zip({f"{number}.zip": inner for number in range(16)}), unpacked_ratio=10)
    assert [reason for _, reason in reasons(found)] == ["binary", "binary", "unpacks to too much"]  # and no more of 256


def overlapping(count: int) -> bytes:
    """Full overlap as in D. Fifield, A better zip bomb, section 2: many names in the directory, one member."""
    name, data = b"0.txt", zlib.compress(b"a" * 100_000, 9)[2:-4]
    fixed = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, zlib.crc32(b"a" * 100_000), len(data), 100_000, len(name), 0)
    local = b"PK\3\4" + fixed + name + data
    tail = struct.pack("<HHHII", 0, 0, 0, 0, 0)
    names = [b"%d.txt" % number for number in range(count)]
    directory = b"".join(b"PK\1\2" + struct.pack("<H", 20) + fixed + tail + each for each in names)
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(local), 0)
    return local + directory + end


def test_members_that_lie_on_one_another_are_not_read(tmp_path: Path) -> None:
    assert texts(records(tmp_path / "b.zip", overlapping(1))) == {"0.txt": ["a" * 100_000]}
    found = records(tmp_path / "a.zip", overlapping(9))
    assert {reason for _, reason in reasons(found)} == {"overlapping zip members"}
    assert len(found) == 9


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.97])
def test_of_an_archive_cut_short_the_whole_is_read(tmp_path: Path, make: object, share: float) -> None:
    files = {f"{number}.jsonl": os.urandom(2000).hex() + "\n" + LINES for number in range(20)}
    whole: bytes = make(files)  # type: ignore[operator]
    found = records(tmp_path / ("a.zip" if make is make_zip else "a.tar"), whole[: int(share * len(whole))])
    members = texts(found)
    assert [name for name, lines in members.items() if len(lines) == 500][: int(20 * share)] == [*files][
        : int(20 * share)
    ]
    assert len(members) >= int(19 * share)
    if len(members) == 20 and len([*members.values()][-1]) == 500:
        return  # what was cut off is the padding behind the end
    assert {reason.split()[0] for _, reason in reasons(found)} & {"truncated", "damaged", "not"}


def test_damage_in_one_header_of_tar_loses_that_member_alone(tmp_path: Path) -> None:
    packed = bytearray(make_tar({f"{number}.txt": f"text {number}" for number in range(5)}))
    packed[2 * 1024 + 3] ^= 0xFF
    found = records(tmp_path / "a.tar", bytes(packed))
    assert sorted(texts(found)) == ["0.txt", "1.txt", "3.txt", "4.txt"]
    assert reasons(found) == [("", "damaged tar")]


def test_a_wrong_check_sum_is_told(tmp_path: Path) -> None:
    packed = make_zip({"a.txt": "A text.", "b.txt": "B text."}, zipfile.ZIP_STORED).replace(b"A text.", b"A texT.")
    found = records(tmp_path / "a.zip", packed)
    assert texts(found) == {"b.txt": ["B text."]}
    assert reasons(found) == [("a.txt", "damaged zip member")]


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_flipped_bytes_come_out_as_rejected(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    inner = make_zip({"a.txt": "A text."})
    kind = data.draw(st.sampled_from([".zip", ".tar", ".tar.gz"]))
    files = {**FILES, "inner.zip": inner, "d.txt.gz": gzip.compress(b"packed")}
    packed = bytearray(make_zip(files) if kind == ".zip" else make_tar(files))
    places = st.one_of(st.integers(0, len(packed) - 1), st.integers(max(0, len(packed) - 600), len(packed) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        packed[place] = value
    content = gzip.compress(bytes(packed)) if kind == ".tar.gz" else bytes(packed)
    found = records(tmp_path_factory.mktemp("a") / f"a{kind}", content)
    assert len(found) < 1200
