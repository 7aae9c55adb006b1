"""Private data: found with measured recall and precision, and what becomes of it."""

from __future__ import annotations

import importlib
import itertools
import random
import re
import string
import sys
from collections import Counter
from pathlib import Path
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.clean.private import EXAMPLES, FINDERS, Private, find_private
from danlu.clean.private_secrets import ISSUERS
from danlu.errors import InputError, RecipeError
from danlu.recipe import build
from danlu.text.document import Document, pair

sys.path.insert(0, str(Path(__file__).parent))
samples: Any = importlib.import_module("private_samples")
FORMS: Any = importlib.import_module("private_odd_forms").FORMS

LEAST = 0.97
"""Recall and precision of each kind, in each language."""


@pytest.mark.parametrize("language", ["en", "zh"])
def test_recall_and_precision_of_each_kind(language: str) -> None:
    chance = random.Random(f"private {language}")
    drawn = [samples.sample(chance, kind, language) for kind in samples.KINDS for _ in range(150)]
    drawn += [samples.near_miss(chance, name, language) for name in samples.NEAR for _ in range(20)]
    right, wanted, found = Counter[str](), Counter[str](), Counter[str]()
    for each in drawn:
        finds = {tuple(find) for find in find_private(each.text)}
        wanted.update(kind for *_, kind in each.truth)
        found.update(kind for *_, kind in finds)
        right.update(kind for *_, kind in finds & each.truth)
    for kind in samples.KINDS:
        assert right[kind] / wanted[kind] >= LEAST, ("recall", kind)
        assert right[kind] / found[kind] >= LEAST, ("precision", kind)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("kind", "form"), [(kind, form) for kind, forms in FORMS.items() for form in forms])
def test_every_form_of_every_kind_is_found_where_it_stands(kind: str, form: str, language: str) -> None:
    chance = random.Random(f"{kind} {form} {language}")
    for _ in range(20):
        sample = samples.form_sample(chance, FORMS[kind][form], kind, language)
        assert {tuple(find) for find in find_private(sample.text)} == sample.truth, sample.text


@pytest.mark.parametrize("name", samples.NEAR)
def test_what_only_looks_private_is_left(name: str) -> None:
    chance = random.Random(name)
    drawn = [samples.near_miss(chance, name, language).text for _ in range(20) for language in ("en", "zh")]
    wrong = [(text, finds) for text in drawn if (finds := values(text))]
    assert len(wrong) <= 0.05 * len(drawn), wrong[:3]


def test_every_issuer_of_keys_has_a_form() -> None:
    missing = {name for name in ISSUERS if not any(form.startswith(name) for form in FORMS["secret"])}
    assert missing == {"OpenAI, Anthropic, DeepSeek", "Groq, xAI, Perplexity"}, "each of these is a form of its own"


def values(text: str, **more: Any) -> list[tuple[str, str]]:
    return [(find.kind, text[find.start : find.end]) for find in find_private(text, **more)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [  # from the standards' own pages and examples, so not by the generators of the samples
        ("id", "11010519491231002X"),  # GB 11643-1999
        ("iban", "GB82 WEST 1234 5698 7654 32"),
        ("iban", "MT84MALT011000012345MTLCAST001S"),
        ("card", "4111 1111 1111 1111"),
        ("card", "3782-822463-10005"),
        ("card", "6212142600000000009"[:19]),
        ("id", "RSSMRA85T10A562S"),
        ("id", "X1234567L"),
        ("id", "12345678Z"),
        ("id", "A123456(3)"),
        ("id", "2 95 10 99 126 111 93"),
        ("id", "390.533.447-05"),
        ("ip", "2606:2800:220:1:248:1893:25c8:1946"),
        ("secret", "AKIAIOSFODNN7EXAMPLE"),
        ("email", "jo [at] uni-bonn [dot] de"),
        ("phone", "400-810-8888"),
    ],
)
def test_known_values(kind: str, value: str) -> None:
    if kind == "card" and len(value) == 19 and value.isdigit():
        value = samples.luhn(value[:-1])
    assert values(f"It is {value}, they said.") == [(kind, value)]
    assert values(f"号码是{value}。") == [(kind, value)]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("NHS number", "943 476 5919"),
        ("Steuer-ID", "36 574 261 809"),
        ("Taiwan ID", "A123456789"),
        ("身份证", "110105491231002"),
        ("社会安全号", "078051120"),
        ("My Number", "1234 5678 9018"),
        ("护照", "E12345678"),
    ],
)
def test_numbers_that_need_a_word_before(word: str, value: str) -> None:
    assert ("id", value) in values(f"{word}: {value}")
    assert ("id", value) not in values(f"It weighs {value}.")


@pytest.mark.parametrize(
    "text",
    [
        "12.2.1.1. Rules\n",
        "x\n\n17.12.8.2.\u00a0Preview\n",
        "# 12.2.1.1. 邮件列表\n",
        "that server was version 1:12.2.3.3.dfsg-1",
        "打电话[08/1/04 1:30]去",
    ],
)
def test_headings_versions_and_times_are_none(text: str) -> None:
    assert not values(text)


@pytest.mark.parametrize(
    "text", ["12.2.1.1 - - [12/Jan]", "from\n112.2.1.1. Then", "It is 12.2.1.1. Then", "12.2.1.1.\n"]
)
def test_addresses_at_the_beginning_of_a_line(text: str) -> None:
    assert [kind for kind, _ in values(text)] == ["ip"]


def test_german_numbers_in_german_text_and_behind_a_word() -> None:
    assert values("Büro 030/2345678 am Tag", language="de") == [("phone", "030/2345678")]
    assert values("Büro 030/2345678 am Tag") == []
    assert values("Tel. 030/2345678 am Tag") == [("phone", "030/2345678")]


def rule(**settings_: Any) -> Any:
    return build(Private, settings_, key="clean.rules.0").make()


TEXT = "Write to li@qq.com or li@qq.com, ring 138-1234-5678 from 93.184.216.34."


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "Write to [EMAIL] or [EMAIL], ring [PHONE] from [IP]."),
        ({"kinds": ["email"]}, "Write to [EMAIL] or [EMAIL], ring 138-1234-5678 from 93.184.216.34."),
        (
            {"by_kind": {"phone": "keep", "ip": "example"}},
            "Write to [EMAIL] or [EMAIL], ring 138-1234-5678 from 192.0.2.1.",
        ),
        ({"action": "example"}, "Write to {email} or {email}, ring {phone} from {ip}.".format(**EXAMPLES)),
    ],
)
def test_what_stands_instead(more: dict[str, Any], text: str) -> None:
    document = Document("a", TEXT)
    assert rule(**more)(document) is None
    assert document.text == text


def test_what_was_found_is_counted_and_may_drop_the_document() -> None:
    document = Document("a", TEXT)
    assert rule(by_kind={"ip": "drop"})(document) == "private data (ip)"
    assert rule()(document) is None
    assert document.meta == {"private": "email 2, ip 1, phone 1"}
    untouched = Document("a", "No data here, 12 of 30.")
    assert rule()(untouched) is None and untouched.meta == {}


def test_hashes_are_equal_for_equal_values_and_keys_alone(tmp_path: Path) -> None:
    texts = []
    for name, key in (("one", b"k" * 16), ("two", b"K" * 100)):
        (tmp_path / name).write_bytes(key)
        document = Document(
            "a", "138-1234-5678, 13812345678, １３８１２３４５６７８ and 13812345679, A@qq.com a@qq.com"
        )
        rule(action="hash", key_file=str(tmp_path / name))(document)
        texts.append(re.findall(r"\[[A-Z]+ [0-9a-f]{16}\]", document.text))
    first, second, third, other, *mails = texts[0]
    assert first == second == third != other
    assert len(mails) == 2 and mails[0] == mails[1]
    assert not set(texts[0]) & set(texts[1])


def test_both_sides_of_a_pair_keep_their_border() -> None:
    text, meta = pair("Mail li@qq.com.", "写给li@qq.com。")
    document = Document("a", text, meta)
    assert rule()(document) is None
    assert document.sides == ("Mail [EMAIL].", "写给[EMAIL]。")
    assert document.meta["private"] == "email 2"


def test_a_language_that_is_said_with_its_region_counts() -> None:
    document = Document("a", "Büro 030/2345678 am Tag", {"language": "de-AT"})
    assert rule()(document) is None and document.text == "Büro [PHONE] am Tag"


def test_fields_that_came_with_the_text_are_hidden_too() -> None:
    ours = {"source": "li@qq.com.jsonl", "offset": "13812345678", "language": "en"}
    fields = {"author": "Li <li@qq.com>", "phone": "5550123456", "url": "http://93.184.216.34/a", "title": "A note"}
    document = Document("a", "Write to li@qq.com.", {**fields, **ours})
    assert rule()(document) is None
    hidden = {"author": "Li <[EMAIL]>", "phone": "[PHONE]", "url": "http://[IP]/a", "title": "A note"}
    assert document.meta == {**hidden, **ours, "private": "email 2, ip 1, phone 1"}
    kept = Document("a", "Nothing.", {"author": "li@qq.com"})
    assert rule(action="drop")(kept) == "private data (email)"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"action": "hash"}, "hash needs a key_file"),
        ({"by_kind": {"fone": "mask"}}, "by_kind.fone: no such kind"),
        ({"action": "burn"}, "action must be 'mask', 'example', 'hash', 'drop' or 'keep'"),
        ({"kinds": []}, "kinds"),
    ],
)
def test_settings_that_cannot_be(more: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(told)):
        rule(**more)


def test_a_key_that_cannot_be_read_or_is_too_short(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read key_file"):
        rule(action="hash", key_file=str(tmp_path / "none"))
    (tmp_path / "short").write_bytes(b"123")
    with pytest.raises(InputError, match="16 bytes or more; got 3"):
        rule(action="hash", key_file=str(tmp_path / "short"))


FIELDS = {
    "author": "Li <li@qq.com>",
    "url": "https://example.org/?token=none&mail=wang@example.org",
    "contactPhone2": "5550199",
    "id_card": "110105491231002",
    "password": "hunter2hunter",
    "meta": '{"owner": {"mobile": "138-1234-5678", "ip": "93.184.216.34"}}',
    "order_no": "138-1234-5678",
    "title": "Of the sea, 1851",
}
HIDDEN = {
    "author": "Li <[EMAIL]>",
    "url": "https://example.org/?token=none&mail=[EMAIL]",
    "contactPhone2": "[PHONE]",
    "id_card": "[ID]",
    "password": "[SECRET]",
    "meta": '{"owner": {"mobile": "[PHONE]", "ip": "[IP]"}}',
    "order_no": "138-1234-5678",
    "title": "Of the sea, 1851",
}


def test_fields_of_a_record_are_hidden_as_the_text_is_and_their_names_are_words_before() -> None:
    ours = {"source": "li@qq.com/a.jsonl", "offset": "13812345678", "target_start": "6", "language": "en"}
    document = Document("a", "Mail.\nPost.", {**FIELDS, **ours})
    assert rule()(document) is None
    assert document.text == "Mail.\nPost."
    assert document.meta == {**HIDDEN, **ours, "private": "email 2, id 1, ip 1, phone 2, secret 1"}
    before = list(document.meta)
    assert rule()(document) is None and list(document.meta) == before, "what is hidden is not found again"


def test_fields_that_are_left_alone_and_other_actions(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"k" * 16)
    document = Document("a", "Mail li@qq.com.", dict(FIELDS))
    by_kind = {"email": "hash", "phone": "example", "id": "keep", "secret": "keep"}
    assert rule(leave=["url", "meta"], by_kind=by_kind, key_file=str(tmp_path / "key"))(document) is None
    for name in ("url", "meta", "id_card", "password"):
        assert document.meta[name] == FIELDS[name]
    hashed = re.fullmatch(r"Mail (\[EMAIL [0-9a-f]{16}\])\.", document.text)
    assert hashed is not None and document.meta["author"] == f"Li <{hashed[1]}>"
    assert document.meta["contactPhone2"] == EXAMPLES["phone"]
    assert document.meta["private"] == "email 2, id 1, phone 1, secret 1"
    unchanged = Document("a", "No data.", dict(FIELDS))
    assert rule(action="drop", kinds=["email"])(unchanged) == "private data (email)"
    assert unchanged.meta == FIELDS
    assert rule(action="drop", leave=[*FIELDS])(unchanged) is None


def test_names_of_fields_are_hidden_and_none_is_lost() -> None:
    document = Document("a", "x", {"li@qq.com": "one", "[EMAIL]": "two", "wang@qq.com": "three", "b": "four"})
    assert rule()(document) is None
    assert document.meta == {
        "[EMAIL] 2": "one",
        "[EMAIL]": "two",
        "[EMAIL] 3": "three",
        "b": "four",
        "private": "email 2",
    }


def test_what_two_rules_found_is_added_up() -> None:
    document = Document("a", TEXT)
    assert rule(kinds=["email"])(document) is None and rule(kinds=["ip", "phone"])(document) is None
    assert document.meta == {"private": "email 2, ip 1, phone 1"}


@pytest.mark.parametrize("other", ["", "İ"])
def test_a_field_hides_nothing_in_the_field_behind_it(other: str) -> None:
    """All are looked at together first: what stands in one must not keep what is in the next from being found."""
    chance = random.Random(4)
    near = [samples.near_miss(chance, name, "en").text for name in samples.NEAR] + ["version", "order no.", ""]
    for kind in samples.KINDS:
        for _ in range(20):
            value = samples.sample(chance, kind, chance.choice(["en", "zh"])).text
            if not find_private(value, name="note"):
                continue
            before, behind = chance.choice(near), chance.choice(near)
            document = Document("a", "x", {"a": before + other, "note": value, "z": behind})
            rule()(document)
            assert document.meta["note"] != value, value


def test_masking_twice_is_masking_once() -> None:
    chance = random.Random(3)
    for kind in samples.KINDS:
        document = Document("a", samples.sample(chance, kind, "en").text)
        rule()(document)
        masked = document.text
        rule()(document)
        assert document.text == masked


def patterns() -> list[re.Pattern[str]]:
    """All patterns in the modules of private data, also inside tables."""
    found: list[re.Pattern[str]] = []

    def look(value: Any) -> None:
        if isinstance(value, re.Pattern):
            found.append(value)
        elif isinstance(value, dict):
            look(list(value.values()))
        elif isinstance(value, list | tuple):
            for each in value:
                look(each)
        elif hasattr(value, "pattern"):
            look([value.pattern, value.words])

    for part in ("broken", "contacts", "escapes", "ids", "marks", "money", "network", "plates", "secrets", "page"):
        look(list(vars(importlib.import_module(f"danlu.clean.private_{part}")).values()))
    return found


def unbounded(tree: Any) -> bool:
    """Whether a repetition without an end could give back what it took, which costs time without bounds."""
    for operation, argument in tree:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT") and argument[1] >= 1000:
            return True
        inner = argument if isinstance(argument, tuple | list) else [argument]
        for part in inner:
            trees = part if isinstance(part, list) else [part]
            if any(isinstance(each, _parser.SubPattern) and unbounded(each) for each in trees):
                return True
    return False


def test_no_pattern_can_take_time_without_bounds() -> None:
    found = patterns()
    assert len(found) > 60
    assert [each.pattern for each in found if unbounded(_parser.parse(each.pattern, each.flags))] == []
    assert unbounded(_parser.parse("a(?:b|(?=c*))")), "the check itself sees into groups"


@pytest.mark.parametrize(
    "piece",
    ["1", "1 ", "a@", "1.", "a:", "sk-", "eyJ-", "@a.", "GB82", "+1", "(1)", "a at] ", "://a:", "tel 123456 ", "xoxb-1",
     "token="],
)  # fmt: skip
def test_long_strings_of_one_piece_are_read_to_the_end(piece: str) -> None:
    assert find_private(piece * (20_000 // len(piece)) + " li@qq.com")[-1].kind == "email"


@settings(max_examples=200)
@given(st.text(alphabet=string.digits + "@.:-+() aA_/０ａ，\n\U00020000", max_size=80))
def test_finds_are_in_order_and_disjoint(text: str) -> None:
    finds = find_private(text)
    assert all(0 <= find.start < find.end <= len(text) and find.kind in FINDERS for find in finds)
    assert all(first.end <= second.start for first, second in itertools.pairwise(finds))
