"""The cache of stores elsewhere: what lies in it is what was written, and what was looked at last stays longest."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import pytest
from small_stores import BYTES, SHARD, cached, write

from danlu.corpus import elsewhere
from danlu.corpus.description import read_description
from danlu.corpus.elsewhere import Elsewhere, ShardCache, bring
from danlu.corpus.hashes import Hashes
from danlu.corpus.store import TokenStore, hashes_of
from danlu.errors import InputError
from danlu.readers.remote import RemoteFile


def shards(here: Path) -> ShardCache:
    place = Elsewhere.read(here)
    assert place is not None
    return ShardCache(place, hashes_of(here, read_description(here)))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read at the address, one after the other."""
    found: list[str] = []
    real = RemoteFile.after

    def after(file: RemoteFile, place: int) -> BinaryIO:
        found.append(f"{file.name} from {place}")
        return real(file, place)

    monkeypatch.setattr(RemoteFile, "after", after)
    return found


def test_a_file_of_another_length_is_not_taken_for_the_shard(here: Path, opened: list[str]) -> None:
    """Cut as a copy of one's own hands may be, or grown; and one of the right length is not fetched again."""
    cache = shards(here)
    path = cache.fetch("tokens-00001.bin")
    whole = path.read_bytes()
    for content in (whole[:-2], b"", whole + b"\0\0"):
        path.write_bytes(content)
        assert cache.fetch("tokens-00001.bin").read_bytes() == whole
    assert cache.fetch("tokens-00001.bin") == path and opened == 4 * ["tokens-00001.bin from 0"]


def test_a_shard_that_is_damaged_in_the_cache_is_fetched_again(
    here: Path, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As a disk may do it between two runs; its length says nothing."""
    path = shards(here).fetch("tokens-00001.bin")
    whole = path.read_bytes()
    for place in (0, 1000, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert TokenStore.open(here).tokens[SHARD : 2 * SHARD].tobytes() == whole == path.read_bytes()
        line = f"{path} is damaged: bytes 0 to 1,999 are not what was written: it is fetched again\n"
        assert capsys.readouterr().out == line
    assert opened == 4 * ["tokens-00001.bin from 0"]


def test_a_shard_in_the_cache_is_read_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(here).fetch("tokens-00001.bin")
    read: list[str] = []
    real = Hashes.check
    monkeypatch.setattr(Hashes, "check", lambda self, path, name: read.append(name) or real(self, path, name))
    cache = shards(here)
    for name in ("tokens-00001.bin", "tokens-00002.bin") * 3:
        cache.fetch(name)
    assert read == ["tokens-00001.bin"], "the other one was compared as it came"


def test_a_copy_that_is_whole_but_for_its_name_only_gets_it(here: Path, opened: list[str]) -> None:
    """Killed between its last byte and its name; the shard ends within a block."""
    cache = shards(here)
    path = cache.fetch("tokens-00001.bin")
    whole = path.read_bytes()
    for behind in (b"", b"more", bytes(3 << 20)):
        path.unlink()
        path.with_name(".tokens-00001.bin.part").write_bytes(whole + behind)
        assert cache.fetch("tokens-00001.bin").read_bytes() == whole
    # what stands behind a last block that is short is read with it, so that this block is not what it should be
    assert opened == 3 * ["tokens-00001.bin from 0"]
    assert cached(here.parent) == ["tokens-00001.bin"]


def test_a_shard_that_is_cut_at_its_address_never_appears(
    here: Path, bucket: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("danlu.readers.remote.WAIT_SECONDS", 0.001)
    whole = bucket.cat("/stores/train/tokens-00002.bin")
    bucket.pipe("/stores/train/tokens-00002.bin", whole[:700])
    for _ in range(2):
        with pytest.raises(InputError, match=r"^cannot read memory://.*bin: ConnectionError: it ends after 700 of"):
            TokenStore.open(here).tokens[2001]
        assert cached(tmp_path) == []
    bucket.pipe("/stores/train/tokens-00002.bin", whole)
    assert TokenStore.open(here).tokens[2000:3000].tobytes() == whole


def test_what_was_looked_at_last_stays_longest_in_whichever_store(
    bucket: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    """Two stores, whose files are called alike, in one cache that holds three shards."""
    write(tmp_path / "second", documents=31)
    for path in (tmp_path / "second").iterdir():
        bucket.pipe(f"/stores/second/{path.name}", path.read_bytes())
    caches = {}
    for name in ("train", "second"):
        bring(f"memory://stores/{name}", tmp_path / f"here-{name}", tmp_path / "cache", 3 * BYTES)
        caches[name] = shards(tmp_path / f"here-{name}")
    assert caches["train"].folder != caches["second"].folder

    def fetch(name: str, shard: int, second: int) -> None:
        """Make the look one of that second, as far as it was one."""
        path = caches[name].fetch(f"tokens-{shard:05d}.bin")
        assert path.read_bytes() == bucket.cat(f"/stores/{name}/{path.name}")
        if path.stat().st_mtime > 1e6:
            os.utime(path, (second, second))

    for second, (name, shard) in enumerate([("train", 0), ("second", 0), ("train", 1), ("train", 0), ("second", 3)]):
        fetch(name, shard, second)
    held = sorted(str(path.relative_to(caches["train"].folder.parent)) for path in (tmp_path / "cache").glob("*/*.bin"))
    assert held == sorted([
        f"{caches['train'].folder.name}/tokens-00000.bin", f"{caches['train'].folder.name}/tokens-00001.bin",
        f"{caches['second'].folder.name}/tokens-00003.bin",
    ])  # fmt: skip


def test_whoever_comes_at_the_same_time_waits_for_the_one_copy(
    here: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight at once, and a store that takes its time."""
    slow = elsewhere.blocks

    def blocks(*arguments: Any) -> Iterator[bytes]:
        for block in slow(*arguments):
            time.sleep(0.05)
            yield block

    monkeypatch.setattr(elsewhere, "blocks", blocks)
    cache = shards(here)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.fetch("tokens-00004.bin").read_bytes(), range(8)))
    assert {len(content) for content in found} == {BYTES} and opened == ["tokens-00004.bin from 0"]
