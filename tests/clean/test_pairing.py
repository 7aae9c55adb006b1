"""What stands beside a dropped document is like it, and is kept."""

from __future__ import annotations

from danlu.clean.pairing import beside
from danlu.clean.samples import KEPT, Example


def example(id: str, language: str, characters: int, reason: str = KEPT, of: str = "") -> Example:
    return Example(reason, id, id, language, "text", characters, of, "its text" if of else "", 8 if of else 0)


def test_beside_a_document_stands_one_in_its_language_about_as_long_and_not_always_the_same() -> None:
    kept = [example("e1", "en", 100), example("e2", "en", 130), example("e3", "en", 9000), example("z1", "zh", 100)]
    dropped = [example(str(number), "en", 110, "short") for number in range(2)]
    dropped += [example("long", "en", 8000, "odd"), example("zh", "zh", 5000, "odd"), example("fr", "fr", 100, "odd")]
    pairs = beside(dropped, kept)
    assert [pair.kept and pair.kept.id for pair in pairs] == ["e1", "e2", "e3", "z1", None]
    assert beside(dropped, kept[::-1]) == pairs, "in whatever order they come"


def test_beside_a_copy_stands_what_it_repeats() -> None:
    (pair,) = beside([example("b", "en", 9, "near duplicate", of="a")], [example("c", "en", 9)])
    assert pair.repeats and pair.kept is not None
    assert (pair.kept.id, pair.kept.text, pair.kept.characters) == ("a", "its text", 8)
