"""Texts within others, against Python's own search; and planted leaks."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from danlu.data.contained import LETTERS, within
from danlu.data.example import Place
from danlu.data.findings import look
from danlu.data.found import Finding
from danlu.data.labelled import Labelled
from danlu.data.near import NEAR

words = st.lists(st.sampled_from(["to", "tomorrow", "be", "become", "梅", "花"]), min_size=6, max_size=16).map(" ".join)


def labelled(file: str, *texts: str) -> list[Labelled]:
    return [Labelled(Place(Path(file), number), (text,), "x") for number, text in enumerate(texts, 1)]


def found(train: list[Labelled], test: list[Labelled]) -> list[Finding]:
    return [each for each in look({"train": train, "test": test}) if each.kind == "contained"]


@given(st.lists(words, max_size=5), words)
def test_whole_words_that_stand_in_a_longer_text(shorter: list[str], longer: str) -> None:
    shorter = [*shorter, longer[: longer.index(" ", len(longer) // 2)]]
    ideographs = "梅花"
    expected = {
        text
        for text in shorter
        if f" {text} " in f" {longer} " and len(text) < NEAR * len(longer)
        and len(text) + 2 * sum(text.count(letter) for letter in ideographs) >= LETTERS
    }  # fmt: skip
    assert {inner for inner, outer in within(shorter, [longer]) if outer == longer} == expected


MAIL = "The parcel has not come yet, and nobody answers the telephone."
MORE = "Hello again! I wrote last week: '{}' Since then I have had no answer at all, which I find rather odd by now."


def test_a_quoted_text_is_a_leak_in_either_direction() -> None:
    other = "Where can I change the address of an order that I made yesterday evening?"
    train = labelled("a.csv", MORE.format(MAIL), other)
    test = labelled(
        "b.csv", MAIL.upper(), MORE.format(other), "Thanks, that was quick, and everything works now again."
    )
    (leak,) = found(train, test)
    assert (leak.count, leak.of, leak.splits) == (2, 3, ("train", "test"))
    assert "(b.csv, line 1) stands within a.csv, line 1" in str(leak) and "(b.csv, line 2) holds a.csv, line 2" in str(
        leak
    )


def test_chinese() -> None:
    mail = "快递还没有到，电话也没有人接"
    (leak,) = found(
        labelled("a", f"你好，我上周写过：“{mail}。”到今天还是没有任何答复，实在让人着急。"), labelled("b", mail)
    )
    assert leak.count == 1


def test_what_is_short_a_part_of_a_word_or_nearly_as_long_is_none() -> None:
    train = labelled(
        "a", MORE.format(MAIL), "we saw the whole of it tomorrowland and more than that, as we had hoped to"
    )
    assert not found(train, labelled("b", "no answer at all", "the whole of it tomorrow", MAIL[:-4]))
    assert not found(labelled("a", f"{MAIL} So."), labelled("b", MAIL))  # which is almost the same
