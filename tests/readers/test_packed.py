"""Packed streams: whole, of several members, cut short, with junk behind, damaged, and bombs."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danlu.readers import limits, packed
from danlu.readers.reading import read, unpacked
from danlu.readers.record import Damaged, LocalFile, Raw, Rejected, Wanted

LINES = [json.dumps({"text": f"line {number} 第{number}行"}, ensure_ascii=False) for number in range(2000)]
TEXT = "".join(f"{line}\n" for line in LINES).encode()
PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstd.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
NAMES = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}
endings = pytest.mark.parametrize("ending", PACK)


def records(path: Path, content: bytes, **wanted: int) -> list[Raw | Rejected]:
    path.write_bytes(content)
    return list(read(LocalFile(path), Wanted(**wanted)))  # type: ignore[arg-type]


def texts(found: list[Raw | Rejected]) -> list[str]:
    return [record.text for record in found if isinstance(record, Raw)]


def reasons(found: list[Raw | Rejected]) -> list[str]:
    return [record.reason for record in found if isinstance(record, Rejected)]


@endings
def test_members_behind_each_other_are_one_stream(tmp_path: Path, ending: str) -> None:
    pack = PACK[ending]
    half = len(TEXT) // 2
    found = records(tmp_path / f"a.jsonl{ending}", pack(TEXT[:half]) + pack(b"") + pack(TEXT[half:]) + bytes(64))
    assert texts(found) == [json.loads(line)["text"] for line in LINES]
    assert reasons(found) == []


@endings
@pytest.mark.parametrize("bits", [10, 20])
def test_a_long_stream_is_read_to_its_end(tmp_path: Path, ending: str, bits: int) -> None:
    """What a decoder holds back when its output is full may be nothing, as where blocks of zstd fill a buffer."""
    rng = Random(bits)
    words = [f"{rng.getrandbits(bits):x}" for _ in range(3000)]
    content = " ".join(rng.choices(words, k=700_000 // len(words[0]))).encode()
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(PACK[ending](content))
    with unpacked(LocalFile(path), Wanted()).open() as stream:
        assert stream.read() == content
    [found] = records(path, path.read_bytes())
    assert isinstance(found, Raw)
    assert found.text == content.decode()


@pytest.mark.parametrize(("command", "ending"), [("gzip", ".gz"), ("zstd", ".zst"), ("bzip2", ".bz2"), ("xz", ".xz")])
def test_what_the_command_line_packs_is_read(tmp_path: Path, command: str, ending: str) -> None:
    packed = subprocess.run([command, "-c"], input=TEXT, stdout=subprocess.PIPE, check=True).stdout
    assert len(texts(records(tmp_path / f"a.jsonl{ending}", packed))) == 2000


def test_a_long_window_of_zstd_is_read(tmp_path: Path) -> None:
    packed = subprocess.run(["zstd", "--long=31", "-c"], input=TEXT, stdout=subprocess.PIPE, check=True).stdout
    assert len(texts(records(tmp_path / "a.jsonl.zst", packed))) == 2000


@endings
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.999])
def test_of_a_stream_cut_short_the_whole_records_are_read(tmp_path: Path, ending: str, share: float) -> None:
    noise = [json.dumps({"text": gzip.compress(line.encode()).hex()}) for line in LINES]
    packed = PACK[ending]("\n".join(noise).encode())
    found = records(tmp_path / f"a.jsonl{ending}", packed[: int(share * len(packed))])
    assert texts(found) == [json.loads(line)["text"] for line in noise][: len(texts(found))]
    assert reasons(found) == [f"truncated {NAMES[ending]}"]
    if ending == ".gz":  # the others unpack blocks of 128 KiB and more at once
        assert len(texts(found)) >= 2000 * share * 0.8 - 50


def test_where_a_check_sum_is_wrong_what_came_before_is_said_to_be_in_doubt(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(TEXT))
    content[-8] ^= 1  # RFC 1952: CRC32, then the size
    found = records(tmp_path / "a.jsonl.gz", bytes(content))
    assert len(texts(found)) == len(LINES)
    assert isinstance(found[-1], Rejected)
    assert found[-1].detail.endswith("after 2000 records, of which the last may be altered")
    cut = records(tmp_path / "b.jsonl.gz", gzip.compress(TEXT)[:-4])[-1]
    assert isinstance(cut, Rejected) and cut.detail.endswith("after 2000 records")


@endings
def test_half_a_text_does_not_pass_for_the_whole(tmp_path: Path, ending: str) -> None:
    packed = PACK[ending](os.urandom(300_000).hex().encode())
    assert reasons(records(tmp_path / f"a.txt{ending}", packed[:-20])) == [f"truncated {NAMES[ending]}"]
    assert len(texts(records(tmp_path / f"a.txt{ending}", packed))) == 1


@endings
def test_junk_behind_the_stream_is_told_and_nothing_before_it_lost(tmp_path: Path, ending: str) -> None:
    found = records(tmp_path / f"a.jsonl{ending}", PACK[ending](TEXT) + b"\0\0junk")
    assert len(texts(found)) == 2000
    assert reasons(found) == [f"junk after {NAMES[ending]}"]


@endings
def test_what_is_not_packed_is_told(tmp_path: Path, ending: str) -> None:
    found = records(tmp_path / f"a.jsonl{ending}", TEXT)
    assert reasons(found) == [f"not {NAMES[ending]}"]


@endings
def test_a_bomb_is_cut_off(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PLAIN_BYTES", 1 << 20)
    monkeypatch.setattr("danlu.readers.packed.OUTPUT_BYTES", 1 << 16)
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(PACK[ending](bytes(40_000_000)))
    tracemalloc.start()
    with unpacked(LocalFile(path), Wanted(unpacked_ratio=100)).open() as stream:
        given = 0
        with pytest.raises(Damaged) as error:
            while piece := stream.read(1 << 16):
                given += len(piece)
    assert error.value.reason == "unpacks to too much"
    assert given <= max(1 << 20, 100 * path.stat().st_size)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    found = records(path, PACK[ending](TEXT), unpacked_bytes=50_000)
    assert reasons(found) == ["unpacks to too much"]


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_flipped_bytes_come_out_as_rejected(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    ending = data.draw(st.sampled_from(sorted(PACK)))
    packed = bytearray(PACK[ending](TEXT[:6000]) * 2)
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(packed) - 1), st.integers(0, 255)), max_size=4)
    ):
        packed[place] = value
    found = records(tmp_path_factory.mktemp("a") / f"a.jsonl{ending}", bytes(packed))
    assert len(found) <= 2000


def test_want_of_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short:
        eof, needs_input, unused_data = False, True, b""

        def decompress(self, data: bytes, max_length: int = -1) -> bytes:
            raise MemoryError

    path = tmp_path / "a.txt.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd and more")
    monkeypatch.setitem(packed.PACKINGS, "zstd", replace(packed.PACKINGS["zstd"], make=Short))
    with pytest.raises(MemoryError):
        list(read(LocalFile(path), Wanted()))
