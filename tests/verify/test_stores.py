"""``danlu verify store``: what it says of stores that are whole, damaged, cut, or not all there, and how it leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from danlu import cli
from danlu.corpus.description import write_description
from danlu.corpus.elsewhere import bring
from danlu.corpus.hashes import write_hashes
from danlu.corpus.store_writer import StoreWriter
from danlu.text.document import Document

SHARDS = ("tokens-00000.bin", "tokens-00001.bin", "tokens-00002.bin", "marks-00000.bin", "marks-00001.bin",
          "marks-00002.bin")  # fmt: skip
COLUMNS = ("starts.bin", "documents.bin", "ids.bin", "id_ends.bin", "sources.bin", "source_ends.bin", "by_length.bin",
           "lengths.bin")  # fmt: skip
HASHED = (*SHARDS, *COLUMNS)


def write(folder: Path, *, seed: int = 1, tokenizer: str | None = None) -> int:
    """A store of three shards; how many bytes its hashes tell of."""
    chance = np.random.default_rng(seed)
    with StoreWriter(folder, vocab_size=500, eot=0, marks=["words"], shard_tokens=100, tokenizer=tokenizer) as writer:
        for number in range(10):
            ids = chance.integers(1, 500, 25).astype("<u2")
            about = {"language": "en", "source": f"s{number}"}
            writer.add(Document(f"a#{number}", "text", about), ids, np.zeros(25, dtype=np.uint8))
    assert sorted(path.name for path in folder.iterdir()) == sorted([*HASHED, "hashes.bin", "store.json"])
    return sum((folder / name).stat().st_size for name in HASHED)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    for number, part in enumerate(("heldout", "train")):
        write(tmp_path / "pack" / part, seed=number)
    return tmp_path / "pack"


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that opening a store does not read it all, as of one that is large."""
    monkeypatch.setattr("danlu.corpus.store.SMALL_BYTES", 0)


def verify(place: Path | str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """The exit code, what was printed, and the one line of an error."""
    capsys.readouterr()
    code = cli.main(["verify", "store", str(place)])
    said = capsys.readouterr()
    assert code in (0, 2) and said.err.count("\n") == (code == 2)
    assert said.err.startswith("danlu: error: " if code else "")
    return code, said.out, said.err.removeprefix("danlu: error: ").removesuffix("\n")


def damage(path: Path, *, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << place % 8
    path.write_bytes(content)


def test_whole_stores_are_told_with_the_bytes_that_were_read(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read = sum((pack / "train" / name).stat().st_size for name in HASHED)
    assert verify(pack / "train", capsys) == (0, f"{pack / 'train'}: {read:,} bytes are what was written\n", "")
    code, out, err = verify(pack, capsys)
    assert (code, err) == (0, "") and [line.split(":")[0] for line in out.splitlines()] == [
        str(pack / "heldout"), str(pack / "train")
    ]  # fmt: skip


@pytest.mark.parametrize("name", HASHED)
def test_a_bit_in_any_file_is_told_with_its_place(name: str, pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pack / "train" / name
    whole = path.read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        damage(path, place=place)
        code, out, err = verify(pack / "train", capsys)
        assert (code, out) == (2, "")
        at_once = name in ("starts.bin", "lengths.bin", "id_ends.bin", "source_ends.bin", *SHARDS)
        told = f"{path} is damaged: bytes 0 to {len(whole) - 1:,} are not what was written"
        assert err == told or (at_once and f"the token store in {path.parent} is damaged" in err)
        path.write_bytes(whole)
    assert verify(pack / "train", capsys)[0] == 0


@pytest.mark.parametrize("name", [*HASHED, "hashes.bin"])
def test_a_file_that_was_cut_or_has_grown(name: str, pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pack / "train" / name
    whole = path.read_bytes()
    for content in (whole[:-8], whole[:8], b"", whole + bytes(8)):
        path.write_bytes(content)
        code, out, err = verify(pack / "train", capsys)
        assert (code, out) == (2, "")
        assert err.startswith(f"the token store in {path.parent} is damaged: ")


@pytest.mark.parametrize("name", HASHED)
def test_a_missing_file_is_named(name: str, pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pack / "train" / name
    path.unlink()
    code, out, err = verify(pack / "train", capsys)
    assert (code, out, err) == (2, "", f"the token store in {path.parent} is damaged: {path} is missing")


def test_a_store_that_has_lost_what_says_that_it_is_one(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not passed over because another one is whole."""
    for name, told in (
        ("store.json", "no token store in {}: store.json is missing or damaged"),
        ("hashes.bin", "the token store in {0} is damaged: {0}/hashes.bin is missing"),
    ):
        content = (pack / "train" / name).read_bytes()
        (pack / "train" / name).unlink()
        code, out, err = verify(pack, capsys)
        assert (code, err) == (2, told.format(pack / "train"))
        assert out.startswith(f"{pack / 'heldout'}: ") and out.count("\n") == 1
        (pack / "train" / name).write_bytes(content)
    damage(pack / "train" / "hashes.bin", place=70)
    assert verify(pack, capsys)[2] == (
        f"the token store in {pack / 'train'} is damaged: ValueError('hashes.bin is not what was written')"
    )


def test_a_file_that_is_none_of_the_stores_changes_nothing(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as the done.json of a run, or a shard of another store."""
    before = verify(pack, capsys)
    for name in ("done.json", "tokens-00003.bin", ".nfs01"):
        (pack / "train" / name).write_bytes(b"more")
    assert verify(pack, capsys) == before and before[0] == 0


def test_parts_that_do_not_fit_each_other_though_all_is_what_was_written(
    pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a writer that is wrong would leave them: two borders have changed places, and their hashes say so too."""
    folder = pack / "train"
    starts = np.fromfile(folder / "starts.bin", dtype="<i8")
    starts[[3, 4]] = starts[[4, 3]]
    starts.tofile(folder / "starts.bin")
    about = json.loads((folder / "store.json").read_text())
    files, digest = write_hashes(folder, [*about["files"]])
    write_description(folder, {**about, "files": files, "hashes": digest})
    assert verify(folder, capsys) == (
        2, "", f"the token store in {folder} is damaged: its documents do not fit its tokens"
    )  # fmt: skip


def test_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("text")
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        assert verify(place, capsys) == (2, "", f"no token store in {place}: store.json is missing")


@pytest.fixture
def bucket(pack: Path) -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    for path in pack.glob("*/*"):
        files.pipe(f"/verified/{path.parent.name}/{path.name}", path.read_bytes())
    yield files
    files.rm("/verified", recursive=True)


def test_the_stores_of_a_run_are_of_one_tokenizer(
    tmp_path: Path, bucket: fsspec.AbstractFileSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, tokenizer in (("heldout", "a"), ("train", "b"), ("other", "c")):
        write(tmp_path / "pack" / name, tokenizer=tokenizer)
        for path in (tmp_path / "pack" / name).iterdir():
            bucket.pipe(f"/verified/{name}/{path.name}", path.read_bytes())
    for place in (str(tmp_path / "pack"), "memory://verified"):
        code, out, err = verify(place, capsys)
        told = f"{place}/train and {place}/heldout were packed with two tokenizers: no run can read both"
        assert (code, err) == (2, told) and out.count("\n") == 2


def test_stores_at_an_address_are_read_with_their_shards(
    pack: Path, bucket: fsspec.AbstractFileSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    read = sum((pack / "train" / name).stat().st_size for name in HASHED)
    code, out, err = verify("memory://verified", capsys)
    assert (code, err) == (0, "") and out.splitlines() == [
        f"memory://verified/{part}: {read:,} bytes are what was written" for part in ("heldout", "train")
    ]
    assert verify("memory://verified/train", capsys)[1] == f"{out.splitlines()[1]}\n"


@pytest.mark.parametrize("name", HASHED)
def test_damage_at_an_address(
    name: str, pack: Path, bucket: fsspec.AbstractFileSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    url, whole = f"memory://verified/train/{name}", (pack / "train" / name).read_bytes()
    for place in (0, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 16
        bucket.pipe(f"/verified/train/{name}", bytes(damaged))
        told = f"{url} is damaged: bytes 0 to {len(whole) - 1:,} are not what was written"
        assert verify("memory://verified/train", capsys) == (2, "", told)
    bucket.rm(f"/verified/train/{name}")
    assert verify("memory://verified/train", capsys) == (2, "", f"no file at {url} (not found)")


def test_what_is_lost_at_an_address(
    bucket: fsspec.AbstractFileSystem, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("danlu.readers.remote.WAIT_SECONDS", 0.001)
    whole = bucket.cat("/verified/train/tokens-00001.bin")
    bucket.pipe("/verified/train/tokens-00001.bin", whole[:77])
    assert verify("memory://verified/train", capsys) == (
        2, "", "cannot read memory://verified/train/tokens-00001.bin: ConnectionError: it ends after 77 of 200 "
        "bytes, 5 times"
    )  # fmt: skip
    bucket.rm("/verified/train/store.json")
    assert verify("memory://verified", capsys)[::2] == (
        2, "no file at memory://verified/train/store.json (not found)"
    )  # fmt: skip
    bucket.rm("/verified/train/hashes.bin")
    told = "no token store at memory://verified/train: store.json is missing"
    assert verify("memory://verified/train", capsys) == (2, "", told)


def test_a_store_whose_shards_are_elsewhere_says_where(
    bucket: fsspec.AbstractFileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bring("memory://verified/train", tmp_path / "here", tmp_path / "cache", 10**6)
    read = sum((tmp_path / "here" / name).stat().st_size for name in COLUMNS)
    line = f"{tmp_path / 'here'}: {read:,} bytes are what was written; its shards are not here: "
    assert verify(tmp_path / "here", capsys) == (0, f"{line}danlu verify store memory://verified/train\n", "")
    damage(tmp_path / "here" / "ids.bin", place=3)
    code, _, err = verify(tmp_path / "here", capsys)
    assert code == 2 and f"{tmp_path / 'here' / 'ids.bin'} is damaged: bytes 0 to" in err
