"""Rules give a reason to drop, or None."""

from __future__ import annotations

from pathlib import Path

from danlu import catalog
from danlu.clean.rules import Empty, ExactDuplicate
from danlu.recipe import build_choice
from danlu.text.document import Document


def test_empty_drops_white_space() -> None:
    drop = Empty().make()
    assert [drop(Document("a", text)) for text in ("", " \n\t\u3000", "x", " 一 ")] == ["empty", "empty", None, None]


def test_the_first_of_equal_documents_stays() -> None:
    drop = ExactDuplicate().make()
    texts = ["one", "two", "one", "One", "one ", "two"]
    dropped = [drop(Document(str(place), text)) for place, text in enumerate(texts)]
    assert dropped == [None, None, "exact duplicate", None, None, "exact duplicate"]


def test_every_run_starts_with_a_fresh_rule(tmp_path: Path) -> None:
    (tmp_path / "items.txt").write_text("a question of an evaluation set that no document here has in it\n")
    needed = {"decontaminate": {"files": [str(tmp_path / "items.txt")]}}
    for name in catalog.names("rule"):
        choice = build_choice("rule", {"use": name, **needed.get(name, {})}, key="rule")
        document = Document("a", "the same text, long enough for any rule of language or length to like it")
        assert [choice.make()(document) for _ in range(2)] == [None, None], name
