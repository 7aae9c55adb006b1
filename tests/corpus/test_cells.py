"""Which documents are of one part in every period, against looking at each."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.cells import NO_PART, Cells, divide
from danlu.corpus.parts import Selection
from danlu.corpus.store import TokenStore
from danlu.errors import InputError

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
