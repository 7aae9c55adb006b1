"""Text of evaluation sets in documents: found whatever its dress, and nothing else is."""

from __future__ import annotations

import gzip
import json
import random
import re
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.clean import ngram_windows as windows
from danlu.clean.decontaminate import Decontaminate
from danlu.errors import InputError, RecipeError
from danlu.recipe import build
from danlu.text.document import Document, pair

QUESTION = "Which gas do plants take from the air when they make sugar with the light of the sun?"
PASSAGE = "光合作用是植物利用光能，把二氧化碳和水变成有机物，并且放出氧气的过程，主要在叶绿体里进行。"
ENGLISH = "The mill stood by the river, and all who came that way had heard of its miller and his three proud sons. "
CHINESE = "从前有一座山，山里有一座庙，庙里住着一个老和尚和一个小和尚，他们每天都要下山去挑水。"


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def choice(*paths: Path, **more: Any) -> Decontaminate:
    return build(Decontaminate, {"files": [str(path) for path in paths], **more}, key="clean.rules.0")


def wide(text: str) -> str:
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)


@pytest.mark.parametrize("place", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    "dress",
    [str, str.upper, wide, lambda text: re.sub(r"[，。,?]", "", text), lambda text: text.replace(" ", "\n  ")],
    ids=["as it is", "capitals", "full width", "no marks", "lines"],
)
@pytest.mark.parametrize(("planted", "around"), [(QUESTION, ENGLISH), (PASSAGE, CHINESE), (PASSAGE, ENGLISH)])
def test_what_is_planted_is_found(tmp_path: Path, place: float, dress: Any, planted: str, around: str) -> None:
    rule = choice(write(tmp_path / "eval.jsonl", {"question": QUESTION, "passage": PASSAGE, "answer": "B"})).make()
    cut = int(20 * place)
    text = around * cut + dress(planted) + " " + around * (20 - cut)
    assert rule(Document("a", text)) == "contaminated (eval.jsonl)"
    assert rule(Document("a", around * 20)) is None


def test_common_phrases_and_half_an_item_are_no_contamination(tmp_path: Path) -> None:
    rule = choice(write(tmp_path / "eval.jsonl", {"q": QUESTION, "p": PASSAGE})).make()
    for text in (" ".join(QUESTION.split()[:12]), PASSAGE[:19], "Which gas do plants take? They take it from the air."):
        assert rule(Document("a", f"{ENGLISH} {text} {CHINESE}")) is None


def test_short_items_are_compared_whole(tmp_path: Path) -> None:
    items = [
        {"q": "Who wrote the first novel about the whale?"},
        {"q": "《红楼梦》的作者是哪一位作家？"},
        {"q": "Who?"},
    ]
    short = choice(write(tmp_path / "eval.jsonl", *items))
    rule = short.make()
    assert (
        rule(Document("a", f"{ENGLISH} WHO wrote the first novel about the whale, then")) == "contaminated (eval.jsonl)"
    )
    assert rule(Document("a", f"{CHINESE}红楼梦的作者是哪一位作家{CHINESE}")) == "contaminated (eval.jsonl)"
    assert rule(Document("a", f"{CHINESE}红楼梦的作者是哪一位作{CHINESE}")) is None
    assert rule(Document("a", "Who wrote the first novel about the dog? Who?")) is None
    assert short.learn()[1] == (
        "decontaminate: looks for 2 of 3 items; the rest is shorter than 8 words or 12 characters"
    )


def test_what_many_items_share_is_their_instruction(tmp_path: Path) -> None:
    asked = "Read the passage and choose the one answer that fits best among the four that are given below."
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "my"]
    path = write(tmp_path / "eval.jsonl", *({"q": f"{asked} {word} {QUESTION}"} for word in words))
    assert choice(path).make()(Document("a", ENGLISH + asked)) is None
    assert choice(path, common=20).make()(Document("a", ENGLISH + asked)) is not None
    assert choice(path).make()(Document("a", f"kappa {QUESTION}")) is not None
    repeated = write(tmp_path / "same.jsonl", *({"context": PASSAGE, "q": word} for word in words))
    assert choice(repeated).make()(Document("a", PASSAGE)) is not None, "one text many times is one text"


def test_cutting_takes_the_surroundings_too(tmp_path: Path) -> None:
    rule = choice(write(tmp_path / "eval.jsonl", {"q": QUESTION}), action="cut", margin=50).make()
    before, behind = "b" * 400, "c" * 400
    document = Document("a", f"{before} {QUESTION} {behind}")
    assert rule(document) is None
    assert document.text == f"{'b' * 351}\n\n{'c' * 352}", "50 signs from the first word, and from the last"
    assert document.meta == {"decontaminated": "eval.jsonl"}
    assert rule(Document("a", f"{'b' * 100} {QUESTION}")) == "contaminated (eval.jsonl)", (
        "nothing worth keeping is left"
    )
    text, meta = pair(before + QUESTION, behind)
    assert rule(Document("a", text, meta)) == "contaminated (eval.jsonl)"


def test_a_reason_for_each_set_that_tells_them_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    write(tmp_path / "one/test.jsonl", {"q": QUESTION})
    write(tmp_path / "two/test.jsonl", {"q": PASSAGE})
    rule = choice(tmp_path / "one/test.jsonl", tmp_path / "two/test.jsonl").make()
    assert [rule(Document("a", text)) for text in (QUESTION, PASSAGE)] == [
        "contaminated (one/test.jsonl)",
        "contaminated (two/test.jsonl)",
    ]
    folder = choice(tmp_path)
    assert folder.make()(Document("a", PASSAGE)) == f"contaminated ({tmp_path.name})"
    assert len(folder.external_files()) == 2


def test_every_format_and_only_the_fields_that_are_named(tmp_path: Path) -> None:
    record = {"question": QUESTION, "other": PASSAGE}
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(record).encode()))
    (tmp_path / "a.json").write_text(json.dumps({"version": "1", "data": [{"paragraphs": [record]}]}))
    (tmp_path / "a.csv").write_text(f'question,other\n"{QUESTION}","{PASSAGE}"\n', encoding="utf-8-sig")
    (tmp_path / "a.tsv").write_text(f"question\tother\n{QUESTION}\t{PASSAGE}\n")
    pyarrow.parquet.write_table(pyarrow.table({name: [text] for name, text in record.items()}), tmp_path / "a.parquet")
    for path in sorted(tmp_path.iterdir()):
        rule = build(Decontaminate, {"files": [{"path": str(path), "fields": ["question"]}]}, key="r").make()
        assert rule(Document("a", QUESTION)) == f"contaminated ({path.name})"
        assert rule(Document("a", PASSAGE)) is None
        assert choice(path).make()(Document("a", PASSAGE)) is not None


@pytest.mark.parametrize(
    ("name", "content", "fields", "told"),
    [
        ("a.doc", "x", None, "cannot tell how to read"),
        ("a.jsonl", "{no", None, "line 1"),
        ("a.jsonl", '{"question": "x"}', ["queston"], "no record has a field 'queston'; did you mean 'question'?"),
        ("a.parquet", "x", None, "cannot be read"),
        ("a.txt", "", None, "holds no items"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: str, fields: Any, told: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=re.escape(told)):
        build(Decontaminate, {"files": [{"path": str(tmp_path / name), "fields": fields}]}, key="r").make()
    with pytest.raises(InputError, match="cannot be read"):
        choice(tmp_path / "none.jsonl").make()


def test_lengths_in_the_wrong_order(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="must not be above"):
        choice(tmp_path / "a.jsonl", words=6)


def units_by_hand(text: str) -> list[str]:
    """Words and Chinese characters, without numpy: case and width folded."""
    folded = "".join(unicodedata.normalize("NFKC", sign).casefold() for sign in text)
    return re.findall(r"[\u4e00-\u9fff]|[a-z0-9éß]+", folded)


def windows_by_hand(units: list[str], words: int, characters: int) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for start in range(len(units)):
        weight = 0
        for end in range(start, len(units)):
            weight += words if "\u4e00" <= units[end] <= "\u9fff" else characters
            if weight >= words * characters:
                found.add(tuple(units[start : end + 1]))
                break
    return found


MIXED = st.lists(
    st.sampled_from(["a", "b ", "Ab", "ｂ", " ", "，", "中", "国", "é", "1", "\n", "a b", "-"]), max_size=60
)


@settings(max_examples=150, deadline=None)
@given(MIXED, MIXED, st.integers(1, 50))
def test_shared_windows_are_those_that_comparing_by_hand_finds(first: list[str], second: list[str], size: int) -> None:
    length = windows.Length(4, 6)
    texts = ["".join(first), "".join(second)]
    hashes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "SLICE", size)
        for text in texts:
            units = None
            for more in windows.units_of(text):
                units = more if units is None else windows.joined(units, more)
            ends = None if units is None else windows.window_ends(units, length)
            hashes.append(set() if units is None else set(windows.window_hashes(units, ends).tolist()))
    by_hand = [windows_by_hand(units_by_hand(text), *length) for text in texts]
    if max((len(run) for text in texts for run in re.findall(r"[^\W\u4e00-\u9fff]+", text)), default=0) <= size:
        assert [len(each) for each in hashes] == [len(each) for each in by_hand]
        assert len(hashes[0] & hashes[1]) == len(by_hand[0] & by_hand[1])


def test_a_window_over_the_border_of_two_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = choice(write(tmp_path / "eval.jsonl", {"q": QUESTION, "p": PASSAGE, "s": QUESTION[:44]})).make()
    monkeypatch.setattr(windows, "SLICE", 64)
    chance = random.Random(0)
    for planted in (QUESTION, PASSAGE, QUESTION[:44]):
        for _ in range(10):
            filler = "y " * chance.randrange(100)
            assert rule(Document("a", f"{filler}{planted} {filler}")) is not None
