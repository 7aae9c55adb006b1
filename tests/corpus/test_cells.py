"""Documents that no period tells apart: against groups made by hand, and sums in numpy."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.cells import NO_PART, Cells, Division, Members, divide
from danlu.corpus.parts import Selection
from danlu.corpus.proportions import Extents
from danlu.corpus.store import TokenStore
from danlu.errors import InputError
from danlu.recipe import build_choice

ABOUT = [("en", "books/1"), ("en", "web/1"), ("zh", "web/2"), ("de", "web/3"), ("zh", "books/2"), ("en", "notes")]
LENGTHS = [3, 1, 4, 1, 5, 9]


def make_store() -> TokenStore:
    """Six documents, of whose tokens nobody asks here."""
    starts = np.cumsum([0, *(length + 1 for length in LENGTHS)])
    documents = [{"language": language, "source": source} for language, source in ABOUT]
    return TokenStore(np.zeros(starts[-1] + 1, dtype="<u2"), starts, documents, vocab_size=9, eot=0)


def weights(**parts: dict[str, Any]) -> Any:
    made = {name: {"weight": 1, "documents": chosen} for name, chosen in parts.items()}
    return build_choice("mixture", {"use": "weights", "parts": made}, key="pretrain.mixture")


def divided(mixture: Any, *, sampled: bool = False) -> Division:
    return divide(mixture, make_store(), key="pretrain.mixture", sampled=sampled)


def test_a_document_is_of_the_first_part_that_selects_it() -> None:
    """Chinese first, then all of the web that is left, then English books."""
    found = divided(weights(
        zh={"language": "zh"}, web={"source": "web/*"}, books={"language": "en", "source": "books/*"}
    ))  # fmt: skip
    assert found.names == ("zh", "web", "books")
    assert found.part_D.tolist() == [2, 1, 0, 1, 0, NO_PART]
    every = divided(build_choice("mixture", {"use": "temperature"}, key="pretrain.mixture"))
    assert [every.names[number] for number in every.part_D.tolist()] == [language for language, _ in ABOUT]


def test_a_part_without_documents_is_told_with_its_key() -> None:
    with pytest.raises(InputError) as caught:
        divided(weights(all={}, zh={"language": "zh"}))
    assert str(caught.value) == (
        "pretrain.mixture.parts.zh: the parts before it have all of its documents; put it before them"
    )
    for sampled in (False, True):  # a sample has not lost what other parts have taken
        with pytest.raises(InputError, match=r"^pretrain\.mixture\.parts\.zh: the parts before it have all"):
            divided(weights(all={}, zh={"language": "zh"}), sampled=sampled)
    with pytest.raises(InputError, match=r"^pretrain\.mixture\.parts\.fr\.documents: no such document is to train on"):
        divided(weights(fr={"language": "fr"}, all={}))


def test_a_sample_may_lack_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    found = divided(weights(fr={"language": "fr"}, web={"source": "web/*"}), sampled=True)
    assert found.names == ("fr", "web") and found.part_D.tolist() == [NO_PART, 1, 1, 1, NO_PART, NO_PART]
    said = capsys.readouterr().out
    assert said.startswith("in the sample: pretrain.mixture.parts.fr.documents: no such document is to train on (")
    assert said.count("\n") == 1


def members(cells: Cells) -> list[list[int]]:
    """The documents of each."""
    return [np.flatnonzero(np.concatenate([*cells.flags(number)])).tolist() for number in range(len(cells))]


BY_HAND = Cells([
    Division(("web", "books"), np.array([0, 1, NO_PART, 0, 1, NO_PART])),
    Division(("en", "zh", "web"), np.array([0, 0, NO_PART, 2, NO_PART, 1])),
])  # fmt: skip


def test_cells_by_hand() -> None:
    """The third document is of no part; the fourth of parts that are called alike."""
    named = dict(zip(BY_HAND.labels, members(BY_HAND), strict=True))
    assert named == {"web/en": [0], "books/en": [1], "web": [3], "books/~": [4], "~/zh": [5]}
    parts = [dict(zip(BY_HAND.labels, BY_HAND.parts(period).tolist(), strict=True)) for period in (0, 1)]
    assert parts[0] == {"web/en": 0, "books/en": 1, "web": 0, "books/~": 1, "~/zh": NO_PART}
    assert parts[1] == {"web/en": 0, "books/en": 0, "web": 2, "books/~": NO_PART, "~/zh": 1}
    assert BY_HAND.left_out(make_store()) == (1, LENGTHS[2] + 1)


@given(
    rows=st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 1), st.integers(-1, 3)), min_size=1, max_size=40),
    periods=st.integers(1, 3),
)
def test_cells_are_the_documents_that_have_all_parts_in_common(rows: list[tuple[int, ...]], periods: int) -> None:
    """Against a dictionary of the documents by their parts, which no number stands for."""
    names = (("a", "b", "c"), ("a", "z"), ("w", "x", "y", "z"))[:periods]
    part_DP = np.array(rows)[:, :periods]
    cells = Cells([Division(each, part_DP[:, number]) for number, each in enumerate(names)])
    groups: dict[tuple[int, ...], list[int]] = {}
    for document, parts in enumerate(part_DP.tolist()):
        if set(parts) != {NO_PART}:
            groups.setdefault(tuple(parts), []).append(document)
    found = members(cells)
    assert cells.documents.tolist() == [len(each) for each in found] and len(cells) == len(found)
    assert sorted(found) == sorted(groups.values())
    for number, documents in enumerate(found):
        assert tuple(int(cells.parts(period)[number]) for period in range(periods)) == tuple(part_DP[documents[0]])
    assert len(set(cells.labels)) == len(found)


MEMBERS = Members(
    ("a", "b", "gone"),
    np.array([1, 0, NO_PART, 1]),
    Extents(np.array([10.0, 4.0, 7.0, 30.0]), np.array([100.0, 8.0, 70.0, 60.0])),
)


def test_parts_are_as_large_as_their_cells_together() -> None:
    assert MEMBERS.extents.rows.tolist() == [4, 40, 0] and MEMBERS.extents.tokens.tolist() == [8, 160, 0]
    assert MEMBERS.sum(np.array([1.0, 2.0, 4.0, 8.0])).tolist() == [2, 9, 0]


def test_rows_of_a_part_are_divided_so_that_its_text_is_read_equally_often() -> None:
    """Half an epoch of a, two of b; of a part without text nothing is read, whatever is asked."""
    found = MEMBERS.to_cells(np.array([2.0, 80.0, 5.0]))
    assert found.tolist() == [20, 2, 0, 60]
    np.testing.assert_array_equal(found / MEMBERS.cells.rows, [2, 0.5, 0, 2])


@given(data=st.data(), cells=st.integers(1, 12), parts=st.integers(1, 4))
def test_no_row_is_lost_between_parts_and_cells(data: st.DataObject, cells: int, parts: int) -> None:
    part_C = np.array(data.draw(st.lists(st.integers(-1, parts - 1), min_size=cells, max_size=cells)))
    rows_C, tokens_C = (np.array(data.draw(st.lists(st.floats(0.5, 1e6), min_size=cells, max_size=cells)))
                        for _ in range(2))  # fmt: skip
    members = Members(tuple("abcd"[:parts]), part_C, Extents(rows_C, tokens_C))
    held = np.array([rows_C[part_C == part].sum() for part in range(parts)])
    np.testing.assert_allclose(members.extents.rows, held)
    asked = np.array(data.draw(st.lists(st.just(0.0) | st.floats(1e-3, 1e6), min_size=parts, max_size=parts)))
    found = members.to_cells(asked)
    np.testing.assert_allclose(members.sum(found), np.where(held > 0, asked, 0), rtol=1e-9)
    assert (found[part_C == NO_PART] == 0).all()


DOCUMENTS = st.lists(
    st.tuples(st.sampled_from(["en", "zh", "de"]), st.sampled_from(["a", "b", "c"]), st.integers(0, 4)),
    min_size=1, max_size=40,
)  # fmt: skip
PARTS = {"zh": Selection(language=("zh",)), "c": Selection(source=("c",)), "rest": Selection(language=("en",))}


class Chosen:
    """As a mixture chooses."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def selections(self, store: TokenStore) -> dict[str, Selection]:
        return {name: PARTS[name] for name in self.names}


@given(each=DOCUMENTS, periods=st.lists(st.permutations([*PARTS]), min_size=1, max_size=3), at_once=st.integers(1, 9))
def test_cells_are_the_documents_that_no_period_tells_apart(
    each: list[tuple[str, str, int]], periods: list[list[str]], at_once: int
) -> None:
    lengths = np.array([length for _, _, length in each])
    starts = np.concatenate(([0], np.cumsum(lengths + 1)))
    about = [{"language": language, "source": source} for language, source, _ in each]
    store = TokenStore(np.zeros(starts[-1] + 1, dtype="<u2"), starts, about, 9, 0)
    chosen = [names[:2] for names in periods]  # of three, so that some are of no part
    wanted: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, document in enumerate(about):
        each_period = ((place for place, name in enumerate(names) if PARTS[name].matches(document)) for names in chosen)
        wanted[tuple(next(places, NO_PART) for places in each_period)].append(number)
    mixtures: list[Any] = [Chosen(names) for names in chosen]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("mapped", "cells", "table", "store"):
            patch.setattr(f"danlu.corpus.{name}.AT_ONCE", at_once)
        patch.setattr("danlu.corpus.mapped.IN_MEMORY", at_once)
        try:
            divisions = [divide(mixture, store, key="mixture", sampled=True) for mixture in mixtures]
        except InputError as error:
            assert str(error).endswith("the parts before it have all of its documents; put it before them")
            assert any(all(parts[period] != 1 for parts in wanted) for period in range(len(periods)))
            return
        cells = Cells(divisions)
        none = wanted.pop((NO_PART,) * len(periods), [])
        assert len(cells) == len(wanted) and cells.documents.tolist() == [len(wanted[key]) for key in sorted(wanted)]
        for number, key in enumerate(sorted(wanted)):
            assert np.flatnonzero(np.concatenate(list(cells.flags(number)))).tolist() == wanted[key]
            assert tuple(int(cells.parts(period)[number]) for period in range(len(periods))) == key
        assert cells.left_out(store) == (len(none), int((lengths[none] + 1).sum()) if none else 0)
        assert len(cells.labels) == len(wanted)
