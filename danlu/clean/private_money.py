"""Bank cards, by issuer, grouping and Luhn's check digit, and account numbers of the form IBAN (ISO 13616)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from danlu.clean.private_page import ALONE, ENDS, SERIAL, Found, Page, digits_of, words

_GAP = r"(?P<gap>[ .-]?)"
_CARD = re.compile(
    rf"{ALONE}(?:"
    rf"[2-9][0-9]{{3}}{_GAP}[0-9]{{4}}(?P=gap)[0-9]{{4}}(?P=gap)[0-9]{{1,4}}(?:(?P=gap)[0-9]{{1,3}})?"
    r"|3[0-9]{3}[ -]?[0-9]{6}[ -]?[0-9]{4,5}"  # American Express and Diners Club
    r"|[69][0-9]{5}[ .-][0-9]{13}"  # UnionPay's nineteen
    rf"){ENDS}"
)
_CARD_APART = re.compile(
    r"(?<![0-9A-Za-z_/])(?<![0-9][ .,\n])(?<![0-9] [ \n])(?<![0-9] {3})"
    r"[2-9][0-9]{3}(?P<gap>[/_]| {2,3})(?:[0-9]{4}(?P=gap)){2}(?![0-9]000)[0-9]{4}"
    r"(?![0-9A-Za-z_/]|[.,][0-9]| {1,4}[0-9]|\n {0,4}[0-9])"
)
"""Odd signs or more spaces within; in no table, whose next number would follow."""
_CARD_DIGITS = re.compile(rf"{ALONE}[2-9](?: [0-9]){{12,18}}(?! ?[0-9]|[A-Za-z_])")
"""Digit by digit, behind a word."""
_ISSUERS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5][0-9]{11}|095[0-9]{10}|[689][0-9]{12})"  # Diners Club
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12}"  # Discover
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"  # JCB
    r"|62[0-9]{14,17}"  # UnionPay
    r"|601382[0-9]{13}"  # the Bank of China, before UnionPay
    r"|9558[0-9]{12}(?:[0-9]{3})?"  # the Industrial and Commercial Bank of China, before UnionPay
    r"|220[0-4][0-9]{12}"  # Mir
    r"|(?:60|81|82)[0-9]{14}"  # RuPay
    r"|6(?:304|706|709|771|759|76[1-3])[0-9]{12,15}"  # Maestro
)
"""The ranges of ISO/IEC 7812 numbers of today's large issuers."""
_CARD_WORDS = words(
    "card", "visa", "mastercard", "amex", "debit", "credit", "银行卡", "信用卡", "借记卡", "储蓄卡", "卡号", "账号"
)
_IBAN = re.compile(
    r"(?:(?<![0-9A-Za-z])|(?<=IBAN)|(?<=iban))(?:[A-Z]{2}[0-9]{2}(?:[ -]?[0-9A-Z]){11,30}+(?![0-9a-z])"
    r"|[a-z]{2}[0-9]{2}(?:[ -]?[0-9a-z]){11,30}+(?![0-9A-Z]))"
)
_IBAN_IN_GROUPS = re.compile(
    r"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}(?:[ .\n][0-9A-Z]{4}){2,7}(?:[ .\n][0-9A-Z]{1,3})?(?![0-9A-Za-z])"
)
"""With dots, or over a line end."""


def find_cards(page: Page) -> Iterator[Found]:
    """Numbers of payment cards."""
    for pattern in (_CARD, _CARD_APART, _CARD_DIGITS):
        for found in page.near_numbers(pattern):
            digits = digits_of(found[0])
            if not _ISSUERS.fullmatch(digits):
                continue
            said = page.said_before(_CARD_WORDS, found.start(), reach=16)
            if not said and (pattern is _CARD_DIGITS or page.said_before(SERIAL, found.start())):
                continue
            if _luhn(digits):
                yield Found(*found.span(), "card")


def _luhn(digits: str) -> bool:
    from stdnum import luhn

    return len(set(digits)) > 1 and bool(luhn.is_valid(digits))


def find_ibans(page: Page) -> Iterator[Found]:
    """International bank account numbers, whose length and check digits are those of their country."""
    for pattern in (_IBAN, _IBAN_IN_GROUPS):
        place = 0
        for begin, behind in page.numbers:
            place = max(place, begin - 16)
            while found := pattern.search(page.text, place, behind + 32):
                place = found.start() + 2  # what begins like one, and is none, may hold one
                length = _length(found[0][:2].upper())
                end, signs = (None, "") if length is None else _after(found[0], length)
                if end is not None and _is_iban(signs):
                    place = found.start() + end
                    yield Found(found.start(), place, "iban")


def _length(country: str) -> int | None:
    """Characters of an IBAN of this country; None where there are none."""
    from stdnum import numdb

    structure = numdb.get("iban").info(country + "00")[0][1].get("bban")
    return None if structure is None else 4 + sum(map(int, re.findall(r"[0-9]+", structure)))


def _after(text: str, length: int) -> tuple[int | None, str]:
    """Behind which character ``length`` letters and digits are read, no more following at once; and these."""
    places = [place for place, sign in enumerate(text) if sign not in " -.\n"][:length]
    if len(places) < length or text[places[-1] + 1 : places[-1] + 2].isalnum():
        return None, ""
    return places[-1] + 1, "".join(text[place] for place in places)


def _is_iban(number: str) -> bool:
    from stdnum import iban

    return bool(iban.is_valid(number, check_country=False))
