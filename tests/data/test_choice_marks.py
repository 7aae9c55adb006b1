"""Marks that part choices, and answers that begin with one."""

from __future__ import annotations

import pytest

from danlu.data.choice_marks import mark_and_text, parted_by_marks


@pytest.mark.parametrize(("cell", "choices"), [
    ("A.1 B.2 C.3", ["1", "2", "3"]),
    ("A. 1 B. 2 C.3", ["1", "2", "3"]),
    ("A．3：4 B．4：3", ["3：4", "4：3"]),
    ("1. 3.5 2. 4.5", ["3.5", "4.5"]),
    ("A. I saw plan B: it worked B. no", ["I saw plan B: it worked", "no"]),
    ("A. see (B) below B. no", ["see (B) below", "no"]),
    ("A．甲\u3000B．乙", ["甲", "乙"]),
    ("Plan A. Plan B.", []),
    ("A. x", []),
])  # fmt: skip
def test_marks_of_one_kind_part_a_cell(cell: str, choices: list[str]) -> None:
    assert list(parted_by_marks(cell)) == choices


@pytest.mark.parametrize(("answer", "parts"), [
    ("B.2", ("b", "2")), ("2. green", ("2", "green")), ("3.5", None), ("(2) 5", ("2", "5")), ("green", None),
])  # fmt: skip
def test_a_mark_before_a_number(answer: str, parts: tuple[str, str] | None) -> None:
    assert mark_and_text(answer) == parts
