"""The passes of ``clean``: any number of processes, a run that was killed, what each drop says."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cleaning import clean, digests

from danlu.clean.drafts import Drafting
from danlu.clean.lineage import FileRead, files_read
from danlu.clean.portions import Portion, portions
from danlu.clean.stage import Clean
from danlu.errors import InputError
from danlu.readers.record import Raw
from danlu.readers.sources import Source, SourceFile
from danlu.recipe import build, load_recipe
from danlu.runs import run_stages
from danlu.text.document import Document, read_documents
from danlu.workers.processes import ProcessDiedError, Workers


def many_files(folder: Path) -> Path:
    """Files with documents that repeat within and across them, that a rule drops, and that cannot be read."""
    folder.mkdir()
    for number in range(6):
        texts = [f"Document {number % 4} of the {place}th kind." for place in range(5)] + ["", "the same everywhere"]
        lines = [json.dumps({"text": text}) for text in texts]
        (folder / f"{number}.jsonl").write_text("\n".join([*lines, "no json"]))
    return folder


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danlu.clean.stage.PORTION_BYTES", 400)


def test_the_number_of_processes_changes_nothing(tmp_path: Path, small_portions: None) -> None:
    source = many_files(tmp_path / "source")
    figures = [clean(tmp_path / str(workers), sources=str(source), workers=workers) for workers in (1, 2)]
    assert figures[0] == figures[1]
    assert len(list((tmp_path / "1").glob("documents-*.jsonl"))) > 1
    assert digests(tmp_path / "1") == digests(tmp_path / "2")


def test_each_drop_has_its_reason_and_what_it_repeats(tmp_path: Path, small_portions: None) -> None:
    figures = clean(tmp_path / "out", sources=str(many_files(tmp_path / "source")), workers=1)
    kept = {document.id: document.text for document in read_documents(tmp_path / "out")}
    dropped = [json.loads(line) for line in (tmp_path / "out/dropped.jsonl").read_text().splitlines()]
    assert len(dropped) == figures["documents_dropped"] == 6 + 5 + 2 * 5
    assert not {entry["id"] for entry in dropped} & kept.keys()
    repeated = {entry["id"]: entry["of"] for entry in dropped if entry["reason"] == "exact duplicate"}
    assert repeated["4.jsonl#0"] == "0.jsonl#0" and repeated["5.jsonl#6"] == "0.jsonl#6"
    assert set(repeated.values()) <= kept.keys()
    examples = [json.loads(line) for line in (tmp_path / "out/examples.jsonl").read_text().splitlines()]
    assert {example["id"] for example in examples} == {entry["id"] for entry in dropped}
    assert all(kept[repeated[each["id"]]] == each["text"] for each in examples if each["id"] in repeated)


def test_examples_are_few_and_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("same\n" * 500)
    cut = {"path": str(tmp_path / "a.txt"), "documents": "lines", "language": "en"}
    for out in ("one", "two"):
        clean(tmp_path / out, sources=[cut])
    examples = (tmp_path / "one/examples.jsonl").read_bytes()
    assert len(examples.splitlines()) == 20 and examples == (tmp_path / "two/examples.jsonl").read_bytes()


def test_a_killed_run_goes_on_and_gives_the_same(
    tmp_path: Path, small_portions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = many_files(tmp_path / "source")
    clean(tmp_path / "whole", sources=str(source), workers=1)
    records, read = Portion.records, []

    def killed(portion: Portion) -> Any:
        read.append(portion.number)
        yield from itertools.islice(records(portion), 5 if portion.number == 3 else None)
        if portion.number == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Portion, "records", killed)
        with pytest.raises(KeyboardInterrupt):
            clean(tmp_path / "out", sources=str(source), workers=1)
    assert Clean(sources=(Source(path=source),)).progress(tmp_path / "out") == "3 portions of the text are read"
    again: list[int] = []
    monkeypatch.setattr(Portion, "records", lambda portion: (again.append(portion.number), records(portion))[1])
    clean(tmp_path / "out", sources=str(source), workers=1)
    assert again == [3, 4, 5]
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def copies(seed: int) -> list[str]:
    """Texts, near copies of near copies of them, copies, and lines and passages that some have in common."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 8))) for _ in range(300)]
    texts = [" ".join(draw.choices(words, k=80)) for _ in range(8)]
    for _ in range(25):
        one = draw.choice(texts).split(" ")
        for place in draw.sample(range(len(one)), draw.choice([0, 3, 10])):
            one[place] = draw.choice(words)
        texts.append(" ".join(one))
    lines = [" ".join(draw.choices(words, k=12)) for _ in range(6)]
    for place in draw.sample(range(len(texts)), 18):
        texts[place] = f"{texts[place]}\n{draw.choice(lines)}\n"
    passages = [" ".join(draw.choices(words, k=30)) for _ in range(3)]
    for place in draw.sample(range(len(texts)), 6):
        texts[place] = f"{texts[place]} {draw.choice(passages)} {draw.choice(words)}"
    draw.shuffle(texts)
    return texts


CUT = {"use": "substrings", "then": "cut"}
DROP = {"use": "substrings", "then": "drop"}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "order",
    [["lines", "minhash"], ["minhash", CUT, "exact"], [CUT, "lines", "exact", "minhash"], ["exact", "minhash", DROP],
     [DROP, "lines", "minhash"]],
)  # fmt: skip
def test_nothing_is_lost_for_something_that_falls_itself(tmp_path: Path, order: list[Any], seed: int) -> None:
    """What a document repeats stays, or repeats what stays; and every line that is cut out stands elsewhere."""
    texts = copies(seed)
    lines = [json.dumps({"text": text}) for text in texts]
    for size in ("whole", "parts"):
        (tmp_path / size).mkdir()
        for number in range(0, len(lines), 100 if size == "whole" else 7):
            piece = lines[number : number + (100 if size == "whole" else 7)]
            (tmp_path / size / f"{number:03}.jsonl").write_text("\n".join(piece))
        source = {"path": str(tmp_path / size), "language": "en"}
        clean(tmp_path / f"{size}-out", sources=[source], duplicates=order, workers=1)
    kept = [(document.id, document.text) for document in read_documents(tmp_path / "parts-out")]
    assert [text for _, text in kept] == [document.text for document in read_documents(tmp_path / "whole-out")]
    dropped = [json.loads(line) for line in (tmp_path / "parts-out/dropped.jsonl").read_text().splitlines()]
    of, stays = {entry["id"]: entry["of"] for entry in dropped}, {id for id, _ in kept}
    assert len(of) + len(stays) == len(texts) and len(of) > 10
    for id in of:
        seen = id
        while seen in of:
            seen = of[seen]
        assert seen in stays
    if "lines" in order and CUT not in order:
        together = "\n".join(text for _, text in kept).split("\n")
        standing = [text for number, text in enumerate(texts) if f"{number // 7 * 7:03}.jsonl#{number % 7}" in stays]
        assert {line for text in standing for line in text.split("\n") if len(line) >= 30} <= set(together)


def test_a_line_that_only_a_near_copy_has_beside_another_document_stays(tmp_path: Path) -> None:
    """``lines`` would cut it out of the other one, for it stood before in the near copy, which ``minhash`` drops."""
    draw = random.Random(5)
    first = " ".join("".join(draw.choices("abcdefghij", k=6)) for _ in range(100))
    line = "A line of the near copy and of the other document alone."
    other = " ".join("".join(draw.choices("klmnopqrst", k=6)) for _ in range(100))
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"text": text}) for text in (first, f"{first}\n{line}", f"{other}\n{line}"))
    )
    for name, order in (("one", ["lines", "minhash"]), ("two", ["minhash", "lines"])):
        clean(tmp_path / name, sources=str(tmp_path / "a.jsonl"), duplicates=order, workers=1)
        assert [document.text for document in read_documents(tmp_path / name)] == [first, f"{other}\n{line}"]
        (entry,) = (json.loads(line) for line in (tmp_path / name / "dropped.jsonl").read_text().splitlines())
        assert entry["reason"] == "near duplicate" and entry["of"] == "a.jsonl#0"


def test_of_a_chain_of_near_copies_the_first_stays_and_rules_come_before_all(tmp_path: Path) -> None:
    """A is near B and B near C; where a rule drops A, which it does before copies are sought, B stays for C."""
    draw = random.Random(6)
    words = ["".join(draw.choices("abcdefghij", k=6)) for _ in range(120)]
    chain = [[*("xyzxyz" for _ in range(step * 18)), *words[step * 18 :]] for step in range(3)]
    texts = ["Mail li@qq.com now. " + " ".join(chain[0]), *(" ".join(each) for each in chain[1:])]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    for rules, stays in (([], 0), ([{"use": "private", "action": "drop"}], 1)):
        clean(tmp_path / str(stays), sources=str(tmp_path / "a.jsonl"), rules=rules, duplicates=["minhash"], workers=1)
        assert [document.id for document in read_documents(tmp_path / str(stays))] == [f"a.jsonl#{stays}"]


def test_a_file_that_kills_whoever_reads_it_is_named_and_the_rest_is_kept(
    tmp_path: Path, small_portions: None, capsys: pytest.CaptureFixture[str]
) -> None:
    source, armed = many_files(tmp_path / "source"), tmp_path / "armed"
    (source / "2.jsonl").write_text(json.dumps({"text": "Too much for a process."}))
    rules = [{"use": "dying_rule:Dying", "word": "Too much", "armed": str(armed)}]
    clean(tmp_path / "whole", sources=str(source), rules=rules, workers=2)
    armed.touch()
    with pytest.raises(ProcessDiedError, match=r"source/2\.jsonl, after another one had died of it"):
        clean(tmp_path / "out", sources=str(source), rules=rules, workers=2)
    assert "2.jsonl; another one tries it again" in capsys.readouterr().out
    assert Clean(sources=(Source(path=source),)).progress(tmp_path / "out") is not None
    armed.unlink()
    clean(tmp_path / "out", sources=str(source), rules=rules, workers=2)
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def drafting_of(tmp_path: Path) -> tuple[Drafting, Portion]:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    stage = build(Clean, {"sources": [{"path": str(tmp_path / "a.txt"), "documents": "lines"}]}, key="clean")
    [portion] = portions(stage.find().files, size=400)
    return Drafting(stage.documents, stage.rules, stage.duplicates, tmp_path), portion


def test_a_file_that_is_another_than_the_run_began_with_is_refused(tmp_path: Path) -> None:
    """On a machine of a cluster that has other files there, or none; or because somebody writes to it."""
    drafting, portion = drafting_of(tmp_path)
    made_from = drafting.made_from(portion)
    assert drafting.missing([portion]) == [(portion, made_from)]
    (tmp_path / "a.txt").write_text("three\n")
    with pytest.raises(InputError, match=r"a\.txt, found as clean began, are others there, or have changed since"):
        drafting()((portion, made_from))
    (tmp_path / "a.txt").unlink()
    with pytest.raises(InputError, match=r"a\.txt, found as clean began, cannot be read there: No such file"):
        drafting()((portion, made_from))
    assert not list((tmp_path / "drafts").iterdir())


@pytest.mark.parametrize("gone", [False, True])
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """What would be written of it is not what its hash says."""
    drafting, portion = drafting_of(tmp_path)
    drafting.missing([portion])
    made_from, records = drafting.made_from(portion), Portion.records

    def written_to(portion: Portion) -> Iterator[Any]:
        yield from records(portion)
        (tmp_path / "a.txt").unlink() if gone else (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")

    monkeypatch.setattr(Portion, "records", written_to)
    with pytest.raises(InputError, match=r"a\.txt, found as clean began, (are others there|cannot be read there)"):
        drafting()((portion, made_from))
    assert not (tmp_path / "drafts/00000").exists()


def test_a_file_that_changes_before_it_is_hashed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drafting, portion = drafting_of(tmp_path)
    made_from = drafting.missing([portion])[0][1]

    def written_to(*arguments: Any) -> list[FileRead]:
        (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")
        return files_read(*arguments)

    monkeypatch.setattr("danlu.clean.drafts.files_read", written_to)
    with pytest.raises(InputError, match=r"a\.txt, found as clean began, are others there"):
        drafting()((portion, made_from))
    assert not (tmp_path / "drafts/00000").exists()


def test_shards_of_a_run_that_was_killed_at_its_end_do_not_stay(tmp_path: Path, small_portions: None) -> None:
    """It goes on with other settings, which leave less."""
    source = many_files(tmp_path / "source")
    (tmp_path / "out").mkdir()
    for number in (0, 3, 77):
        (tmp_path / f"out/documents-{number:05d}.jsonl").write_bytes(Document("old", "old text").line())
    (source / "3.jsonl").write_text("no json")
    clean(tmp_path / "out", sources=str(source), workers=1)
    clean(tmp_path / "whole", sources=str(source), workers=1)
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_a_process_that_seemed_lost_and_the_one_in_its_place_make_one_whole_draft(tmp_path: Path) -> None:
    drafting, portion = drafting_of(tmp_path)
    drafting.missing([portion])
    todo = (portion, drafting.made_from(portion))
    drafting()(todo)
    draft = tmp_path / "drafts/00000"
    alone = {path.name: path.read_bytes() for path in draft.iterdir()}
    shutil.rmtree(draft)
    inodes = []

    def documents(file: SourceFile, record: Raw) -> Iterator[Document]:
        if not inodes:
            drafting()(todo)  # the other is faster
            inodes.append((draft / "documents.jsonl").stat().st_ino)
        yield from drafting.documents(file, record)

    replace(drafting, documents=documents)()(todo)
    assert {path.name: path.read_bytes() for path in draft.iterdir()} == alone
    assert (draft / "documents.jsonl").stat().st_ino == inodes[0]  # the first stays: it may be read already
    assert [path.name for path in (tmp_path / "drafts").iterdir()] == ["00000"]


def test_a_draft_of_something_else_is_made_again(tmp_path: Path, small_portions: None) -> None:
    """Going on with one file more shifts the portions; going on with other rules changes what stays."""
    source = many_files(tmp_path / "source")
    stage = Clean(sources=(Source(path=source),), workers=1)
    out = tmp_path / "out"
    out.mkdir()
    with Workers("clean", 1) as workers:
        stage._draft(portions(stage.find().files, size=400), out, workers)
    (source / "00.jsonl").write_text(json.dumps({"text": "A new one, which comes first."}))
    clean(out, sources=str(source), workers=1, rules=[])
    clean(tmp_path / "anew", sources=str(source), workers=1, rules=[])
    assert digests(out) == digests(tmp_path / "anew")


def test_a_draft_by_another_file_of_a_rule_is_made_again(tmp_path: Path, small_portions: None) -> None:
    source, words = many_files(tmp_path / "source"), tmp_path / "words.txt"
    (source / "00.jsonl").write_text(json.dumps({"text": "one sea, one storm"}))
    settings = {"rules": [{"use": "bad_words", "lists": {"any": str(words)}}], "workers": 1}
    out = tmp_path / "out"
    out.mkdir()
    words.write_text("storm\n")
    stage = build(Clean, {"sources": [str(source)], **settings}, key="clean")
    with Workers("clean", 1) as workers:
        stage._draft(portions(stage.find().files, size=400), out, workers)
    words.write_text("thunder\n")
    clean(out, sources=str(source), **settings)
    clean(tmp_path / "anew", sources=str(source), **settings)
    assert digests(out) == digests(tmp_path / "anew")


def test_a_kill_while_drafts_go_leaves_all_of_them_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("one")
    remove = shutil.rmtree

    def killed(folder: Path, ignore_errors: bool = False) -> None:
        if folder.name == ".drafts" and folder.exists():
            next(folder.rglob("table.npy")).unlink()
            raise KeyboardInterrupt
        remove(folder, ignore_errors)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            clean(tmp_path / "out", sources=str(tmp_path / "a.txt"))
    clean(tmp_path / "out", sources=str(tmp_path / "a.txt"))
    clean(tmp_path / "whole", sources=str(tmp_path / "a.txt"))
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_two_runs_of_one_process_in_one_folder(tmp_path: Path) -> None:
    for text in ("one", "three and four"):
        (tmp_path / "a.txt").write_text(f"{text}\nsame\n{text}\nsame\n")
        source = {"path": str(tmp_path / "a.txt"), "language": "en", "documents": "lines"}
        clean(tmp_path / "out", sources=[source], workers=1)
        dropped = [json.loads(line) for line in (tmp_path / "out/dropped.jsonl").read_text().splitlines()]
        assert [entry["of"] for entry in dropped] == ["a.txt#0.0", "a.txt#1.0"]


def run(folder: Path, *overrides: str) -> list[str]:
    """What ``danlu clean`` says."""
    said: list[str] = []
    run_stages(load_recipe(folder / "recipe.yaml", [f"run_dir={folder}/run", *overrides]), ["clean"], said.append,
               begin=lambda _: None)  # fmt: skip
    return [line.partition(" in ")[0] for line in said]


def test_what_changes_no_byte_runs_nothing_again(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.txt").write_text("one")
    (tmp_path / "recipe.yaml").write_text(
        f"clean: {{sources: [{tmp_path}/text], duplicates: [exact, {{use: minhash, memory: 2000000}}]}}"
    )
    assert run(tmp_path) == ["clean: done"]
    same = ["duplicates.1.memory=3000000", "workers=1", "ray=local", f"sources.0.cache={tmp_path}/cache"]
    for setting in same:
        assert run(tmp_path, f"clean.{setting}") == ["clean: unchanged, skipped"]
    assert "clean: done" in run(tmp_path, "clean.duplicates.1.similarity=0.6")


def test_a_file_elsewhere_that_has_changed_is_read_again(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    (tmp_path / "recipe.yaml").write_text("clean: {sources: ['memory://danlu-changed/a.txt']}")
    store.pipe("/danlu-changed/a.txt", b"one")
    assert run(tmp_path) == ["clean: done"] and run(tmp_path) == ["clean: unchanged, skipped"]
    store.pipe("/danlu-changed/a.txt", b"two")
    assert run(tmp_path)[-1] == "clean: done"
    assert [document.text for document in read_documents(tmp_path / "run/clean")] == ["two"]
