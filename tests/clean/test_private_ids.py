from __future__ import annotations

import pytest

from danlu.clean.private import find_private
from danlu.clean.private_marks import plain_form


@pytest.mark.parametrize(
    "number", ["110105.19491231.002X", "11010519491231002×", "11010519491231002Х", "11010519491231002ｘ"]
)
def test_a_chinese_id_with_another_x_or_full_stops_is_found(number: str) -> None:
    (found,) = find_private(f"是{number}。")

    assert (found.kind, found.end - found.start) == ("id", len(number))
    assert plain_form(number, "id") == "11010519491231002x"


@pytest.mark.parametrize(
    ("before", "number"),
    [("паспорт ", "45 08 987654"), ("ת.ז. ", "123456782"), ("رقم الهوية: ", "١٠٠٠٠٠٠٠٠٨"), ("דרכון ", "12345678")],
)
def test_ids_behind_words_in_other_languages_are_found(before: str, number: str) -> None:
    (found,) = find_private(before + number)

    assert (found.kind, found.start) == ("id", len(before))
