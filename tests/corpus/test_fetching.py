"""That something is fetched is seen from outside, with every piece that comes."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from small_stores import cached

from danlu.corpus import elsewhere
from danlu.corpus.fetching import Fetches, fetching, queued, under_way
from danlu.corpus.store import TokenStore


def since(before: Fetches) -> tuple[int, int, int]:
    now = under_way()
    return now.fetching, now.queued, now.pieces - before.pieces


def test_each_of_several_threads_counts() -> None:
    before = under_way()
    with fetching(), queued():
        with fetching():
            assert since(before) == (2, 1, 0)
        assert since(before) == (1, 1, 1)
    assert since(before) == (0, 0, 3)


def test_one_that_fails_is_over() -> None:
    before = under_way()
    with pytest.raises(ConnectionError), fetching():
        raise ConnectionError
    assert since(before) == (0, 0, 1)


def test_a_shard_counts_block_by_block(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int, int]] = []
    real, before = elsewhere.blocks, under_way()

    def blocks(*arguments: Any) -> Iterator[bytes]:
        [whole] = real(*arguments)
        for place in range(0, len(whole), 500):
            seen.append(since(before))
            yield whole[place : place + 500]

    monkeypatch.setattr(elsewhere, "blocks", blocks)
    assert len(TokenStore.open(here).tokens[:5]) == 5
    # the wait for the cache, which nobody else uses, is over when the first piece is asked for
    assert seen == [(1, 0, 1 + pieces) for pieces in range(len(seen))] and len(seen) == 4
    assert since(before) == (0, 0, 6)


def test_who_waits_for_the_cache_is_seen_to_wait(here: Path, bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    before, store = under_way(), TokenStore.open(here)
    (tmp_path / "cache").mkdir(exist_ok=True)
    with (tmp_path / "cache" / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: store.tokens[:5])
        thread.start()
        until = time.monotonic() + 10
        while since(before) != (0, 1, 0):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert cached(tmp_path) == []
    thread.join()
    assert since(before)[:2] == (0, 0) and cached(tmp_path) == ["tokens-00000.bin"]
