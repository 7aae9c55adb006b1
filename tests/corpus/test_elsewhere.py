"""Stores elsewhere: shards come when they are looked at, whole and as they were written, and not too many stay."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from small_stores import BYTES, SHARD, cached, write

from danlu.corpus import elsewhere
from danlu.corpus.description import write_description
from danlu.corpus.elsewhere import bring
from danlu.corpus.pack import Pack
from danlu.corpus.reading import Stream
from danlu.corpus.rows import Ints, Widths
from danlu.corpus.store import TokenStore, check_store
from danlu.errors import InputError, RecipeError
from danlu.recipe import Recipe, build
from danlu.stage import Job
from danlu.tokenizers.char import Char


def test_shards_come_when_they_are_looked_at(here: Path, tmp_path: Path) -> None:
    store, local = TokenStore.open(here), TokenStore.open(tmp_path / "local" / "train")
    assert cached(tmp_path) == [] and len(store.tokens) == 6031 and list(store.documents) == list(local.documents)
    assert store.tokens[2500:2600].tolist() == local.tokens[2500:2600].tolist()
    assert cached(tmp_path) == ["tokens-00002.bin"]
    assert store.marks is not None and store.marks[5999:6001].tolist() == local.marks[5999:6001].tolist()
    assert cached(tmp_path) == ["marks-00005.bin", "marks-00006.bin", "tokens-00002.bin"]
    assert np.asarray(store.tokens).tolist() == np.asarray(local.tokens).tolist()
    columns = [path for path in here.iterdir() if path.suffix == ".bin" and path.name != "hashes.bin"]
    assert len(columns) == 8 and not any(path.name.startswith(("tokens", "marks")) for path in columns)
    assert check_store(here).bytes == sum(path.stat().st_size for path in columns)


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


def fill(bucket: fsspec.AbstractFileSystem, folder: Path, **about: Any) -> None:
    """Both stores anew, of three documents each."""
    for part in ("train", "heldout"):
        write(folder / part, documents=3, **about)
        for path in (folder / part).iterdir():
            bucket.pipe(f"/stores/{part}/{path.name}", path.read_bytes())


def test_a_run_takes_stores_that_were_packed_before(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    tokenizer = Char().train(["abc"])
    tokenizer.save(tmp_path / "tokenizer")
    pack = build(Pack, {"stores": "memory://stores", "cache": str(tmp_path / "cache")}, key="pack")
    assert pack.needed() == ("tokenizer",)
    job = Job(Recipe("test", tmp_path, 1, {}), {"tokenizer": tmp_path / "tokenizer"}, tmp_path / "pack")
    other = Char().train(["abd"])  # of the same size, with the same end of text
    line = r"^the token store in .*/train was packed with another tokenizer than this run's: "
    for was, size, told in (
        (None, 500, "one that is not known of 500 tokens"),
        (None, tokenizer.vocab_size, "one that is not known of 5 tokens"),
        (other.identity, tokenizer.vocab_size, f"{other.identity[:12]}… of 5 tokens, not {tokenizer.identity[:12]}…"),
    ):
        fill(bucket, tmp_path, vocab_size=size, tokenizer=was)
        with pytest.raises(InputError, match=line + told):
            pack.run(job)
    fill(bucket, tmp_path, vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.identity)
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
    describe(bucket, {"files": {"../../up.bin": 3}, "hashes": ""}, tmp_path)
    with pytest.raises(
        InputError, match=r"^the token store at memory://stores/train is damaged: .* lists '../../up.bin'"
    ):
        bring("memory://stores/train", tmp_path / "here", tmp_path / "cache", 10)


def describe(bucket: fsspec.AbstractFileSystem, about: dict[str, object], folder: Path) -> None:
    """Say something else of the store for training, as a writer that is wrong would."""
    write_description(folder, about)
    bucket.pipe("/stores/train/store.json", (folder / "store.json").read_bytes())


def test_a_file_without_room_for_it_is_told_before_anything_is_copied(
    bucket: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        bring("memory://stores/train", tmp_path / "here", tmp_path / "cache", BYTES - 1)
    assert str(caught.value) == (
        "pack.cache_bytes must be at least 2,000, the largest file of the store at memory://stores/train; got 1,999"
    )
    assert not (tmp_path / "here" / "starts.bin").exists()
    bring("memory://stores/train", tmp_path / "here", tmp_path / "cache", BYTES)
    store, local = TokenStore.open(tmp_path / "here"), TokenStore.open(tmp_path / "local" / "train")
    for place in (7, 3007, 7):
        assert store.tokens[place] == local.tokens[place] and len(cached(tmp_path)) == 1


@pytest.mark.parametrize("name", ["up/../a.bin", "..", "store.json", "elsewhere.json", ".lock", "a\nb.bin", ""])
def test_files_of_other_names_are_not_copied(name: str, bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    about = json.loads(bucket.cat("/stores/train/store.json"))
    describe(bucket, {**about, "files": {**about["files"], name: 3}}, tmp_path)
    with pytest.raises(InputError, match=r"^the token store at memory://stores/train is damaged: store\.json lists "):
        bring("memory://stores/train", tmp_path / "here", tmp_path / "cache", 10**6)
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["hashes.bin", "store.json"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"files": {"starts.bin": -1}}, r"store\.json lists 'starts\.bin' of -1 bytes$"),
        ({"files": {"starts.bin": "many"}}, r"store\.json lists 'starts\.bin' of 'many' bytes$"),
        ({"files": {"starts.bin": 3}}, r"hashes\.bin is of other files$"),
        ({"hashes": "0"}, r"hashes\.bin is not what was written$"),
        ({"hashes": None}, r"hashes\.bin is not what was written$"),
    ],
)
def test_a_description_that_does_not_fit_is_one_line(
    change: dict[str, object], line: str, bucket: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    about = json.loads(bucket.cat("/stores/train/store.json"))
    describe(bucket, {**about, **change}, tmp_path)
    with pytest.raises(InputError, match=rf"^the token store at memory://stores/train is damaged: {line}"):
        bring("memory://stores/train", tmp_path / "here", tmp_path / "cache", 10**6)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"files": []}', b"\xff"])
def test_something_else_in_its_place_is_no_store(
    content: bytes, bucket: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    bucket.pipe("/stores/train/store.json", content)
    with pytest.raises(InputError, match=r"^no token store at memory://stores/train: store\.json is damaged, or some"):
        bring("memory://stores/train", tmp_path / "here", tmp_path / "cache", 10**6)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"form": 2}, "is of another form than this Danlu reads: pack the text again"),
        ({"languages": ["eo"]}, r"is damaged: store\.json is not what was written"),
    ],
)
def test_a_description_of_before_or_that_was_changed_is_told_before_anything_is_copied(
    change: dict[str, object], line: str, bucket: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    about = json.loads(bucket.cat("/stores/train/store.json"))
    bucket.pipe("/stores/train/store.json", json.dumps({**about, **change}).encode())
    with pytest.raises(InputError, match=rf"^the token store at memory://stores/train {line}$"):
        bring("memory://stores/train", tmp_path / "here", tmp_path / "cache", 10**6)
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["hashes.bin", "store.json"]


def test_columns_are_compared_as_they_come(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    """What was brought before the damage is not fetched again, and nothing says that there is a store until all is."""
    whole = bucket.cat("/stores/train/ids.bin")
    bucket.pipe("/stores/train/ids.bin", whole[:-1] + b"?")
    with pytest.raises(InputError, match=r"^memory://stores/train/ids\.bin is damaged: bytes 0 to 109 are not what"):
        bring("memory://stores/train", tmp_path / "here", tmp_path / "cache", 10**6)
    assert not (tmp_path / "here" / "ids.bin").exists()
    with pytest.raises(InputError, match=r"is damaged"):
        TokenStore.open(tmp_path / "here")
    bucket.pipe("/stores/train/ids.bin", whole)
    bring("memory://stores/train", tmp_path / "here", tmp_path / "cache", 10**6)
    assert (tmp_path / "here" / "ids.bin").read_bytes() == whole
    assert list(TokenStore.open(tmp_path / "here").documents) == list(
        TokenStore.open(tmp_path / "local/train").documents
    )


def test_a_relative_cache_stays_where_it_is(
    bucket: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bring("memory://stores/train", tmp_path / "here", Path("cache"), 10**6)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert TokenStore.open(tmp_path / "here").tokens[1] > 0
    assert cached(tmp_path) == ["tokens-00000.bin"] and not any((tmp_path / "other").iterdir())


@pytest.mark.parametrize("content", ["{}", "[1]", "", '{"url": "a", "cache": "b", "bytes": "many"}', '{"url": "a"}'])
def test_something_else_in_place_of_the_address_is_one_line(content: str, here: Path) -> None:
    (here / "elsewhere.json").write_text(content)
    with pytest.raises(InputError, match=r"^the token store in [^\n]* is damaged: [^\n]*$"):
        TokenStore.open(here)
