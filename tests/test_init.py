"""``danlu init``: the recipe that it writes can be loaded, and runs, on folders of every size."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from danlu.clean.stage import Clean
from danlu.corpus.pack import Pack
from danlu.corpus.split import HashSplit, Split, TailSplit
from danlu.errors import InputError, OutputError
from danlu.generate.stage import Generate, Prompt
from danlu.init import ENOUGH_DOCUMENTS, opening, survey, write_recipe
from danlu.readers.reading import read
from danlu.readers.record import Content, Raw, Rejected, Wanted
from danlu.recipe import Recipe, load_recipe, recipe_schema
from danlu.runs import run_stages

NIGHT = "It was a dark and stormy night; the rain fell in torrents.\n"
WHALE = "Call me Ishmael. Some years ago, never mind how long precisely.\n"
REALM = "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦。\n"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("text").mkdir()
    return Path("text")


def made(folder: Path) -> Recipe:
    write_recipe(folder, Path("mine.yaml"))
    return load_recipe(Path("mine.yaml"))


def split_of(recipe: Recipe) -> Split:
    pack = recipe.section("pack")
    assert isinstance(pack, Pack)
    return pack.split


def prompts_of(recipe: Recipe) -> tuple[Prompt, ...]:
    generate = recipe.section("generate")
    assert isinstance(generate, Generate)
    return generate.prompts


def test_three_small_files_go_through_to_the_token_store(folder: Path) -> None:
    for name, text in (("a", NIGHT), ("b", WHALE), ("c", REALM)):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    recipe = made(folder)
    assert split_of(recipe) == TailSplit(fraction=0.1)
    assert "of about 3 too few" in Path("mine.yaml").read_text(encoding="utf-8")
    run = run_stages(recipe, ["clean", "tokenizer", "pack"], lambda _: None, begin=lambda _: None)
    figures = run.figures("pack")
    assert figures["train.documents"] == figures["heldout.documents"] == 3


def test_the_recipe_has_all_stages_and_prompts_from_the_text(folder: Path) -> None:
    (folder / "a.txt").write_text("\n* * *\n\n" + NIGHT * 3, encoding="utf-8")
    (folder / "b.txt").write_text(WHALE, encoding="utf-8")
    recipe = made(folder)
    stages = [name for name in list(recipe_schema()["properties"])[2:] if name not in ("finetune", "joint", "study")]
    assert list(recipe.sections) == stages, "run_dir and seed have their defaults"
    assert prompts_of(recipe) == (
        Prompt(text="It was a dark", language="en"),
        Prompt(text="Call me Ishmael. Some", language="en"),
    )
    (folder / "c.txt").write_text(REALM, encoding="utf-8")
    Path("mine.yaml").unlink()
    assert prompts_of(made(folder)) == (
        Prompt(text="It was a dark", language="en"),
        Prompt(text="话说天下大势", language="zh"),
    )


@pytest.mark.parametrize(
    ("text", "language", "prompt"),
    [
        ("\n\n  ROMEO:\nBut soft", "en", "ROMEO:"),
        ("12\n34 five six seven eight", "en", "34 five six seven"),
        ("1234\n", "und", "1234"),
        ("却说 曹操领兵", "zh", "却说 曹操领"),
        ("https://example.org/" + "x" * 100, "en", "https://example.org/" + "x" * 40),
    ],
)
def test_a_prompt_is_how_a_text_begins(text: str, language: str, prompt: str) -> None:
    assert opening(text, language) == prompt


@pytest.mark.parametrize(
    "words", ['"Well," he\\said: {no}', "## a ## b", "a\tb # c", "- x: [y", "'it' #is %so &on", "\u2028é 😀\x7f ok"]
)
def test_whatever_stands_in_the_text_is_a_prompt(folder: Path, words: str) -> None:
    (folder / "a.txt").write_text(f"{words} zzz\n{NIGHT}", encoding="utf-8")
    (prompt,) = prompts_of(made(folder))
    shown = words.replace("\x7f", "")  # which clean drops
    assert prompt.text == " ".join(f"{shown} zzz".split()[:4])


def test_a_folder_of_any_name(folder: Path) -> None:
    odd = folder / "a\t# b: {c} ## 'd'"
    odd.mkdir()
    (odd / "a.txt").write_text(NIGHT, encoding="utf-8")
    clean = made(odd).section("clean")
    assert isinstance(clean, Clean) and clean.sources[0].path == odd


def test_a_folder_whose_name_is_not_utf8_is_refused() -> None:
    odd = Path(os.fsdecode(b"caf\xe9"))
    odd.mkdir()
    with pytest.raises(InputError, match=r"the name of the folder 'caf\\udce9' is not UTF-8; rename it"):
        write_recipe(odd, Path("mine.yaml"))


def jsonl(count: int, **fields: Any) -> bytes:
    return b"".join(json.dumps({"text": f"{n}: {NIGHT}", **fields}).encode() + b"\n" for n in range(count))


@pytest.mark.parametrize(
    ("files", "documents", "split"),
    [
        ({"a.jsonl": jsonl(99)}, 99, TailSplit(fraction=0.1)),
        ({"a.jsonl": jsonl(100)}, 100, HashSplit(fraction=0.1)),
        ({"a.jsonl": jsonl(60), "b.jsonl.gz": gzip.compress(jsonl(60))}, 120, HashSplit(fraction=0.1)),
        ({"a.jsonl": jsonl(50, vector=[0.5] * 3000)}, 50, TailSplit(fraction=0.05)),
        ({"a.jsonl": jsonl(3) + b'{"text": ""}\n{"txt": "a"}\n' * 1000}, 3, TailSplit(fraction=0.1)),
        ({f"{n}.txt": NIGHT.encode() for n in range(250)}, 250, HashSplit(fraction=0.1)),
        ({"a.txt": (NIGHT * 70 + "\n").encode() * 250}, 250, HashSplit(fraction=0.05)),
        ({"a.txt": NIGHT.strip().encode() * 10_000}, 1, TailSplit(fraction=0.05)),
    ],
    ids=["99", "100", "gz", "fat records", "blank", "many files", "blocks", "no line ends"],
)
def test_whole_documents_are_held_out_where_there_are_enough(
    folder: Path, files: dict[str, bytes], documents: int, split: Split
) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert survey(folder).documents == pytest.approx(documents, rel=0.2)
    assert split_of(made(folder)) == split


def test_no_more_records_are_counted_than_are_needed(folder: Path) -> None:
    (folder / "a.jsonl").write_bytes(jsonl(3 * ENOUGH_DOCUMENTS))
    assert survey(folder).documents == ENOUGH_DOCUMENTS


def test_files_without_fields_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.jsonl").write_text(json.dumps({"content": NIGHT}) + "\n", encoding="utf-8")
    (folder / "empty.html").write_text("<html><body></body></html>")
    asked: list[tuple[str, str]] = []

    def watched(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
        asked.append((Path(content.name).name, wanted.text_field))
        return read(content, wanted)

    monkeypatch.setattr("danlu.init.read", watched)
    assert survey(folder).text_field == "content"
    assert sorted(asked) == [("a.jsonl", "content"), ("a.jsonl", "text"), ("empty.html", "text")]


def test_a_recipe_whose_name_is_not_utf8_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.txt").write_text("once upon a time", encoding="utf-8")
    with pytest.raises(OutputError, match=r"^the name of the recipe must be UTF-8; got '[^\n]*udce9.yaml'$"):
        write_recipe(notes, tmp_path / os.fsdecode(b"caf\xe9.yaml"))
    assert not list(tmp_path.glob("*.yaml"))


GREEK_LETTERS = bytes([0xE1, 0xE2, 0x0A]) * 3
"""What no encoding makes a language of."""


def test_text_of_any_certain_encoding_is_looked_into(folder: Path) -> None:
    (folder / "old.txt").write_bytes((REALM * 5).encode("gb18030"))
    (folder / "windows.txt").write_bytes((REALM * 5).encode("utf-16"))
    seen = survey(folder)
    assert set(seen.languages) == {"zh"}
    assert {prompt for prompts in seen.prompts.values() for prompt in prompts} == {"话说天下大势"}


def test_a_damaged_file_beside_others_is_passed_over(folder: Path) -> None:
    (folder / "broken.txt.gz").write_bytes(b"\x1f\x8b\x08\x00 no gzip at all")
    (folder / "cut.txt.gz").write_bytes(gzip.compress(WHALE.encode() * 100)[:40])
    with pytest.raises(InputError, match=r"^danlu init: no text in text \(2 files without text\)"):
        write_recipe(folder, Path("mine.yaml"))
    (folder / "whole.txt").write_text(NIGHT, encoding="utf-8")
    assert set(survey(folder).languages) == {"en"}


def test_an_encoding_that_cannot_be_told_is_told(folder: Path) -> None:
    (folder / "odd.txt").write_bytes(GREEK_LETTERS)
    with pytest.raises(InputError, match=r"^danlu init: the encoding of odd.txt in text cannot be told"):
        write_recipe(folder, Path("mine.yaml"))
    (folder / "whole.txt").write_text(NIGHT, encoding="utf-8")
    made(folder)
    assert "# 1 files, such as odd.txt, do not say theirs" in Path("mine.yaml").read_text(encoding="utf-8")
