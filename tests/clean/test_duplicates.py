"""Documents and lines that are the same; what is common to all kinds of duplicates."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu import catalog
from danlu.clean.duplicates import CUT, Sketched, apply, by_document, read_cuts, write_cuts, write_sketch
from danlu.clean.exact import Exact
from danlu.clean.lines import Lines
from danlu.errors import InputError, RecipeError
from danlu.recipe import build_choice

Decide = Callable[..., list[tuple[int, int, int, int]]]


def some_texts() -> list[str]:
    """Texts with copies, near copies, lines and pieces in common, in two scripts; blank ones too."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 8))) for _ in range(300)]
    signs = [chr(code) for code in range(0x4E00, 0x4E00 + 500)]
    texts = [" ".join(draw.choices(words, k=draw.randint(20, 200))) for _ in range(40)]
    texts += ["".join(draw.choices(signs, k=draw.randint(30, 300))) for _ in range(40)]
    line = "\nAll rights reserved, and what is not reserved is not said.\n"
    for text in draw.sample(texts, 30):
        place = draw.randrange(len(text))
        texts.append(text[:place] + line + text[place + 5 :])
    texts += [*draw.sample(texts, 10), "", " ", "。。", ""]
    draw.shuffle(texts)
    return texts


@pytest.mark.parametrize("name", catalog.names("duplicates"))
def test_the_answer_does_not_depend_on_parts_batches_or_memory(decide: Decide, name: str) -> None:
    choice = build_choice("duplicates", name, key="duplicates")
    texts = some_texts()
    whole = decide(choice, texts, batch=1000)
    assert len(whole) >= 10
    parts = [texts[:1], [], texts[1:50], texts[50:]]
    assert decide(choice, *parts) == whole
    assert decide(choice.model_copy(update={"memory": 4000}), *parts, batch=7) == whole
    assert all(first <= document for document, _, _, first in whole)


@pytest.mark.parametrize("name", catalog.names("duplicates"))
def test_nothing_is_decided_about_nothing(decide: Decide, name: str) -> None:
    choice = build_choice("duplicates", name, key="duplicates")
    assert decide(choice) == decide(choice, []) == decide(choice, ["", "x"], [""] * 0) == []


@pytest.mark.parametrize("name", catalog.names("duplicates"))
def test_sources_may_keep_to_themselves(decide: Decide, name: str) -> None:
    text = "One of a few long lines that stand in the files of several sources, which is to be told. " * 2
    parts, sources = [[text], [text], [text]], ["a", "b", "a"]
    across = decide(build_choice("duplicates", name, key=""), *parts, sources=sources)
    within = decide(build_choice("duplicates", {"use": name, "sources": "within"}, key=""), *parts, sources=sources)
    assert {(document, first) for document, _, _, first in across} - {(0, 0)} == {(1, 0), (2, 0)}
    assert {(document, first) for document, _, _, first in within} - {(0, 0), (1, 1)} == {(2, 0)}


@pytest.mark.parametrize("name", catalog.names("duplicates"))
def test_what_fell_earlier_is_left_out(tmp_path: Path, name: str) -> None:
    choice = build_choice("duplicates", name, key="duplicates")
    draw = random.Random(1)
    text = "".join(draw.choices("abcdefgh", k=200))
    for number in range(2):
        write_sketch(tmp_path / str(number), choice, [[text, text]])
    fallen = write_cuts(tmp_path, 9, {"document": np.array([0]), "start": 0, "end": -1, "first": 0})
    cut = write_cuts(tmp_path, 8, {"document": np.array([1]), "start": 0, "end": 5, "first": 0})
    parts = [Sketched(tmp_path / "0", earlier=(fallen, cut)), Sketched(tmp_path / "1", earlier=(fallen,))]
    (tmp_path / "out").mkdir()
    first, second = (read_cuts(path) for path in choice.decide(parts, tmp_path / "out"))
    assert first.tolist() == []
    assert second["document"].tolist() == [1] and second["first"].tolist() == [1]


def test_documents_that_are_the_same(decide: Decide) -> None:
    assert decide(Exact(), ["a", "b", "a"], ["a ", "A", "b", ""], ["", "a"]) == [
        (2, 0, -1, 0),
        (5, 0, -1, 1),
        (7, 0, -1, 6),
        (8, 0, -1, 0),
    ]


def test_lines_that_are_the_same(decide: Decide) -> None:
    texts = ["menu line\nnews\n menu line \r\nend", "news\n\tmenu line\nother line", "other line"]
    cuts = decide(Lines(characters=5), texts)
    assert cuts == [(0, 15, 28, 0), (1, 5, 16, 0), (2, 0, 10, 1)]
    arrays = by_document(np.array(cuts, CUT))
    assert apply(texts[0], arrays[0]) == "menu line\nnews\nend"
    assert apply(texts[1], arrays[1]) == "news\nother line"
    assert apply(texts[2], arrays[2]) is None
    assert decide(Lines(characters=10), texts) == [(2, 0, 10, 1)]


def test_copies_of_several_choices_are_cut_together() -> None:
    one = np.array([(3, 6, 9, 0), (4, 0, -1, 0)], CUT)
    other = np.array([(3, 0, 2, 0), (3, 5, 8, 1), (4, 1, 2, 0), (5, 0, 3, 0)], CUT)
    cuts = by_document(one, other)
    assert {number: len(each) for number, each in cuts.items()} == {3: 3, 4: 2, 5: 1}
    assert apply("0123456789", cuts[3]) == "2349"
    assert apply("0123456789", cuts[4]) is None
    assert apply("012 \n", cuts[5]) is None
    assert by_document(one[:0]) == {}


def test_damaged_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"", b"\x93NUMPY", b"\x20" + b"\0" * 7 + b"x" * 32):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            read_cuts(path)
        with pytest.raises(InputError, match="damaged"):
            _ = Sketched(path).documents
    np.save(tmp_path / "b.npy", np.arange(3))
    with pytest.raises(InputError, match="no copies"):
        read_cuts(tmp_path / "b.npy")
    for wrong in (lambda: read_cuts(tmp_path / "c"), lambda: Sketched(tmp_path / "c").load()):
        with pytest.raises(InputError, match="cannot be read: No such file"):
            wrong()


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ({"use": "minhash", "similarity": 0}, "similarity"),
        ({"use": "minhash", "similarity": 1.5}, "similarity"),
        ({"use": "minhash", "bands": 0}, "bands"),
        ({"use": "exact", "memory": 10}, "memory"),
        ({"use": "exact", "sources": "none"}, "sources"),
        ({"use": "lines", "characters": 0}, "characters"),
        ({"use": "substrings", "then": "stay"}, "then"),
        ({"use": "substrings", "characters": 3}, "characters"),
    ],
)
def test_wrong_settings_are_told(raw: dict[str, Any], key: str) -> None:
    with pytest.raises(RecipeError, match=f"clean.duplicates.0.{key}"):
        build_choice("duplicates", raw, key="clean.duplicates.0")


class Everything:
    """A plug-in's sketch with numbers of every kind."""

    reason = "nothing"

    def sketch(self, texts: Sequence[str]) -> dict[str, Any]:
        kinds = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8"]
        return {kind: np.array([[len(text), 1] for text in texts]).reshape(-1, 2).astype(kind) for kind in kinds}

    def decide(self, parts: Sequence[Sketched], out: Path) -> list[Path]:
        return [
            write_cuts(out, number, dict.fromkeys(CUT.names or (), np.empty(0, np.int64)))
            for number in range(len(parts))
        ]


def test_sketches_may_have_numbers_of_every_kind(tmp_path: Path) -> None:
    texts = ["", "a", "abc" * 20]
    write_sketch(tmp_path / "sketch", Everything(), [texts[:1], texts[1:]])
    found = Sketched(tmp_path / "sketch").load()
    for name, expected in Everything().sketch(texts).items():
        assert found[name].dtype == expected.dtype and np.array_equal(found[name], expected)
