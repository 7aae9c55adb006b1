"""Who sees whom, against plain Python; masks with a bias; positions that count within a document."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from danlu.nn.patterns import Full, Pattern, Window
from danlu.nn.sight import PADDING, Sight, positions_in_document

CPU = torch.device("cpu")


def sight(queries: int, keys: int, *, causal: bool = True, **others: object) -> Sight:
    return Sight(queries=queries, keys=keys, causal=causal, own=queries == keys, device=CPU, **others)  # type: ignore[arg-type]


def biased(queries: int, keys: int, bias: Tensor, **others: bool) -> Sight:
    made = sight(queries, keys, **others)  # type: ignore[arg-type]
    made.bias = bias
    return made


def as_lists(mask: Tensor | None) -> list[list[int]]:
    assert mask is not None
    assert mask.shape[:2] == (1, 1)
    return mask[0, 0].int().tolist()


def test_causal() -> None:
    assert as_lists(sight(3, 3).mask(Full())) == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert as_lists(sight(2, 4).mask(Full())) == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_one_query_and_both_directions_need_no_mask() -> None:
    assert sight(1, 4).mask(Full()) is None
    assert sight(4, 4, causal=False).mask(Full()) is None
    assert sight(3, 5, causal=False).mask(Full()) is None


def test_a_window_holds_for_a_single_query_too() -> None:
    assert as_lists(sight(1, 5).mask(Window(2))) == [[0, 0, 1, 1, 1]]


def test_the_prefix_sees_itself_both_ways_and_the_rest_looks_back() -> None:
    prefix = torch.tensor([[True, True, True, False, False]])
    whole = sight(5, 5, prefix=(prefix, prefix))
    assert as_lists(whole.mask(Full())) == [
        [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1],
    ]  # fmt: skip
    assert not whole.plain
    behind = sight(2, 5, prefix=(prefix[:, 3:], prefix))
    assert as_lists(behind.mask(Full())) == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


def test_documents_are_those_of_one_number() -> None:
    segments = torch.tensor([[4, 4, 9, 9, 9]])
    assert as_lists(sight(5, 5, segments=(segments, segments)).mask(Full())) == [
        [1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 1],
    ]  # fmt: skip


@pytest.mark.parametrize("row", [[PADDING, PADDING, 0, 0], [0, 0, PADDING, PADDING]], ids=["left", "right"])
@pytest.mark.parametrize("causal", [True, False])
def test_nobody_sees_padding_and_padding_sees_something(row: list[int], causal: bool) -> None:
    segments = torch.tensor([row])
    seen = sight(4, 4, causal=causal, segments=(segments, segments)).mask(Full())
    assert seen is not None
    real, padding = segments[0] != PADDING, segments[0] == PADDING
    assert not seen[0, 0][real][:, padding].any()
    assert seen[0, 0].any(1).all()  # or the softmax of a row of weights would be 0 / 0
    expected = torch.ones(2, 2).tril() if causal else torch.ones(2, 2)
    assert seen[0, 0][real][:, real].equal(expected.bool())


def test_queries_without_numbers_see_all_that_is_no_padding() -> None:
    memory = torch.tensor([[0, 0, PADDING], [0, PADDING, PADDING]])
    seen = sight(2, 3, causal=False, segments=(None, memory)).mask(Full())
    assert seen is not None
    assert seen.expand(2, 1, 2, 3)[:, 0].int().tolist() == [[[1, 1, 0]] * 2, [[1, 0, 0]] * 2]


def test_the_bias_stays_where_something_is_seen() -> None:
    bias = torch.randn(1, 3, 4, 4)
    assert biased(4, 4, bias, causal=False).mask(Full()) is bias
    masked = biased(4, 4, bias).mask(Full())
    assert masked is not None
    below = torch.ones(4, 4).tril().bool()
    assert masked[:, :, below].equal(bias[:, :, below])
    assert masked[:, :, ~below].eq(-math.inf).all()


def test_the_triangle_is_named_only_where_it_is_all_there_is() -> None:
    segments, prefix = torch.zeros(1, 4).int(), torch.ones(1, 4).bool()
    assert sight(4, 4).is_causal_only(Full())
    for other in (
        sight(4, 4, causal=False),
        sight(2, 4),
        sight(4, 4, segments=(segments, segments)),
        sight(4, 4, prefix=(prefix, prefix)),
        biased(4, 4, torch.zeros(1, 1, 4, 4)),
    ):
        assert not other.is_causal_only(Full())
    assert not sight(4, 4).is_causal_only(Window(2))


def test_a_mask_is_made_once_for_each_pattern() -> None:
    whole = sight(4, 4)
    assert whole.mask(Window(1)) is whole.mask(Window(1))
    assert whole.mask(Window(1)) is not whole.mask(Window(2))


DOCUMENTS = st.lists(st.sampled_from([PADDING, 0, 1, 2]), min_size=1, max_size=9)


@given(
    rows=st.integers(1, 9).flatmap(
        lambda n: st.lists(st.lists(st.integers(-1, 2), min_size=n, max_size=n), min_size=1, max_size=3)
    ),
    new=st.integers(1, 9),
    causal=st.booleans(),
    prefixed=st.none() | st.integers(0, 9),
    pattern=st.sampled_from([Full(), Window(2), Window(1, 1)]),
)
def test_everything_at_once(
    rows: list[list[int]], new: int, causal: bool, prefixed: int | None, pattern: Pattern
) -> None:
    segments = torch.tensor(rows)
    keys = segments.shape[1]
    queries = min(new, keys)
    first = keys - queries
    prefix = None if prefixed is None else (torch.arange(keys) < prefixed).expand(len(rows), -1)
    found = sight(
        queries, keys, causal=causal, segments=(segments[:, first:], segments),
        prefix=None if prefix is None else (prefix[:, first:], prefix),
    ).mask(pattern)  # fmt: skip
    assert found is not None

    def sees(row: list[int], i: int, j: int) -> bool:
        ahead = causal and j > i
        far = isinstance(pattern, Window) and not i - pattern.before <= j <= i + pattern.after
        both = causal and prefixed is not None and i < prefixed and j < prefixed
        return (both or (not ahead and not far)) and (row[i] == row[j] or row[i] == PADDING)

    expected = [[[sees(row, first + i, j) for j in range(keys)] for i in range(queries)] for row in rows]
    assert found.expand(len(rows), 1, queries, keys)[:, 0].tolist() == expected


@given(row=DOCUMENTS, new=st.integers(1, 9))
def test_positions_count_within_a_document(row: list[int], new: int) -> None:
    first = max(0, len(row) - new)
    segments = torch.tensor([row])
    expected = [row[:place].count(row[place]) for place in range(first, len(row))]
    assert positions_in_document(segments)[:, first:].tolist() == [expected]
