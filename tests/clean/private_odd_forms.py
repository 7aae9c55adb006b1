"""Odd spellings of private data, the private part between ``‹`` and ``›``: with signs strewn in, in other numerals,
spelt out as HTML does, and parted by line ends."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
forms: Any = importlib.import_module("private_forms")
Draw = Callable[[random.Random], str]
HANDLES = ["qq.com", "gmail.com", "163.com"]
NUMERALS = ["〇一二三四五六七八九", "零壹贰叁肆伍陆柒捌玖", "⓪①②③④⑤⑥⑦⑧⑨", "⁰¹²³⁴⁵⁶⁷⁸⁹", "零幺二三四五六七八九"]
UNSEEN = ["\u200b", "\xad", "\u2060", "\u200e", "\ufeff"]


def strewn(text: str, chance: random.Random) -> str:
    """With a sign that cannot be seen behind every second or third."""
    sign, every = chance.choice(UNSEEN), chance.randint(2, 3)
    return sign.join(text[at : at + every] for at in range(0, len(text), every))


def numerals(number: str, chance: random.Random) -> str:
    return number.translate(str.maketrans("0123456789", chance.choice(NUMERALS)))


def entities(text: str, chance: random.Random) -> str:
    return "".join(chance.choice([f"&#{ord(sign)};", f"&#x{ord(sign):x};", f"\\u{ord(sign):04x}"]) for sign in text)


def keycaps(number: str) -> str:
    return "".join(f"{digit}\ufe0f\u20e3" for digit in number)


def parted(text: str, at: int, sign: str = "\n") -> str:
    return f"{text[:at]}{sign}{text[at:]}"


def iban_on_two_lines(chance: random.Random) -> str:
    groups = forms.grouped(forms.german_iban(chance), " ", *[4] * 5).split(" ")
    at = chance.randint(2, 4)
    return f"{' '.join(groups[:at])}\n{' '.join(groups[at:])}"


def ident(chance: random.Random) -> str:
    """One without an X."""
    while (number := forms.chinese_id(chance))[-1] == "X":
        pass
    return str(number)


def russian(chance: random.Random) -> str:
    return f"8 (9{chance.choice(['12', '03', '16', '26'])}) {forms.digits(chance, 3)}-{chance.randint(10, 99)}-12"


EMAILS: dict[str, Draw] = {
    "unseen signs": lambda c: f"‹{strewn(f'{forms.named(c)}@example.org', c)}›",
    "spelt out": lambda c: f"‹{entities(f'{forms.named(c)}@example.org', c)}›",
    "at": lambda c: f"‹{forms.named(c)} at {c.choice(HANDLES)}›",
    "at, an archive": lambda c: f"\nFrom: ‹jo at lists{forms.digits(c, 1)}.example.org› (Jo)\n",
    "underscores": lambda c: f"‹anna{forms.digits(c, 2)}_at_gmail_dot_com›",
    "an odd full stop": lambda c: f"‹{forms.named(c)}@gmail{c.choice(',。．')}com›",
    "a line end": lambda c: f"‹{forms.named(c)}@{c.choice([chr(10) + 'gmail.com', 'gmail.' + chr(10) + 'com'])}›",
    "a Chinese domain": lambda c: f"‹li{forms.digits(c, 3)}@例子.{c.choice(['中国', '公司', '網絡'])}›",
}
PHONES: dict[str, Draw] = {
    "unseen signs": lambda c: f"‹{strewn(forms.mobile(c), c)}›",
    "spelt out": lambda c: f"‹{entities(forms.mobile(c), c)}›",
    "other signs": lambda c: f"‹{forms.grouped(forms.mobile(c), c.choice('_/~·'), 3, 4, 4)}›",
    "digit by digit": lambda c: f"‹{'-'.join(forms.mobile(c)[:-1] + '9')}›",
    "numerals": lambda c: f"‹{numerals(forms.mobile(c), c)}›",
    "numerals, a landline": lambda c: f"电话：‹{numerals(forms.landline(c), c)}›",
    "keys": lambda c: f"‹{keycaps(forms.mobile(c))}›",
    "Japan": lambda c: f"‹090-{c.randint(1000, 9999)}-{forms.digits(c, 4)}›",
    "Russia": lambda c: f"‹{russian(c)}›",
    "a line end behind a hyphen": lambda c: f"‹{parted(forms.grouped(forms.mobile(c), '-', 3, 4, 4), 9)}›",
    "a line end within": lambda c: f"‹+49 30 {c.randint(200, 999)}\n{forms.digits(c, 5)}›",
}
IDS: dict[str, Draw] = {
    "unseen signs": lambda c: f"‹{strewn(forms.chinese_id(c), c)}›",
    "fours": lambda c: f"‹{forms.grouped(forms.chinese_id(c), c.choice(' -'), 4, 4, 4, 4)}›",
    "digit by digit": lambda c: f"‹{' '.join(forms.chinese_id(c))}›",
    "numerals": lambda c: f"‹{numerals(ident(c), c)}›",
    "a line end": lambda c: f"‹{parted(forms.chinese_id(c), c.choice([6, 8]))}›",
}
CARDS: dict[str, Draw] = {
    "unseen signs": lambda c: f"‹{strewn(forms.card(c), c)}›",
    "odd signs": lambda c: f"‹{forms.grouped(forms.card(c), c.choice(['_', '/', '  ']), 4, 4, 4, 4)}›",
    "digit by digit": lambda c: f"卡号 ‹{' '.join(forms.card(c))}›",
    "a line end": lambda c: f"‹{parted(forms.grouped(forms.card(c), ' ', 4, 4, 4, 4), 10)}›",
}
IBANS: dict[str, Draw] = {
    "glued to its name": lambda c: f"IBAN‹{forms.german_iban(c)}›",
    "dots": lambda c: f"‹{forms.grouped(forms.german_iban(c), '.', *[4] * 5)}›",
    "a line end": lambda c: f"‹{iban_on_two_lines(c)}›",
}
IPS: dict[str, Draw] = {
    "odd signs": lambda c: (
        f"‹{f'185.{c.randint(100, 255)}.{c.randint(0, 255)}.7'.replace('.', c.choice([' . ', '。']))}›"
    ),
    "unseen signs": lambda c: f"‹{strewn(forms.address_four(c), c)}›",
}
SECRETS: dict[str, Draw] = {
    "password, in prose": lambda c: (
        f"{c.choice(['the password is', 'la password è', 'das Passwort ist'])} {forms.password(c)}"
    ),
    "unseen signs": lambda c: f"‹{strewn('ghp_' + forms.drawn(forms.LETTERS, 36)(c)[1:-1], c)}›",
}
ODD = {
    "email": EMAILS,
    "phone": PHONES,
    "id": IDS,
    "card": CARDS,
    "iban": IBANS,
    "ip": IPS,
    "secret": SECRETS,
}
"""By kind and form; beside ``private_forms.FORMS``."""
FORMS: dict[str, dict[str, Draw]] = {
    kind: {**usual, **{f"odd, {name}": draw for name, draw in ODD.get(kind, {}).items()}}
    for kind, usual in forms.FORMS.items()
}
