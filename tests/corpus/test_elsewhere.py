"""Stores elsewhere: shards come when they are looked at, whole and as they were written, and not too many stay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from danlu.corpus import elsewhere
from danlu.corpus.elsewhere import bring
from danlu.corpus.pack import Pack
from danlu.corpus.reading import Stream
from danlu.corpus.rows import Ints, Widths
from danlu.corpus.store import StoreWriter, TokenStore, check_store
from danlu.errors import InputError, RecipeError
from danlu.recipe import Recipe, build
from danlu.runs import Job
from danlu.text.document import Document
from danlu.tokenizers.char import Char

SHARD = 1000
BYTES = 2 * SHARD


def write(folder: Path, *, vocab_size: int = 500, documents: int = 30) -> None:
    chance = np.random.default_rng(1)
    with StoreWriter(folder, vocab_size=vocab_size, eot=0, marks=["words"], shard_tokens=SHARD) as writer:
        for number in range(documents):
            ids = chance.integers(1, vocab_size, 200).astype("<u2")
            meta = {"language": "en", "source": "a"}
            writer.add(Document(f"a#{number}", "text", meta), ids, (ids & 1).astype(np.uint8))


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    for part in ("train", "heldout"):
        write(tmp_path / "local" / part)
        for path in (tmp_path / "local" / part).iterdir():
            files.pipe(f"/stores/{part}/{path.name}", path.read_bytes())
    yield files
    files.rm("/stores", recursive=True)


@pytest.fixture
def here(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> Path:
    bring("memory://stores/train", tmp_path / "here", tmp_path / "cache", 100 * BYTES)
    return tmp_path / "here"


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").glob("*/*.bin"))


def test_shards_come_when_they_are_looked_at(here: Path, tmp_path: Path) -> None:
    store, local = TokenStore.open(here), TokenStore.open(tmp_path / "local" / "train")
    assert cached(tmp_path) == [] and len(store.tokens) == 6031 and list(store.documents) == list(local.documents)
    assert store.tokens[2500:2600].tolist() == local.tokens[2500:2600].tolist()
    assert cached(tmp_path) == ["tokens-00002.bin"]
    assert store.marks is not None and store.marks[5999:6001].tolist() == local.marks[5999:6001].tolist()
    assert cached(tmp_path) == ["marks-00005.bin", "marks-00006.bin", "tokens-00002.bin"]
    assert np.asarray(store.tokens).tolist() == np.asarray(local.tokens).tolist()
    columns = [path for path in here.iterdir() if path.suffix == ".bin" and path.name != "hashes.bin"]
    assert check_store(here) == sum(path.stat().st_size for path in columns)


def test_what_is_here_is_not_fetched_again(here: Path, bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    whole = np.asarray(TokenStore.open(here).tokens).tolist()
    for name in bucket.ls("/stores/train", detail=False):
        bucket.rm(name)
    assert np.asarray(TokenStore.open(here).tokens).tolist() == whole
    with pytest.raises(InputError, match=r"^no file at memory://stores/train/marks-00000.bin"):
        np.asarray(TokenStore.open(here).marks)


def test_the_cache_holds_no_more_than_it_may(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    bring("memory://stores/train", tmp_path / "here", tmp_path / "cache", 3 * BYTES)
    store, local = TokenStore.open(tmp_path / "here"), TokenStore.open(tmp_path / "local" / "train")
    for number, shard in enumerate((0, 1, 2, 0, 4, 5)):
        assert store.tokens[shard * SHARD + 7] == local.tokens[shard * SHARD + 7]
        for path in (tmp_path / "cache").glob("*/*.bin"):  # times are coarse: each look is a second after the last
            if path.name == f"tokens-{shard:05d}.bin":
                os.utime(path, (number, number))
    assert cached(tmp_path) == ["tokens-00000.bin", "tokens-00004.bin", "tokens-00005.bin"]
    rows = Stream().rows(store, Form(), seed=2)
    theirs = Stream().rows(local, Form(), seed=2)
    for number in range(rows.per_epoch):
        for mine, other in zip(rows[number], theirs[number], strict=True):
            assert mine.tokens.tolist() == other.tokens.tolist()
        assert sum(path.stat().st_size for path in (tmp_path / "cache").glob("*/*.bin")) <= 3 * BYTES


class Form:
    room = Widths(50)
    longest = 50
    by_length = True

    def widths(self, body: Ints) -> Widths:
        return Widths(body)

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        return Widths(bodies)


def test_a_shard_that_is_not_what_was_written_never_appears(
    here: Path, bucket: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    name = "/stores/train/tokens-00003.bin"
    whole = bucket.cat(name)
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:700] + bytes(len(whole) - 700)):
        bucket.pipe(name, damaged)
        with pytest.raises(InputError) as caught:
            TokenStore.open(here).tokens[3001]
        assert str(caught.value) == (
            "memory://stores/train/tokens-00003.bin is damaged: bytes 0 to 1,999 are not what was written"
        )
        assert cached(tmp_path) == []
    bucket.pipe(name, whole)
    assert TokenStore.open(here).tokens[3001] > 0


def test_a_copy_that_was_cut_off_goes_on_behind_its_last_whole_block(
    here: Path, bucket: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 256 bytes here; of 900 that were copied 3 are whole, and of others with a bit flipped only 1."""
    monkeypatch.setattr("danlu.corpus.hashes.BLOCK_BYTES", 256)
    monkeypatch.setattr(elsewhere, "BLOCK_BYTES", 256)
    write(tmp_path / "again")
    for path in (tmp_path / "again").iterdir():
        bucket.pipe(f"/stores/again/{path.name}", path.read_bytes())
    bring("memory://stores/again", tmp_path / "there", tmp_path / "cache", 100 * BYTES)
    whole, begun = bucket.cat("/stores/again/tokens-00001.bin"), []
    real = elsewhere.RemoteFile.after
    monkeypatch.setattr(elsewhere.RemoteFile, "after", lambda self, place: begun.append(place) or real(self, place))
    store = TokenStore.open(tmp_path / "there")
    store.tokens[0]
    folder = next((tmp_path / "cache").glob("*/tokens-00000.bin")).parent
    for number, (part, start) in enumerate([(whole[:900], 768), (whole[:300] + b"\0" + whole[301:], 256)]):
        (folder / "tokens-00001.bin").unlink(missing_ok=True)
        (folder / ".tokens-00001.bin.part").write_bytes(part)
        found = TokenStore.open(tmp_path / "there")
        assert found.tokens[SHARD : 2 * SHARD].tobytes() == whole and begun[-1] == start and len(begun) == number + 2


def test_a_run_takes_stores_that_were_packed_before(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    tokenizer = Char().train(["abc"])
    tokenizer.save(tmp_path / "tokenizer")
    pack = build(Pack, {"stores": "memory://stores", "cache": str(tmp_path / "cache")}, key="pack")
    assert pack.needed() == ("tokenizer",)
    job = Job(Recipe("test", tmp_path, 1, {}), {"tokenizer": tmp_path / "tokenizer"}, tmp_path / "pack")
    with pytest.raises(InputError, match=r"^pack\.stores: train was packed with another tokenizer: .* has 500 tokens"):
        pack.run(job)
    for part in ("train", "heldout"):
        write(tmp_path / part, vocab_size=tokenizer.vocab_size, documents=3)
        for path in (tmp_path / part).iterdir():
            bucket.pipe(f"/stores/{part}/{path.name}", path.read_bytes())
    figures = pack.run(job)
    assert figures["train.documents"] == 3 and figures["heldout.en.tokens"] == 603 and cached(tmp_path) == []


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"stores": "s3://a"}, r"^pack: stores and cache go together"),
        ({"cache": "a"}, r"^pack: stores and cache go together"),
        ({"stores": "a/b", "cache": "a"}, r"^pack: stores must be an address such as s3://bucket/pack; got a/b$"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, str], line: str) -> None:
    with pytest.raises(RecipeError, match=line):
        build(Pack, settings, key="pack")


def test_no_store_there_is_one_line(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^no file at memory://stores/nowhere/store.json"):
        bring("memory://stores/nowhere", tmp_path / "here", tmp_path / "cache", 10)
    bucket.pipe("/stores/bad/store.json", b'{"files": {"../../up.bin": 3}, "hashes": ""}')
    bucket.pipe("/stores/bad/hashes.bin", b"")
    with pytest.raises(
        InputError, match=r"^the token store at memory://stores/bad is damaged: .* lists '../../up.bin'"
    ):
        bring("memory://stores/bad", tmp_path / "here", tmp_path / "cache", 10)
