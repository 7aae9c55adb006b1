"""Documents written are documents read."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import InputError
from danlu.text.document import Document, DocumentWriter, read_documents

texts = st.text(max_size=200)
documents = st.builds(Document, id=texts, text=texts, meta=st.dictionaries(texts, texts, max_size=3))


@given(st.lists(documents, min_size=1, max_size=20), st.integers(1, 500))
def test_shards_give_back_what_was_written(written: list[Document], shard_bytes: int) -> None:
    with TemporaryDirectory() as name:
        with DocumentWriter(Path(name), shard_bytes=shard_bytes) as writer:
            for document in written:
                writer.write(document)
        assert list(read_documents(Path(name))) == written


def test_a_shard_stays_below_its_size(tmp_path: Path) -> None:
    with DocumentWriter(tmp_path, shard_bytes=1000) as writer:
        for number in range(100):
            writer.write(Document(str(number), "x" * 100))
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert len(sizes) > 10
    assert all(size <= 1000 for size in sizes)
    assert [document.id for document in read_documents(tmp_path)] == [str(number) for number in range(100)]


def test_a_folder_without_shards_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no documents in .*: it holds no documents-\*\.jsonl"):
        list(read_documents(tmp_path))


@pytest.mark.parametrize("damage", [b'{"id": "b", "te', b'{"id": "b"}\n', b"[]\n", b"\xff\n"])
def test_a_damaged_shard_is_named_with_its_line(tmp_path: Path, damage: bytes) -> None:
    with DocumentWriter(tmp_path) as writer:
        writer.write(Document("a", "text"))
    shard = tmp_path / "documents-00000.jsonl"
    shard.write_bytes(shard.read_bytes() + damage)
    with pytest.raises(InputError, match=r"documents-00000\.jsonl is damaged at line 2"):
        list(read_documents(tmp_path))
