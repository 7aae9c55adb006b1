"""The documents of a language by their rank, against lists of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.languages import spoken
from danlu.corpus.table import DocumentTable

SPOKEN = st.lists(st.sampled_from(["en", "zh", "de"]), min_size=1, max_size=40)


@given(each=SPOKEN, counted=st.integers(1, 9))
def test_ranks_are_those_of_a_list(each: list[str], counted: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.corpus.languages.COUNTED", counted)
        found = spoken(DocumentTable.of({"language": language} for language in each))
        assert set(found) == set(each)
        for language, documents in found.items():
            wanted = [number for number, of in enumerate(each) if of == language]
            assert len(documents) == len(wanted)
            assert [documents[rank] for rank in range(len(wanted))] == list(documents) == wanted
            assert documents[-1] == wanted[-1] and documents[1:3] == wanted[1:3]
            assert np.asarray(documents).tolist() == wanted
            assert [documents.index(number) for number in wanted] == list(range(len(wanted)))
            for outside in (len(wanted), -len(wanted) - 1):
                with pytest.raises(IndexError):
                    documents[outside]
            for number, of in enumerate(each):
                if of != language:
                    with pytest.raises(ValueError, match="is not one of these documents"):
                        documents.index(number)
