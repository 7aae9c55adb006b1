from __future__ import annotations

import unicodedata

import pytest

from danlu.clean.private import find_private
from danlu.clean.private_page import page_of


def _kinds(text: str) -> list[tuple[str, str]]:
    return [(found.kind, text[found.start : found.end]) for found in find_private(text)]


def test_the_digits_of_every_script_are_plain_ones() -> None:
    digits = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Nd"]  # 760 in Unicode 16

    assert page_of("".join(digits)).text == "".join(str(unicodedata.decimal(digit)) for digit in digits)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("هاتف: ٠٥٠ ٩٨٧ ٦٥٤٣ شكرا", "phone", "٠٥٠ ٩٨٧ ٦٥٤٣"),
        ("من +٩٦٦ ٥٠ ٩٨٧ ٦٥٤٣ اليوم", "phone", "+٩٦٦ ٥٠ ٩٨٧ ٦٥٤٣"),
        ("تلفن ۰۹۱۲ ۹۸۷ ۶۵۴۳", "phone", "۰۹۱۲ ۹۸۷ ۶۵۴۳"),
        ("โทร. ๐๘๑-๙๘๗-๖๕๔๓ ครับ", "phone", "๐๘๑-๙๘๗-๖๕๔๓"),
        ("फ़ोन: ९८७६५ ४३२१०", "phone", "९८७६५ ४३२१०"),
        ("手机 𝟏𝟑𝟖𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖", "phone", "𝟏𝟑𝟖𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖"),
        ("بطاقة ٤١١١ ١١١١ ١١١١ ١١١١", "card", "٤١١١ ١١١١ ١١١١ ١١١١"),
        ("من ٩١.١٩٨.١٧٤.١٩٢", "ip", "٩١.١٩٨.١٧٤.١٩٢"),
        ("𝐣𝐨@𝐠𝐦𝐚𝐢𝐥.𝐜𝐨𝐦", "email", "𝐣𝐨@𝐠𝐦𝐚𝐢𝐥.𝐜𝐨𝐦"),
        ("写给 li﹫qq.com", "email", "li﹫qq.com"),
        ("138—1234—5678", "phone", "138—1234—5678"),
    ],
)
def test_what_is_written_with_other_digits_and_letters_is_found(text: str, kind: str, value: str) -> None:
    assert _kinds(text) == [(kind, value)]


@pytest.mark.parametrize("text", ["①13812345678②13912345678", "13812345678① 13912345678²"])
def test_marks_of_lists_and_notes_are_no_part_of_a_number(text: str) -> None:
    assert _kinds(text) == [("phone", "13812345678"), ("phone", "13912345678")]
