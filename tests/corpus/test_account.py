"""What a mixture reads, in numbers and in words: against sums that a hand can follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.account import Account, Ledger, Plan, Portion, in_words
from danlu.corpus.cells import NO_PART, Members
from danlu.corpus.proportions import Extents

CELLS = Extents(np.array([40.0, 10.0, 50.0]), np.array([400.0, 200.0, 250.0]))
"""Rows and tokens of books, notes and web: rows of 10, 20 and 5 tokens."""
FIRST = Members(("web", "paper"), np.array([1, 1, 0]), CELLS)
SECOND = Members(("books", "gone"), np.array([0, NO_PART, NO_PART]), CELLS)
LEDGER = Ledger(
    Plan(100.0, 10, 30, (0, 20), (np.array([150.0, 50.0]), np.array([7.0, 0.0])), (FIRST, SECOND)),
    ("paper/books", "paper/~", "web/~"),
    np.array([4.0, 2.0, 25.0]),
    (3, 1234),
)
"""20 steps of 10 rows, three of four from the web, then 10 steps of books."""


def test_two_periods_by_hand() -> None:
    """Of 200 rows 150 are of the web, which has 50, and 50 of paper, which has 50; then 100 of books, which have 40."""
    account = LEDGER.account()
    [[web, paper], [books, gone]] = account.periods
    assert web == Portion("web", 25, 250, pytest.approx(750 / 1350), pytest.approx(3))
    # the rows of paper are read equally often: 600 tokens in 50 rows
    assert paper == Portion("paper", 6, 600, pytest.approx(600 / 1350), pytest.approx(1))
    assert books == Portion("books", 4, 400, 1.0, pytest.approx(2.5)) and gone == Portion("gone", 0, 0, 0.0, None)
    assert account.until == (20,) and account.left_out == (3, 1234)
    assert account.epochs == pytest.approx({"paper/books": 1 + 2.5, "paper/~": 1, "web/~": 3})


@pytest.mark.parametrize(
    ("steps", "web", "books"), [(0, 0, 0), (1, 0.15, 0), (20, 3, 0), (21, 3, 0.25), (30, 3, 2.5), (40, 3, 5)]
)
def test_so_many_steps_read_what_comes_before_them(steps: int, web: float, books: float) -> None:
    """A run that was broken off has not read what comes later; one that goes on reads on as in its last period."""
    account = LEDGER.account(steps)
    assert [account.periods[0][0].epochs, account.periods[1][0].epochs] == pytest.approx([web, books])
    assert account.epochs["paper/books"] == pytest.approx(web / 3 + books)


def test_where_nobody_knows_the_steps_there_are_shares_and_no_epochs() -> None:
    clocked = replace(LEDGER, plan=replace(LEDGER.plan, steps=None))
    account, known = clocked.account(), LEDGER.account()
    assert account.epochs == {} and {each.epochs for portions in account.periods for each in portions} == {None}
    for portions, told in zip(account.periods, known.periods, strict=True):
        assert [replace(each, epochs=None) for each in told] == [*portions]
    assert clocked.account(30) == known


@given(rows=st.lists(st.floats(0.01, 1e4), min_size=2, max_size=2), scale=st.floats(1e-3, 1e3))
def test_shares_are_those_of_tokens_and_add_up_to_one(rows: list[float], scale: float) -> None:
    """Only the proportion of rows counts; a row of paper has 12 tokens, one of the web 5."""
    plan = replace(LEDGER.plan, rows=(np.array(rows) * scale, LEDGER.plan.rows[1]))
    web, paper = replace(LEDGER, plan=plan).account().periods[0]
    assert web.share + paper.share == pytest.approx(1)
    assert web.share == pytest.approx(rows[0] * 5 / (rows[0] * 5 + rows[1] * 12))
    assert web.epochs is not None and paper.epochs is not None
    assert web.epochs * 50 + paper.epochs * 50 == pytest.approx(200)


def test_an_account_leaves_its_plan_as_it_was() -> None:
    before = [each.tolist() for each in LEDGER.plan.rows]
    assert LEDGER.account() == LEDGER.account()
    assert [each.tolist() for each in LEDGER.plan.rows] == before


def test_in_words() -> None:
    assert in_words(LEDGER.account(24_000)) == [
        "from step 0 to step 20:",
        "part   documents  tokens   share  epochs",
        "web           25     250  55.56%    3.00",
        "paper          6     600  44.44%    1.00",
        "from step 20 to the end:",
        "part   documents  tokens    share   epochs",
        "books          4     400  100.00%  5995.00",
        "gone           0       0    0.00%        ?",
        "3 documents, 1,234 tokens, are of no part and are not read",
        "the text of paper/books is read 5996.0 times: beyond about 4 it teaches less and less",
    ]


def test_one_period_has_no_steps_to_tell_and_four_times_are_not_too_often() -> None:
    portion = Portion("a", 1_000, 2_000_000, 1.0, 4.0)
    account = Account(((portion,),), (), {"a": 4.0, "b": 4.01}, (0, 0))
    assert in_words(account) == [
        "part  documents     tokens    share  epochs",
        "a         1,000  2,000,000  100.00%    4.00",
        "the text of b is read 4.0 times: beyond about 4 it teaches less and less",
    ]
