"""A record is cut into documents, and nothing that is no blank is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu import catalog
from danlu.errors import RecipeError
from danlu.recipe import build_choice
from danlu.text.cuts import Blocks, Lines, Paragraphs, Separated, Whole

texts = st.text(st.sampled_from("ab 一\n\n\n\t\u2028"), max_size=300)


@given(texts)
def test_no_cut_loses_a_word(text: str) -> None:
    for name in catalog.names("documents"):
        cut = build_choice("documents", name, key="documents")
        pieces = list(cut.pieces(text))
        assert "".join("".join(pieces).split()) == "".join(text.split()), name


@given(texts, st.integers(1, 40))
def test_blocks_join_to_the_record(text: str, characters: int) -> None:
    pieces = list(Blocks(characters=characters).pieces(text))
    assert "".join(pieces) == text
    assert all(pieces)
    assert all(len(piece) >= characters for piece in pieces[:-1])
    assert all(piece.endswith(("\n", "\u2028")) for piece in pieces[:-1])


@given(texts)
def test_lines_and_paragraphs_are_never_blank(text: str) -> None:
    assert list(Lines().pieces(text)) == [line for line in text.split("\n") if line.strip()]
    paragraphs = list(Paragraphs().pieces(text))
    assert all(piece.strip() for piece in paragraphs)
    assert not any(not line.strip() for piece in paragraphs for line in piece.split("\n"))


def test_examples() -> None:
    text = "\n\none\ntwo\n\n \nthree\n"
    assert list(Whole().pieces(text)) == [text]
    assert list(Lines().pieces(text)) == ["one", "two", "three"]
    assert list(Paragraphs().pieces(text)) == ["one\ntwo", "three"]
    assert list(Blocks(characters=6).pieces("aaa\nbb\n\ncccc\n\nd\n")) == ["aaa\nbb\n\n", "cccc\n\n", "d\n"]
    assert list(Blocks(characters=3).pieces("aa\nbb\ncc\ndd\n")) == ["aa\nbb\n", "cc\ndd\n"]
    sayings = "%\none\n\ntwo\n %\t\n%\n\n%\n100%\n% of them\n%\n"
    assert list(Separated().pieces(sayings)) == ["one\n\ntwo", "100%\n% of them"]
    assert list(Separated(line="***").pieces("one\n***\ntwo\n****\n")) == ["one", "two\n****"]


@pytest.mark.parametrize("line", ["", " ", "a\nb"])
def test_what_parts_documents_is_one_line(line: str) -> None:
    with pytest.raises(RecipeError, match="line: must be one line, and not blank; got"):
        build_choice("documents", {"use": "separated", "line": line}, key="documents")
