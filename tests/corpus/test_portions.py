"""Portions: every document in one of them, in order, and portions of a size that the text decides."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus import portions as module
from danlu.corpus.portions import portions
from danlu.text.document import Document, read_documents, shard_path

sizes = st.lists(st.lists(st.integers(0, 90), max_size=6), min_size=1, max_size=6)


def write(folder: Path, shards: list[list[int]]) -> list[Path]:
    paths = [shard_path(folder, number) for number in range(len(shards))]
    for number, (path, lengths) in enumerate(zip(paths, shards, strict=True)):
        documents = [Document(f"{number}#{place}", "x" * length) for place, length in enumerate(lengths)]
        path.write_bytes(b"".join(document.line() for document in documents))
    return paths


@given(sizes, st.integers(1, 400), st.integers(1, 5))
def test_each_document_is_in_one_portion(
    tmp_path_factory: pytest.TempPathFactory, shards: list[list[int]], fewest: int, number: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    paths = write(folder, shards)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FEWEST_BYTES", fewest)
        patch.setattr(module, "PORTIONS", number)
        found = portions(paths)
    assert [portion.number for portion in found] == list(range(len(found)))
    assert [document for portion in found for document in portion.documents()] == list(read_documents(folder))
    total = sum(path.stat().st_size for path in paths)
    size = max(fewest, -(-total // number))
    assert [portion.size for portion in found[:-1]] == [size] * (len(found) - 1)
    assert sum(portion.size for portion in found) == total and len(found) <= number
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_portion_of_much_text_is_no_larger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path, [[500] * 4] * 3)
    monkeypatch.setattr(module, "FEWEST_BYTES", 10)
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    monkeypatch.setattr(module, "PORTIONS", 2)
    found = portions(paths)
    assert {portion.size for portion in found[:-1]} == {100}
    assert len(found) == -(-sum(path.stat().st_size for path in paths) // 100)
