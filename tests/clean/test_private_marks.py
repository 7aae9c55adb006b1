"""Marks: one for all ways to write a value, by other libraries' plain forms; nothing of them without the key."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import phonenumbers
import pytest
from cleaning import clean

from danlu.clean.private import find_private
from danlu.clean.private_marks import digest, plain_form

SAME = [
    (
        "phone",
        "+8613812345678",
        ["13812345678", "138-1234-5678", "１３８１２３４５６７８", "+86 138 1234 5678", "0086-13812345678",
         "(+86)138 1234 5678",
         "86-13812345678", "13812345678转801", "138.1234.5678", "138_1234_5678",
         "1-3-8-1-2-3-4-5-6-7-8", "138-1234-\n5678",
         "一三八一二三四五六七八", "1\u200b381234\xad5678", "&#49;3812345678"],
    ),
    ("phone", "+861065529988", ["010-65529988", "(010)65529988", "+86 10 6552 9988", "010-65529988 ext. 12"]),
    ("phone", "+12125550123", ["(212) 555-0123", "212-555-0123", "1-212-555-0123", "+1 (212) 555-0123 x4"]),
    ("phone", "+442079460958", ["+44 20 7946 0958", "+44 (0)20 7946 0958", "0044 20 7946 0958"]),
    ("email", "li.wei@qq.com", ["LI.wei@QQ.com", "li.wei [at] qq [dot] com", "li.wei(at)qq.com", "li.wei at qq dot com",
                                "li.wei#qq.com", "li.wei%40qq.com", "li.wei&#64;qq.com", "li.wei at qq.com",
                                "li.wei@\nqq.com", "li.wei@qq。com", "li.wei@qq.\ncom",
                                "li.\u2060wei@qq.com", "ｌｉ．ｗｅｉ＠ｑｑ．ｃｏｍ"]),
    ("id", "11010519491231002x", ["11010519491231002X", "110105 19491231 002X", "110105491231002"]),
    ("card", "4111111111111111", ["4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111"]),
    ("iban", "de89370400440532013000", ["DE89 3704 0044 0532 0130 00", "DE89370400440532013000"]),
    ("ip", "2606:2800:220:1:248:1893:25c8:1946", ["2606:2800:0220:0001:0248:1893:25C8:1946"]),
    ("ip", "93.184.216.34", ["93[.]184[.]216[.]34", "::ffff:93.184.216.34", "93.184.216.34"]),
    ("phone", "+819098765432", ["090-9876-5432", "+81 90-9876-5432"]),
    ("phone", "+79129876543", ["8 (912) 987-65-43", "+7 912 987-65-43"]),
    ("ip", "185.199.110.7", ["185 . 199 . 110 . 7", "185。199。110。7"]),
    ("email", "jeff.hall@gmail.com", ["jeﬀ.hall@gmail.com", "jeff.hall@gma\nil.com", "jeff.hall_at_gmail_dot_com"]),
    ("plate", "京a12345", ["京A12345", "京A·12345"]),
    ("name", "annaschmidt", ["Anna Schmidt", "ANNA SCHMIDT"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "plain", "values"), SAME)
def test_one_form_for_all_ways_to_write_a_value(kind: str, plain: str, values: list[str]) -> None:
    assert {plain_form(value, kind) for value in values} == {plain}
    assert len({digest(value, kind, b"k" * 32) for value in values}) == 1
    if kind != "name":
        for value in values:
            assert [find.kind for find in find_private(f"身份证 {value}")][:1] == [kind], value


def test_numbers_of_other_countries_are_what_phonenumbers_says() -> None:
    for country in ("DE", "FR", "JP", "BR", "IN", "AU", "SG", "HK"):
        number = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
        wanted = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        for form in (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.E164):
            assert plain_form(phonenumbers.format_number(number, form), "phone") == wanted


def test_marks_are_keyed_blake2b_of_kind_and_value() -> None:
    key = bytes(range(32))
    wanted = hashlib.blake2b(b"phone\0+8613812345678", key=key, digest_size=8).hexdigest()
    assert digest("138 1234 5678", "phone", key) == wanted
    assert digest("+8613812345678", "card", key) != wanted, "other kinds have other marks"
    assert digest("a@qq.com", "email", key) != digest("b@qq.com", "email", key)
    assert digest("aB", "secret", key) != digest("ab", "secret", key)


def test_who_has_no_key_cannot_try_numbers_and_the_key_is_written_nowhere(tmp_path: Path) -> None:
    """The mark is the same in every shard, whatever process made it, and no file of the run holds the key."""
    key = random.Random(7).randbytes(24)
    (tmp_path / "secret.key").write_bytes(key)
    for name, text in (("a", "Ring 138-1234-5678 now."), ("b", "电话是+86 13812345678。"), ("c", "Ring 13812345679.")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": text}))
    rules = [{"use": "private", "action": "hash", "key_file": str(tmp_path / "secret.key")}]
    sources = [{"path": str(tmp_path / f"{name}.jsonl"), "language": "en"} for name in "abc"]
    clean(tmp_path / "out", sources=sources, rules=rules, workers=2)
    shards = "".join(path.read_text(encoding="utf-8") for path in sorted((tmp_path / "out").glob("documents-*.jsonl")))
    marks = [json.loads(line)["text"].partition("[PHONE ")[2][:16] for line in shards.splitlines()]
    assert marks[0] == marks[1] != marks[2]
    guesses = [b"", b"danlu private", hashlib.sha256(key).digest()]  # the last is told by lineage.json
    assert all(digest("13812345678", "phone", guess) != marks[0] for guess in guesses)
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert key not in content and key.hex().encode() not in content, path.name
