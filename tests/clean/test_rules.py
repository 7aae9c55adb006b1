"""Rules give a reason to drop, or None."""

from __future__ import annotations

from pathlib import Path

from danlu import catalog
from danlu.clean.rules import Empty
from danlu.recipe import build_choice
from danlu.text.document import Document


def test_empty_drops_white_space() -> None:
    drop = Empty().make()
    assert [drop(Document("a", text)) for text in ("", " \n\t\u3000", "x", " 一 ")] == ["empty", "empty", None, None]


NEEDED: dict[str, dict[str, object]] = {"language": {"keep": "en"}}
"""The settings that a rule has no default for."""


def test_a_rule_remembers_no_document(tmp_path: Path) -> None:
    (tmp_path / "items.txt").write_text("a question of an evaluation set that no document here has in it\n")
    needed = {**NEEDED, "decontaminate": {"files": [str(tmp_path / "items.txt")]}}
    for name in catalog.names("rule"):
        choice = build_choice("rule", {"use": name, **needed.get(name, {})}, key="rule")
        text = "the same text, long enough for any rule of language or length to like it"
        document = Document("a", text, {"language": "en"})
        assert [choice.make()(document) for _ in range(2)] == [None, None], name
