"""The data card says what the counts say, and what is not known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from danlu.clean.stage import Clean
from danlu.recipe import Recipe, build
from danlu.stage import Job


def card(folder: Path, **section: Any) -> str:
    stage = build(Clean, section, key="clean")
    out = folder / "out"
    out.mkdir()
    stage.run(Job(Recipe("test", out, 1, {"clean": stage}), {}, out))
    return (out / "data_card.md").read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, as a reader of Markdown sees them."""
    found: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            found.append([])
        elif token.type == "inline" and token.level >= 4 and found:
            found[-1].append("".join(child.content for child in token.children or []))
    return found


def test_it_has_sources_counts_languages_removals_and_limits(tmp_path: Path) -> None:
    (tmp_path / "a|b.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in ("one", "one", "", "two")))
    (tmp_path / "zh.txt").write_text("话说天下大势。", encoding="utf-8")
    (tmp_path / "bad.txt").write_bytes(b"\0")
    text = card(tmp_path, sources=[
        {"path": str(tmp_path / "a|b.jsonl"), "language": "en", "license": "CC0-1.0", "title": "A|B"},
        {"path": str(tmp_path / "zh.txt"), "language": "zh"},
        {"path": str(tmp_path / "bad.txt"), "language": "en"},
    ])  # fmt: skip
    found = rows(text)
    size = str((tmp_path / "a|b.jsonl").stat().st_size)
    assert ["0", "1", size, "4", "2", "2", "0", "6"] in found
    assert ["1", "1", "21", "1", "1", "0", "0", "21"] in found and ["2", "1", "1", "1", "0", "0", "1", "0"] in found
    assert ["en", "2", "6"] in found and ["zh", "1", "21"] in found
    assert found.index(["en", "2", "6"]) < found.index(["zh", "1", "21"])
    characters = {
        name: int(count) for name, count in (row for row in found if len(row) == 2 and "characters" in row[0])
    }
    assert list(characters.values()) == [16, 3, 0, 13]  # one, one, two and seven Chinese ones
    assert ["dropped", "empty", "1"] in found and ["dropped", "exact duplicate", "1"] in found
    assert ["quarantined", "binary", "1"] in found and ["kept", "3"] in found
    assert "licence: CC0-1.0" in text and r"A\|B" in text and text.count("licence: not stated") == 2
    assert "Languages are as the recipe states them," in text
    assert "Near duplicates were not looked for." in text and "Private data was not looked for" in text


def test_limits_follow_what_was_done(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Write to me@example.org, please; this is a longer line than the others are.")
    text = card(
        tmp_path,
        sources=[{"path": str(tmp_path / "a.txt"), "license": "MIT"}],
        rules=["empty", "private"],
        duplicates=["exact", "minhash"],
    )
    assert "Private data was looked for by patterns" in text and "Near duplicates were not" not in text
    assert "licence of at least one source" not in text and "Languages are detected;" in text
