"""Languages are named, the same every time."""

from __future__ import annotations

import pytest

from danlu.text.language import SAMPLE_CHARACTERS, detect_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The quick brown fox jumps over the lazy dog, and nobody minds.", "en"),
        ("话说天下大势，分久必合，合久必分。", "zh"),
        ("話說天下大勢，分久必合，合久必分。", "zh"),
        ("Der schnelle braune Fuchs springt über den faulen Hund.", "de"),
        ("吾輩は猫である。名前はまだ無い。", "ja"),
        ("", "und"),
        ("12 — 1,205 £ !?", "und"),
    ],
)
def test_examples(text: str, language: str) -> None:
    assert [detect_language(text) for _ in range(3)] == [language] * 3


def test_the_middle_of_a_long_text_decides() -> None:
    title = "第一回 宴桃园豪杰三结义" * 20
    text = title + "\n" + "It was the best of times, it was the worst of times. " * 100
    assert len(text) > 4 * SAMPLE_CHARACTERS
    assert detect_language(text) == "en"
