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
        ("iban", "DE89 3704 00\n44 0532 0130 00"),
        ("iban", "DE8937040044\n0532013000"),
        ("card", "4111 1111 1111 11\n11"),
        ("phone", "+33 6 65 85 79\n85"),
        ("ip", "116.94.207.\n39"),
        ("ip", "116.94.2\n07.39"),
        ("secret", "ghp_Fzy2pXRBw\nBCtMzsVCD2Cx38WyPTsS6OPAOo7"),
        ("secret", "ghp_Fzy2pXRBwBCtMzsVCD2Cx38\nWyPTsS6OPAOo7"),
        ("secret", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi\nOiIxMjM0NTY3ODkwIiwibmFtZSI6\nIkpvaG4ifQ.dBjftJeZ4CVPmB92K27"),
        ("email", "li.wei7@\ngmail.com"),
        ("email", "li.wei7@gmail.\ncom"),
        ("email", "li.wei7@exam\nple.org"),
        ("email", "li.wei7@example.o\nrg"),
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
        "thanks @anna\nexample for all",
        "user@host\nEnd of file. Com",
        "see page 138\n2345678. Next",
    ],
)
def test_numbers_with_neighbours_and_other_things_are_none(text: str) -> None:
    assert _found(text) == []


@pytest.mark.parametrize("text", ["Budget:\n150000\n20000\n", "收入：\n1800000\n5000\n元", "1350000 \n  3500"])
def test_two_numbers_below_each_other_are_no_telephone_number(text: str) -> None:
    for language in ("und", "zh"):
        assert find_private(text, language=language) == []
    assert find_private("Jahr\n0231\n4567890\n", language="de") == []
    assert _found("Anna\n138-1234-\n5678\n") == [("phone", "138-1234-\n5678")]
    assert _found("Anna\n+49 30\n2345678\n") == [("phone", "+49 30\n2345678")]


def test_a_whole_number_on_the_second_line_is_itself() -> None:
    assert _found("in 2019\n13812345678") == [("phone", "13812345678")]
    key = "ghp_Fzy2pXRBwBCtMzsVCD2Cx38WyPTsS6OPAOo7"
    assert _found(f"It is {key}\nand no more") == [("secret", key)]
    assert _found("Ring +49 30 2345678\n12 people") == [("phone", "+49 30 2345678")]
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
