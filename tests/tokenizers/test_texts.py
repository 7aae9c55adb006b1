"""The texts that tokenizers are compared on: how much of which language, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from danlu import cli
from danlu.errors import InputError
from danlu.tokenizers.texts import read_texts, texts_beside

ENGLISH = "It is a truth universally acknowledged, that a man must be in want of a wife. "
CHINESE = "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦。"


def test_files_by_language_up_to_the_limit(tmp_path: Path) -> None:
    lines = [json.dumps({"text": text}) for text in (ENGLISH, CHINESE, ENGLISH * 2, "", CHINESE)]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, "{broken", json.dumps({"other": 1})]))
    texts = read_texts([tmp_path / "a.jsonl"], limit_bytes=100)
    assert texts.by_language == {
        "en": [ENGLISH, (ENGLISH * 2)[: 100 - len(ENGLISH)]],
        "zh": [CHINESE, CHINESE[: (100 - len(CHINESE.encode())) // 3]],
    }
    assert texts.rejected == {tmp_path / "a.jsonl": 2}


def test_no_part_of_a_character_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in (CHINESE, CHINESE)))
    assert read_texts([tmp_path], limit_bytes=len(CHINESE.encode()) + 2).by_language == {"zh": [CHINESE]}


def test_a_long_document_is_several_texts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": ENGLISH * 20_000}))
    [(language, texts)] = read_texts([tmp_path], limit_bytes=10**8).by_language.items()
    assert language == "en" and "".join(texts) == ENGLISH * 20_000 and len(texts) == 5
    assert max(map(len, texts)) <= 1 << 19


def test_clean_documents_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").mkdir()
    Path("text/a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in (ENGLISH, "", CHINESE)))
    Path("r.yaml").write_text("clean: {sources: [{path: text, language: en-GB}]}\ntokenizer: {use: char}\n")
    with pytest.raises(InputError, match=r"^r.yaml has no clean documents yet; 'danlu clean RECIPE' makes them$"):
        read_texts([Path("r.yaml")], limit_bytes=1000)
    assert cli.main(["clean", "r.yaml"]) == 0
    for path in (Path("r.yaml"), Path("runs/r"), Path("runs/r/clean")):
        assert read_texts([path], limit_bytes=1000).by_language == {"en": [ENGLISH, CHINESE]}
    assert texts_beside([Path("gpt2"), Path("runs/r")]) == [Path("runs/r")]
    with pytest.raises(InputError, match=r"^--text is needed: none of the tokenizers is that of a run"):
        texts_beside([Path("gpt2")])


def test_without_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--text.0: no file or folder"):
        read_texts([tmp_path / "gone"], limit_bytes=10)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match=r"^--text: there is no text in "):
        read_texts([tmp_path], limit_bytes=10)
