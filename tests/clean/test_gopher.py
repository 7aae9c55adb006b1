"""Gopher's rules just within and just beyond every limit, in English and in scripts without spaces."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.clean import gopher_repetition
from danlu.clean.gopher_quality import GopherQuality
from danlu.clean.gopher_repetition import GopherRepetition, _repeated
from danlu.clean.rules import Rule
from danlu.errors import RecipeError
from danlu.recipe import build_choice
from danlu.text.document import Document

NO_TOPS = GopherRepetition(max_top_ngrams={}).make()
QUALITY, REPETITION = GopherQuality().make(), GopherRepetition().make()
PROSE = ["the", "cat", "and", "house"]


def quality(text: str, language: str = "en") -> str | None:
    reason = QUALITY(Document("a", text, {"language": language}))
    return reason and reason.removeprefix("gopher_quality: ")


def repetition(text: str, rule: Rule = REPETITION) -> str | None:
    reason = rule(Document("a", text, {"language": "en"}))
    return reason and reason.removeprefix("gopher_repetition: ")


def words(count: int, *changed: str) -> list[str]:
    """So many words of prose, the first of them changed."""
    return [*changed, *(PROSE[place % len(PROSE)] for place in range(len(changed), count))]


def lines(count: int, *changed: str) -> str:
    return "\n".join([*changed, *(" ".join(words(12)) for _ in range(count - len(changed)))])


ENGLISH = [
    ("too few words", " ".join(words(50)), " ".join(words(49))),
    ("too few words", " ".join(words(50, "1")), " ".join(words(50, "--"))),
    ("too many words", "the and " * 50_000, "the and " * 50_000 + "cat"),
    ("mean word length", "the and " * 30, "the and " * 30 + "at"),
    ("hash signs to words", " ".join(words(100, *["#tag"] * 10)), " ".join(words(100, *["#tag"] * 11))),
    ("ellipses to words", " ".join(words(100, *["cat..."] * 10)), " ".join(words(100, *["cat..."] * 11))),
    ("ellipses to words", " ".join(words(100, *["cat…"] * 10)), " ".join(words(100, *["cat…"] * 11))),
    ("bullet lines", lines(10, *["- the cat and the house"] * 9), lines(11, *["• the cat and the house"] * 10)),
    (
        "lines ending in an ellipsis",
        lines(10, *["the cat and the house that was there and the cat..."] * 3),
        lines(10, *["the cat and the house that was there and the cat..."] * 4),
    ),
    ("words with a letter", " ".join(words(100, *["1999"] * 20)), " ".join(words(100, *["1999"] * 21))),
    ("stop words", "the cat house tree, and " * 10, "the cat house tree thus " * 10),
    ("stop words", "“The cat house” — (And) tree, " * 10, "“The cat house” — (Hand) tree, " * 10),
]


@pytest.mark.parametrize(("figure", "good", "bad"), ENGLISH)
def test_english_just_within_and_just_beyond(figure: str, good: str, bad: str) -> None:
    assert quality(good) is None
    assert quality(bad) == figure


def test_the_mean_word_may_have_ten_letters_and_no_more() -> None:
    text = ["the", "and", *["seventeen-letters"] * 2, *["ten-letter"] * 56]  # 600 letters
    assert sum(map(len, text)) == 10 * len(text)
    assert quality(" ".join(text)) is None
    assert quality(" ".join([*text[:-1], "ten-letters"])) == "mean word length"


CLAUSE = "我们的家在山上，"  # 7 characters
MARKED = "我们的家是在山上的我们的家" + "，" * 7  # 13 letters of 20 characters
CHINESE = [
    (
        "too few words",  # 75 characters are 50 words
        "的是" * 3 + "山水花，" * 23,
        "的是" * 3 + "山水花，" * 22 + "山水，",
    ),
    ("mean word length", "我的家，他是人。" * 20, "我的家，他是人。" * 20 + "山。"),
    ("mean word length", ("的是" * 20 + "，") * 3, ("的是" * 20 + "，") * 3 + "的是" * 20 + "的。"),
    ("words with a letter", MARKED * 20, MARKED * 20 + "，"),
    ("stop words", "山水花鸟，的，在，" + "青山绿水，" * 25, "山水花鸟，的，花，" + "青山绿水，" * 25),
    ("ellipses to words", CLAUSE * 15 + "的……是，" * 8, CLAUSE * 15 + "的……是，" * 9),
    ("hash signs to words", CLAUSE * 15 + "#" * 7, CLAUSE * 15 + "#" * 8),  # of 105 characters, 70 words and the signs
]


@pytest.mark.parametrize(("figure", "good", "bad"), CHINESE)
def test_chinese_just_within_and_just_beyond(figure: str, good: str, bad: str) -> None:
    assert quality(good, "zh") is None
    assert quality(bad, "zh") == figure


def test_the_script_decides_whatever_the_language_is_said_to_be() -> None:
    assert quality(CLAUSE * 20, "en") is None
    assert quality(" ".join(words(60)), "zh") is None


@pytest.mark.parametrize(
    ("language", "text", "figure"),
    [
        ("ja", "彼は東京の大学で日本語を勉強して、家に帰りました。" * 8, None),
        ("ja", "東京大学ニホンゴ、カタカナ。" * 20, "stop words"),
        ("th", "ฉันอยู่ในบ้านที่สวยงามและมีแมวของฉัน " * 10, None),
        ("th", "แมวแมวแมวแมวแมวแมว " * 20, "stop words"),
        ("ko", "나는 어제 친구와 함께 서울에 있는 큰 도서관에 갔다. " * 8, None),
        ("ko", "가 나 다 라 마 바 사 아 " * 10, "mean word length"),
        ("de", "Der alte Mann geht mit seinem Hund in den Wald und sieht einen Fuchs. " * 5, None),
        ("de", "Angebot Waschmaschine Kühlschrank Radio Haus " * 15, "stop words"),
        ("de-AT", "Angebot Waschmaschine Kühlschrank Radio Haus " * 15, "stop words"),
        ("fi", "Vanha mies kävelee koiransa kanssa metsään aamulla aikaisin " * 8, None),  # no list, nothing asked
    ],
)
def test_other_languages(language: str, text: str, figure: str | None) -> None:
    assert quality(text, language) == figure


ARTICLE_1_ML = (
    "മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടും അന്തസ്സോടും സ്വാതന്ത്ര്യത്തോടുംകൂടി ജനിച്ചിട്ടുള്ളവരാണ്. "
    "അന്യോന്യം ഭ്രാതൃഭാവത്തോടെ പെരുമാറുവാനാണ് മനുഷ്യന്നു വിവേകബുദ്ധിയും മനസ്സാക്ഷിയും സിദ്ധമായിരിക്കുന്നത്. "
)


def test_words_are_as_long_as_the_language_has_them() -> None:
    assert quality(ARTICLE_1_ML * 5, "ml") is quality(ARTICLE_1_ML * 5, "ml-IN") is None
    assert quality(ARTICLE_1_ML * 5, "en") == "mean word length"
    own = GopherQuality(max_word_length=10).make()
    assert own(Document("a", ARTICLE_1_ML * 5, {"language": "ml"})) == "gopher_quality: mean word length"
    short = "و في عن ما لا لم هو هي " * 10  # 1.9 letters
    assert quality(short, "ar") == quality(short, "en") == "mean word length"
    assert quality(short.replace("و", "وقد"), "ar") is None


def test_korean_words_are_more_than_english_ones() -> None:
    sentence = "나는 어제 친구와 함께 서울에 있는 큰 도서관에 갔다 "  # 9 words
    assert quality(sentence * 4 + "그리고 책을", "ko") is None  # 38 are 51
    assert quality(sentence * 4 + "그리고", "ko") == "too few words"  # 37 are 49.95


def fillers(first: str, length: int) -> str:
    """``first`` and different words behind it, so many characters in all."""
    text = first
    number = 0
    while len(text) + 12 < length:
        text += f" w{number:03d}"
        number += 1
    return text + " " + "z" * (length - len(text) - 1)


@pytest.mark.parametrize(
    ("order", "characters", "length"),
    [(5, 3, 100), (6, 7, 300), (7, 13, 700), (8, 3, 200), (9, 11, 900), (10, 1, 100)],
)
def test_duplicate_ngrams_just_within_and_just_beyond(order: int, characters: int, length: int) -> None:
    block = " ".join(chr(ord("a") + place) * characters for place in range(order))
    assert repetition(fillers(f"{block} - {block}", length), NO_TOPS) is None  # just so many characters
    assert repetition(fillers(f"{block} - {block}", length - 1), NO_TOPS) == f"duplicate {order}-grams"


@pytest.mark.parametrize(("order", "times", "length"), [(2, 4, 100), (3, 3, 150), (4, 2, 150)])
def test_top_ngrams_just_within_and_just_beyond(order: int, times: int, length: int) -> None:
    share = {2: 0.2, 3: 0.18, 4: 0.16}[order]
    width = round(length * share / times)
    block = " ".join("abcd"[:order])
    block += "x" * (width - len(block))
    text = " ".join(f"{block} q{time}" for time in range(times))
    assert repetition(fillers(text, length)) is None
    assert repetition(fillers(text, length - 1)) == f"top {order}-gram"


TWICE = ["b" * 200, "b" * 200, "c" * 300]


def numbered(count: int) -> list[str]:
    return [f"{number} " + " ".join(f"{number}x{place}" for place in range(12)) for number in range(count)]


@pytest.mark.parametrize(
    ("figure", "good", "bad"),
    [
        ("duplicate lines", [*numbered(7), "a", "a", "a", "a"][:10], [*numbered(6), "a", "a", "a", "a", "a"]),
        (
            "characters in duplicate lines",
            [*TWICE, "d" * 297],
            [*TWICE, "d" * 296],
        ),
    ],
)
def test_duplicate_lines_just_within_and_just_beyond(figure: str, good: list[str], bad: list[str]) -> None:
    assert repetition("\n".join(good)) is None
    assert repetition("\n".join(bad)) == figure


@pytest.mark.parametrize(
    ("figure", "good", "bad"),
    [
        ("duplicate paragraphs", [*numbered(7), "a", "b", "a", "b"][:10], [*numbered(6), "a", "b", "a", "b", "a", "b"]),
        (
            "characters in duplicate paragraphs",
            [*TWICE, "d" * 294],
            [*TWICE, "d" * 293],
        ),
    ],
)
def test_duplicate_paragraphs_just_within_and_just_beyond(figure: str, good: list[str], bad: list[str]) -> None:
    assert repetition("\n\n".join(good)) is None
    assert repetition("\n\n".join(bad)) == figure


def test_what_occurs_once_is_no_repetition() -> None:
    assert repetition("hello world") is None
    assert repetition("") is None
    assert repetition("你好") is None


def test_chinese_repeats_in_characters_that_make_as_much_text_as_words() -> None:
    different = "".join(chr(0x4E00 + place) for place in range(400))
    eight = different[300:308]  # as much text as five words
    assert repetition(eight + different[:14] + eight + different[14:38], NO_TOPS) is None  # 8 of 54 characters
    assert repetition(eight + different[:14] + eight + different[14:37], NO_TOPS) == "duplicate 5-grams"  # 8 of 53
    assert repetition((eight[:7] + "，") * 30) == "top 2-gram"


def test_every_ngram_that_occurs_twice_is_found() -> None:
    numbers = np.random.default_rng(1).integers(0, 3, 200)
    numbers[150:190] = numbers[20:60]
    for order, places, ranks in _repeated(numbers, 60):
        grams = {place: tuple(numbers[place : place + order]) for place in range(len(numbers) - order + 1)}
        all_grams = list(grams.values())
        repeated = {place: gram for place, gram in grams.items() if all_grams.count(gram) > 1}
        assert places.tolist() == list(repeated)
        same = {(rank, gram) for rank, gram in zip(ranks.tolist(), repeated.values(), strict=True)}
        assert len(same) == len(set(ranks.tolist())) == len(set(repeated.values()))
    assert order >= 40


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_first_look_changes_no_verdict(data: st.DataObject) -> None:
    """A quick look passes most texts; the rule decides the same without it, at every share."""
    parts = data.draw(st.sampled_from([("a", "bb", "the", "of", "walk", "x" * 30), tuple("天地玄黄宇宙，。")]))
    fill = [chr(0x4E00 + n) if parts[0] == "天" else f"w{n}" for n in range(300)]
    text = (" " if parts[0] == "a" else "").join(
        piece
        for _ in range(data.draw(st.integers(1, 8)))
        for piece in (
            *fill[data.draw(st.integers(0, 250)) :][: data.draw(st.integers(0, 60))],
            *data.draw(st.lists(st.sampled_from(parts), min_size=1, max_size=8)) * data.draw(st.integers(1, 6)),
        )
    )
    share = data.draw(st.sampled_from([0.02, 0.05, 0.1, 0.2]))
    sizes = data.draw(st.sampled_from([((2, 3, 4), (5, 7, 10)), ((3,), ()), ((), (5,)), ((4, 2), (2, 3))]))
    rule = GopherRepetition(
        max_top_ngrams=dict.fromkeys(sizes[0], share), max_duplicate_ngrams=dict.fromkeys(sizes[1], share)
    ).make()
    quick = repetition(text, rule)
    with mock.patch.object(gopher_repetition, "_is_varied", lambda *_: False):
        assert quick == repetition(text, rule)


@pytest.mark.parametrize("value", [{"1": 0.2}, {"101": 0.1}, {"5": -0.1}])
def test_ngrams_of_no_size_are_refused(value: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="must map 2 to 100 words to a share of 0 or more; got"):
        build_choice("rule", {"use": "gopher_repetition", "max_top_ngrams": value}, key="rule")


@pytest.mark.parametrize(
    "bounds", [{"min_words": 100, "max_words": 10}, {"min_word_length": 5, "max_word_length": 4}], ids=str
)
def test_bounds_that_no_text_can_keep_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="must not be above"):
        build_choice("rule", {"use": "gopher_quality", **bounds}, key="rule")
