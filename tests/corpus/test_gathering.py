"""Drafts behind each other: the bytes that adding all documents one by one writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.corpus import gathering
from danlu.corpus.drafts import Draft
from danlu.corpus.gathering import Gathered, gather
from danlu.corpus.split import PARTS
from danlu.corpus.store import TokenStore, check_store
from danlu.corpus.store_writer import ColumnsWriter, StoreWriter
from danlu.text.document import Document, pair
from danlu.workers.processes import Workers

added = st.tuples(
    st.sampled_from(PARTS), st.lists(st.integers(1, 499), max_size=9), st.sampled_from("abcde"),
    st.sampled_from(["en", "zh", "de"]), st.booleans(),
)  # fmt: skip
SEP = 3
Added = tuple[Any, list[int], str, str, bool]


def add(writers: dict[Any, Any], documents: list[Added], number: int, *, marks: bool) -> None:
    for place, (part, ids, source, language, two_sides) in enumerate(documents):
        text, meta = pair("x", "y") if two_sides else (source * len(ids), {})
        tokens = [*ids, SEP, *ids] if two_sides else ids
        document = Document(f"{source}第#{number}.{place}", text, {**meta, "source": source, "language": language})
        beginnings = (np.array(tokens, dtype=np.int64) & 1).astype(np.uint8) if marks else None
        writers[part].add(document, tokens, beginnings)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=25)
@given(
    drafts=st.lists(st.lists(added, max_size=8), min_size=1, max_size=5), shard=st.integers(1, 30), marks=st.booleans()
)
def test_the_stores_are_those_of_adding_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, drafts: list[list[Added]], shard: int, marks: bool
) -> None:
    out, whole = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("whole")
    kind: dict[str, Any] = {
        "vocab_size": 500, "eot": 0, "sep": SEP, "shard_tokens": shard, "marks": ["words"] if marks else []
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.corpus.table.KNOWN_SOURCES", 2)  # sources come back after they were forgotten
        patch.setattr("danlu.corpus.table.AT_ONCE", 3)
        one_by_one = {part: StoreWriter(whole / part, **kind) for part in PARTS}
        for number, documents in enumerate(drafts):
            folder = Draft.of(out, number).folder
            writers = {part: ColumnsWriter(folder / part, **kind) for part in PARTS}
            for each in (one_by_one, writers):
                add(each, documents, number, marks=marks)
            for writer in writers.values():
                with writer:
                    pass
            (folder / "draft.json").write_text(json.dumps({part: writers[part].known() for part in PARTS}))
        for writer in one_by_one.values():
            writer.close()
        with Workers("pack", 1) as workers:
            gather(out, [Gathered.of(out, part, len(drafts)) for part in PARTS], workers)
    for part in PARTS:
        assert files(out / part) == files(whole / part)
        assert check_store(out / part).bytes > 0


def test_what_others_have_left_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writers = {part: ColumnsWriter(tmp_path / "drafts/00000" / part, vocab_size=500, eot=0) for part in PARTS}
    for part, writer in writers.items():
        with writer:
            add(writers, [(part, [1, 2], "a", "en", False)], 0, marks=False)
    known = {part: writer.known() for part, writer in writers.items()}
    (tmp_path / "drafts/00000/draft.json").write_text(json.dumps(known))
    found = [Gathered.of(tmp_path, part, 1) for part in PARTS]
    with Workers("pack", 1) as workers:
        gather(tmp_path, found, workers)
        shutil.copytree(tmp_path / "train", tmp_path / "once")
        (tmp_path / "train/tokens-00001.bin").write_bytes(b"of more text")
        real = gathering.finish

        def finish(folder: Path, *rest: Any) -> None:
            real(folder, *rest)
            (folder / ".tokens-00000.bin-0123").write_bytes(b"of a process that seemed lost")

        monkeypatch.setattr(gathering, "finish", finish)
        gather(tmp_path, found, workers)
    assert files(tmp_path / "train") == files(tmp_path / "once")
    assert TokenStore.open(tmp_path / "train").tokens.tolist() == [0, 1, 2, 0]
