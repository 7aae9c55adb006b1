"""Public addresses of the Internet Protocol: those of homes and servers, not of local networks or of documentation."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

import numpy as np

from danlu.clean.private_page import DIGIT, Found, Page, words

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_V4 = re.compile(rf"(?<![0-9A-Za-z_.])(?<![A-Za-z]-){_OCTET}(?:\.{_OCTET}){{3}}(?![0-9A-Za-z_]|\.[0-9]|-[A-Za-z0-9])")
_V6 = re.compile(r"(?<![0-9A-Za-z.])(?<![0-9A-Fa-f:]:)[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,40}+(?![0-9A-Za-z])")
_DEFANGED = re.compile(
    rf"(?<![0-9A-Za-z_.]){_OCTET}(?:(?:\[\.\]|\.|\(\.\)|\[dot\]){_OCTET}){{3}}(?![0-9A-Za-z_]|\.[0-9])"
)
"""``93[.]184[.]216[.]34``, as reports on attacks write it."""
_SPACED = re.compile(r" \. (?<=[0-9] \. )[0-9]")
_APART = re.compile(
    rf"(?<![0-9A-Za-z_.]){_OCTET}(?:(?: \. {_OCTET}){{3}}|(?:。{_OCTET}){{3}})(?! ?[.。]? ?[0-9]|[A-Za-z_])"
)
"""``93 . 184 . 216 . 34``, ``93。184。216。34``."""
_MAPPED = re.compile(r"::(?:[fF]{4}:(?:0{1,4}:)?|)\Z")
"""What makes an address of version 6 of one of version 4."""
_DOTS = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
"""The middle of an address, looked for first: what begins with a letter that is rare is found fast."""
_VERSION = re.compile(
    r"(?:version|release|firmware|build|driver|(?<![a-z])(?:v|ver|rev|sec|sect|section|chapter|clause|table|fig|figure)"
    r"|版本|固件|章|节|§|[<>=~^])[^0-9\n]{0,12}(?:[0-9]:)?\Z",
    re.IGNORECASE,
)
"""What stands before numbers of versions and of sections."""
_TITLE = re.compile(r"\.[ \t\u00a0\u3000]{1,9}[^\s\d]")
_ADDRESS = words(
    r"ips?(?:v4)?\b", "address", "dns", "server", "host", "ping", "from", "client", "地址", "服务器", "访问"
)


def find_ips(page: Page) -> Iterator[Found]:
    """Public addresses of version 4 and 6.

    Four numbers below ten (``1.2.3.4``) are as often a version or a section: they count only behind a word such as
    ``IP`` or before a port.
    """
    text = page.text
    for start, end in _fours(text):
        if page.said_before(_VERSION, start, reach=20) or not _is_public(text[start:end]):
            continue
        if _is_heading(text, start, end):
            continue
        small = all(len(octet) == 1 for octet in text[start:end].split("."))
        if mapped := _MAPPED.search(text, max(0, start - 12), start):
            yield Found(mapped.start(), end, "ip")
        elif not small or text[end : end + 1] in (":", "/") or page.said_before(_ADDRESS, start):
            yield Found(start, end, "ip")
    if "[.]" in text or "(.)" in text or "[dot]" in text:
        for found in _DEFANGED.finditer(text):
            address = re.sub(r"[^0-9]+", ".", found[0])
            if address != found[0] and _is_public(address):
                yield Found(*found.span(), "ip")
    yield from _apart(page)
    for start, end in _sixes(text):
        if _is_public(text[start:end]):
            yield Found(start, end, "ip")


def _apart(page: Page) -> Iterator[Found]:
    """Addresses with an odd sign between their numbers, two of which are of three digits, as in no heading."""
    places = [each.start() for each in _SPACED.finditer(page.text)] if " . " in page.text else []
    if not page.text.isascii():
        stops = np.flatnonzero(page.codes[1:-1] == ord("。")) + 1
        places += stops[page.signs[stops - 1] & page.signs[stops + 1] & DIGIT != 0].tolist()
    behind = -1
    for place in places:
        if place >= behind and (found := _APART.search(page.text, max(0, place - 3), place + 24)):
            numbers = re.findall("[0-9]+", found[0])
            if sum(len(each) == 3 for each in numbers) >= 2 and _is_public(".".join(numbers)):
                behind = found.end()
                yield Found(*found.span(), "ip")


def _is_heading(text: str, start: int, end: int) -> bool:
    """Whether it numbers a section, as in ``12.2.1.1. Rules`` at the beginning of a line."""
    if not _TITLE.match(text, end) or any(len(number) > 2 for number in text[start:end].split(".")):
        return False
    return not text[max(0, start - 20) : start].rpartition("\n")[2].strip(" \t\u00a0#")


def _fours(text: str) -> Iterator[tuple[int, int]]:
    place = 0
    while middle := _DOTS.search(text, place):
        place = middle.end()
        for start in range(max(0, middle.start() - 3), middle.start()):
            if found := _V4.match(text, start):
                yield found.span()
                place = found.end()
                break


def _sixes(text: str) -> Iterator[tuple[int, int]]:
    place = 0
    while middle := _COLONS.search(text, place):
        before = text[max(place, middle.start() - 40) : middle.start()]
        start = middle.start() - len(before) + len(before.rstrip("0123456789ABCDEFabcdef:"))
        if text.startswith(":", start):  # of ``IP:2001:db8::1``
            start += 1
        place = middle.end()
        if found := _V6.match(text, start):
            address = found[0] if found[0].endswith("::") else found[0].rstrip(":")
            yield start, start + len(address)
            place = found.end()


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
