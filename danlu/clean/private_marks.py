"""Marks that stand for private values: the same for the same person or account, whatever way it is written.

A mark is 64 bits of BLAKE2b under the user's key. Without the key no guess can be tested; with it every telephone
number of a country could be tried, so that the key is a secret, and is written nowhere.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re

from danlu.clean.private_ids_china import LETTER_X, is_old_chinese_id
from danlu.clean.private_page import page_of

_AT = re.compile(
    r" ?[\[({<] ?(?:at|@) ?[\])}>] ?| at | ?@ ?|%40|&commat;|[#☆★]"
    r"|艾特|小老鼠|アットマーク|골뱅이| собака |\(a\)| [(\[]arroba[)\]] | \[ät\] |\(ät\)"
)
_DOT = re.compile(r" ?[\[({<] ?(?:dot|\.|punto|punkt|ponto) ?[\])}>] ?| dot | ?(?:[.点點점]|точка|ドット|닷) ?")
_EXTENSION = re.compile(r"(?:ext(?:ension|n)?\.?|x|#|durchwahl|转|轉|分机|內線|内线)[ :]?[0-9]{1,6}\Z", re.IGNORECASE)

_NATIONAL = (
    (re.compile(r"1?[-. ]?\(?[2-9][0-9]{2}\)?[-. ]{1,2}[0-9]{3}[-. ][0-9]{4}\Z"), "US"),
    (re.compile(r"09[0-9]{2}-"), "TW"),
    (re.compile(r"\(?86|\(?0|1[3-9][0-9]|[48]00"), "CN"),
)
"""Shapes of numbers without their country's code."""


def digest(value: str, kind: str, key: bytes) -> str:
    """64 bits of keyed BLAKE2b (RFC 7693) of a value's plain form, in hexadecimal."""
    plain = plain_form(value, kind)
    return hashlib.blake2b(f"{kind}\0{plain}".encode(errors="surrogatepass"), key=key, digest_size=8).hexdigest()


def plain_form(value: str, kind: str) -> str:
    """The one way to write what may be written in several.

    ``li [at] qq.com`` is ``li@qq.com``; a Chinese or North American telephone number has its country's code with and
    without it said; an old Chinese identity number is the new one; an address of version 6 has no zeros left out.
    Others are without case, spaces and marks, but for secrets.
    """
    text = page_of(value).text
    match kind:
        case "secret":
            return text
        case "email":
            return _DOT.sub(".", _AT.sub("@", text.lower(), count=1))
        case "ip":
            return _address(text)
        case "phone":
            return _telephone(text)
        case "id" if text.isdigit() and len(text) == 15 and is_old_chinese_id(text):
            return _eighteen(text)
        case "id":
            return "".join(filter(str.isalnum, text.translate(LETTER_X))).lower()
        case _:
            return "".join(filter(str.isalnum, text)).lower()


def _address(text: str) -> str:
    bare = re.sub(r"\[\.\]|\(\.\)|\[dot\]", ".", text)
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return text.lower()
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def _telephone(text: str) -> str:
    """E.164, where the country is said or the shape tells it; else its digits."""
    import phonenumbers

    bare = _EXTENSION.sub("", text).replace("(0)", "")
    if bare.startswith("00"):
        bare = f"+{bare[2:]}"
    digits = "".join(filter(str.isdigit, bare))
    if bare.lstrip("( ").startswith("+"):
        number, country = f"+{digits}", None
    else:
        number, country = digits, next((name for shape, name in _NATIONAL if shape.match(bare)), "US")
    try:
        parsed = phonenumbers.parse(number, country)
    except phonenumbers.NumberParseException:
        return digits
    if not phonenumbers.is_possible_number(parsed):
        return digits
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))


def _eighteen(number: str) -> str:
    """The identity number of 18 digits that has taken the place of one of 15."""
    from stdnum.cn import ric

    body = f"{number[:6]}19{number[6:]}"
    return (body + str(ric.calc_check_digit(body + "0"))).lower()
