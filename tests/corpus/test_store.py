"""Token stores: what goes in comes out, and a damaged one is refused in one line."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.description import write_description
from danlu.corpus.hashes import write_hashes
from danlu.corpus.store import TokenStore, check_store
from danlu.corpus.store_writer import StoreWriter
from danlu.corpus.table import ROW, DocumentTable
from danlu.errors import InputError
from danlu.text.document import Document

ARRAYS = (
    "tokens-00000.bin", "starts.bin", "documents.bin", "ids.bin", "id_ends.bin", "sources.bin", "source_ends.bin",
    "by_length.bin", "lengths.bin",
)  # fmt: skip
FILES = (*ARRAYS, "hashes.bin", "store.json")


def write(folder: Path, documents: list[tuple[str, list[int]]], *, vocab_size: int = 500, eot: int = 0) -> None:
    with StoreWriter(folder, vocab_size=vocab_size, eot=eot) as writer:
        for text, ids in documents:
            writer.add(Document(f"file.txt#{text}", text, {"language": "zh", "source": "file.txt"}), ids)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write(tmp_path / "store", [("one", [5, 6, 7]), ("二", [300]), ("", []), ("four", [1] * 40)])
    return tmp_path / "store"


@given(
    documents=st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.integers(1, 499)))),
    eot=st.sampled_from([0, 250, 499]),
)
def test_documents_come_back(
    tmp_path_factory: pytest.TempPathFactory, documents: list[tuple[str, list[int]]], eot: int
) -> None:
    folder = tmp_path_factory.mktemp("store")
    write(folder, documents, eot=eot)
    store = TokenStore.open(folder)
    assert store.tokens.tolist() == [eot, *(id for _, ids in documents for id in [*ids, eot])]
    assert store.targets == len(store.tokens) - 1
    assert (store.vocab_size, store.eot) == (500, eot)
    for (_, ids), start, end in zip(documents, store.starts, store.starts[1:], strict=False):
        assert store.tokens[start] == store.tokens[end] == eot
        assert store.tokens[start + 1 : end].tolist() == ids
    assert store.documents == [
        {"id": f"file.txt#{text}", "language": "zh", "bytes": len(text.encode()), "source": "file.txt"}
        for text, _ in documents
    ]


@pytest.mark.parametrize(("vocab_size", "width"), [(65_535, 2), (65_536, 2), (65_537, 4), (200_000, 4)])
def test_ids_are_as_wide_as_the_vocabulary_needs(tmp_path: Path, vocab_size: int, width: int) -> None:
    write(tmp_path, [("a", [vocab_size - 1])], vocab_size=vocab_size)
    store = TokenStore.open(tmp_path)
    assert store.tokens.dtype.itemsize == width
    assert store.tokens.tolist() == [0, vocab_size - 1, 0]


def test_an_id_that_does_not_fit_is_never_cut(tmp_path: Path) -> None:
    with pytest.raises(OverflowError):
        write(tmp_path, [("a", [65_536])], vocab_size=65_536)
    assert "store.json is missing" in refused(tmp_path)


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        TokenStore.open(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert str(folder) in line
    return line


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(store: Path, name: str) -> None:
    (store / name).unlink()
    assert name in refused(store)


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    assert (
        refused(tmp_path / "nowhere") == f"no token store in {tmp_path / 'nowhere'}: store.json is missing or damaged"
    )


@pytest.mark.parametrize("name", FILES)
def test_a_cut_anywhere_is_found(store: Path, name: str) -> None:
    whole = (store / name).read_bytes()
    for length in range(len(whole)):
        (store / name).write_bytes(whole[:length])
        if whole[length:] == b"\n":
            TokenStore.open(store)  # a line without its end still says the same
        else:
            refused(store)


@pytest.mark.parametrize("name", ARRAYS)
def test_a_bit_anywhere_is_told_with_its_file(store: Path, name: str) -> None:
    assert sorted(each.name for each in store.iterdir()) == sorted(FILES)
    whole = (store / name).read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (store / name).write_bytes(damaged)
        line = refused(store)
        assert line == f"{store / name} is damaged: bytes 0 to {len(whole) - 1:,} are not what was written"


@pytest.mark.parametrize("name", ["hashes.bin", "store.json"])
def test_random_bytes_are_refused_in_one_line_or_change_nothing_that_is_checked(store: Path, name: str) -> None:
    randoms, whole = random.Random(2), (store / name).read_bytes()
    for _ in range(200):
        data = bytearray(whole)
        data[randoms.randrange(len(data))] = randoms.randrange(256)
        (store / name).write_bytes(data)
        try:
            TokenStore.open(store)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert data == whole or (name == "store.json" and json.loads(data) == json.loads(whole))


def test_damage_in_a_large_store_is_told_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danlu.corpus.store.SMALL_BYTES", 1000)
    with StoreWriter(tmp_path, vocab_size=500, eot=0, shard_tokens=900_000) as writer:
        for number in range(5):
            writer.add(Document(f"a#{number}", "text"), np.full(400_000, number + 1, dtype="<u2"))
    assert check_store(tmp_path).bytes == sum(each.stat().st_size for each in tmp_path.iterdir()) - sum(
        (tmp_path / name).stat().st_size for name in ("hashes.bin", "store.json")
    )
    for name, place in (("tokens-00001.bin", 1_048_576), ("tokens-00002.bin", 3), ("tokens-00000.bin", 1_799_999)):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        TokenStore.open(tmp_path)  # which does not read it all
        first = place // 2**20 * 2**20
        last = min(first + 2**20, len(whole)) - 1
        with pytest.raises(InputError, match=rf"{name} is damaged: bytes {first:,} to {last:,} are not what was"):
            check_store(tmp_path)
        (tmp_path / name).write_bytes(whole)


@given(
    documents=st.lists(st.lists(st.integers(1, 499), max_size=30), min_size=1, max_size=12),
    shard=st.integers(1, 40), data=st.data(),
)  # fmt: skip
def test_shards_are_read_as_one(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], shard: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    with StoreWriter(folder, vocab_size=500, eot=0, marks=["words"], shard_tokens=shard) as writer:
        for number, ids in enumerate(documents):
            writer.add(Document(f"a#{number}", "x"), ids, (np.array(ids, dtype=np.int64) & 1).astype(np.uint8))
    whole = np.array([0, *(id for ids in documents for id in [*ids, 0])], dtype="<u2")
    store = TokenStore.open(folder)
    assert len(list(folder.glob("tokens-*.bin"))) == -(-len(whole) // shard) == len(list(folder.glob("marks-*.bin")))
    assert np.asarray(store.tokens).tolist() == store.tokens.tolist() == whole.tolist()
    assert store.marks is not None and np.asarray(store.marks).tolist() == [int(id % 2 or not id) for id in whole]
    cut = data.draw(st.slices(len(whole)))
    assert store.tokens[cut].tolist() == whole[cut].tolist() and store.tokens[cut].dtype == whole.dtype
    many = np.array(data.draw(st.lists(st.integers(-len(whole), len(whole) - 1))), dtype=np.int64)
    assert store.tokens[many].tolist() == whole[many].tolist()
    number = data.draw(st.integers(-len(whole), len(whole) - 1))
    assert store.tokens[number] == whole[number]
    assert pickle.loads(pickle.dumps(store)).tokens[number] == whole[number]
    for outside in (len(whole), np.array([len(whole)])):
        with pytest.raises(IndexError):
            store.tokens[outside]


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": 3}, {"tokens": None}, {"documents": 9}, {"dtype": "<u4"}, {"dtype": "lark"}, {"dtype": None},
        {"vocab_size": "many"}, {"eot": None}, {"eot": 7}, {"dtype": ">u2"}, {"dtype": "<f2"}, {"dtype": "O"},
        {"vocab_size": 70000}, {"eot": -1}, {"eot": 10**9}, {"tokens": 1.5}, {"shard_tokens": 0}, {"documents": True},
        {"languages": []}, {"languages": "en"}, {"languages": [5]}, {"marks": ["words"]},
    ],
)  # fmt: skip
def test_a_description_that_does_not_fit_is_refused(store: Path, change: dict[str, object]) -> None:
    about = json.loads((store / "store.json").read_text())
    write_description(store, {**about, **change})
    refused(store)


def test_marks_of_several_shards_that_are_not_there_are_refused(tmp_path: Path) -> None:
    """They are mapped when they are looked at, which is too late."""
    with StoreWriter(tmp_path, vocab_size=9, eot=0, shard_tokens=4) as writer:
        writer.add(Document("a", "x"), [1] * 9)
    about = json.loads((tmp_path / "store.json").read_text())
    write_description(tmp_path, {**about, "marks": ["words"]})
    assert refused(tmp_path).endswith("store.json does not list marks-00000.bin')")


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Change a file and its hashes, as a writer that is wrong would."""
    (folder / name).write_bytes(content)
    about = json.loads((folder / "store.json").read_text())
    files, digest = write_hashes(folder, [*about["files"]])
    write_description(folder, {**about, "files": files, "hashes": digest})


@pytest.mark.parametrize(
    "starts", [[0, 4, 6, 7, 47], [1, 4, 6, 7, 48], [0, 6, 4, 7, 48], [0, 4, 4, 7, 48], [0, 4, 6, 48], [0, -4, 6, 7, 48]]
)
def test_borders_that_cannot_be_are_refused(store: Path, starts: list[int]) -> None:
    assert np.fromfile(store / "starts.bin", dtype="<i8").tolist() == [0, 4, 6, 7, 48]
    rewrite(store, "starts.bin", np.array(starts, dtype="<i8").tobytes())
    with pytest.raises(InputError, match=r"^the token store in [^\n]* is damaged: [^\n]* do not fit"):
        check_store(store)


@pytest.mark.parametrize("row", [(1, 1, 0), (1, 0, 1)])
def test_documents_of_sources_and_languages_that_there_are_not_are_refused(
    store: Path, row: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it is opened, or, where it is large, when all of it is read."""
    assert check_store(store).bytes > 0
    rows = np.fromfile(store / "documents.bin", dtype=ROW)
    rows[2] = row
    rewrite(store, "documents.bin", rows.tobytes())
    assert refused(store).endswith("its files do not fit store.json")
    monkeypatch.setattr("danlu.corpus.store.SMALL_BYTES", 0)
    TokenStore.open(store)
    with pytest.raises(InputError, match="its documents do not fit its tokens"):
        check_store(store)


def test_a_store_of_an_earlier_form_is_refused(store: Path) -> None:
    about = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps({**about, "form": 1}))
    assert refused(store).endswith("is of another form than this Danlu reads: pack the text again")


def test_a_description_that_was_changed_is_refused(store: Path) -> None:
    """What no array shows: the language of documents, the token between the sides of a pair, the tokenizer."""
    about = json.loads((store / "store.json").read_text())
    assert about["languages"] == ["zh"]
    for change in ({"languages": ["xh"]}, {"tokenizer": "0" * 64}, {"sep": 3}, {"more": None}):
        (store / "store.json").write_text(json.dumps({**about, **change}))
        assert refused(store) == f"the token store in {store} is damaged: store.json is not what was written"
    (store / "store.json").write_text(json.dumps(dict(reversed(about.items())), indent=7))  # the same, laid out anew
    assert TokenStore.open(store).documents[0]["language"] == "zh"


def test_unusual_line_ends_in_names_part_nothing(tmp_path: Path) -> None:
    names = ["a\u2028b", "c\x85d", "e\x0cf", "g\r\nh"]
    write(tmp_path, [(name, [1]) for name in names])
    assert [document["id"] for document in TokenStore.open(tmp_path).documents] == [f"file.txt#{n}" for n in names]


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    with StoreWriter(tmp_path / "marked", vocab_size=500, eot=0, marks=["sentences", "words"]) as writer:
        for ids, marks in (([5, 6, 7], [5, 0, 1]), ([], []), ([8, 9], [5, 0])):
            writer.add(Document("a", "text"), ids, np.array(marks, dtype=np.uint8))
    return tmp_path / "marked"


def test_marks_come_back_beside_their_tokens(marked: Path, store: Path) -> None:
    opened = TokenStore.open(marked)
    assert opened.marks is not None
    assert opened.tokens.tolist() == [0, 5, 6, 7, 0, 0, 8, 9, 0]
    assert opened.marks.tolist() == [5, 5, 0, 1, 5, 5, 5, 0, 5]  # an end of text has every mark
    assert opened.marked == ("words", "sentences")
    assert json.loads((marked / "store.json").read_text())["marks"] == ["words", "sentences"]
    plain = TokenStore.open(store)
    assert (plain.marks, plain.marked) == (None, ())
    assert not (store / "marks-00000.bin").exists()
    assert "marks" not in json.loads((store / "store.json").read_text())


def test_marks_that_do_not_fit_the_tokens_are_refused(marked: Path) -> None:
    whole = (marked / "marks-00000.bin").read_bytes()
    for damaged in (whole[:-1], whole[:0], whole + b"\x05", b"\0" + whole[1:], whole[:-1] + b"\7"):
        rewrite(marked, "marks-00000.bin", damaged)
        refused(marked)
    (marked / "marks-00000.bin").unlink()
    assert "marks-00000.bin is missing" in refused(marked)


@pytest.mark.parametrize("marks", [["phrases"], ["verses"], ["sentences", "words"], "words", 3, None, [["words"]]])
def test_a_description_of_other_marks_is_refused(marked: Path, marks: object) -> None:
    about = json.loads((marked / "store.json").read_text())
    write_description(marked, {**about, "marks": marks})
    refused(marked)


def test_a_document_without_the_marks_of_its_store_is_a_mistake(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, vocab_size=500, eot=0, marks=["words"])
    for marks in (None, np.zeros(2, dtype=np.uint8)):
        with pytest.raises(AssertionError):
            writer.add(Document("a", "text"), [5], marks)
    writer.close()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), min_size=1, max_size=20))
def test_a_document_is_found_by_its_id(ids: list[str]) -> None:
    table = DocumentTable.of([{"id": id} for id in ids])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.corpus.table.AT_ONCE", 3)
        assert [table.ids.find(id) for id in ids] == [ids.index(id) for id in ids]
        assert table.ids.find("longer than all") is None
