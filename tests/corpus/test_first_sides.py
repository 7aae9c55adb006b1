"""First sides of pairs: what the file says is what the text says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.description import write_description
from danlu.corpus.first_sides import find_sides
from danlu.corpus.store import TokenStore, check_store
from danlu.corpus.store_writer import StoreWriter
from danlu.errors import InputError
from danlu.text.document import Document, pair

EOT, SEP = 0, 3
BODIES = st.lists(st.lists(st.sampled_from([SEP, 5, 6]), max_size=6), max_size=30)


@given(bodies=BODIES, at_once=st.integers(1, 20))
def test_they_are_found_in_the_text(bodies: list[list[int]], at_once: int) -> None:
    tokens = np.array([EOT, *(token for body in bodies for token in [*body, EOT])])
    starts = np.cumsum([0, *(len(body) + 1 for body in bodies)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.corpus.first_sides.TOKENS_AT_ONCE", at_once)
        found = find_sides(tokens, starts, SEP)
    assert found.tolist() == [body.index(SEP) if SEP in body else 0 for body in bodies]


def write(folder: Path, sides: list[tuple[int, int] | int]) -> TokenStore:
    """Pairs by the lengths of their sides, and documents that are none by their length."""
    with StoreWriter(folder, vocab_size=100, eot=EOT, sep=SEP) as writer:
        for each in sides:
            if isinstance(each, tuple):
                ids = [5] * each[0] + [SEP] + [6] * each[1]
                writer.add(Document("a", *pair("one", "two")), ids)
            else:
                writer.add(Document("a", "text"), [7] * each)
    return TokenStore.open(folder)


def test_a_store_of_pairs_knows_them_and_has_the_pairs_in_their_order(tmp_path: Path) -> None:
    sides: list[tuple[int, int] | int] = [5, (2, 4), (4, 2), (1, 1), 7, (2, 4), (1, 5), (9, 9)]
    store = write(tmp_path, sides)
    assert store.sides is not None and store.sides.tolist() == [0, 2, 4, 1, 0, 2, 1, 9]
    assert find_sides(store.tokens, store.starts, SEP).tolist() == store.sides.tolist()
    length = [each if isinstance(each, int) else sum(each) + 1 for each in sides]
    wanted = sorted(range(len(sides)), key=lambda number: (length[number], store.sides[number], number))
    assert store.by_length.order.tolist() == wanted
    assert store.by_length.lengths.tolist() == [3, 5, 7, 7, 7, 7, 19]
    assert store.by_length.counts.tolist() == [1, 1, 1, 1, 2, 1, 1]
    assert check_store(tmp_path).bytes > 0


def test_a_store_without_pairs_has_no_such_file(tmp_path: Path) -> None:
    store = write(tmp_path, [3, 4])
    assert store.sides is None and store.first_sides is None and not (tmp_path / "sides.bin").exists()


def test_a_store_of_pairs_without_the_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [(1, 2)])
    about = json.loads((tmp_path / "store.json").read_text())
    del about["files"]["sides.bin"]
    write_description(tmp_path, about)
    with pytest.raises(InputError, match=r"store\.json does not list sides\.bin"):
        TokenStore.open(tmp_path)


@pytest.mark.parametrize("damaged", [[9, 1], [1], [1, 1, 1]])
def test_sides_that_cannot_be_are_refused(damaged: list[int], tmp_path: Path) -> None:
    from danlu.corpus.hashes import write_hashes

    write(tmp_path, [(1, 2), (1, 3)])
    (tmp_path / "sides.bin").write_bytes(np.array(damaged, dtype="<u4").tobytes())
    about = json.loads((tmp_path / "store.json").read_text())
    files, digest = write_hashes(tmp_path, [*about["files"]])
    write_description(tmp_path, {**about, "files": files, "hashes": digest})
    with pytest.raises(InputError, match="do not fit"):
        check_store(tmp_path)
