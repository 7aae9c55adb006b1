"""Numbers that states give to persons, by shape and check digit (``python-stdnum``) or by shape and a word before.

Where shape and check digits together make a false alarm rare, the number is enough: China (18 digits), France, Italy,
Spain, Korea and Brazil in their usual forms, Hong Kong with its brackets, and by shape alone those of the United
States with hyphens and of Britain with spaces. The others need a word within 40 characters before:
``Aadhaar``, ``NHS``, ``Steuer-ID``, ``身份证`` …
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from danlu.clean.private_ids_china import (
    is_birthday,
    is_chinese_id,
    is_hong_kong_id,
    is_old_chinese_id,
    is_social_credit_code,
    is_taiwanese_id,
)
from danlu.clean.private_page import ALONE, ENDS, SERIAL, Found, Page, words

_ANY_ID = r"id(?:entification)?\b|identity|身份|證號|证件|证号|身分"
_PASSPORT = (
    "passport|reisepass|passeport|pasaporte|passaporto|paszport|διαβατ|паспорт|护照|護照|旅券|여권|hộ chiếu"
    "|หนังสือเดินทาง|جواز|דרכון"
)
_MACAU = "macau|macao|澳门|澳門"
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
    said = [
        (start, end)
        for start, end in page.numbers
        if _MAY_NEED_WORD.search(page.text, start, end) and _ALL_WORDS.search(page.text, max(0, start - 48), end)
    ]
    for each in IDS:
        among = None if each.words is None else said
        for found in page.near_numbers(each.pattern, before=8, after=12, among=among):
            if each.words is not None:
                if not page.said_before(each.words, found.start()):
                    continue
            elif page.said_before(SERIAL, found.start()):
                continue
            if each.valid(found[0]):
                yield Found(*found.span(), "id")


def is_social_security(number: str) -> bool:
    """Area, group and serial number that are given to people; also those that advertisements made known."""
    area, group, serial = number[:3], number[-6:-4].strip("- "), number[-4:]
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def is_singaporean_id(number: str) -> bool:
    """A letter of the century or of foreigners, seven digits and a check letter: weights 2 7 6 5 4 3 2, modulo 11."""
    total = sum(int(digit) * weight for digit, weight in zip(number[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    total += {"T": 4, "G": 4, "M": 3}.get(number[0], 0)
    letters = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "KLJNPQRTUWX"}
    place = 10 - total % 11 if number[0] == "M" else total % 11
    return letters[number[0]][place] == number[8]


def is_no_date(number: str) -> bool:
    """Of eight digits: they are no year, month and day of our time."""
    return not (number.isdigit() and len(number) == 8 and is_birthday(number))


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


_CHINESE = r"[1-9][0-9]{5}[ .-]?(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[ .-]?[0-9]{3}[0-9XxХх×]"
_CHINESE_APART = r"[1-9](?:(?: [0-9]){16} [0-9XxХх×]|[0-9]{3}(?:[ -][0-9]{4}){3}[ -][0-9][0-9XxХх×])"
_NINO = r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
_BRACKETED = re.compile(rf"{ALONE}[A-Z]{{1,2}}[0-9]{{6}} ?\([0-9A]\)")

IDS = (
    Id("CN", _alone(_CHINESE), is_chinese_id),
    Id("CN", _alone(_CHINESE_APART), is_chinese_id),
    Id("CN", _alone(r"[1-9][0-9]{14}"), is_old_chinese_id, _CHINA_WORDS),
    Id("CN", _alone(r"[159][1-9][0-9]{6}[0-9A-HJ-NPQRTUWXY]{8}[0-9X][0-9A-HJ-NPQRTUWXY]"), is_social_credit_code),
    Id("RU", _alone(r"[0-9]{2} ?[0-9]{2} ?(?:№ ?)?[0-9]{6}"), lambda number: True, words("паспорт")),
    Id(
        "",
        _alone(r"[A-Z]{0,2}[0-9]{6,9}|[CFGHJK][0-9CFGHJKLMNPRTVWXYZ]{8}"),
        is_no_date,
        words(_PASSPORT),
    ),
    Id(
        "CN",
        _alone(r"[HMCWT][0-9]{8}(?:[0-9]{2})?|[0-9]{8}(?:[0-9]{2})?"),
        is_no_date,
        words("通行证", "通行證", "回乡证", "回鄉證", "台胞证", "台胞證", "home return permit"),
    ),
    Id("MO", _alone(r"[157]/?[0-9]{6}/?[0-9]"), lambda number: True, words(_MACAU)),
    Id(
        "MO",
        re.compile(rf"{ALONE}[157][0-9]{{6}} ?\([0-9]\)"),
        lambda number: True,
        words(_MACAU, _ANY_ID),
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
    Id("KR", _alone(r"[0-9]{6}-[0-9]{7}"), _by_stdnum("kr.rrn")),
    Id("KR", _alone(r"[0-9]{6}-?[0-9]{7}"), lambda number: True, words(r"rrn\b", "resident registration", "주민")),
    Id("BR", _alone(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}"), _by_stdnum("br.cpf")),
    Id("BR", _alone(r"[0-9]{11}"), _by_stdnum("br.cpf"), words(r"cpf\b")),
    Id("PL", _alone(r"[0-9]{11}"), _by_stdnum("pl.pesel"), words(r"pesel\b")),
    Id("NL", _alone(r"[0-9]{9}"), _by_stdnum("nl.bsn"), words(r"bsn\b", "burgerservice")),
    Id("SG", _alone(r"[STFGM][0-9]{7}[A-Z]"), is_singaporean_id),
    Id("MY", _alone(r"[0-9]{6}-[0-9]{2}-[0-9]{4}"), _by_stdnum("my.nric")),
    Id("TH", _alone(r"[1-8]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]"), _by_stdnum("th.pin")),
    Id("BE", _alone(r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}"), _by_stdnum("be.nn")),
    Id("FI", _alone(r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]"), _by_stdnum("fi.hetu")),
    Id("CH", _alone(r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}"), _by_stdnum("ch.ssn")),
    Id("MX", _alone(r"[A-Z]{4}[0-9]{6}[HM][A-Z]{5}[0-9A-Z][0-9]"), _by_stdnum("mx.curp")),
    Id("CL", _alone(r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]"), _by_stdnum("cl.rut")),
    Id("SE", _alone(r"(?:19|20)?[0-9]{6}[-+]?[0-9]{4}"), _by_stdnum("se.personnummer"), words("personnummer")),
    Id("DK", _alone(r"[0-9]{6}-?[0-9]{4}"), _by_stdnum("dk.cpr"), words(r"cpr\b", "personnummer")),
    Id("NO", _alone(r"[0-9]{6} ?[0-9]{5}"), _by_stdnum("no.fodselsnummer"), words(r"f[øo]dselsn", "personnummer")),
    Id("IE", _alone(r"[0-9]{7}[A-W][ABHWTX]?"), _by_stdnum("ie.pps"), words(r"ppsn?\b")),
    Id("PT", _alone(r"[1-9][0-9]{8}"), _by_stdnum("pt.nif"), words(r"nif\b", "contribuinte")),
    Id("RO", _alone(r"[1-9][0-9]{12}"), _by_stdnum("ro.cnp"), words(r"cnp\b")),
    Id("CZ", _alone(r"[0-9]{6}/?[0-9]{3,4}"), _by_stdnum("cz.rc"), words("rodné", "rodne", r"rč\b")),
    Id("TR", _alone(r"[1-9][0-9]{10}"), _by_stdnum("tr.tckimlik"), words("kimlik", r"t\.?c\.? ?no")),
    Id("ZA", _alone(r"[0-9]{6} ?[0-9]{4} ?[0-9]{3}"), _by_stdnum("za.idnr"), words("south africa", _ANY_ID)),
    Id("IL", _alone(r"[0-9]{8,9}"), _by_stdnum("il.idnr"), words("teudat", "israel", "תעודת", r"ת\.? ?ז\b")),
    Id("SA", _alone(r"[12][0-9]{9}"), _by_stdnum("luhn"), words("هوية", "إقامة", "iqama")),
    Id("TH", _alone(r"[1-8][0-9]{12}"), _by_stdnum("th.pin"), words("ประชาชน", "thai", _ANY_ID)),
    Id("RU", _alone(r"[0-9]{12}"), _by_stdnum("ru.inn"), words("инн", r"inn\b")),
    Id("RU", _alone(r"[0-9]{3}-[0-9]{3}-[0-9]{3} [0-9]{2}"), lambda number: True, words("снилс", "snils")),
    Id("AU", _alone(r"[0-9]{3} ?[0-9]{3} ?[0-9]{2,3}"), _by_stdnum("au.tfn"), words(r"tfn\b", "tax file")),
    Id("US", _alone(r"9[0-9]{2}-[0-9]{2}-[0-9]{4}"), _by_stdnum("us.itin"), words(r"itin\b", "taxpayer")),
    Id("CA", _alone(r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}"), _by_stdnum("ca.sin"), words(r"sin\b", "social insurance")),
)
"""Tried in this order."""
_MAY_NEED_WORD = re.compile(
    r"[0-9]{6}|9[0-9]{2}-[0-9]{2}-[0-9]{4}|[0-9]{2,4}[ /-][0-9]{3,5}[ /-][0-9]{2,4}|[0-9]/[0-9]{6}|[0-9]{4} [0-9]{4}"
)
"""What is in all numbers that need a word, and in no date."""
_ALL_WORDS = re.compile("|".join({each.words.pattern for each in IDS if each.words is not None}), re.IGNORECASE)
"""One of which stands before or in a run of digits, or no number there needs a word."""
