"""E-mail addresses and telephone numbers.

A telephone number is found by its shape: international (``+49 30 …``, ``0049 …``), North American, Chinese, or any
shape behind a word such as ``Tel.`` or ``电话``. What the shape alone does not tell, Google's rules of numbering
plans do (``phonenumbers``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from danlu.clean.private_page import ALONE, ENDS, SERIAL, Found, Page, digits_of

_LOCAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-'"
_LONGEST_LOCAL = 64
"""Characters before the ``@`` (RFC 5321)."""
_AT_DOMAIN = re.compile(
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,8}(?P<top>[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,59})(?![A-Za-z0-9_-])"
)
_BRACKETED = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63} ?[\[({] ?at ?[\])}] ?"
    r"[A-Za-z0-9-]{1,63}(?:(?:\.| ?[\[({] ?dot ?[\])}] ?)[A-Za-z0-9-]{2,63}){1,4}",
    re.IGNORECASE,
)
"""``jo [at] uni-bonn [dot] de``."""
_FILE_ENDINGS = {"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "tsx", "py", "html", "json", "md"}
"""Of names of files such as ``icon@2x.png``."""

_LABEL = re.compile(
    r"(?:(?<![A-Za-z])(?:tele)?(?:phone|fon|fax)|(?<![A-Za-z])(?:tel|mobile?|cell(?:phone)?|handy|whatsapp|hotline"
    r"|tél(?:éphone)?|sms|rufnummer|call(?: (?:me|us|her|him))?|text (?:me|us|her|him)|dial|ring)(?![A-Za-z])"
    r"|电话|手机|联系方式|热线|传真|座机|致电|拨打|来电|電話|手機)[^0-9\n]{0,16}\Z",
    re.IGNORECASE,
)
"""What stands right before a telephone number."""
_COUNTED = r"(?! ?(?:元|块|人|美元|万|亿|字节|dollars?|euros?|bytes|people))"
_INTERNATIONAL = re.compile(
    r"(?<![0-9A-Za-z+])(?:\+ ?|00[ -]?(?=[1-9]))\(?[1-9](?:[-. ()/]{0,3}+[0-9]){6,14}+(?![0-9A-Za-z])"
)
_NORTH_AMERICAN = re.compile(
    rf"{ALONE}(?:\+?1[-. ]?)?(?:\((?P<bracketed>[2-9][0-9]{{2}})\)[ -]?|(?P<area>[2-9][0-9]{{2}})[-.])"
    rf"[2-9][0-9]{{2}}[-. ][0-9]{{4}}{ENDS}(?!-[0-9])"
)
_CHINESE_MOBILE = re.compile(
    rf"{ALONE}(?:\(?86\)?[ -]?)?1[3-9][0-9](?P<gap>[ -]?)[0-9]{{4}}(?P=gap)[0-9]{{4}}{ENDS}(?!-[0-9]){_COUNTED}"
)
_CHINESE_AREA = r"0(?:10|2[0-9]|[3-9][0-9]{2})"
_CHINESE_LANDLINE = re.compile(
    rf"{ALONE}(?:(?:\(?86\)?[ -]?)?(?:\({_CHINESE_AREA}\)[ -]?|{_CHINESE_AREA}[ -])[2-9][0-9]{{2,3}}[ -]?[0-9]{{4}}"
    rf"|[48]00[ -](?:[0-9]{{3}}[ -]?[0-9]{{4}}|[0-9]{{4}}[ -][0-9]{{3}})){ENDS}"
)
_GERMAN = re.compile(
    rf"{ALONE}(?:\(0[1-9][0-9]{{1,4}}\) ?|0[1-9][0-9]{{1,4}} ?[-/ ] ?)[0-9](?:[ -]?[0-9]){{4,9}}{ENDS}"
)
_ANY = re.compile(rf"{ALONE}\(?[0-9](?:[-. ()/]{{0,3}}+[0-9]){{5,14}}+{ENDS}(?!:[0-9]{{2}}){_COUNTED}")
_DATE = re.compile(
    r"(?:1[5-9]|20)[0-9]{2} ?[-/.] ?(?:(?:1[5-9]|20)[0-9]{2}|[0-9]{1,2}(?: ?[-/.] ?[0-9]{1,2})?)(?![0-9])"
    r"|[0-9]{1,2} ?[-/.] ?[0-9]{1,2} ?[-/.] ?(?:(?:1[5-9]|20)[0-9]{2})(?![0-9])"
)


def find_emails(page: Page) -> Iterator[Found]:
    """E-mail addresses, also written ``name [at] host [dot] de``; those of remote shells (``git@host:``) are none."""
    text = page.text
    place = text.find("@")
    while place >= 0:
        domain = _AT_DOMAIN.match(text, place)
        if domain is not None:
            before = text[max(0, place - _LONGEST_LOCAL - 1) : place]
            local = before[len(before.rstrip(_LOCAL)) :].lstrip(".-%+'")
            is_file = domain["top"].lower() in _FILE_ENDINGS
            is_shell = local == "git" and text.startswith(":", domain.end())
            if 1 <= len(local) <= _LONGEST_LOCAL and local[-1] != "." and not is_file and not is_shell:
                yield Found(place - len(local), domain.end(), "email")
        place = text.find("@", place + 1)
    if any(sign in page.lower for sign in ("at]", "at)", "at}", "at ]", "at )")):
        for found in _BRACKETED.finditer(text):
            yield Found(*found.span(), "email")


def find_phones(page: Page) -> Iterator[Found]:
    """Telephone numbers, mobile and fixed; a number behind ``order no.`` and its like is none."""
    if not page.numbers:
        return
    yield from _international(page)
    for found in page.near_numbers(_NORTH_AMERICAN):
        if not _names_a_thing(page, found.start()):
            yield Found(*found.span(), "phone")
    for pattern in (_CHINESE_MOBILE, _CHINESE_LANDLINE):
        for found in page.near_numbers(pattern):
            if not _names_a_thing(page, found.start()) and _is_valid(found[0], "CN"):
                yield Found(*found.span(), "phone")
    if page.language == "de":
        for found in page.near_numbers(_GERMAN):
            if not _names_a_thing(page, found.start()) and _is_valid(found[0], "DE"):
                yield Found(*found.span(), "phone")
    for found in page.near_numbers(_ANY):
        if page.said_before(_LABEL, found.start()) and not _DATE.match(found[0]):
            yield Found(*found.span(), "phone")


def _international(page: Page) -> Iterator[Found]:
    for found in page.near_numbers(_INTERNATIONAL):
        plus = found[0].startswith("+")
        if not plus and not page.said_before(_LABEL, found.start()) and not re.search("[ -]", found[0]):
            continue
        if not plus and _names_a_thing(page, found.start()):
            continue
        ends = [run.end() for run in re.finditer("[0-9]+", found[0])]
        for end in reversed(ends[-6:]):  # a year or another number may stand right behind it
            if _is_valid(_with_plus(found[0][:end]), None):
                yield Found(found.start(), found.start() + end, "phone")
                break


def _names_a_thing(page: Page, place: int) -> bool:
    return page.said_before(SERIAL, place) and not page.said_before(_LABEL, place)


def _with_plus(number: str) -> str:
    """``0049 (0)30 …`` as ``+4930…``."""
    bare = number.replace("(0)", "")
    return "+" + digits_of(bare.removeprefix("00"))


def _is_valid(number: str, region: str | None) -> bool:
    """Whether Google's numbering plans have such a number."""
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False
