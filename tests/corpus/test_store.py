"""Token stores: what goes in comes out, and a damaged one is refused in one line."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.store import StoreWriter, TokenStore
from danlu.errors import InputError
from danlu.text.document import Document

FILES = ("tokens.bin", "starts.bin", "documents.jsonl", "store.json")


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


def test_random_bytes_are_refused_in_one_line_or_change_nothing_that_is_checked(store: Path, tmp_path: Path) -> None:
    randoms = random.Random(2)
    for name in FILES[1:]:
        for _ in range(60):
            damaged = tmp_path / "damaged"
            shutil.copytree(store, damaged, dirs_exist_ok=True)
            data = bytearray((store / name).read_bytes())
            data[randoms.randrange(len(data))] = randoms.randrange(256)
            (damaged / name).write_bytes(data)
            try:
                TokenStore.open(damaged)
            except InputError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": 3}, {"tokens": None}, {"documents": 9}, {"dtype": "<u4"}, {"dtype": "lark"}, {"dtype": None},
        {"vocab_size": "many"}, {"eot": None}, {"eot": 7},
    ],
)  # fmt: skip
def test_a_description_that_does_not_fit_is_refused(store: Path, change: dict[str, object]) -> None:
    about = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps({**about, **change}))
    refused(store)


@pytest.mark.parametrize(
    "starts", [[0, 4, 6, 7, 47], [1, 4, 6, 7, 48], [0, 6, 4, 7, 48], [0, 4, 4, 7, 48], [0, 4, 6, 48], [0, -4, 6, 7, 48]]
)
def test_borders_that_cannot_be_are_refused(store: Path, starts: list[int]) -> None:
    assert np.fromfile(store / "starts.bin", dtype="<i8").tolist() == [0, 4, 6, 7, 48]
    np.array(starts, dtype="<i8").tofile(store / "starts.bin")
    refused(store)


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
    assert not (store / "marks.bin").exists()
    assert "marks" not in json.loads((store / "store.json").read_text())


def test_marks_that_do_not_fit_the_tokens_are_refused(marked: Path) -> None:
    whole = (marked / "marks.bin").read_bytes()
    for damaged in (whole[:-1], whole[:0], whole + b"\x05", b"\0" + whole[1:], whole[:-1] + b"\7"):
        (marked / "marks.bin").write_bytes(damaged)
        refused(marked)
    (marked / "marks.bin").unlink()
    assert "marks.bin is missing" in refused(marked)


@pytest.mark.parametrize("marks", [["phrases"], ["verses"], ["sentences", "words"], "words", 3, None, [["words"]]])
def test_a_description_of_other_marks_is_refused(marked: Path, marks: object) -> None:
    about = json.loads((marked / "store.json").read_text())
    (marked / "store.json").write_text(json.dumps({**about, "marks": marks}))
    refused(marked)


def test_a_document_without_the_marks_of_its_store_is_a_mistake(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, vocab_size=500, eot=0, marks=["words"])
    for marks in (None, np.zeros(2, dtype=np.uint8)):
        with pytest.raises(AssertionError):
            writer.add(Document("a", "text"), [5], marks)
    writer.close()
