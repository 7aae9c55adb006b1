"""Forms that private data takes, each drawn at random, the private part between ``‹`` and ``›``.

Check digits and numbering plans are those of ``python-stdnum`` and ``phonenumbers``, examples of IBANs those of the
registry of SWIFT, identity numbers those in the documentation of ``python-stdnum``. Keys are drawn, so that no scanner
takes this file for a leak.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable

import phonenumbers
from stdnum import iban as ibans
from stdnum import luhn, verhoeff
from stdnum.cn import ric, uscc

Draw = Callable[[random.Random], str]
LETTERS = string.ascii_letters + string.digits
BASE64 = LETTERS + "+/"
HEX = "0123456789abcdef"
COUNTRIES = re.findall("[A-Z]+", "DE GB FR IT ES NL PL SE NO JP KR IN BR AU ZA TR RU MX SG TH VN HK TW MO US CA")
REGISTRY = re.findall(
    "[A-Z0-9]+",
    """AD1200012030200359100100 AT611904300234573201 BE68539007547034 BG80BNBG96611020345678
CH9300762011623852957 CY17002001280000001200527600 CZ6508000000192000145399 DE89370400440532013000 DK5000400440116243
EE382200221020145685 ES9121000418450200051332 FI2112345600000785 FR1420041010050500013M02606 GB29NWBK60161331926819
GR1601101250000000012300695 HR1210010051863000160 HU42117730161111101800000000 IE29AIBK93115212345678
IT60X0542811101000000123456 LT121000011101001000 LU280019400644750000 MT84MALT011000012345MTLCAST001S
NL91ABNA0417164300 NO9386011117947 PL61109010140000071219812874 PT50000201231234567890154 RO49AAAA1B31007593840000
SA0380000000608010167519 SE4550000000058398257466 SI56263300012039086 SK3112000000198742637541
TR330006100519786457841326 AE070331234567890123456""",
)
"""Examples of the IBAN registry of SWIFT, 33 countries."""


def digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.digits, k=count))


def drawn(alphabet: str, count: int, *, before: str = "", behind: str = "") -> Draw:
    """Signs at random behind a beginning, the last one a digit and one before it a capital letter."""
    tail = "7" if set(alphabet) & set(string.digits) else ""

    def draw(chance: random.Random) -> str:
        body = "".join(chance.choices(alphabet, k=count - 1))
        return f"‹{before}{body}{tail or body[-1]}{behind}›"

    return draw


def said(text: str) -> Draw:
    """Always the same."""
    return lambda chance: text


def key_block(kind: str, end: str = "") -> Draw:
    """As OpenSSL, OpenSSH and GnuPG write private keys."""

    def draw(chance: random.Random) -> str:
        lines = "\n".join("".join(chance.choices(BASE64, k=64)) for _ in range(4))
        return f"‹-----BEGIN {kind}PRIVATE KEY{end}-----\n{lines}\n-----END {kind}PRIVATE KEY{end}-----›"

    return draw


def foreigner(chance: random.Random) -> str:
    body = f"911{digits(chance, 3)}1981{chance.randint(1, 12):02}{chance.randint(1, 28):02}{digits(chance, 3)}"
    return body + str(ric.calc_check_digit(body + "0"))


def landline(chance: random.Random) -> str:
    """Eight digits that Beijing has."""
    while True:
        number = f"{chance.choice('568')}{digits(chance, 7)}"
        if phonenumbers.is_valid_number(phonenumbers.parse(f"010{number}", "CN")):
            return number


def password(chance: random.Random) -> str:
    return drawn(LETTERS, 10, before="aA")(chance)


def wide(text: str) -> str:
    return text.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)})


def mobile(chance: random.Random) -> str:
    example = phonenumbers.example_number_for_type("CN", phonenumbers.PhoneNumberType.MOBILE)
    while True:
        number = str(example.national_number)[:3] + digits(chance, 8)
        number = chance.choice(["138", "159", "177", "186", "199"]) + number[3:]
        if phonenumbers.is_valid_number(phonenumbers.parse(number, "CN")):
            return number


def grouped(number: str, gap: str, *sizes: int) -> str:
    parts, place = [], 0
    for size in sizes:
        parts.append(number[place : place + size])
        place += size
    return gap.join(filter(None, [*parts, number[place:]]))


def abroad(form: int) -> Draw:
    """An example of a country's plan."""

    def draw(chance: random.Random) -> str:
        kind = chance.choice([phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE])
        number = phonenumbers.example_number_for_type(chance.choice(COUNTRIES), kind)
        return f"‹{phonenumbers.format_number(number, form)}›"

    return draw


def chinese_id(chance: random.Random) -> str:
    place = chance.choice(["110101", "310115", "440305", "510104", "330106", "620102", "810000", "830000"])
    day = f"{chance.randint(1940, 2015)}{chance.randint(1, 12):02}{chance.randint(1, 28):02}"
    body = place + day + digits(chance, 3)
    return body + str(ric.calc_check_digit(body + "0"))


def credit_code(chance: random.Random) -> str:
    own = "".join(chance.choices("0123456789ABCDEFGHJKLMNPQRTUWXY", k=8))
    total = sum(int(sign, 36) * weight for sign, weight in zip(own, (3, 7, 9, 10, 5, 8, 4, 2), strict=True))
    code = f"{chance.choice(['91', '92', '12'])}{chance.choice(['110108', '310115', '440300'])}{own}"
    code += "0123456789X0"[11 - total % 11]
    return code + str(uscc.calc_check_digit(code))


def card(chance: random.Random, *sizes: tuple[str, int]) -> str:
    before, length = chance.choice(sizes or (("4", 16), ("53", 16), ("6011", 16), ("3530", 16)))
    body = before + digits(chance, length - len(before) - 1)
    return body + str(luhn.calc_check_digit(body))


def union_pay(chance: random.Random) -> str:
    return card(chance, ("6222", 16), ("6217", 19), ("622848", 19), ("625", 16))


def german_iban(chance: random.Random) -> str:
    account = digits(chance, 18)
    return f"DE{ibans.calc_check_digits(f'DE00{account}')}{account}"


def address_six(chance: random.Random) -> str:
    return f"2{chance.choice(['a01', '400', '606', '404'])}:" + ":".join(
        "".join(chance.choices("123456789abcdef", k=4)) for _ in range(7)
    )


def address_four(chance: random.Random) -> str:
    first = chance.choice([5, 46, 93, 116, 123, 185, 218])
    return f"{first}.{chance.randint(10, 99)}.{chance.randint(0, 255)}.{chance.randint(1, 254)}"


def named(chance: random.Random) -> str:
    name = chance.choice(["li.wei", "anna_schmidt", "j.doe+news", "zhang88", "o'neil", "x-1"])
    return f"{name}{digits(chance, 2)}"


def aadhaar(chance: random.Random) -> str:
    body = f"{chance.randint(2, 9)}{digits(chance, 10)}"
    return body + str(verhoeff.calc_check_digit(body))


EMAILS: dict[str, Draw] = {
    "plain": lambda c: f"‹{named(c)}@{c.choice(['qq.com', 'example.org', 'mail.example.co.uk', '163.com'])}›",
    "full-width": lambda c: f"‹{wide(f'{named(c)}@qq.com')}›",
    "brackets": lambda c: f"‹{named(c)}{c.choice([' [at] ', '(at)', ' (AT) ', '[@]', '（at）', '{at}'])}uni-bonn.de›",
    "brackets, dots too": lambda c: f"‹{named(c)} [at] mail [dot] uni-bonn (dot) de›",
    "in words": lambda c: f"‹{named(c)} at gmail dot com›",
    "another sign": lambda c: f"‹{named(c)}{c.choice(['#', ' @ ', '@ ', '☆'])}{c.choice(['qq.com', '163.com'])}›",
    "in a URL": lambda c: f"https://example.org/?mail=‹{named(c)}%40qq.com›&x=1",
    "mailto": lambda c: f'<a href="mailto:‹{named(c)}@qq.com›?subject=a">',
    "HTML": lambda c: f"‹{named(c)}{c.choice(['&#64;', '&#x40;', '&commat;'])}example.org›",
    "JSON": lambda c: f'{{"text": "Hi\\n‹{named(c)}@qq.com›\\nBye"}}',
    "letters of Europe": lambda c: f"‹josé.müller{digits(c, 2)}@bücher.de›",
    "subdomain, long ending": lambda c: f"‹{named(c)}@a.b.example.photography›",
}
PHONES: dict[str, Draw] = {
    "Chinese mobile": lambda c: f"‹{mobile(c)}›",
    "Chinese mobile, spaces": lambda c: f"‹{grouped(mobile(c), ' ', 3, 4, 4)}›",
    "Chinese mobile, dashes": lambda c: f"‹{grouped(mobile(c), '-', 3, 4, 4)}›",
    "Chinese mobile, dots": lambda c: f"‹{grouped(mobile(c), '.', 3, 4, 4)}›",
    "Chinese mobile, 3 and 8": lambda c: f"‹{grouped(mobile(c), '-', 3, 8)}›",
    "Chinese mobile, full-width": lambda c: f"‹{wide(mobile(c))}›",
    "Chinese mobile, +86": lambda c: f"‹{c.choice(['+86', '+86 ', '0086 ', '86-', '86 ', '+86-'])}{mobile(c)}›",
    "Chinese mobile, (+86)": lambda c: f"‹(+86){grouped(mobile(c), ' ', 3, 4, 4)}›",
    "Chinese mobile, (86)": lambda c: f"‹(86){mobile(c)}›",
    "Chinese landline": lambda c: f"‹{c.choice(['010-', '(010)', '010 ', '+86 10 '])}{landline(c)}›",
    "Chinese landline, extension": lambda c: f"‹010-{landline(c)}{c.choice(['-801', '转8012', ' ext. 12'])}›",
    "Chinese service": lambda c: f"‹400-{c.choice(['810', '820', '700'])}-{digits(c, 4)}›",
    "North American": lambda c: (
        f"‹{c.choice(['(212) ', '212-', '(415)', '650.'])}{c.randint(200, 999)}-{digits(c, 4)}›"
    ),
    "North American, extension": lambda c: (
        f"‹(212) {c.randint(200, 999)}-{digits(c, 4)}{c.choice([' ext. 23', ' x23', 'x4', ', extension 123'])}›"
    ),
    "North American, +1": lambda c: (
        f"‹{c.choice(['+1 212 ', '+1-212-', '1-212-', '+1 (212) '])}{c.randint(200, 999)}-{digits(c, 4)}›"
    ),
    "26 countries": abroad(phonenumbers.PhoneNumberFormat.INTERNATIONAL),
    "26 countries, no spaces": abroad(phonenumbers.PhoneNumberFormat.E164),
    "in a URL": lambda c: f"https://example.org/?phone=‹%2B86{mobile(c)}›&x=1",
    "tel:": lambda c: f"tel:‹+86-{grouped(mobile(c), '-', 3, 4, 4)}›",
    "JSON": lambda c: f'{{"mobile": "‹{mobile(c)}›", "n": 1}}',
    "JSON, a number": lambda c: f'{{"mobile":‹{mobile(c)}›,"n":1}}',
    "JSON, escaped": lambda c: f'{{"text":"ring me:\\n‹{mobile(c)}›\\n"}}',
    "HTML": lambda c: f"<td>‹{mobile(c)}›</td><td>&nbsp;{'x'}</td>",
    "behind a word": lambda c: (
        f"{c.choice(['Tel. ', 'phone: ', '电话：', '微信', 'WhatsApp '])}‹{c.randint(2, 9)}{digits(c, 6)}›"
    ),
}
IDS: dict[str, Draw] = {
    "China": lambda c: f"‹{chinese_id(c)}›",
    "China, small x": lambda c: f"‹{chinese_id(c).lower()}›",
    "China, full-width": lambda c: f"‹{wide(chinese_id(c))}›",
    "China, spaces": lambda c: f"‹{grouped(chinese_id(c), ' ', 6, 8)}›",
    "China, 15 digits": lambda c: f"身份证号：‹{c.choice(['110105', '310101'])}49123{c.randint(0, 1)}{digits(c, 3)}›",
    "China, foreigners": lambda c: f"‹{foreigner(c)}›",
    "China, social credit code": lambda c: f"‹{credit_code(c)}›",
    "China, passport": lambda c: f"{c.choice(['护照：', 'passport no. '])}‹{c.choice(['E', 'EA'])}{digits(c, 7)}›",
    "Hong Kong, Macau: permits": lambda c: f"回乡证 ‹{c.choice('HM')}{digits(c, 8)}{c.choice(['', '01'])}›",
    "Taiwan: permits": lambda c: f"台胞证号：‹0{digits(c, 7)}›",
    "Hong Kong": lambda c: f"‹{c.choice(['A123456(3)', 'G123456(A)', 'AB987654(3)', 'A123456（3）'])}›",
    "Macau": lambda c: f"澳门身份证 ‹{c.choice('157')}{digits(c, 6)}({c.randint(0, 9)})›",
    "Taiwan": lambda c: f"台灣身分證 ‹{c.choice(['A123456789', 'F131104093', 'A800000014'])}›",
    "India": lambda c: f"Aadhaar ‹{grouped(aadhaar(c), ' ', 4, 4)}›",
    "United States": lambda c: f"‹{c.randint(100, 665)}-{c.randint(10, 99)}-{c.randint(1000, 9999)}›",
    **{
        country: said(text)
        for country, text in {
            "Korea": "‹971013-9019902›", "Korea, no hyphen": "RRN ‹9710139019902›", "Poland": "PESEL ‹44051401359›",
            "Netherlands": "BSN ‹111222333›", "Canada": "SIN ‹123-456-782›", "Brazil": "‹390.533.447-05›",
            "Brazil, bare": "CPF ‹39053344705›", "France": "‹2 95 10 99 126 111 93›", "Spain": "‹54362315K›",
            "Spain, foreigners": "‹X-2482300W›", "Italy": "‹RCCMNL83S18D969H›", "Germany": "Steuer-ID ‹36 574 261 809›",
            "Britain, NHS": "NHS number ‹943 476 5870›", "Japan": "マイナンバー ‹6214 9832 0257›",
            "Malaysia": "‹770305-02-1234›", "Thailand": "‹1-2345-45678-78-1›", "Belgium": "‹85.07.30-033.28›",
            "Finland": "‹131052-308T›", "Switzerland": "‹756.9217.0769.85›", "Mexico": "‹BOXW310820HNERXN09›",
            "Chile": "‹12.531.909-2›", "Sweden": "personnummer ‹880320-0016›", "Denmark": "CPR ‹211062-5629›",
            "Norway": "fødselsnummer ‹151086 95088›", "Ireland": "PPS ‹6433435F›", "Portugal": "NIF ‹501964843›",
            "Romania": "CNP ‹1630615123457›", "Czechia": "rodné číslo ‹710319/2745›",
            "Turkey": "kimlik no ‹17291716060›",
            "South Africa": "South African ID ‹750330 5044 089›", "Israel": "Teudat Zehut ‹39337423›",
            "Russia": "ИНН ‹123456789047›", "Australia": "TFN ‹123 456 782›",
            "United States, ITIN": "ITIN ‹912-90-3456›",
        }.items()
    },
}  # fmt: skip
"""The numbers of other countries are those in the documentation of ``python-stdnum``."""
CARDS: dict[str, Draw] = {
    "digits": lambda c: f"‹{card(c)}›",
    "spaces": lambda c: f"‹{grouped(card(c), ' ', 4, 4, 4, 4)}›",
    "dashes": lambda c: f"‹{grouped(card(c), '-', 4, 4, 4, 4)}›",
    "dots": lambda c: f"‹{grouped(card(c), '.', 4, 4, 4, 4)}›",
    "full-width": lambda c: f"‹{wide(card(c))}›",
    "UnionPay": lambda c: f"‹{union_pay(c)}›",
    "UnionPay, spaces": lambda c: f"‹{grouped(union_pay(c), ' ', 4, 4, 4, 4)}›",
    "UnionPay, 6 and 13": lambda c: f"‹{grouped(card(c, ('622848', 19)), ' ', 6, 13)}›",
    "American Express": lambda c: f"‹{grouped(card(c, ('37', 15)), ' ', 4, 6)}›",
    "JSON": lambda c: f'{{"card_no": "‹{card(c)}›"}}',
    "in a URL": lambda c: f"https://example.org/pay?card=‹{card(c)}›&x=1",
}
IBANS: dict[str, Draw] = {
    "33 countries": lambda c: f"‹{c.choice(REGISTRY)}›",
    "33 countries, spaces": lambda c: f"‹{grouped(c.choice(REGISTRY), ' ', *[4] * 8)}›",
    "small letters": lambda c: f"‹{c.choice(REGISTRY).lower()}›",
    "full-width": lambda c: f"‹{wide(german_iban(c))}›",
    "dashes": lambda c: f"‹{grouped(german_iban(c), '-', *[4] * 5)}›",
    "JSON": lambda c: f'{{"iban":"‹{german_iban(c)}›"}}',
}
IPS: dict[str, Draw] = {
    "version 4": lambda c: f"‹{address_four(c)}›",
    "version 4, port": lambda c: f"http://‹{address_four(c)}›:8080/a",
    "version 4, defanged": lambda c: f"‹{address_four(c).replace('.', '[.]')}›",
    "version 4, full-width": lambda c: f"‹{wide(address_four(c))}›",
    "version 4, a log": lambda c: f'‹{address_four(c)}› - - [05/Mar/2021:10:15:07 +0000] "GET / HTTP/1.1" 200 1234',
    "version 6": lambda c: f"‹{address_six(c)}›",
    "version 6, capitals": lambda c: f"‹{address_six(c).upper()}›",
    "version 6, short": lambda c: f"‹2a01:4f8:{digits(c, 3)}::{c.randint(1, 9)}›",
    "version 6, brackets": lambda c: f"http://[‹{address_six(c)}›]:443/",
    "version 6, prefix": lambda c: f"‹2001:4860:{digits(c, 4)}::›/48",
    "version 4 in 6": lambda c: f"‹::ffff:{address_four(c)}›",
    "JSON": lambda c: f'{{"ip":"‹{address_four(c)}›"}}',
}
PLATES: dict[str, Draw] = {
    "China": lambda c: f"‹{c.choice('京沪粤川鲁苏浙')}{c.choice('ABCDE')}{c.choice('ABCDEFGH')}{digits(c, 4)}›",
    "China, dot": lambda c: f"‹{c.choice('京沪粤川')}{c.choice('ABC')}·{digits(c, 5)}›",
    "China, electric": lambda c: f"‹{c.choice('京沪粤')}{c.choice('ABC')}{c.choice('DF')}{digits(c, 5)}›",
    "China, police": lambda c: f"‹{c.choice('京沪粤')}A{digits(c, 4)}{c.choice('警学挂')}›",
    "Britain": lambda c: f"number plate ‹AB{digits(c, 2)} CDE›",
    "Germany": lambda c: f"Kennzeichen ‹B-AB {c.randint(100, 9999)}›",
}
SECRETS: dict[str, Draw] = {
    "Amazon": drawn(string.ascii_uppercase + string.digits, 16, before="AKIA"),
    "Amazon, secret": lambda c: f"aws_secret_access_key = {drawn(BASE64, 40)(c)}",
    "Alibaba": drawn(LETTERS, 20, before="LTAI"),
    "Tencent": drawn(LETTERS, 32, before="AKID"),
    "Volcengine": drawn(LETTERS, 40, before="AKLT"),
    "Baidu": lambda c: f"‹bce-v3/ALTAK-{drawn(LETTERS, 21)(c)[1:-1]}/{drawn(HEX, 40)(c)[1:]}",
    "GitHub": lambda c: drawn(LETTERS, 36, before=c.choice(["ghp_", "gho_", "ghu_", "ghs_", "ghr_"]))(c),
    "GitHub, fine-grained": drawn(LETTERS + "_", 82, before="github_pat_"),
    "GitLab": drawn(LETTERS + "-_", 20, before="glpat-"),
    "Slack": lambda c: f"‹xox{c.choice('bp')}-{digits(c, 12)}-{digits(c, 12)}-{drawn(LETTERS, 24)(c)[1:]}",
    "Slack, app": lambda c: f"‹xapp-1-A{digits(c, 10)}-{digits(c, 13)}-{drawn(HEX, 64)(c)[1:]}",
    "Slack, webhook": lambda c: (
        f"https://‹hooks.slack.com/services/T{digits(c, 8)}/B{digits(c, 8)}/{drawn(LETTERS, 24)(c)[1:]}"
    ),
    "Google": drawn(LETTERS + "-_", 35, before="AIza"),
    "Google, OAuth": drawn(LETTERS + "-_", 120, before="ya29."),
    "Google, client": drawn(LETTERS + "-_", 28, before="GOCSPX-"),
    "Azure, application": lambda c: f"‹{digits(c, 2)}Q8Q~{drawn(LETTERS, 34)(c)[1:]}",
    "Azure, DevOps": drawn(LETTERS, 76, behind="AZDO4bC1"),
    "Azure, storage": lambda c: f"AccountName=a;AccountKey={drawn(BASE64, 86, behind='==')(c)};",
    "Azure, shared access": lambda c: f"https://a.example.net/b?sv=1&sig={drawn(LETTERS, 43, behind='%3D')(c)}&se=1",
    "Stripe": lambda c: drawn(LETTERS, 24, before=c.choice(["sk_live_", "rk_live_", "sk_test_", "pk_live_"]))(c),
    "Stripe, webhook": drawn(LETTERS, 32, before="whsec_"),
    "OpenAI": drawn(LETTERS, 48, before="sk-A"),
    "OpenAI, project": drawn(LETTERS + "-_", 120, before="sk-proj-A"),
    "Anthropic": drawn(LETTERS + "-_", 92, before="sk-ant-api03-A"),
    "DeepSeek": drawn(HEX, 32, before="sk-"),
    "Groq": drawn(LETTERS, 52, before="gsk_"),
    "xAI": drawn(LETTERS, 80, before="xai-"),
    "Perplexity": drawn(LETTERS, 48, before="pplx-"),
    "Hugging Face": drawn(LETTERS, 34, before="hf_"),
    "Hugging Face, organisation": drawn(LETTERS, 34, before="api_org_"),
    "Replicate": drawn(LETTERS, 37, before="r8_"),
    "npm": drawn(LETTERS, 36, before="npm_"),
    "PyPI": drawn(LETTERS + "-_", 160, before="pypi-AgEIcHlwaS5vcmc"),
    "Docker": drawn(LETTERS + "-_", 27, before="dckr_pat_"),
    "SendGrid": lambda c: f"‹SG.{drawn(LETTERS, 22)(c)[1:-1]}.{drawn(LETTERS, 43)(c)[1:]}",
    "Twilio": drawn(HEX, 32, before="SK"),
    "Mailgun": drawn(HEX, 32, before="key-"),
    "Mailchimp": drawn(HEX, 32, behind="-us12"),
    "Square": drawn(LETTERS + "-_", 22, before="sq0atp-"),
    "DigitalOcean": drawn(HEX, 64, before="dop_v1_"),
    "Databricks": drawn(HEX, 32, before="dapi"),
    "Shopify": drawn(HEX, 32, before="shpat_"),
    "Atlassian": drawn(LETTERS, 180, before="ATATT3xFfGF0"),
    "Linear": drawn(LETTERS, 40, before="lin_api_"),
    "Figma": drawn(LETTERS + "-_", 43, before="figd_"),
    "Grafana": lambda c: f"‹glsa_{drawn(LETTERS, 32)(c)[1:-1]}_{drawn(HEX, 8)(c)[1:]}",
    "Sentry": drawn(LETTERS, 120, before="sntrys_"),
    "HashiCorp Vault": drawn(LETTERS + "-_", 90, before="hvs."),
    "New Relic": drawn(string.ascii_uppercase + string.digits, 27, before="NRAK-"),
    "age": drawn(string.ascii_uppercase + string.digits, 58, before="AGE-SECRET-KEY-1"),
    "Telegram": lambda c: f"‹{c.randint(10**8, 10**9)}:AA{drawn(LETTERS + '-_', 33)(c)[1:]}",
    "Discord": lambda c: f"‹M{drawn(LETTERS, 24)(c)[1:-1]}.{drawn(LETTERS, 6)(c)[1:-1]}.{drawn(LETTERS, 27)(c)[1:]}",
    "JSON web token": lambda c: f"‹eyJ{drawn(LETTERS, 30)(c)[1:-1]}.eyJ{password(c)[1:-1]}.{drawn(LETTERS, 43)(c)[1:]}",
    **{f"key block, {kind or 'PKCS #8'}": key_block(kind) for kind in ("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ")},
    "key block, PGP": key_block("PGP ", " BLOCK"),
    "key block in JSON": lambda c: f'{{"private_key": "{key_block("")(c)}"}}'.replace("\n", "\\n"),
    "connection, Postgres": lambda c: f"postgres://app:{drawn(LETTERS, 12)(c)}@db.example.org:5432/a",
    "connection, MongoDB": lambda c: f"mongodb+srv://app:{drawn(LETTERS, 12, behind='%40!')(c)}@c0.example.net",
    "connection, Redis": lambda c: f"redis://:{drawn(LETTERS, 16)(c)}@cache:6379/0",
    "connection, SQL Server": lambda c: f"Server=db;User Id=sa;Password={password(c)};",
    "connection, JDBC": lambda c: f"jdbc:mysql://db/a?user=u&password={password(c)}&x=1",
    "password, YAML": lambda c: f"password: \"{password(c)}\"",
    "password, JSON": lambda c: f'{{"password":"{password(c)}"}}',
    "password, JSON in JSON": lambda c: f'{{\\"password\\": \\"{password(c)}\\"}}',
    "password, HTML": lambda c: f"&quot;password&quot;: &quot;{password(c)}&quot;",
    "password, Chinese": lambda c: f"{c.choice(['密码：', '口令是', '密码是', '密码: '])}{password(c)}",
    "bearer": lambda c: f"Authorization: Bearer {drawn(LETTERS, 40, before='aA')(c)}",
    "key in a URL": lambda c: f"https://example.org/?api_key={drawn(LETTERS, 32, before='aA')(c)}&q=1",
}  # fmt: skip
FORMS: dict[str, dict[str, Draw]] = {
    "email": EMAILS, "phone": PHONES, "id": IDS, "card": CARDS, "iban": IBANS, "ip": IPS, "plate": PLATES,
    "secret": SECRETS,
}  # fmt: skip
