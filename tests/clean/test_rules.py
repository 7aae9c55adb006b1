"""Rules give a reason to drop, or None."""

from __future__ import annotations

from danlu import catalog
from danlu.clean.rules import Empty
from danlu.recipe import build_choice
from danlu.text.document import Document


def test_empty_drops_white_space() -> None:
    drop = Empty().make()
    assert [drop(Document("a", text)) for text in ("", " \n\t\u3000", "x", " 一 ")] == ["empty", "empty", None, None]


def test_a_rule_remembers_no_document() -> None:
    for name in catalog.names("rule"):
        choice = build_choice("rule", name, key="rule")
        document = Document("a", "the same text, long enough for any rule of language or length to like it")
        assert [choice.make()(document) for _ in range(2)] == [None, None], name
