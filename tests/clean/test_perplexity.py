"""Perplexity by characters against the equations of the model, and what falls by it."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from danlu.clean import perplexity
from danlu.clean.arrays import read_arrays, write_arrays
from danlu.clean.perplexity import CharacterModel, Perplexity
from danlu.errors import InputError
from danlu.text.document import Document

SYLLABLES = ["ka", "to", "mi", "ren", "sol", "va", "du", "pe"]


def prose(seed: int, words: int) -> str:
    """Words that a model can learn."""
    chance = random.Random(seed)
    known = ["".join(SYLLABLES[(word >> shift) % 8] for shift in (0, 3)) for word in range(40)]
    return " ".join(chance.choice(known) for _ in range(words)) + "."


def good_file(folder: Path, documents: int = 260) -> Path:
    path = folder / "good.jsonl"
    path.write_text("".join(json.dumps({"text": prose(seed, 100)}) + "\n" for seed in range(documents)))
    return path


def test_a_model_of_single_characters_and_pairs_by_hand() -> None:
    """Order 1: counts with discounts 0.5, 1 and 1.5, for the counts of counts give none; 3 characters and 'unknown'."""
    model = CharacterModel.of_texts(["aab ab", "ab\n\nab"], order=1)  # a 5, b 4, space 2
    kept = (1.5 + 1.5 + 1) / 11
    chances = {"a": 3.5 / 11 + kept / 4, "b": 2.5 / 11 + kept / 4, " ": 1 / 11 + kept / 4, "?": kept / 4}
    assert sum(chances.values()) == pytest.approx(1)
    expected = [-np.log(chances[character]) for character in "ab ??"]
    assert model.nats("ab\t \n?文") == pytest.approx(expected)
    assert model.perplexity("ab ??") == pytest.approx(np.exp(np.mean(expected)))


def test_probabilities_of_all_next_characters_sum_to_one() -> None:
    model = CharacterModel.of_texts([prose(1, 50), "other text"], order=4)
    known = sorted(set(prose(1, 50) + "other text"))
    for before in ("kato", "k", "zz", "o"):
        chances = [np.exp(-model.nats(f"{before}{character}x")[len(before)]) for character in [*known, "文"]]
        assert sum(chances) == pytest.approx(1, abs=1e-9)


def test_a_model_from_a_file_says_the_same_to_the_last_bit(tmp_path: Path) -> None:
    model = CharacterModel.of_texts([prose(1, 300), "多少 other text"], order=4)
    write_arrays(tmp_path / "model", model.arrays(), {})
    same = CharacterModel.of_arrays(read_arrays(tmp_path / "model"))
    for text in (prose(2, 200), "多 new", ""):
        assert same.nats(text).tobytes() == model.nats(text).tobytes()


def test_text_of_other_kinds_falls_and_good_text_stays(tmp_path: Path) -> None:
    rule = Perplexity(good=good_file(tmp_path)).make()
    assert rule(Document("a", prose(1000, 150))) is None
    shuffled = list(prose(1000, 150))
    random.Random(1).shuffle(shuffled)
    for bad in ("".join(shuffled), "这是中文。" * 20, "QWERTY ASDF " * 20):
        assert rule(Document("a", bad)) == "perplexity: perplexity"
    assert rule(Document("a", "")) is None


def test_the_percentile_is_that_of_pieces_held_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = good_file(tmp_path)
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    model = CharacterModel.of_texts([text for number, text in enumerate(texts) if number % 10], 5)
    held_out = [model.perplexity(text) for text in texts[::10]]
    rule = Perplexity(good=path, percentile=50).make()
    assert [rule(Document("a", text)) is not None for text in texts[::10]] == [
        value > np.median(held_out) for value in held_out
    ]
    said = capsys.readouterr()
    assert f"good text has {np.median(held_out):.2f} a character" in said.out + said.err


def test_an_absolute_limit_just_within_and_just_beyond(tmp_path: Path) -> None:
    path, text = good_file(tmp_path), prose(1000, 150)
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    value = CharacterModel.of_texts([text for number, text in enumerate(texts) if number % 10], 5).perplexity(text)
    for limit, reason in ((value * 1.0001, None), (value * 0.9999, "perplexity: perplexity")):
        assert Perplexity(good=path, max_perplexity=limit).make()(Document("a", text)) == reason


def test_other_languages_are_not_judged(tmp_path: Path) -> None:
    rule = Perplexity(good=good_file(tmp_path), language="en").make()
    assert rule(Document("a", "这是中文。" * 20, {"language": "zh"})) is None
    assert rule(Document("a", "这是中文。" * 20, {"language": "en"})) == "perplexity: perplexity"


def test_long_text_is_scored_in_parts_that_hardly_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model, text = CharacterModel.of_texts([prose(1, 300)], 3), prose(2, 300)
    whole = model.perplexity(text)
    monkeypatch.setattr(perplexity, "AT_ONCE", 500)
    assert model.perplexity(text) == pytest.approx(whole, rel=0.02)


def test_pieces_are_spread_evenly_where_there_is_too_much(tmp_path: Path) -> None:
    path = good_file(tmp_path)
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    assert perplexity._pieces(path, 10**9) == texts
    total = sum(map(len, texts))
    assert perplexity._pieces(path, total // 3) == texts[::4]


def test_too_little_good_text_is_refused(tmp_path: Path) -> None:
    path = good_file(tmp_path, documents=199)
    with pytest.raises(InputError, match=r"perplexity.good: .*good.jsonl holds .* characters of text; at least 200"):
        Perplexity(good=path).make()
    with pytest.raises(InputError, match=re.escape("no file or folder")):
        Perplexity(good=tmp_path / "no").make()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="can be read as text"):
        Perplexity(good=tmp_path / "empty").make()


def test_a_folder_of_good_text_is_named_file_by_file(tmp_path: Path) -> None:
    path = good_file(tmp_path)
    assert Perplexity(good=tmp_path).external_files() == [path]
