"""Near duplicates: signatures beside the sets they stand for, and copies planted in real text."""

from __future__ import annotations

import gzip
import json
import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from danlu.clean import signature
from danlu.clean.duplicates import Sketch
from danlu.clean.minhash import MinHash
from danlu.clean.signature import SHINGLE, letters, signatures

Decide = Callable[..., list[tuple[int, int, int, int]]]
PRETRAIN = Path(__file__).parents[3] / "shared/data/pretrain"
ENTRIES = 200


def shingles(text: str) -> set[bytes]:
    """The set that a signature is of, by the definition: shingles begin where a character does."""
    kept = "".join(letter for letter in text.lower() if unicodedata.category(letter)[0] not in "PZC")
    content = kept.encode()
    begins = np.cumsum([0, *(len(letter.encode()) for letter in kept)])[:-1].tolist()
    if len(content) <= SHINGLE:
        return {content} - {b""}
    return {content[begin : begin + SHINGLE] for begin in begins if begin + SHINGLE <= len(content)}


def jaccard(one: str, other: str) -> float:
    some, others = shingles(one), shingles(other)
    return len(some & others) / len(some | others)


def edited(text: str, share: float, draw: random.Random) -> str:
    """The text with this share of its words, of Chinese its pairs of characters, replaced, left out or said again."""
    words = re.findall(r"[\u3400-\u9fff]{1,2}|[^\s\u3400-\u9fff]+\s*|\s+", text)
    changed = []
    for word in words:
        if not word.strip() or draw.random() >= share:
            changed.append(word)
        elif (what := draw.randrange(3)) < 2:
            changed += [draw.choice(words), word][: what + 1]
    return "".join(changed)


def test_letters() -> None:
    assert letters("Hello, World!\n 1-2_3") == b"helloworld123"
    assert letters("“É” — Ω…ｆｕｌｌ，ＷＩＤＥ：１２。《书》、「引」 \u3000x") == "éωｆｕｌｌｗｉｄｅ１２书引x".encode()
    assert letters(" .\n") == letters("。 ！") == letters("") == b""
    assert letters("一") == "一".encode()
    assert letters("é") == "é".encode()


@pytest.mark.parametrize("size", [3, 12, 40, 150, 1000, 6000])
@pytest.mark.parametrize("alphabet", ["abcdefghijklmnopqrstuvwxyz ", "".join(map(chr, range(0x4E00, 0x4F00)))])
def test_entries_agree_in_the_share_that_the_sets_share(size: int, alphabet: str) -> None:
    draw = random.Random(size)
    pairs = []
    for _ in range(30):
        text = "".join(draw.choices(alphabet, k=size))
        place = draw.randrange(size)
        pairs.append((text, text[: size - place // 2] + "".join(draw.choices(alphabet, k=place // 2))))
    one, other = (signatures(texts, ENTRIES) for texts in zip(*pairs, strict=True))
    truth = np.array([jaccard(*pair) for pair in pairs])
    error = (one == other).mean(axis=1) - truth
    spread = np.sqrt(truth * (1 - truth) / min(ENTRIES, max(1, size // 2)))
    assert np.abs(error).max() < 4 * spread.max() + 1e-9
    assert abs(error.mean()) < 4 * spread.max() / np.sqrt(len(pairs)) + 1e-9, "no bias"


def test_a_signature_is_of_one_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(0)
    texts = ["".join(draw.choices("abc 中文。é", k=draw.randint(0, 300))) for _ in range(100)] + ["", "。", "x"]
    together = signatures(texts, 50)
    assert (np.concatenate([signatures([text], 50) for text in texts]) == together).all()
    monkeypatch.setattr(signature, "_BLOCK", 16)
    assert (signatures(texts, 50) == together).all()
    assert not together[-3:-1].any() and together[-1].all()
    assert signatures([], 50).shape == (0, 50)


def test_signatures_stay_what_they_are() -> None:
    """Sketches of parts that were made before and after an upgrade are of one kind: here is one, written down."""
    found = signatures(
        ["It was the best of times, it was the worst of times.", "话说天下大势，分久必合，合久必分。"], 4
    )
    assert found.tolist() == [[51114, 29370, 11989, 13363], [34056, 44170, 38883, 62876]]


def test_case_spaces_and_punctuation_do_not_count(decide: Decide) -> None:
    texts = [
        "The quick brown fox jumps over the dog",
        "the quick, brown fox\njumps over “the” dog!",
        "Another fox, not",
    ]
    assert decide(MinHash(), texts, ["我们都是好朋友，一起去吧。", "我们都是 好朋友 一起去吧", "。", "。"]) == [
        (1, 0, -1, 0),
        (4, 0, -1, 3),
    ]


def test_of_a_chain_the_first_stays(decide: Decide) -> None:
    """The last is near to the one in the middle alone, which is near to the first."""
    draw = random.Random(0)
    blocks = ["".join(draw.choices("abcdefghijklmnop", k=300)) for _ in range(12)]
    texts = ["".join(blocks[start : start + 8]) for start in (0, 2, 4)]
    assert jaccard(texts[0], texts[1]) > 0.55 and jaccard(texts[0], texts[2]) < 0.4
    assert decide(MinHash(), texts[:1], texts[1:]) == [(1, 0, -1, 0), (2, 0, -1, 0)]
    assert decide(MinHash(similarity=0.7), texts) == []


def test_what_agrees_in_a_band_alone_is_no_duplicate(decide: Decide) -> None:
    """With bands of one row nearly all agree somewhere; and those that are near are found behind those that are not."""
    draw = random.Random(0)
    shared = "".join(draw.choices("abcdefghijklmnop", k=300))
    texts = [shared + "".join(draw.choices("abcdefghijklmnop", k=700)) for _ in range(8)]
    texts += [text[:-20] for text in texts]
    expected = [(number + 8, 0, -1, number) for number in range(8)]
    assert decide(MinHash(bands=20, rows=1, similarity=0.8), texts) == expected


class Given(MinHash):
    """Signatures that are written down: the text says the entries."""

    def sketch(self, texts: Sequence[str]) -> Sketch:
        return {"entries": np.array([text.split() for text in texts], np.uint16).reshape(-1, 20)}


def test_behind_one_that_is_not_near_others_are_found(decide: Decide) -> None:
    """All three agree in the first band alone; the last two in half of all entries besides, but in no other band."""
    first = [7, 7, *range(100, 118)]
    second = [7, 7, *range(200, 218)]
    third = [7, 7, *(entry + entry % 2 * 500 for entry in range(200, 218))]
    texts = [" ".join(map(str, entries)) for entries in (first, second, third)]
    assert decide(Given(bands=10, rows=2), texts) == [(2, 0, -1, 1)]


def documents(path: Path, most: int) -> list[str]:
    if not path.exists():
        pytest.skip(f"the shared data are not here: {path}")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        texts = (json.loads(line)["text"] for line in file)
        return [text[:6000] for text in texts if len(text) > 300][:most]


@pytest.mark.parametrize("name", ["en/books_en", "zh/classics_zh"])
def test_planted_copies_are_found_and_nothing_else(decide: Decide, name: str) -> None:
    texts = documents(PRETRAIN / f"{name}.jsonl.gz", 150)
    draw = random.Random(0)
    sources = draw.sample(range(len(texts)), 100)
    planted = {len(texts) + number: source for number, source in enumerate(sources)}
    copies = [edited(texts[source], draw.uniform(0.05, 0.1), draw) for source in sources]
    found = {document: first for document, _, _, first in decide(MinHash(), texts, copies)}
    right = sum(planted.get(document) == first for document, first in found.items())
    recall, precision = right / len(planted), right / len(found)
    print(f"{name}: recall {recall:.3f}, precision {precision:.3f}")
    assert recall >= 0.98 and precision >= 0.99
