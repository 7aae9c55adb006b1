"""E-mail addresses and telephone numbers.

A telephone number is found by its shape: international (``+49 30 …``, ``0049 …``), North American, Chinese, or any
shape behind a word such as ``Tel.`` or ``电话``. What the shape alone does not tell, Google's rules of numbering
plans do (``phonenumbers``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from danlu.clean.private_page import ALONE, AT, OPENING, SERIAL, Found, Page, digits_of

_LETTERS = "À-ÖØ-öø-ɏͰ-ӿ"
"""Of Europe's scripts, beside the plain ones."""
_LOCAL = re.compile(rf"[A-Za-z0-9._%+'{_LETTERS}-]{{1,66}}\Z")
_LONGEST_LOCAL = 64
"""Characters before the ``@`` (RFC 5321)."""
_DOMAIN = (
    rf"(?:[A-Za-z0-9{_LETTERS}](?:[A-Za-z0-9{_LETTERS}-]{{0,62}})\.){{1,8}}"
    rf"(?P<top>[A-Za-z{_LETTERS}]{{2,24}}|xn--[A-Za-z0-9-]{{2,59}})(?![A-Za-z0-9_-])"
)
_AT_DOMAIN = re.compile(rf"(?:@|%40|&commat;){_DOMAIN}")
_BRACKETED = re.compile(
    r"(?<![A-Za-z0-9._%+'-])[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63} ?[\[({<] ?(?:at|@) ?[\])}>] ?"
    r"[A-Za-z0-9-]{1,63}(?:(?:\.| ?[\[({<] ?(?:dot|\.) ?[\])}>] ?)[A-Za-z0-9-]{2,63}){1,4}",
    re.IGNORECASE,
)
"""``jo [at] uni-bonn [dot] de``."""
_OPENED = ("(at", "[at", "{at", "<at", "( at", "[ at", "(@", "[@", "{@")
_IN_WORDS = re.compile(
    r"(?<![A-Za-z0-9._%+'-])[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63} at [A-Za-z0-9-]{1,63}(?: dot [A-Za-z0-9-]{2,63}){0,3}"
    r" dot (?:com|org|net|edu|gov|info|io|co|cn|de|uk|fr|jp|ru|au|ca|es|nl|ch|eu|hk|tw)(?![A-Za-z0-9_-])",
    re.IGNORECASE,
)
_PROVIDERS = (
    r"(?:gmail|googlemail|qq|vip\.qq|foxmail|163|126|yeah|sina|sohu|139|189|aliyun|hotmail|outlook|live|msn|yahoo"
    r"|icloud|me|aol|gmx|web|mail|yandex|protonmail|proton)"
)
_OF_PROVIDER = re.compile(
    rf"(?: ?@ ?|@\n {{0,8}}|[#☆★]|_at_){_PROVIDERS}(?: ?\. ?|[,。．]|\.\n {{0,8}}|\n {{0,8}}\.|_dot_)"
    r"(?P<top>com?|cn|net|de|ru|org|me)(?:\.[a-z]{2})?(?![A-Za-z0-9_-])",
    re.IGNORECASE,
)
"""``li#qq.com``, ``li @ qq.com``, ``li@qq。com``, ``li_at_qq_dot_com`` and what a line end parts: with the names of
large providers alone."""
_AT_HOST = re.compile(
    rf" at (?:(?P<provider>{_PROVIDERS})\.(?:com?|cn|net|de|ru|org|me)(?:\.[a-z]{{2}})?"
    r"|(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,24})(?![A-Za-z0-9_-])",
    re.IGNORECASE,
)
_NO_WORD = re.compile(
    r"(?=[A-Za-z])(?=[A-Za-z'.+-]{0,63}(?:[0-9_]|[.+-][A-Za-z0-9]))[A-Za-z0-9'._+-]{2,63}[A-Za-z0-9]\Z"
)
_MAIL_WORD = re.compile(
    r"(?:^(?:from|to|cc)|(?<![A-Za-z])(?:e-?mail(?: address)?|mailto|correo)|邮箱|邮件|電郵|メール) ?: ?\Z",
    re.IGNORECASE | re.MULTILINE,
)
_ASIAN = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"
_ASIAN_DOMAIN = re.compile(
    rf"@(?:[A-Za-z0-9{_ASIAN}-]{{1,63}}\.){{1,4}}(?P<top>中国|中國|公司|网络|網絡|香港|台湾|台灣|网址|网站|在线|商城|集团|한국|みんな)"
)
"""Of domains under Chinese, Japanese and Korean endings (IANA's list)."""
_ASIAN_LOCAL = re.compile(f"[{_ASIAN}]{{1,4}}\\Z")
_AT_WORDS = (
    "艾特",
    "小老鼠",
    "アットマーク",
    "골뱅이",
    " собака ",
    "(a)",
    " (arroba) ",
    " [arroba] ",
    " [ät] ",
    "(ät)",
)
_SAID_AT = re.compile(
    rf"(?:{'|'.join(map(re.escape, _AT_WORDS))})(?i: ?{_PROVIDERS}"
    r" ?(?:[.点點점]|dot|точка|ドット|닷|[(\[](?:dot|punto|punkt|ponto)[)\]]) ?(?P<top>com?|cn|net|de|ru|org|me))"
    r"(?:\.[a-z]{2})?(?![A-Za-z0-9_-])"
)
"""``li艾特qq点com``, ``ana (arroba) gmail (punto) com``: with the names of large providers alone."""
_AT = (
    ("@", "@", _AT_DOMAIN),
    ("%", "%40", _AT_DOMAIN),
    ("&", "&", _AT_DOMAIN),
    ("@", "@", _OF_PROVIDER),
    ("@", " @", _OF_PROVIDER),
    ("@", "@", _ASIAN_DOMAIN),
    ("_at_", "_at_", _OF_PROVIDER),
    ("#", "#", _OF_PROVIDER),
    ("☆", "☆", _OF_PROVIDER),
    ("★", "★", _OF_PROVIDER),
    *((word.strip()[0], word, _SAID_AT) for word in _AT_WORDS),
)
"""How the sign is written, also in URLs, HTML and JSON: what must be in a text, what is looked for, what follows."""
_FILE_ENDINGS = {"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "tsx", "py", "html", "json", "md"}
"""Of names of files such as ``icon@2x.png``."""

_LABEL = re.compile(
    r"(?:(?<![A-Za-z])(?:tele)?(?:phone|fon|fax)|(?<![A-Za-z])(?:tel|mob(?:ile)?|cell(?:phone)?|handy|whatsapp|wechat"
    r"|hotline|tél(?:éphone)?|sms|rufnummer|ph|call(?: (?:me|us|her|him))?|text (?:me|us|her|him)|dial|ring|telp"
    r"|m[óo]vil|celular|telem[óo]vel|cellulare|portable|cep)(?![A-Za-z])"
    r"|电话|手机|联系方式|热线|传真|座机|致电|拨打|来电|微信|固话|電話|手機|傳真|連絡先|携帯|スマホ|☎|📞|📱"
    r"|전화|휴대폰|핸드폰|연락처|팩스|(?<![а-яё])(?:тел(?:ефон)?|моб(?:ильн\w{1,3})?|факс)(?![а-яё])"
    r"|(?<![α-ω])(?:τηλ|τηλέφωνο|κιν|κινητό|φαξ)(?!\w)|điện thoại|di động|(?<!\w)s?đt(?!\w)"
    r"|هاتف|جوال|تلفون|موبايل|واتساب|فاكس|تلفن|موبایل|(?<![א-ת])טל(?:פון|['׳.])|נייד|פקס"
    r"|โทร|มือถือ|แฟกซ์|फ\u093c?ोन|मोबाइल|दूरभाष)[^0-9\n]{0,16}\Z",
    re.IGNORECASE,
)
"""What stands right before a telephone number."""
_COUNTED = r"(?! ?(?:元|块|人|美元|万|亿|字节|dollars?|euros?|bytes|people))"
_ENDS = r"(?![0-9_A-WYZa-wyz]|[xX](?![0-9]{1,6}(?![0-9A-Za-z]))|[.,][0-9])"
"""No part of a longer word or number ends here; an extension may follow (``x23``)."""
_EXTENSION = re.compile(
    r"(?:[ ,;]{0,2}(?:ext(?:ension|n)?\.?|x|#|durchwahl|转|轉|分机|內線|内线)[ :]?|-)[0-9]{1,6}(?![0-9A-Za-z_-])",
    re.IGNORECASE,
)
"""Behind a number of an office; with a hyphen behind a Chinese one alone."""
_INTERNATIONAL = re.compile(
    r"(?<![0-9A-Za-z+])(?:\+ ?|00[ -]?(?=[1-9]))\(?[1-9](?:[-. ()/]{0,3}+[0-9]){6,14}+(?![0-9A-WYZa-wyz])"
)
_NORTH_AMERICAN = re.compile(
    rf"{ALONE}(?:\+?1[-. ]?)?(?:\((?P<bracketed>[2-9][0-9]{{2}})\)[ -]?|(?P<area>[2-9][0-9]{{2}})[-.])"
    rf"[2-9][0-9]{{2}}[-. ][0-9]{{4}}{_ENDS}(?!-[0-9])"
)
_CHINESE_MOBILE = re.compile(
    rf"{ALONE}(?:\(?86\)?[ -]?)?1[3-9][0-9](?:(?P<gap>[ .-]?)[0-9]{{4}}(?P=gap)[0-9]{{4}}|[ -][0-9]{{8}}"
    rf"|(?P<other>[ -])[0-9]{{3}}(?P=other)[0-9]{{5}}){_ENDS}(?!-[0-9]){_COUNTED}"
)
_CHINESE_AREA = r"(?:10|2[0-9]|[3-9][0-9]{2})"
_CHINESE_LANDLINE = re.compile(
    rf"{ALONE}(?:(?:\(?86\)?[ -]?)?(?:\(0{_CHINESE_AREA}\)[ -]?|0{_CHINESE_AREA}[ -])[2-9][0-9]{{2,3}}[ -]?[0-9]{{4}}"
    rf"|\(?86\)?[ -]{_CHINESE_AREA}[ -][2-9][0-9]{{2,3}}[ -]?[0-9]{{4}}"
    rf"|[48]00[ -](?:[0-9]{{3}}[ -]?[0-9]{{4}}|[0-9]{{4}}[ -][0-9]{{3}})){_ENDS}"
)
_CHINESE_APART = re.compile(
    r"(?<![0-9A-Za-z_/~·])1[3-9][0-9](?P<gap>[_/~·])[0-9]{4}(?P=gap)[0-9]{4}(?![0-9A-Za-z_/~·-])"
    r"|(?<![0-9A-Za-z_-])1-(?=[0-7-]{0,18}[089])[3-9](?:-[0-9]){9}(?![0-9A-Za-z_-])"
)
"""With odd signs within; digit by digit only with one that no tune in numbers has."""
_TAIWANESE_MOBILE = re.compile(rf"{ALONE}09[0-9]{{2}}-[0-9]{{3}}-?[0-9]{{3}}{_ENDS}(?!-[0-9])")
_JAPANESE_MOBILE = re.compile(rf"{ALONE}0[789]0-[0-9]{{4}}-[0-9]{{4}}{_ENDS}(?!-[0-9])")
_RUSSIAN_MOBILE = re.compile(rf"{ALONE}8 ?\(9[0-9]{{2}}\) ?[0-9]{{3}}-[0-9]{{2}}-[0-9]{{2}}{_ENDS}(?!-[0-9])")
_GERMAN = re.compile(
    rf"{ALONE}(?:\(0[1-9][0-9]{{1,4}}\) ?|0[1-9][0-9]{{1,4}} ?[-/ ] ?)[0-9](?:[ -]?[0-9]){{4,9}}{_ENDS}"
)
_TRUNK = re.compile(rf"{ALONE}\(?0[0-9]{{1,4}}(?:\) ?|[-. (])[0-9](?:[-. ()]?[0-9]){{4,9}}{_ENDS}(?!-[0-9])")
_RUSSIAN = re.compile(
    rf"{ALONE}8[ -]?\(?[3489][0-9]{{2}}\)?[ -]?[0-9]{{3}}[ -][0-9]{{2}}[ -]?[0-9]{{2}}{_ENDS}(?!-[0-9])"
)
_BY_LANGUAGE = {
    "de": (_GERMAN, "DE"),
    "fr": (_TRUNK, "FR"),
    "he": (_TRUNK, "IL"),
    "ja": (_TRUNK, "JP"),
    "ko": (_TRUNK, "KR"),
    "ru": (_RUSSIAN, "RU"),
    "th": (_TRUNK, "TH"),
    "uk": (_TRUNK, "UA"),
    "vi": (_TRUNK, "VN"),
}
"""Shapes that are looked for in texts in one language, and the country whose plan must have the number."""
_ANY = re.compile(rf"{ALONE}\(?[0-9](?:[-. ()/]{{0,3}}+[0-9]){{5,14}}+{_ENDS}(?!:[0-9]{{2}}){_COUNTED}")
_DATE = re.compile(
    r"(?:1[5-9]|20)[0-9]{2} ?[-/.] ?(?:(?:1[5-9]|20)[0-9]{2}|[0-9]{1,2}(?: ?[-/.] ?[0-9]{1,2})?)(?![0-9])"
    r"|[0-9]{1,2} ?[-/.] ?[0-9]{1,2} ?[-/.] ?(?:(?:1[5-9]|20)[0-9]{2})(?![0-9])"
)


def find_emails(page: Page) -> Iterator[Found]:
    """E-mail addresses, also written ``name [at] host [dot] de``; those of remote shells (``git@host:``) are none."""
    text = page.text
    for sign, spelling, pattern in _AT:
        place = text.find(spelling) if sign in text else -1
        while place >= 0:
            domain = pattern.match(text, place)
            if domain is not None:
                before = text[max(0, place - _LONGEST_LOCAL - 2) : place]
                local = _local(before)
                if not local and pattern is _ASIAN_DOMAIN and (name := _ASIAN_LOCAL.search(before)):
                    local = name[0]
                is_file = domain["top"].lower() in _FILE_ENDINGS
                is_shell = local == "git" and text.startswith(":", domain.end())
                if 1 <= len(local) <= _LONGEST_LOCAL and local[-1] != "." and not is_file and not is_shell:
                    yield Found(place - len(local), domain.end(), "email")
            place = text.find(spelling, place + 1)
    if any(sign in text for sign in "])}>"):
        yield from _around(page, _opened(page), _BRACKETED)
    yield from _around(page, _places(page.lower, " dot "), _IN_WORDS)
    yield from _at_host(page)


def _at_host(page: Page) -> Iterator[Found]:
    """``anna.li7 at gmail.com``, with a sign in it that no word has (``look at gmail.com``), and behind ``From:`` and
    the like any, as archives of mailing lists write them."""
    for place in _places(page.lower, " at "):
        if host := _AT_HOST.match(page.text, place):
            local = _local(page.text[max(0, place - _LONGEST_LOCAL - 2) : place])
            said = page.said_before(_MAIL_WORD, place - len(local), reach=24)
            if local and (said or (host["provider"] and _NO_WORD.match(local))):
                yield Found(place - len(local), host.end(), "email")


def _around(page: Page, places: Iterable[int], pattern: re.Pattern[str]) -> Iterator[Found]:
    """Matches around ``places``."""
    behind = 0
    for place in places:
        for found in pattern.finditer(page.text, max(behind, place - 130), place + 260):
            behind = found.end()
            yield Found(*found.span(), "email")


def _opened(page: Page) -> Iterator[int]:
    """Where a bracket and a sign as in ``[at]`` stand."""
    signs = page.signs
    lower = page.lower
    for place in np.flatnonzero((signs[:-1] & OPENING != 0) & (signs[1:] & AT != 0)).tolist():
        if lower.startswith(_OPENED, place):
            yield place


def _places(text: str, part: str) -> Iterator[int]:
    place = text.find(part)
    while place >= 0:
        yield place
        place = text.find(part, place + 1)


def _local(before: str) -> str:
    """What of the characters before the ``@`` belongs to the address."""
    found = _LOCAL.search(before)
    return "" if found is None else found[0].lstrip(".-%+'")


_GAPS = str.maketrans("_/~·", "----")
_NATIONAL = (
    (_CHINESE_MOBILE, "CN"),
    (_CHINESE_LANDLINE, "CN"),
    (_CHINESE_APART, "CN"),
    (_TAIWANESE_MOBILE, "TW"),
    (_JAPANESE_MOBILE, "JP"),
    (_RUSSIAN_MOBILE, "RU"),
)
"""Shapes that are looked for in any text, and the country whose plan must have the number."""


def find_phones(page: Page) -> Iterator[Found]:
    """Telephone numbers with their extensions; a number behind ``order no.`` and its like is none."""
    yield from find_shaped_phones(page)
    for found in page.near_numbers(_ANY):
        if page.said_before(_LABEL, found.start()) and not _DATE.match(found[0]):
            yield _with_extension(page, found)


def find_shaped_phones(page: Page) -> Iterator[Found]:
    """Those that their shape tells, whatever stands before."""
    if not page.numbers:
        return
    yield from _international(page)
    for found in page.near_numbers(_NORTH_AMERICAN):
        if not _names_a_thing(page, found.start()):
            yield _with_extension(page, found)
    local = (_BY_LANGUAGE[page.language],) if page.language in _BY_LANGUAGE else ()
    for pattern, country in (*_NATIONAL, *local):
        for found in page.near_numbers(pattern):
            if not _names_a_thing(page, found.start()) and _is_valid(found[0].translate(_GAPS), country):
                yield _with_extension(page, found, hyphen=pattern is _CHINESE_LANDLINE)


def _with_extension(page: Page, found: re.Match[str], *, hyphen: bool = False) -> Found:
    more = _EXTENSION.match(page.text, found.end())
    behind = more is not None and (hyphen or not more[0].startswith("-"))
    return Found(found.start(), more.end() if more is not None and behind else found.end(), "phone")


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
                start, behind = found.start(), found.start() + end
                opened = page.text[start - 1 : start] == "(" and ")" in page.text[start:behind].partition("(")[0]
                more = _EXTENSION.match(page.text, behind)
                if page.text[start] == "+" and page.raw[start] not in "+＋":  # the last sign of ``%2B`` or ``&#43;``
                    start = max(page.raw.rfind("%", 0, start), page.raw.rfind("&", 0, start))
                yield Found(start - opened, behind if more is None or more[0][0] == "-" else more.end(), "phone")
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
