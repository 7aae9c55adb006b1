from __future__ import annotations

import pytest

from danlu.clean.private import find_private
from danlu.clean.private_marks import plain_form


def _found(text: str, language: str = "und") -> list[tuple[str, str]]:
    return [(found.kind, text[found.start : found.end]) for found in find_private(text, language=language)]


@pytest.mark.parametrize(
    ("before", "number"),
    [
        ("тел. ", "8-912-987-65-43"),
        ("Мой телефон ", "89129876543"),
        ("тел.: ", "067 987 65 43"),
        ("τηλ. ", "6912 987 654"),
        ("Điện thoại: ", "0912 987 654"),
        ("טל' ", "054-9876543"),
        ("טלפון: ", "0549876543"),
        ("الهاتف ", "0509876543"),
        ("โทร ", "081-987-6543"),
        ("मोबाइल ", "98765 43210"),
        ("連絡先：", "０３（９８７６）５４３２"),
        ("휴대폰 ", "01098765432"),
    ],
)
def test_a_number_behind_the_word_for_telephone_in_its_language_is_found(before: str, number: str) -> None:
    assert _found(f"{before}{number}") == [("phone", number)]
    assert _found(f"価格 {number.replace('-', '').replace(' ', '')[:8]}") == []


@pytest.mark.parametrize(
    ("language", "number"),
    [("fr", "06 98 76 54 32"), ("ja", "090-9876-5432"), ("ru", "8 (912) 987-65-43"), ("he", "054-987-6543")],
)
def test_national_numbers_are_found_in_texts_in_their_language(language: str, number: str) -> None:
    assert _found(f"… {number} …", language) == [("phone", number)]
    assert _found("2019-2024, 01-02-2024, 0.5 1234 99, 00 01 02 03 04, 8 123 456 78 90 12", language) == []


@pytest.mark.parametrize(
    "address",
    [
        *(
            "jo.li7艾特gmail点com",
            "jo.li7골뱅이gmail.com",
            "jo.li7アットマークgmail.com",
            "jo.li7 собака gmail точка com",
        ),
        *("jo.li7(a)gmail.com", "jo.li7 (arroba) gmail (punto) com", "jo.li7 [ät] gmail.com"),
    ],
)
def test_addresses_with_the_sign_said_in_another_language_are_found(address: str) -> None:
    assert _found(f": {address} !") == [("email", address)]
    assert plain_form(address, "email") == "jo.li7@gmail.com"


def test_the_word_for_a_dog_is_no_sign() -> None:
    assert _found("Моя собака любит mail. Ru, 艾特我, part (a)gmail") == []
