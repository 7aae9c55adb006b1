"""Passages that a search by density of links leaves out of a main text."""

from __future__ import annotations

import pytest

from danlu.readers.main_text import _with_marks, with_passages
from danlu.readers.markup import read_page
from danlu.readers.record import Raw, Wanted

MAIN = ["The first paragraph says so.", "The second one says otherwise.", "The last one ends it."]


def page(passage: str) -> str:
    around = "".join(
        f"<p>Paragraph {number} says that a long time ago things were otherwise.</p>" for number in range(4)
    )
    return (
        "<html><body><nav><a href=/>Home.</a> <a href=/a>About us.</a></nav>"
        f"<div><h1>Heading</h1>{around}{passage}{around}</div><footer>All rights reserved.</footer></body></html>"
    )


def main_text(html: str) -> str:
    record, lost = read_page(html.encode(), Wanted())
    assert isinstance(record, Raw) and not lost
    return record.text


def test_a_list_of_sentences_with_links_stays() -> None:
    item = "<li><p><a href=a>The long old story of house {0}</a> by <a href=b>a writer of the town</a>.</p></li>"
    text = main_text(page("<ul>" + "".join(map(item.format, range(3))) + "</ul>"))
    assert [f"story of house {number} by a writer of the town." in text for number in range(3)] == [True] * 3
    assert "Home" not in text and "rights" not in text


def test_a_menu_within_does_not_come_back() -> None:
    menu = "".join(f"<li><a href={number}>{number}.{number}. Title of an article</a></li>" for number in range(9))
    assert "Title" not in main_text(page(f"<ul>{menu}</ul>"))


@pytest.mark.parametrize(
    "passage", ["And this is between them.", "这一段在中间，也是正文。", "A heading\nAnd a sentence that is longer."]
)
def test_prose_between_lines_that_are_kept_comes_back(passage: str) -> None:
    first, second, last = MAIN
    whole = "\n\n".join(["Menu. Home.", first, passage, second, last, "Footer. Home."])
    assert with_passages("\n\n".join(MAIN), whole, str) == "\n\n".join([first, passage, second, last])


@pytest.mark.parametrize(
    "whole",
    [
        "\n".join([MAIN[0], "4.1. Home", "4.2. About", "News", *MAIN[1:]]),  # no sentences
        "\n".join(["This is in front of it.", *MAIN]),  # nor what is outside
        "\n".join([*MAIN, "This is behind it."]),
        "\n".join([*MAIN * 9, "So."]).replace("otherwise", ""),  # a line of the main text is not found
        "Other text altogether. " * 9,
        "",
    ],
)
def test_else_the_main_text_stays_as_it_is(whole: str) -> None:
    assert with_passages("\n".join(MAIN), whole, str) == "\n".join(MAIN)


def test_one_short_sentence_within_is_as_often_an_advertisement() -> None:
    main = [f"The paragraph with the number {number} says so." for number in range(40)]
    whole = [*main[:20], "Subscribe to our news.", *main[20:]]
    assert with_passages("\n".join(main), "\n".join(whole), str) == "\n".join(main)


def test_a_list_of_short_items_comes_back() -> None:
    items = ["<b>Default</b>: false", "Type: Boolean", 'see <a href="/x">the page of a friend</a> for the rest of it']
    text = main_text(page("<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"))
    assert "  • Default: false\n  • Type: Boolean\n  • see the page of a friend for the rest of it\n" in text
    rows = [("Sugar", "200 g"), ("Flour", "500 g"), ("Salt", "1 g")]
    table = "".join(f"<tr><td>{what}</td><td>{much}</td></tr>" for what, much in rows)
    assert "".join(f"{what}\t\t{much}\n" for what, much in rows) in main_text(page(f"<table>{table}</table>"))


@pytest.mark.parametrize(
    "menu",
    [
        "".join(f'<li><a href="/{number}">Title {number} of an article</a></li>' for number in range(9)),
        "".join(f'<li>{number} <A\nhref="/{number}" title=">">Title of article</A > more</li>' for number in range(9)),
        "<li>Here: News</li>",
    ],
)
def test_a_list_of_links_does_not(menu: str) -> None:
    text = main_text(page(f"<ul>{menu}</ul>"))
    assert "Title" not in text and "News" not in text and "Paragraph 3" in text


def test_the_ends_of_the_main_text_stay_where_they_are_not_found() -> None:
    first, second, last = MAIN
    whole = "\n".join(
        ["Menu.", first, "  • one of it", "2. another", "Rice\t\t200", second, last.replace("ends", "„ends”")]
    )
    found = with_passages("\n".join(["Begun otherwise", *MAIN, "and ended"]), whole, str)
    assert found == "\n".join(["Begun otherwise", *whole.split("\n")[1:], "and ended"])


def test_marks_are_put_in_a_time_that_grows_with_the_page() -> None:
    html = "<p>" + "<a " * 200_000 + "</a" * 200_000
    assert len(_with_marks(html)) >= len(html)
