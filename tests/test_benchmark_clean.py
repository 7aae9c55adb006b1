"""The judge of ``benchmarks/clean.py``: what is planted is what its key says, and scores are what a hand counts."""

from __future__ import annotations

import gzip
import json
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def modules(load_benchmark: Callable[[str], ModuleType]) -> dict[str, ModuleType]:
    return {name: load_benchmark(name) for name in ("clean_corpus", "clean_scores", "report")}


@pytest.fixture(scope="module")
def corpus(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["clean_corpus"]


@pytest.fixture(scope="module")
def scores(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["clean_scores"]


Entry = dict[str, Any]

KEY = [
    {"id": name, "family": family, "rate": rate}
    for name, family, rate in [
        ("a0", 0, 0.0), ("a1", 0, 0.05), ("a2", 0, 0.02), ("b0", 1, 0.0), ("b1", 1, 0.03), ("c0", 2, 0.0),
        ("d0", 3, 0.0), ("e0", 4, 0.0), ("e1", 4, 0.01),
    ]
]  # fmt: skip
"""Three families of copies, of which one is light and one loses a member to the rules; c and d stand alone."""


def write(path: Path, entries: list[Entry]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


def cleaned(out: Path, kept: str, copies: dict[str, str], ruled_out: str = "e1") -> Path:
    """What ``danlu clean`` would leave."""
    write(out / "dropped.jsonl", [
        *({"id": each, "reason": "gopher_quality: too few words"} for each in ruled_out.split()),
        *({"id": each, "reason": "near duplicate", "of": of} for each, of in copies.items()),
    ])  # fmt: skip
    names = kept.split()
    for number, part in enumerate((names[:2], names[2:])):
        write(out / f"documents-{number:05d}.jsonl", [{"id": each, "text": each} for each in part])
    return out


def test_one_copy_that_stayed_and_one_document_that_fell_wrongly(scores: ModuleType, tmp_path: Path) -> None:
    """Wanted to fall: two of a, one of b. a2 stays; d0 falls as a copy of c0, which it is none of."""
    out = cleaned(tmp_path, "a0 a2 b0 c0 e0", {"a1": "a0", "b1": "b0", "d0": "c0"})
    assert scores.danlu_scores(out, KEY) == scores.Scores(
        documents=9, ruled=8, fallen=3, recall=pytest.approx(2 / 3), light_recall=1.0, precision=pytest.approx(2 / 3)
    )


def test_all_as_it_should_be_whichever_copy_stays(scores: ModuleType, tmp_path: Path) -> None:
    found = scores.danlu_scores(cleaned(tmp_path, "a2 b1 c0 d0 e0", {"a0": "a2", "a1": "a2", "b0": "b1"}), KEY)
    assert (found.fallen, found.recall, found.light_recall, found.precision) == (3, 1.0, 1.0, 1.0)


def test_a_family_that_falls_whole_has_lost_one_document_wrongly(scores: ModuleType, tmp_path: Path) -> None:
    """Each of b as a copy of the other, or one of them as a copy of a stranger: one is wrong either way."""
    for of in ("b1", "c0"):
        found = scores.danlu_scores(
            cleaned(tmp_path, "a0 c0 d0 e0", {"a1": "a0", "a2": "a0", "b0": of, "b1": "b0"}), KEY
        )
        assert (found.fallen, found.recall, found.precision) == (4, 1.0, 0.75)
    found = scores.danlu_scores(cleaned(tmp_path, "a0 c0 d0 e0", {"a1": "a0", "a2": "a0", "b0": "a0", "b1": "a0"}), KEY)
    assert found.precision == 0.5


def test_documents_that_are_lost_in_silence_are_no_copies_that_fell(
    scores: ModuleType, modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    for kept in ("a0 b0 c0 d0", "a0 b0 c0 d0 e0 e1", "a0 a1 b0 c0 d0 e0"):
        with pytest.raises(modules["report"].NotMeasuredError, match=r"of 8 documents that the rules leave"):
            scores.danlu_scores(cleaned(tmp_path, kept, {"a1": "a0", "a2": "a0", "b1": "b0"}), KEY)


def test_where_there_is_nothing_to_find_nothing_is_measured(scores: ModuleType, tmp_path: Path) -> None:
    found = scores.danlu_scores(cleaned(tmp_path, "a0 b0 c0 d0 e0", {}, "a1 a2 b1 e1"), KEY)
    assert found.fallen == 0 and all(map(math.isnan, (found.recall, found.light_recall, found.precision)))


def of_peer(out: Path, ruled: str, kept: str) -> Path:
    for name, each in (("ruled", ruled), ("kept", kept)):
        half = len(each.split()) // 2
        for number, part in enumerate((each.split()[:half], each.split()[half:])):
            write(out / name / f"{number}.jsonl", [{"id": one} for one in part])
    return out


def test_the_peer_is_judged_by_the_same_counts(
    scores: ModuleType, modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    """It does not say of what something is a copy, so that only a family that fell whole is known to be wrong."""
    ruled = "a0 a1 a2 b0 b1 c0 d0 e0"
    assert scores.peer_scores(of_peer(tmp_path, ruled, "a0 a2 b0 c0 e0"), KEY) == scores.Scores(
        documents=9, ruled=8, fallen=3, recall=pytest.approx(2 / 3), light_recall=1.0, precision=pytest.approx(2 / 3)
    )
    with pytest.raises(modules["report"].NotMeasuredError, match="kept that the rules do not leave"):
        scores.peer_scores(of_peer(tmp_path, ruled, "a0 e1"), KEY)


@given(families=st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=6), data=st.data())
def test_any_outcome_is_counted_as_by_hand(
    scores: ModuleType, tmp_path_factory: pytest.TempPathFactory, families: list[list[bool]], data: st.DataObject
) -> None:
    """Families of documents that stay or fall; of what each fell as a copy is drawn too."""
    out, names = (
        tmp_path_factory.mktemp("any"),
        [f"{f}.{n}" for f, each in enumerate(families) for n in range(len(each))],
    )
    key = [{"id": name, "family": int(name[0]), "rate": 0.0} for name in names]
    stays = dict(zip(names, (stay for each in families for stay in each), strict=True))
    copies = {name: data.draw(st.sampled_from(names)) for name in names if not stays[name]}
    found = scores.danlu_scores(cleaned(out, " ".join(name for name in names if stays[name]), copies, "x"), key)
    should = fell = wrong = 0
    for number, each in enumerate(families):
        should += len(each) - 1
        fell += min(each.count(False), len(each) - 1)
        strangers = sum(of[0] != name[0] for name, of in copies.items() if name.startswith(f"{number}."))
        wrong += max(strangers, int(not any(each)))
    assert found.recall == pytest.approx(fell / should if should else math.nan, nan_ok=True)
    assert found.precision == pytest.approx(1 - wrong / len(copies) if copies else math.nan, nan_ok=True)
    assert (found.documents, found.ruled, found.fallen) == (len(names), len(names), len(copies))


def test_the_index_of_two_texts(corpus: ModuleType) -> None:
    assert corpus.jaccard("abcdefghij", "bcdefghijk", "en") == pytest.approx(1 / 3)
    assert corpus.jaccard("A, bcd-EF\ng hij.", "abcdefghij", "en") == 1.0
    assert corpus.jaccard("一二三四", "一二，三五", "zh") == pytest.approx(1 / 3)
    assert corpus.jaccard("abcdefghij", "klmnopqrst", "en") == 0.0
    assert corpus.jaccard("abc" * 9, "abc" * 4, "en") == 1.0  # of sets: three different stretches in either


def test_blocks_are_whole_sentences(corpus: ModuleType) -> None:
    """A heading falls, a long line is cut behind sentences, what is too short at the end falls."""
    text = "A heading\nOne one. Two two two! Three?\nFour four four.\nNo end,\nFive.\n"
    found = [[line.rstrip() for line in block.split("\n")] for block in corpus.blocks_of(text, 9)]
    assert found == [["One one. Two two two!"], ["Three?", "Four four four."]]
    assert list(corpus.blocks_of("一二三。四五六！七八九。十。", 4)) == ["一二三。", "四五六！", "七八九。"]


@given(blocks=st.integers(6, 60), seed=st.integers(0, 99), language=st.sampled_from(["en", "zh"]))
def test_a_pass_has_each_block_once(corpus: ModuleType, blocks: int, seed: int, language: str) -> None:
    documents = corpus.passes([f"block {number} " * 40 for number in range(blocks)], language, random.Random(seed))
    counts: Counter[str] = Counter()
    while sum(counts.values()) + corpus.FEWEST_BLOCKS <= blocks:
        document = next(documents)
        if max((counts + Counter(document)).values()) > 1:  # the next pass has begun, for what was left was too little
            break
        counts.update(document)
    assert set(counts.values()) == {1}
    assert all(len(next(documents)) >= corpus.FEWEST_BLOCKS for _ in range(30))


def sentences(chance: random.Random, language: str, count: int) -> list[str]:
    """Of a vocabulary large enough that two never look alike by chance."""
    if language == "zh":
        return ["".join(chr(chance.randrange(0x4E00, 0x9FA0)) for _ in range(30)) + "。" for _ in range(count)]
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(5000)]
    return [" ".join(chance.choices(words, k=12)).capitalize() + "." for _ in range(count)]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", ["replaced", "left out", "framed"])
def test_a_near_copy_differs_as_its_key_says(corpus: ModuleType, language: str, kind: str) -> None:
    chance = random.Random(f"{language} {kind}")
    join, pattern = (" ", r"\S+") if language == "en" else ("", r"[\u4e00-\u9fff]")
    text = join.join(sentences(chance, language, 400))
    while (made := corpus.near_copy(text, 7, language, chance)).kind != kind:
        pass
    assert made.family == 7 and made.jaccard == pytest.approx(corpus.jaccard(text, made.text, language), abs=1e-4)
    copied = made.text
    if kind == "framed":
        before, copied, behind = copied.split("\n\n")
        assert made.rate == 0.01 and (before, behind) == corpus._LINES[language]
    else:
        assert 0.01 <= made.rate <= 0.08
    mine, theirs = re.findall(pattern, text), re.findall(pattern, copied)
    if kind == "left out":
        changed = len(mine) - len(theirs)
        assert not Counter(theirs) - Counter(mine)
    else:
        assert len(mine) == len(theirs)
        changed = sum(one != other for one, other in zip(mine, theirs, strict=True))
    assert changed / len(mine) == pytest.approx(made.rate, abs=4 * math.sqrt(made.rate / len(mine)))


@pytest.fixture(scope="module", params=["en", "zh"])
def made(request: pytest.FixtureRequest, corpus: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of half a megabyte, of two collections, with more planted than in a large one."""
    folder, chance = tmp_path_factory.mktemp("made") / request.param, random.Random(3)
    join = " " if request.param == "en" else ""
    texts = [join.join(sentences(chance, request.param, 20)) for _ in range(120)]
    (folder / "source").mkdir(parents=True)
    with gzip.open(folder / "source/a.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts[:80])
    (folder / "source/b.txt").write_text("\n".join(texts[80:]) + "\n", encoding="utf-8")
    (folder / "source/README.md").write_text("Not one of them.\n" * 100, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COPIED", "EXACT", "RELATED"):
            patch.setattr(corpus, name, 0.3)
        for name, seed in (("out", 0), ("again", 0), ("other", 1)):
            (folder / name).mkdir()
            corpus.make_corpus(folder / "source", folder / name, request.param, 0.5, seed)
    return folder


def read(out: Path) -> tuple[list[Entry], dict[str, str]]:
    """The key, and the texts by their ids, which number the lines of each file."""
    key = [json.loads(line) for line in (out / "key.jsonl").read_text(encoding="utf-8").splitlines()]
    texts: dict[str, str] = {}
    for path in sorted((out / "texts").rglob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1]):
            document = json.loads(line)
            assert document["id"] == f"{path.parent.name}/{path.name}#{number}"
            texts[document["id"]] = document["text"]
    return key, texts


def test_the_key_has_all_documents_and_a_quarter_comes_first(made: Path) -> None:
    key, texts = read(made / "out")
    assert [entry["id"] for entry in key] == [*texts]
    assert sorted(path.name for path in made.joinpath("out").iterdir()) == ["key.jsonl", "texts"]
    sizes = {
        part: sum(path.stat().st_size for path in (made / "out/texts" / part).iterdir()) for part in ("first", "rest")
    }
    assert sizes["first"] == pytest.approx(125_000, rel=0.2) and sizes["rest"] == pytest.approx(375_000, rel=0.2)


def test_the_seed_says_everything(made: Path) -> None:
    for name, alike in (("again", True), ("other", False)):
        one, other = ([path.read_bytes() for path in sorted((made / each).rglob("*.jsonl"))] for each in ("out", name))
        assert (one == other) == alike


def test_families_are_copies_and_nothing_else_is(made: Path, corpus: ModuleType) -> None:
    key, texts = read(made / "out")
    language, families = made.name, defaultdict(list)
    for entry in key:
        families[entry["family"]].append(entry)
    kinds = Counter(entry["kind"] for entry in key)
    assert kinds["original"] > 30 and {"copy", "relative", "framed", "left out"} <= {*kinds}
    for family in families.values():
        first, *copies = family
        assert first["kind"] in ("original", "relative")
        for entry in copies:
            alike = corpus.jaccard(texts[first["id"]], texts[entry["id"]], language)
            assert entry["kind"] not in ("original", "relative") and entry["jaccard"] == pytest.approx(alike, abs=1e-4)
            assert alike > 0.3
            if entry["kind"] == "copy":
                assert (
                    texts[first["id"]].split() == texts[entry["id"]].split()
                    and texts[first["id"]] != texts[entry["id"]]
                )
    firsts = [family[0]["id"] for family in families.values()]
    relatives = [entry["id"] for entry in key if entry["kind"] == "relative"]
    for one in [*relatives, *random.Random(0).sample(firsts, 6)]:
        assert all(corpus.jaccard(texts[one], texts[other], language) <= 0.4 for other in firsts if other != one)
