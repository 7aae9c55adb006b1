"""A part of a store against a store that holds nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.corpus.parts import Selection, Spliced, part
from danlu.corpus.reading import Packed, Stream
from danlu.corpus.rows import Ints, Widths
from danlu.corpus.store import TokenStore
from danlu.corpus.store_writer import StoreWriter
from danlu.text.document import Document, pair

LENGTHS = [3, 5, 1, 4, 2, 6, 1]
LANGUAGES = ["en", "en", "zh", "en", "zh", "zh", "de"]


def write(folder: Path, chosen: list[int], *, marks: bool = False) -> TokenStore:
    with StoreWriter(folder, vocab_size=100, eot=0, marks=("words",) if marks else ()) as writer:
        for number in chosen:
            ids = [10 * number + place + 1 for place in range(LENGTHS[number])]
            about = {"language": LANGUAGES[number], "source": f"books/{number}.txt" if number % 2 else f"web/{number}"}
            bits = np.array([(number + place) % 2 for place in range(len(ids))], dtype=np.uint8) if marks else None
            writer.add(Document(str(number), "x" * len(ids), about), ids, bits)
    return TokenStore.open(folder)


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(language=("zh",)), [2, 4, 5]),
        (Selection(language=("en", "de")), [0, 1, 3, 6]),
        (Selection(source=("books/*",)), [1, 3, 5]),
        (Selection(source=("web/0", "*/5.txt")), [0, 5]),
        (Selection(language=("zh",), source=("web/*",)), [2, 4]),
        (Selection(language=("de",)), [6]),
    ],
)
def test_a_part_is_a_store_of_those_documents(selection: Selection, chosen: list[int], tmp_path: Path) -> None:
    whole, alone = write(tmp_path / "whole", list(range(7)), marks=True), write(tmp_path / "alone", chosen, marks=True)
    found = selection.of(whole)
    assert found is not None and found.marks is not None and alone.marks is not None
    assert np.asarray(found.tokens).tolist() == alone.tokens.tolist()
    assert np.asarray(found.marks).tolist() == alone.marks.tolist()
    assert found.starts.tolist() == alone.starts.tolist() and found.documents == alone.documents
    assert (found.targets, found.border) == (alone.targets, alone.border)


def test_all_is_the_store_itself_and_nothing_is_none(tmp_path: Path) -> None:
    whole = write(tmp_path, [0, 1, 2])
    assert Selection().of(whole) is whole and Selection(language=("en", "zh")).of(whole) is whole
    assert Selection(language=("fr",)).of(whole) is None


class Form:
    by_length = True
    room = Widths(7)
    longest = 6

    def widths(self, body: Ints) -> Widths:
        return Widths(body + 1)

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        return self.widths(bodies)


@pytest.mark.parametrize("reading", [Stream(), Packed()])
def test_its_rows_are_those_of_that_store(reading: Stream | Packed, tmp_path: Path) -> None:
    chosen = [0, 1, 3, 6]
    found, alone = part(write(tmp_path / "a", list(range(7))), np.array(chosen)), write(tmp_path / "b", chosen)
    mine, theirs = (reading.rows(store, Form(), seed=4) for store in (found, alone))
    assert mine.per_epoch == theirs.per_epoch > 1
    for number in range(2 * mine.per_epoch):
        pairs = list(zip(mine[number], theirs[number], strict=True))
        assert all((a.tokens == b.tokens).all() and a.start == b.start and a.document == b.document for a, b in pairs)


@given(data=st.data(), borders=st.lists(st.integers(0, 30), min_size=2, max_size=10, unique=True))
def test_any_slice_is_that_of_the_joined_stretches(data: st.DataObject, borders: list[int]) -> None:
    whole, places = np.arange(30, dtype=np.uint16), sorted(borders)[: len(borders) // 2 * 2]
    begins, ends = np.array(places[::2]), np.array(places[1::2])
    joined = np.concatenate([whole[a:b] for a, b in zip(begins, ends, strict=True)])
    spliced = Spliced(whole, begins, ends)
    assert len(spliced) == len(joined)
    cut = data.draw(st.slices(len(joined)).filter(lambda each: each.step is None or each.step > 0))
    assert spliced[cut].tolist() == joined[cut].tolist() and spliced[cut].dtype == np.uint16
    number = data.draw(st.integers(-len(joined), len(joined) - 1))
    assert spliced[number] == joined[number]
    many = np.array(data.draw(st.lists(st.integers(-len(joined), len(joined) - 1))), dtype=np.int64)
    assert spliced[many].tolist() == joined[many].tolist()
    assert (spliced == number).tolist() == (joined == number).tolist()
    with pytest.raises(IndexError):
        spliced[len(joined)]


@settings(max_examples=40)
@given(chosen=st.lists(st.booleans(), min_size=1, max_size=40), at_once=st.integers(1, 9), data=st.data())
def test_stretches_are_found_in_blocks_and_lie_on_the_disk(
    tmp_path_factory: pytest.TempPathFactory, chosen: list[bool], at_once: int, data: st.DataObject
) -> None:
    """Of documents that stand in any order; what a part knows is what a store of nothing else does."""
    folder = tmp_path_factory.mktemp("parts")
    lengths = data.draw(st.lists(st.integers(0, 5), min_size=len(chosen), max_size=len(chosen)))

    def write(name: str, numbers: list[int]) -> TokenStore:
        with StoreWriter(folder / name, vocab_size=1000, eot=0) as writer:
            for number in numbers:
                about = {"language": "zh" if chosen[number] else "en", "source": f"{number}.txt"}
                writer.add(Document(str(number), "x", about), [number + 1] * lengths[number])
        return TokenStore.open(folder / name)

    whole, wanted = write("whole", list(range(len(chosen)))), [n for n, of in enumerate(chosen) if of]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("mapped", "parts", "table", "lengths", "store"):
            patch.setattr(f"danlu.corpus.{name}.AT_ONCE", at_once)
        patch.setattr("danlu.corpus.mapped.IN_MEMORY", at_once)
        found = Selection(language=("zh",)).of(whole)
        if found is None or found is whole:
            assert len(wanted) == (0 if found is None else len(chosen))
            return
        alone = write("alone", wanted)
        assert np.asarray(found.tokens).tolist() == alone.tokens.tolist()
        assert found.starts.tolist() == alone.starts.tolist() and found.documents == alone.documents
        for name in ("order", "lengths", "counts"):
            assert getattr(found.by_length, name).tolist() == getattr(alone.by_length, name).tolist()
        assert part(whole, np.array(wanted)).starts.tolist() == alone.starts.tolist()
        assert [found.document(number)["id"] for number in range(len(wanted))] == [str(number) for number in wanted]


def test_a_part_of_pairs_knows_their_sides(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, vocab_size=100, eot=0, sep=3) as writer:
        for number, (source, target) in enumerate([(2, 1), (1, 4), (3, 3), (1, 1)]):
            about = {"language": "en" if number % 2 else "zh"}
            text, told = pair("one", "two")
            writer.add(Document(str(number), text, about | told), [5] * source + [3] + [6] * target)
    found = Selection(language=("en",)).of(TokenStore.open(tmp_path))
    assert found is not None and np.asarray(found.sides).tolist() == [1, 1]
    assert found.by_length.lengths.tolist() == [3, 6] and found.by_length.order.tolist() == [1, 0]
