"""Labelled samples of private data and of what only looks like it, drawn at random in sentences of both languages."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from typing import NamedTuple

Draw = Callable[[random.Random], str]


class Sample(NamedTuple):
    """A text, and the private data in it: where they begin and end, and their kind."""

    text: str
    truth: frozenset[tuple[int, int, str]]


def digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.digits, k=count))


def pick(chance: random.Random, alphabet: str, count: int) -> str:
    return "".join(chance.choices(alphabet, k=count))


def luhn(body: str) -> str:
    """``body`` and its check digit (ISO/IEC 7812-1), counted by hand."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


def chinese_id(chance: random.Random, *, wrong: bool = False) -> str:
    """GB 11643-1999: weights 2**(17 - i) modulo 11, then the table of check signs."""
    place = chance.choice(["110101", "310115", "440305", "510104", "330106", "620102"])
    day = f"{chance.randint(1940, 2015)}{chance.randint(1, 12):02}{chance.randint(1, 28):02}"
    body = place + day + digits(chance, 3)
    check = sum(int(digit) * 2 ** (17 - at) for at, digit in enumerate(body)) % 11
    return body + "10X98765432"[(check + chance.randint(1, 10) if wrong else check) % 11]


def card(chance: random.Random, *, wrong: bool = False) -> str:
    prefix, length = chance.choice(
        [("4", 16), ("53", 16), ("62", 16), ("62", 19), ("6011", 16), ("37", 15), ("3530", 16)]
    )
    number = luhn(prefix + digits(chance, length - len(prefix) - 1))
    if wrong:
        number = number[:-1] + str((int(number[-1]) + chance.randint(1, 9)) % 10)
    gap = chance.choice(["", " ", "-"])
    if length == 15:
        return gap.join([number[:4], number[4:10], number[10:]])
    return gap.join(number[at : at + 4] for at in range(0, length, 4))


def iban(chance: random.Random, *, wrong: bool = False) -> str:
    country, bank, length = chance.choice(
        [("DE", "", 18), ("GB", pick(chance, string.ascii_uppercase, 4), 14), ("FR", "", 23)]
    )
    account = bank + digits(chance, length)
    value = int("".join(str(int(sign, 36)) for sign in account + country + "00"))
    check = (98 - value % 97 + (chance.randint(1, 90) if wrong else 0)) % 97
    number = f"{country}{check if check > 1 else check + 97:02}{account}"
    return number if chance.random() < 0.5 else " ".join(number[at : at + 4] for at in range(0, len(number), 4))


def email(chance: random.Random) -> str:
    name = chance.choice(["li.wei", "anna_schmidt", "j.doe+news", "zhang88", "o'neil", "x"])
    host = chance.choice(["qq.com", "example.org", "uni-bonn.de", "mail.example.co.uk", "163.com", "x1.io"])
    return f"{name}{chance.choice(['', digits(chance, 3)])}@{host}"


def phone(chance: random.Random) -> str:
    area, exchange, line = chance.choice(["212", "415", "650"]), f"{chance.randint(200, 999)}", digits(chance, 4)
    mobile = chance.choice(["138", "139", "186", "177", "159"]) + digits(chance, 8)
    landline = f"{chance.randint(2, 8)}{digits(chance, 7)}"
    return chance.choice(
        [
            f"({area}) {exchange}-{line}",
            f"{area}-{exchange}-{line}",
            f"+1 {area} {exchange} {line}",
            f"1-{area}-{exchange}-{line}",
            mobile,
            f"+86 {mobile[:3]} {mobile[3:7]} {mobile[7:]}",
            f"{mobile[:3]}-{mobile[3:7]}-{mobile[7:]}",
            f"010-{landline}",
            f"(021){landline}",
            f"0755-{landline}",
            f"+49 30 {chance.randint(2, 8)}{digits(chance, 6)}",
            f"+49 (0)171 {chance.randint(2, 8)}{digits(chance, 6)}",
            f"+44 20 7{digits(chance, 3)} {digits(chance, 4)}",
        ]
    )


def id_number(chance: random.Random) -> str:
    from stdnum import verhoeff
    from stdnum.es import dni

    ssn = f"{chance.randint(1, 665):03}-{chance.randint(1, 99):02}-{chance.randint(1, 9999):04}"
    aadhaar = f"{chance.randint(2, 9)}{digits(chance, 10)}"
    aadhaar += verhoeff.calc_check_digit(aadhaar)
    spanish = digits(chance, 8)
    return chance.choice(
        [
            chinese_id(chance),
            chinese_id(chance),
            f"SSN {ssn}",
            f"Aadhaar {aadhaar[:4]} {aadhaar[4:8]} {aadhaar[8:]}",
            spanish + dni.calc_check_digit(spanish),
            f"NINO AB{digits(chance, 6)}C",
        ]
    )


def public_ip(chance: random.Random) -> str:
    if chance.random() < 0.3:
        return "2a01:4f8:" + ":".join(pick(chance, "0123456789abcdef", 4) for _ in range(2)) + "::1"
    first = chance.choice([5, 46, 93, 116, 123, 185])
    return f"{first}.{chance.randint(10, 255)}.{chance.randint(0, 255)}.{chance.randint(1, 254)}"


def secret(chance: random.Random) -> str:
    letters = string.ascii_letters + string.digits
    return chance.choice(
        [
            "AKIA" + pick(chance, string.ascii_uppercase, 12) + digits(chance, 4),
            "ghp_" + pick(chance, letters, 36),
            f"xoxb-{digits(chance, 12)}-{digits(chance, 12)}-{pick(chance, letters, 24)}",
            "AIza" + pick(chance, letters, 35),
            "sk_live_" + pick(chance, letters, 24),
            "sk-proj-" + pick(chance, letters, 40) + "A7",
            f"eyJ{pick(chance, letters, 20)}.eyJ{pick(chance, letters, 40)}.{pick(chance, letters, 43)}",
            f"-----BEGIN PRIVATE KEY-----\n{pick(chance, letters, 64)}\nQUJD=\n-----END PRIVATE KEY-----",
            f"postgres://app:{pick(chance, letters, 12)}@db",
            f"password = '{pick(chance, letters, 10)}a7'",
        ]
    )


KINDS: dict[str, Draw] = {
    "email": email,
    "phone": phone,
    "id": id_number,
    "card": card,
    "iban": iban,
    "ip": public_ip,
    "secret": secret,
}
LABELS = {"SSN ": "", "Aadhaar ": "", "NINO ": "", "postgres://app:": "@db", "password = '": "'"}
"""What stands before and behind the value in some draws, and is not private."""
CARRIERS = {
    "en": [
        "Please send it to {} before Friday.",
        "Contact: {}.",
        "They wrote {} in the form (see page 12), which was wrong.",
        "{} is what the customer left in 2019.",
        'Mr. Smith said: "{}", and paid $1,200.',
    ],
    "zh": [
        "请在周五之前联系{}，谢谢。",
        "他留下的是{}。",
        "资料：{}；日期：2021年3月5日。",
        "她说“{}”，然后付了1200元。",
        "{}是我的，别弄丢了",
    ],
}
NEAR: dict[str, Draw] = {
    "an order": lambda chance: f"order no. {digits(chance, 11)}",
    "an order in Chinese": lambda chance: f"订单号：1{chance.choice('3578')}{digits(chance, 9)}",
    "a version": lambda chance: (
        f"version {chance.randint(1, 9)}.{chance.randint(0, 30)}.{chance.randint(0, 30)}.{digits(chance, 2)}"
    ),
    "a date": lambda chance: f"{chance.randint(1900, 2030)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
    "years": lambda chance: f"{chance.randint(1800, 1950)}-{chance.randint(1950, 2030)}",
    "an ISBN": lambda chance: (
        f"ISBN 978-{chance.randint(0, 7)}-{digits(chance, 3)}-{digits(chance, 5)}-{digits(chance, 1)}"
    ),
    "a DOI": lambda chance: (
        f"doi:10.{digits(chance, 4)}/s{digits(chance, 5)}-021-{digits(chance, 5)}-{digits(chance, 1)}"
    ),
    "a price": lambda chance: f"${chance.randint(1, 999)},{digits(chance, 3)},{digits(chance, 3)}.{digits(chance, 2)}",
    "maths": lambda chance: f"{digits(chance, 3)} - {digits(chance, 3)} = {digits(chance, 3)}.{digits(chance, 4)}",
    "pi": lambda chance: f"0.{digits(chance, 16)}",
    "a timestamp": lambda chance: f"17{digits(chance, 11)}",
    "seconds": lambda chance: f"17{digits(chance, 8)}",
    "a time": lambda chance: f"2021-03-05T{chance.randint(10, 23)}:{digits(chance, 1)}5:07.{digits(chance, 6)}Z",
    "a commit": lambda chance: pick(chance, "0123456789abcdef", 40),
    "a part": lambda chance: f"part number {digits(chance, 3)}-{digits(chance, 3)}-{digits(chance, 4)}",
    "a part in Chinese": lambda chance: f"型号{digits(chance, 4)}-{digits(chance, 8)}",
    "a card that fails": lambda chance: card(chance, wrong=True),
    "an identity number that fails": lambda chance: chinese_id(chance, wrong=True),
    "an IBAN that fails": lambda chance: iban(chance, wrong=True),
    "a local address": lambda chance: f"192.168.{chance.randint(0, 255)}.{chance.randint(1, 254)}",
    "a loopback": lambda chance: chance.choice(["127.0.0.1", "::1", "fe80::1", "10.0.0.7", "0.0.0.0"]),
    "a MAC": lambda chance: ":".join(pick(chance, "0123456789abcdef", 2) for _ in range(6)),
    "a section": lambda chance: (
        f"section {chance.randint(1, 9)}.{chance.randint(1, 30)}.{chance.randint(1, 30)}.{chance.randint(1, 30)}"
    ),
    "a handle": lambda chance: f"@user{digits(chance, 3)}",
    "a package": lambda chance: f"react@{chance.randint(1, 18)}.{chance.randint(0, 9)}.{chance.randint(0, 9)}",
    "an image": lambda chance: f"logo{digits(chance, 2)}@2x.png",
    "a shell": lambda chance: "git@github.com:octocat/hello.git",
    "a URL": lambda chance: f"https://example.org:8080/a/{digits(chance, 8)}?q=a@b",
    "a setting": lambda chance: "password: string, token: required",
    "a UUID": lambda chance: "-".join(pick(chance, "0123456789abcdef", n) for n in (8, 4, 4, 4, 12)),
    "coordinates": lambda chance: (
        f"{chance.randint(10, 60)}.{digits(chance, 6)}, {chance.randint(100, 179)}.{digits(chance, 6)}"
    ),
    "a population": lambda chance: f"{chance.randint(1, 9)} {digits(chance, 3)} {digits(chance, 3)}",
    "people": lambda chance: f"1{chance.choice('3579')}{digits(chance, 9)}人",
    "prose": lambda chance: "sk-learn, a task-force and risk-taking_behaviour",
    "a version of four": lambda chance: f"Windows version 10.0.{chance.randint(100, 255)}.{chance.randint(1, 254)}",
    "an ISBN of ten": lambda chance: f"ISBN {digits(chance, 1)}-{digits(chance, 3)}-{digits(chance, 5)}-X",
    "an ISBN in Chinese": lambda chance: f"书号：9787{digits(chance, 9)}",
    "an ISSN": lambda chance: f"ISSN {digits(chance, 4)}-{digits(chance, 3)}X",
    "an order in words": lambda chance: f"快递单号 {digits(chance, 13)}，已发货",
    "an invoice": lambda chance: f"invoice no. INV-2021-{digits(chance, 6)}",
    "a hash, MD5": lambda chance: pick(chance, "0123456789abcdef", 32),
    "a hash, SHA-256": lambda chance: f"sha256:{pick(chance, '0123456789abcdef', 64)}",
    "a short commit": lambda chance: f"commit {pick(chance, '0123456789abcdef', 7)}",
    "pi and e": lambda chance: chance.choice(
        ["3.14159265358979323846264338327950288", "2.718281828459045235360287471352", "1.4142135623730950488"]
    ),
    "Planck": lambda chance: "6.62607015e-34 and 299792458 m/s and 6.02214076 x 10^23",
    "chess": lambda chance: "1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. Ba4 Nf6 5. O-O Be7 6. Re1 b5 7. Bb3 d6 1-0",
    "a position in chess": lambda chance: "r1bqkbnr/pppp1ppp/2n5/4p3/4P3/5N2/PPPP1PPP/RNBQKB1R w KQkq - 2 3",
    "a price like a number": lambda chance: f"¥{digits(chance, 3)}-{digits(chance, 4)}",
    "a price in Chinese": lambda chance: f"13{digits(chance, 9)}元",
    "a line of a log": lambda chance: (
        f"[2021-03-05 10:15:07,{digits(chance, 3)}] INFO main: took {digits(chance, 4)} ms, 10.0.0.{digits(chance, 1)}"
    ),
    "a date and time": lambda chance: f"2021{chance.randint(1, 12):02}{chance.randint(1, 28):02}T101507Z",
    "code": lambda chance: f"x[{digits(chance, 2)}] = 0x{pick(chance, '0123456789abcdef', 8)}; y = f(1, 2, 3);",
    "code, a table": lambda chance: "{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}",
    "code, C++": lambda chance: "std::vector<int>::iterator it = a::b::c();",
    "code, a decorator": lambda chance: "@property and @app.route and x @ y.T and user@host:~$",
    "TeX": lambda chance: "\\nu = \\frac{1}{2\\pi}\\rho^{12} \\textbf{x}",
    "a path": lambda chance: f"C:\\new\\report_{digits(chance, 8)}.txt",
    "a table": lambda chance: (
        f"| {digits(chance, 3)} | {digits(chance, 4)} | {digits(chance, 2)}.{digits(chance, 2)} |"
    ),
    "a score": lambda chance: f"{digits(chance, 2)}-{digits(chance, 2)}, {digits(chance, 2)}-{digits(chance, 2)}",
    "a verse": lambda chance: "John 3:16-17; Psalm 119:105",
    "shares": lambda chance: f"京A股{digits(chance, 6)}，沪指3{digits(chance, 3)}点",
    "a road": lambda chance: f"京G{digits(chance, 2)}公里，粤B区{digits(chance, 3)}号",
    "a law": lambda chance: f"〔2021〕第{digits(chance, 3)}号，第{digits(chance, 2)}条",
    "a snowflake": lambda chance: f"https://example.org/status/1{digits(chance, 18)}",
    "base64": lambda chance: f"data:image/png;base64,{pick(chance, string.ascii_letters, 40)}==",
    "placeholders": lambda chance: chance.choice(
        [
            "api_key=YOUR_API_KEY_HERE",
            "password: ********",
            "postgres://user:password@host",
            "token = os.environ['TOKEN']",
        ]
    ),
    "words like keys": lambda chance: "a keyword: international-organisation, secret: confidentiality_agreement",
    "passwords in prose": lambda chance: "The password is required. 密码不能为空。",
    "at in prose": lambda chance: "meet me at example (at noon) or at home dot the i",
    "tags": lambda chance: f"#news #{digits(chance, 3)} @ 5pm",
    "a colour": lambda chance: f"#{pick(chance, '0123456789abcdef', 6)} rgb(12, 34, 56)",
    "a time of day": lambda chance: f"12:34:56 and 2021:03:05 and a::b and {digits(chance, 2)}:{digits(chance, 2)}",
    "a tune": lambda chance: "-".join(["1", *(chance.choice("1234567") for _ in range(10))]),
    "counting": lambda chance: "1-2-3-4-5-6-7-8-9-10-11, 一二三四五六七八九十，①②③④⑤⑥⑦⑧⑨⑩",
    "a year in numerals": lambda chance: "二〇一九年三月五日，三点一四一五九二六五三五八九七九，一九四九一九五六",
    "lines of numbers": lambda chance: (
        "\n".join(f"{chance.randint(4000, 5599)} {digits(chance, 4)}" for _ in range(4)) + "\n"
    ),
    "columns of numbers": lambda chance: "  ".join(str(chance.randint(4000, 5599)) for _ in range(7)),
    "numbers on two lines": lambda chance: f"in {chance.randint(1900, 2030)}\n{digits(chance, 7)}人",
    "words before a provider": lambda chance: "look at gmail.com, sign in at outlook.com. Thanks @me, de nada",
    "a password told of": lambda chance: "the password is base64-encoded, was SHA256-hashed and is Required",
    "names with underscores": lambda chance: f"src_at_v2_dot_py, IMG_20210305_101507_{digits(chance, 3)}.jpg",
    "numbers in a path": lambda chance: f"/img/138/{digits(chance, 4)}/{digits(chance, 4)}/a.png",
    "ratios": lambda chance: f"16/9, {digits(chance, 3)}/{digits(chance, 4)}, 4000/3000/2000/1000",
    "sections, spaced": lambda chance: f"1 . 2 . 3 . 4 and {chance.randint(2, 30)} . 1 . 12 . {chance.randint(1, 30)}",
    "Chinese full stops": lambda chance: f"第{digits(chance, 2)}。{digits(chance, 2)}。3。7",
    "an EAN": lambda chance: f"货号 69{digits(chance, 11)}",
}
"""What is not private, though it looks like it."""


def sample(chance: random.Random, kind: str, language: str) -> Sample:
    """A sentence with one value of ``kind`` in it; now and then in full-width signs."""
    value = KINDS[kind](chance)
    before = next((label for label in LABELS if value.startswith(label)), "")
    behind = LABELS.get(before, "")
    if language == "zh" and kind in ("phone", "card", "email") and chance.random() < 0.2:
        value = value.translate({code: code + 0xFEE0 for code in range(0x30, 0x7B) if chr(code).isalnum()})
    carrier = chance.choice(CARRIERS[language])
    start = carrier.index("{}") + len(before)
    return Sample(carrier.format(value), frozenset({(start, start + len(value) - len(before) - len(behind), kind)}))


def form_sample(chance: random.Random, draw: Draw, kind: str, language: str) -> Sample:
    """A sentence with a value whose private part stands between ``‹`` and ``›``."""
    text = chance.choice(CARRIERS[language]).replace("{}", draw(chance))
    before, _, rest = text.partition("‹")
    private, _, behind = rest.partition("›")
    return Sample(before + private + behind, frozenset({(len(before), len(before) + len(private), kind)}))


def near_miss(chance: random.Random, name: str, language: str) -> Sample:
    """A sentence without private data."""
    return Sample(chance.choice(CARRIERS[language]).format(NEAR[name](chance)), frozenset())
