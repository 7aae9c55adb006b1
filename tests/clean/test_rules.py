"""Rules give a reason to drop, or None."""

from __future__ import annotations

from pathlib import Path

from danlu import catalog
from danlu.clean.rules import Empty
from danlu.recipe import build_choice
from danlu.text.document import Document

TEXT = "This is the same text, and it is long enough for any of the rules of language or length to like it."


def test_empty_drops_white_space() -> None:
    drop = Empty().make()
    assert [drop(Document("a", text)) for text in ("", " \n\t\u3000", "x", " 一 ")] == ["empty", "empty", None, None]


def settings_of(name: str, folder: Path) -> dict[str, object]:
    """What a rule needs to like a short text."""
    good, bad, words = (folder / file for file in ("good.txt", "bad.txt", "words.txt"))
    good.write_text("".join(f"{TEXT} {number}. {TEXT * 10}\n" for number in range(300)))
    bad.write_text("".join(f"BUY NOW {number}!!!\n" for number in range(100)))
    words.write_text("darn\n")
    items = folder / "items.txt"
    items.write_text("a question of an evaluation set that no document here has in it\n")
    needed: dict[str, dict[str, object]] = {
        "gopher_quality": {"min_words": 10},
        "gopher_repetition": {},
        "c4": {"min_sentences": 1},
        "perplexity": {"good": good, "max_perplexity": 1e9},
        "classifier": {"good": good, "bad": bad, "max_examples": 100},
        "bad_words": {"lists": {"en": words}},
        "language": {"keep": "en"},
        "decontaminate": {"files": [items]},
    }
    return {"use": name, **needed.get(name, {})}


def test_a_rule_remembers_no_document(tmp_path: Path) -> None:
    for name in catalog.names("rule"):
        choice = build_choice("rule", settings_of(name, tmp_path), key="rule")
        document = Document("a", TEXT, {"language": "en"})
        assert [choice.make()(document) for _ in range(2)] == [None, None], name
