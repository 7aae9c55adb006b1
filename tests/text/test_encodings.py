"""What bytes are in: certain, or said to be uncertain; the truth is what Python's codecs wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.text.encodings import Detected, detect, detect_whole, is_known, is_utf8, line_end, of_marked

TEXTS = {
    "gb18030": "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦。",
    "cp950": "這個問題是說明為什麼我們會在這裡，國家對於學生的時間。",
    "cp932": "時間を選択してください。これは日本語の文章です。",
    "euc_jp": "時間を選択してください。これは日本語の文章です。",
    "cp949": "이 값은 항상 필요합니다. 사용자의 이름을 입력하세요.",
    "cp1251": "Это поле обязательно для заполнения.",
    "koi8-r": "Это поле обязательно для заполнения.",
    "cp1252": "Das ist schön, und größer als früher.",
}


@pytest.mark.parametrize("encoding", list(TEXTS))
@pytest.mark.parametrize("before", ["", "Chapter 1\n\n"])
def test_a_sentence_is_enough_to_be_certain(encoding: str, before: str) -> None:
    content = (before + TEXTS[encoding]).encode(encoding)
    assert detect(content) == Detected(encoding)
    assert detect(content * 50 + content[:-1], whole=False).encoding == encoding


@pytest.mark.parametrize(
    "text",
    [
        "un café à Paris où l’été",
        "¿Dónde está la niña?",
        "não são as ações",
        "perché è già là",
        "“quoted” – it’s",
        "på en ö",
        "você, por quê, e a AÇÃO e o açúcar também",
        "Dat is één café",
        "Aquest text és una lliçó, intel·ligent però difícil. Això és tot",
    ],
)
def test_western_languages_are_told(text: str) -> None:
    assert detect(text.encode("cp1252")) == Detected("cp1252")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Zażółć gęślą jaźń, proszę państwa", "cp1250"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy", "cp1250"),
        ("Bu değişiklikler için şifre gereklidir", "cp1254"),
        ("Αυτό το πεδίο είναι απαραίτητο", "cp1253"),
        ("שדה זה נדרש עבור כל משתמש", "cp1255"),
        ("koń", "cp1250"),
        ("于秦", "gb18030"),
        ("さい", "euc_jp"),
        ("café crème brûlée à l’école", "mac-roman"),
    ],
)
def test_what_is_not_certain_is_not_guessed(text: str, encoding: str) -> None:
    found = detect(text.encode(encoding))
    assert found.encoding is None and found.likely and not found.binary


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["It was the best of times.\n", "话说天下大势，\n分久必合。这是一个我们\n"])
def test_wide_characters_are_told_with_a_mark_and_without(name: str, text: str) -> None:
    assert detect(text.encode(name)) == Detected(name)
    assert detect(("\ufeff" + text).encode(name)) == Detected(name)
    assert detect(text.encode(name)[:-1], whole=False) == Detected(name)


@pytest.mark.parametrize("content", [b"\x7fELF\x02\x01\x01" + bytes(9), b"one\0two", bytes(64), bytes(range(256)) * 4])
def test_what_holds_nuls_is_no_text(content: bytes) -> None:
    assert detect(content) == Detected(None, binary=True)


def test_utf8_with_a_damaged_byte_stays_utf8() -> None:
    content = "分久必合，合久必分。".encode() * 20
    assert detect(content[:50] + b"\xff" + content[50:]) == Detected("utf-8")
    assert detect(content[:-1]) == Detected("utf-8")
    assert detect("一".encode()[:2], whole=False) == Detected("utf-8")
    assert detect(b"") == detect(b"plain") == Detected("utf-8")


@pytest.mark.parametrize("encoding", ["gb18030", "cp950", "cp932", "euc_jp", "cp949"])
@pytest.mark.parametrize("damage", [b"\xff", b"\x80\xff", None])
def test_a_text_with_a_few_damaged_bytes_is_still_in_its_encoding(encoding: str, damage: bytes | None) -> None:
    line = TEXTS[encoding].encode(encoding) + b"\n"
    damaged = (
        line[:-2] + b"\n" if damage is None else line[:-1] + damage + b"\n"
    )  # a character cut at the end of a line
    assert detect(line * 20 + damaged + line * 20) == Detected(encoding)


def test_much_damage_makes_no_encoding_certain() -> None:
    line = TEXTS["gb18030"].encode("gb18030")
    assert detect((line + b"\xff\n") * 40).encoding is None
    assert detect(line + b"\xff").encoding is None  # of a short text one byte is much


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_utf8_is_never_taken_for_another(text: str) -> None:
    assert detect(text.encode()).encoding in ("utf-8", "utf-16-le", "utf-16-be")  # a mark is a mark


@given(st.binary(max_size=200))
def test_any_bytes_have_an_answer_that_decodes_them(content: bytes) -> None:
    found = detect(content)
    if found.encoding not in (None, "utf-8") and not content.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        content.decode(found.encoding)


def test_lines_of_utf8_among_others() -> None:
    assert is_utf8("你好".encode(), not_in="gb18030") and not is_utf8("你".encode(), not_in="gb18030")
    assert is_utf8("é".encode(), not_in="cp1252") and not is_utf8("é".encode("cp1252"), not_in="cp1252")


def test_names() -> None:
    assert is_known("gb18030") and not is_known("latin-nine") and not is_known("base64") and not is_known("a\0b")
    assert of_marked(b"\xfe\xff\0a", "UTF16") == "utf-16-be" and of_marked(b"a\0", "utf-16") == "utf-16-le"
    assert of_marked(b"", "utf-8-sig") == "utf-8" and of_marked(b"", "Latin1") == "iso8859-1"
    assert line_end("utf-16-be") == b"\0\n" and line_end("gb18030") == b"\n"


SEVEN_BIT = {
    "iso2022_jp_ext": "時間を選択してください。\nﾃﾞｰﾀ plain ASCII\n",
    "iso2022_kr": "이 값은 항상 필요합니다.\n",
    "hz": "今天天气很好，我们去公园玩。\n这是中文 ~ plain ASCII\n",
}


@pytest.mark.parametrize("encoding", list(SEVEN_BIT))
def test_what_shifts_from_ascii_is_told(encoding: str) -> None:
    content = SEVEN_BIT[encoding].encode(encoding)
    assert content.isascii()
    assert detect(content) == Detected(encoding)
    assert detect_whole(b"Received: by mail\n" * 5000 + content).encoding == encoding


@pytest.mark.parametrize("content", [b"s ~{x}~ y", b"a =~ /x{2}/; ~{abc~}", b"\x1b$B\x01", b"\x1b[1;31mred\x1b[0m $B"])
def test_what_looks_like_a_shift_is_ascii(content: bytes) -> None:
    assert detect(content) == Detected("utf-8")
