"""Numbers that the end of a line parts."""

from __future__ import annotations

import random

import pytest

from danlu.clean.private import find_private


def _found(text: str) -> list[tuple[str, str]]:
    return [(found.kind, text[found.start : found.end]) for found in find_private(text)]


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("card", "4111 1111\n1111 1111"),
        ("card", "4111-1111-1111-\n1111"),
        ("card", "411111111\n1111111"),
        ("phone", "138-1234-\n5678"),
        ("phone", "1381234\n5678"),
        ("phone", "212-555-\n0123"),
        ("phone", "+49 30\n2345678"),
        ("phone", "+49 30\n    2345678"),
        ("id", "110105\n19491231002X"),
        ("id", "1101051949123\n1002X"),
        ("iban", "DE89 3704 0044\n0532 0130 00"),
        ("email", "li.wei7@\ngmail.com"),
        ("email", "li.wei7@gmail.\ncom"),
    ],
)
def test_the_whole_of_both_lines_is_found(kind: str, number: str) -> None:
    assert _found(f"It is {number}, they\nsaid.") == [(kind, number)]
    assert _found(f"号码是{number}。") == [(kind, number)]


@pytest.mark.parametrize(
    "text",
    [
        "1234 4111 1111\n1111 1111",
        "4111 1111\n1111 1111\n2222 3333",
        "4000\n4111 1111\n1111 1111",
        "1.50\t138\n12345678\t2",
        "Order no. 1381234\n5678 was sent.",
        "born in 1984\n1985123 people",
        "see page 138\n2345678. Next",
    ],
)
def test_numbers_with_neighbours_and_other_things_are_none(text: str) -> None:
    assert _found(text) == []


def test_a_whole_number_on_the_second_line_is_itself() -> None:
    assert _found("in 2019\n13812345678") == [("phone", "13812345678")]
    assert _found("Tel. 030 123456\n2019 was") == [("phone", "030 123456")]


def test_tables_of_numbers_hold_none() -> None:
    chance = random.Random(5)
    for width in (4, 7, 8, 11, 12, 16):
        for columns in (1, 2, 3):
            rows = [" ".join(str(chance.randrange(10**width)) for _ in range(columns)) for _ in range(60)]
            wide = [
                found for found in find_private("\n".join(rows)) if "\n" in "\n".join(rows)[found.start : found.end]
            ]
            assert wide == [], (width, columns)
