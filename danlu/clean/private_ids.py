"""Numbers that states give to persons, by shape and check digit (``python-stdnum``) or by shape and a word before.

Where shape and check digits together make a false alarm rare, the number is enough: China (18 digits), France, Italy,
Spain, Korea and Brazil in their usual forms, Hong Kong with its brackets, and by shape alone those of the United
States with hyphens and of Britain with spaces. The others need a word within 40 characters before:
``Aadhaar``, ``NHS``, ``Steuer-ID``, ``身份证`` …
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from danlu.clean.private_page import ALONE, ENDS, SERIAL, Found, Page, words

_PROVINCES = frozenset(
    map(
        str,
        [*range(11, 16), 21, 22, 23, *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83],
    )
)
"""The first two digits of a Chinese number (GB/T 2260; 83 since 2018 for residents from Taiwan)."""
_ANY_ID = r"id(?:entification)?\b|identity|身份|證號|证件|证号|身分"
_CHINA_WORDS = words(_ANY_ID, r"resident", r"\bric\b")


@dataclass(frozen=True)
class Id:
    """One kind of number."""

    country: str
    pattern: re.Pattern[str]
    valid: Callable[[str], bool]
    """Whether the check digits, or what else is known, hold; of the number as it stands in the text."""
    words: re.Pattern[str] | None = None
    """One of which must stand before; None where the number is enough."""


def find_ids(page: Page) -> Iterator[Found]:
    """National identity, tax and health numbers of persons, each as the kind ``id``."""
    if not page.numbers:
        return
    for each in IDS:
        for found in page.near_numbers(each.pattern, before=8, after=4):
            if each.words is not None:
                if not page.said_before(each.words, found.start()):
                    continue
            elif page.said_before(SERIAL, found.start()):
                continue
            if each.valid(found[0]):
                yield Found(*found.span(), "id")


def is_chinese_id(number: str) -> bool:
    """18 digits, the last perhaps X: province, date of birth, check digit (GB 11643-1999, ISO 7064 MOD 11-2)."""
    from stdnum.cn import ric

    bare = ric.compact(number.replace("-", ""))
    return bare[:2] in _PROVINCES and _is_birthday(bare[6:14]) and ric.calc_check_digit(bare) == bare[-1]


def is_old_chinese_id(number: str) -> bool:
    """15 digits without a check digit, given until 1999: province and date of birth."""
    return number[:2] in _PROVINCES and _is_birthday(f"19{number[6:12]}")


def _is_birthday(yyyymmdd: str) -> bool:
    try:
        day = datetime.date(int(yyyymmdd[:4]), int(yyyymmdd[4:6]), int(yyyymmdd[6:]))
    except ValueError:
        return False
    return 1880 <= day.year <= 2099


_TAIWAN = dict(zip("ABCDEFGHJKLMNPQRSTUVXYWZIO", range(10, 36), strict=True))


def is_taiwanese_id(number: str) -> bool:
    """A letter and nine digits; the letter counts as a number of two digits, 10 to 35."""
    letter = _TAIWAN[number[0]]
    weighted = [letter // 10, letter % 10 * 9]
    weighted += [int(digit) * weight for digit, weight in zip(number[1:], (8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True)]
    return sum(weighted) % 10 == 0


def is_hong_kong_id(number: str) -> bool:
    """One letter or two, six digits and a check digit, 10 written as A: weights 9 to 1, modulo 11."""
    bare = number.replace("(", "").replace(")", "").replace(" ", "").rjust(9)
    values = [36 if sign == " " else int(sign, 36) for sign in bare[:8]]
    check = int(bare[8], 36)
    return (sum(value * weight for value, weight in zip(values, range(9, 1, -1), strict=True)) + check) % 11 == 0


def is_social_security(number: str) -> bool:
    """Area, group and serial number that are given to people; also those that advertisements made known."""
    area, group, serial = number[:3], number[-6:-4].strip("- "), number[-4:]
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def is_national_insurance(number: str) -> bool:
    """Prefixes that HM Revenue and Customs gives out; there is no check digit."""
    return number[:2].upper() not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def _by_stdnum(module: str) -> Callable[[str], bool]:
    """``is_valid`` of ``stdnum.<module>``, loaded when a number of that shape is met."""

    def valid(number: str) -> bool:
        import importlib

        return bool(importlib.import_module(f"stdnum.{module}").is_valid(number))

    return valid


def _alone(shape: str) -> re.Pattern[str]:
    return re.compile(f"{ALONE}(?:{shape}){ENDS}")


_CHINESE = r"[1-9][0-9]{5}[ -]?(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[ -]?[0-9]{3}[0-9Xx]"
_NINO = r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
_BRACKETED = re.compile(rf"{ALONE}[A-Z]{{1,2}}[0-9]{{6}} ?\([0-9A]\)")

IDS = (
    Id("CN", _alone(_CHINESE), is_chinese_id),
    Id("CN", _alone(r"[1-9][0-9]{14}"), is_old_chinese_id, _CHINA_WORDS),
    Id(
        "CN",
        _alone(r"[EGDSPH][A-HJ-NP-Z]?[0-9]{7,8}"),
        lambda number: len(number) in (9, 10),
        words("passport", "护照"),
    ),
    Id("HK", _BRACKETED, is_hong_kong_id),
    Id("HK", _alone(r"[A-Z]{1,2}[0-9]{6}[0-9A]"), is_hong_kong_id, words("hkid", "hong kong", "香港", _ANY_ID)),
    Id("TW", _alone(r"[A-Z][1289][0-9]{8}"), is_taiwanese_id, words("taiwan", "台灣", "台湾", "統一編號", _ANY_ID)),
    Id("US", _alone(r"[0-9]{3}-[0-9]{2}-[0-9]{4}"), is_social_security),
    Id(
        "US",
        _alone(r"[0-9]{3} ?[0-9]{2} ?[0-9]{4}"),
        is_social_security,
        words(r"ssn\b", "social security", "社会安全", "社安"),
    ),
    Id("GB", _alone(rf"{_NINO} [0-9]{{2}} [0-9]{{2}} [0-9]{{2}} [A-D]"), is_national_insurance),
    Id(
        "GB",
        _alone(rf"{_NINO}[0-9]{{6}}[A-D]"),
        is_national_insurance,
        words(r"ni(?:no)?\b", "national insurance", "国民保险"),
    ),
    Id("GB", _alone(r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}"), _by_stdnum("gb.nhs"), words(r"nhs\b", "国民医疗")),
    Id(
        "DE",
        _alone(r"[1-9][0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}"),
        _by_stdnum("de.idnr"),
        words("steuer", r"id-?nr\b", r"tin\b", r"tax (?:id|number|no)", "identifikationsnummer", "税号", "税务"),
    ),
    Id(
        "FR",
        _alone(r"[12] ?[0-9]{2} ?(?:[0-9]{2}) ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}"),
        _by_stdnum("fr.nir"),
    ),
    Id("ES", _alone(r"[0-9]{8}-?[A-HJ-NP-TV-Z]"), _by_stdnum("es.dni")),
    Id("ES", _alone(r"[XYZ]-?[0-9]{7}-?[A-HJ-NP-TV-Z]"), _by_stdnum("es.nie")),
    Id("IT", _alone(r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]"), _by_stdnum("it.codicefiscale")),
    Id(
        "IN",
        _alone(r"[2-9][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}"),
        _by_stdnum("in_.aadhaar"),
        words("aadhaa?r", "uid(?:ai)?", "आधार"),
    ),
    Id(
        "JP",
        _alone(r"[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}"),
        _by_stdnum("jp.in_"),
        words("my number", "マイナンバー", "個人番号", "个人编号"),
    ),
    Id("KR", _alone(r"[0-9]{6}-[1-8][0-9]{6}"), _by_stdnum("kr.rrn")),
    Id("KR", _alone(r"[0-9]{6}-?[1-8][0-9]{6}"), lambda number: True, words(r"rrn\b", "resident registration", "주민")),
    Id("BR", _alone(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}"), _by_stdnum("br.cpf")),
    Id("BR", _alone(r"[0-9]{11}"), _by_stdnum("br.cpf"), words(r"cpf\b")),
    Id("PL", _alone(r"[0-9]{11}"), _by_stdnum("pl.pesel"), words(r"pesel\b")),
    Id("NL", _alone(r"[0-9]{9}"), _by_stdnum("nl.bsn"), words(r"bsn\b", "burgerservice")),
    Id("CA", _alone(r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}"), _by_stdnum("ca.sin"), words(r"sin\b", "social insurance")),
)
"""Tried in this order."""
