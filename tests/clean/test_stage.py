"""The stage ``clean``: what goes in is kept, dropped or quarantined, and every one is counted."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow
import pyarrow.parquet
import pytest
from cleaning import clean, digests
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import catalog
from danlu.errors import InputError, RecipeError
from danlu.text.document import Document, read_documents

REPOSITORY = Path(__file__).parents[2]
ENDINGS = " ".join(catalog.names("reader"))


def test_documents_have_ids_sources_languages_and_their_fields(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "zh").mkdir(parents=True)
    (source / "a.txt").write_text("It was the best of times.\r\n", newline="")
    lines = [{"text": "话说天下大势，分久必合。", "title": "三国", "source": "mine"}, {"text": "合久必分，话说天下。"}]
    (source / "zh/b.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    clean(tmp_path / "out", sources=[str(source)])
    chinese = {"language": "zh", "language_score": "1.00", "language_variant": "zh-Hans"}
    documents = list(read_documents(tmp_path / "out"))
    score = documents[0].meta["language_score"]
    assert 0.5 < float(score) <= 1
    english = {"source": "a.txt", "offset": "0", "language": "en", "language_score": score}
    second = str((source / "zh/b.jsonl").read_bytes().index(b"\n") + 1)
    assert documents == [
        Document("a.txt#0", "It was the best of times.\n", english),
        Document("zh/b.jsonl#0", lines[0]["text"], {"title": "三国", "source": "zh/b.jsonl", "offset": "0", **chinese}),
        Document("zh/b.jsonl#1", lines[1]["text"], {"source": "zh/b.jsonl", "offset": second, **chinese}),
    ]


def test_a_record_may_hold_many_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n\nthree\n")
    figures = clean(
        tmp_path / "out", sources=[{"path": str(tmp_path / "a.txt"), "language": "en", "documents": "lines"}]
    )
    documents = list(read_documents(tmp_path / "out"))
    assert [(document.id, document.text) for document in documents] == [
        ("a.txt#0.0", "one"),
        ("a.txt#1.0", "two"),
        ("a.txt#3.0", "three"),
    ]
    assert figures["documents_in"] == 3
    assert figures["language.en.documents"] == 3


def test_everything_is_counted(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("kept ，\n")
    (source / "b.txt").write_text("kept ，\r\n")
    (source / "c.txt").write_text(" \n")
    (source / "d.txt").write_bytes(b"\0")
    (source / "e.txt").write_bytes(b"abc\xff")
    (source / "f.jsonl").write_text('{"text": "kept too"}\n{"txt": "no"}\nno\n')
    (source / "picture.png").write_text("ignored")
    figures = clean(tmp_path / "out", sources=[{"path": str(source), "language": "en"}])
    assert figures == {
        "files": 6,
        "files_ignored": 1,
        "documents_in": 8,
        "documents_kept": 2,
        "documents_dropped": 2,
        "documents_quarantined": 4,
        "characters": 15,
        "bytes": 17,
        "dropped.empty": 1,
        "dropped.exact duplicate": 1,
        "quarantined.binary": 1,
        "quarantined.broken JSON": 1,
        "quarantined.no field 'text'": 1,
        "quarantined.unknown encoding": 1,
        "language.en.documents": 2,
        "language.en.bytes": 17,
    }
    drops = json.loads((tmp_path / "out/drops.json").read_text())
    assert drops["in"] == 8
    assert drops["kept"] == 2
    assert drops["dropped"] == {"empty": 1, "exact duplicate": 1}
    quarantine = [json.loads(line) for line in (tmp_path / "out/quarantine.jsonl").read_text().splitlines()]
    assert quarantine[1] == {
        "file": str(source / "e.txt"),
        "record": 0,
        "offset": 0,
        "reason": "unknown encoding",
        "detail": "at byte 3: 0xff; it could be cp1252: set encoding of the source",
    }
    assert len(quarantine) == 4


def test_a_file_whose_name_is_not_utf8(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / os.fsdecode(b"caf\xe9.txt")).write_text("Two coffees, please.")
    (source / os.fsdecode(b"th\xe9.txt")).write_bytes(b"\0")
    figures = clean(tmp_path / "out", sources=[{"path": str(source), "language": "en"}])
    assert (figures["documents_kept"], figures["documents_quarantined"]) == (1, 1)
    (document,) = read_documents(tmp_path / "out")
    assert document.id == r"caf\xe9.txt#0" and document.meta["source"] == r"caf\xe9.txt"
    (line,) = (tmp_path / "out/quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert Path(json.loads(line)["file"]).is_file(), "the path in the line leads to the file"


def test_a_field_whose_name_is_half_a_surrogate_pair(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"\\ud800": "a"}\n{"text": "b"}\n{"text": "c", "\\udfff": "d"}\n')
    figures = clean(tmp_path / "out", sources=[{"path": str(tmp_path / "a.jsonl"), "language": "en"}])
    assert figures["quarantined.no field 'text'"] == figures["quarantined.not Unicode"] == 1
    lines = (tmp_path / "out/quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["detail"] for line in lines] == [
        "at byte 0; it has: \ud800",
        "at byte 30: half a surrogate pair",
    ]


def test_rules_and_form_follow_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "，"}\n{"text": "，"}\n{"text": ""}\n')
    figures = clean(
        tmp_path / "out", sources=str(tmp_path / "a.jsonl"), rules=[], duplicates=[], normalise={"form": "NFKC"}
    )
    assert figures["documents_kept"] == 3
    assert [document.text for document in read_documents(tmp_path / "out")] == [",", ",", ""]


def test_documents_in_chinese_are_in_one_script_and_mixed_ones_say_so(tmp_path: Path) -> None:
    texts = [
        "頭髮乾燥，後來發現。",
        "頭髪を乾燥する。すぐに。",
        "後來發現。\n\nAll human beings are born free and equal.",
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    clean(
        tmp_path / "out",
        sources=str(tmp_path / "a.jsonl"),
        normalise={"chinese": "simplified"},
        language={"paragraphs": True},
    )
    chinese, japanese, mixed = read_documents(tmp_path / "out")
    assert chinese.text == "头发干燥，后来发现。" and chinese.meta["language_variant"] == "zh-Hans"
    assert japanese.text == texts[1] and japanese.meta["language"] == "ja"
    assert mixed.meta["languages"] == "en 0.89, zh 0.11"


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({}, "clean.sources: no file in {} ends in " + ENDINGS),
        (
            {"a.png": b"", "b.exe": b""},
            f"clean.sources: no file in {{}} ends in {ENDINGS}; "
            "left out: 2 of kinds that no reader takes (.png 1, .exe 1)",
        ),
        (
            {"a.txt": b" ", "b.txt": b"\0", "c.txt": b""},
            "clean: no document is left; of 3 records 0 kept, 2 dropped (empty 2), 1 quarantined (binary 1)",
        ),
        ({"a.jsonl": b""}, "clean: no document is left; of 0 records 0 kept"),
    ],
)
def test_nothing_left_is_an_error_that_says_why(tmp_path: Path, files: dict[str, bytes], line: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, content in files.items():
        (source / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        clean(tmp_path / "out", sources=str(source))
    assert str(error.value).removesuffix(f"; what and why: {tmp_path / 'out'}") == line.format(source)
    assert not (tmp_path / "out/drafts").exists(), "which other settings could not go on from"


def test_the_user_is_told_of_what_could_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\nno\n')
    clean(tmp_path / "out", sources=str(tmp_path / "a.jsonl"))
    assert "of 2 records 1 kept, 1 quarantined (broken JSON 1); see " in capsys.readouterr().out


def random_file(path: Path, chance: random.Random) -> None:
    """A file of a random kind, now and then damaged."""
    words = ["", " ", "one", "two words", "三国", "e\u0301", "\0", "a\r\nb\n\nc", "\ud800"]
    picked = [chance.choice(words) for _ in range(chance.randrange(5))]
    kind = chance.choice([".txt", ".jsonl", ".jsonl.gz", ".parquet", ".md"])
    lines = b"\n".join(json.dumps({chance.choice(["text", "text", "body"]): word}).encode() for word in picked)
    content = {
        ".txt": " ".join(picked).encode(errors="ignore"),
        ".jsonl.gz": gzip.compress(lines, mtime=0),
        ".parquet": parquet([word.encode(errors="ignore").decode() for word in picked]),
    }.get(kind, lines)
    if content and chance.random() < 0.4:
        cut = chance.randrange(len(content))
        content = chance.choice([content[:cut], content[:cut] + b"\xff" + content[cut + 1 :]])
    path.with_suffix(kind).write_bytes(content)


def parquet(texts: list[str]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array(texts, pyarrow.string())}), sink)
    return bytes(sink.getvalue())


CUTS = ["whole", "lines", "paragraphs", {"use": "blocks", "characters": 3}, {"use": "separated", "line": "a"}]


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from(CUTS))
def test_in_is_kept_and_dropped_and_quarantined(seed: int, documents: object) -> None:
    chance = random.Random(seed)
    with TemporaryDirectory() as name:
        source, outs = Path(name, "source"), [Path(name, "one"), Path(name, "two")]
        source.mkdir()
        for number in range(chance.randrange(1, 8)):
            random_file(source / str(number), chance)
        section = {"sources": [{"path": str(source), "language": "en", "documents": documents}]}
        try:
            figures = clean(outs[0], **section)
        except InputError as error:
            assert str(error).startswith(("clean: no document is left", "clean.sources: no file"))
            return
        drops = json.loads((outs[0] / "drops.json").read_text())
        assert drops["in"] == drops["kept"] + sum(drops["dropped"].values()) + sum(drops["quarantined"].values())
        kept = list(read_documents(outs[0]))
        assert len(kept) == drops["kept"] == figures["documents_kept"]
        assert len({document.id for document in kept}) == len(kept)
        assert len((outs[0] / "quarantine.jsonl").read_bytes().splitlines()) == figures["documents_quarantined"]
        assert figures["files"] + figures["files_ignored"] == len(list(source.iterdir()))
        assert clean(outs[1], **section) == figures
        assert digests(outs[0]) == digests(outs[1])


def test_shakespeare_passes_byte_for_byte(tmp_path: Path) -> None:
    path = REPOSITORY / "corpora/en/tinyshakespeare.txt"
    figures = clean(tmp_path / "whole", sources=str(path))
    (document,) = read_documents(tmp_path / "whole")
    assert document.text.encode() == path.read_bytes()
    assert figures["language.en.bytes"] == path.stat().st_size
    cut = {"path": str(path), "language": "en", "documents": {"use": "blocks", "characters": 4000}}
    clean(tmp_path / "blocks", sources=[cut])
    blocks = [document.text for document in read_documents(tmp_path / "blocks")]
    assert "".join(blocks).encode() == path.read_bytes()
    assert len(blocks) > 200
    assert all(len(block) < 8100 for block in blocks)


def test_a_pair_is_one_document_with_two_sides(tmp_path: Path) -> None:
    """Both normalised; a field of the name that says where the target begins is no such thing."""
    lines = [{"en": "Wait, cafe\u0301.\r\n", "zh": "等\x00等\n。", "target_start": "1", "by": "me"}, {"en": "Go."}]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    source = {"path": str(path), "text_field": "en", "language": "en"}
    figures = clean(tmp_path / "pairs", sources=[{**source, "target_field": "zh"}])
    (document,) = read_documents(tmp_path / "pairs")
    assert document.sides == ("Wait, café.\n", "等等\n。")
    assert document.text == "Wait, café.\n\n等等\n。"
    assert document.meta.keys() == {"by", "source", "offset", "language", "target_start"}
    assert figures["quarantined.no text in a field 'zh'"] == 1
    clean(tmp_path / "texts", sources=[source])
    assert [document.sides for document in read_documents(tmp_path / "texts")] == [("Wait, café.\n",), ("Go.",)]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"target_field": "zh", "documents": "lines"}, "documents must be whole where there is a target_field"),
        ({"target_field": "text"}, "target_field must be another field than text_field; got 'text'"),
    ],
)
def test_pairs_that_cannot_be(more: dict[str, str], told: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=told):
        clean(tmp_path, sources=[{"path": str(tmp_path), **more}])


def test_files_in_other_encodings_are_counted_and_marked(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    text = "话说天下大势，分久必合，合久必分。"
    for name, encoding in (("a.txt", "utf-8"), ("b.txt", "gb18030"), ("c.jsonl", "gb18030"), ("d.txt", "utf-16")):
        content = json.dumps({"text": name + text}, ensure_ascii=False) if name == "c.jsonl" else name + text
        (source / name).write_bytes(f"{content}\n".encode(encoding) * (2 if name == "c.jsonl" else 1))
    figures = clean(tmp_path / "out", sources=str(source), rules=[], duplicates=[])
    assert {name: count for name, count in figures.items() if name.startswith("encoding.")} == {
        "encoding.gb18030.documents": 3,
        "encoding.utf-16-le.documents": 1,
    }
    documents = list(read_documents(tmp_path / "out"))
    assert [document.text.strip() for document in documents] == [each.id.partition("#")[0] + text for each in documents]
    assert [document.meta.get("encoding") for document in documents] == [None, *["gb18030"] * 3, "utf-16-le"]


def test_fields_with_the_names_of_what_is_found_out_are_no_findings(tmp_path: Path) -> None:
    line = {"text": "A text in English.", "language_score": "", "language_variant": "x", "encoding": "any thing"}
    (tmp_path / "a.jsonl").write_text(json.dumps(line))
    source = {"path": str(tmp_path / "a.jsonl"), "language": "en-GB"}
    figures = clean(tmp_path / "out", sources=[source], rules=[{"use": "language", "keep": ["en"]}])
    assert figures["documents_kept"] == 1 and not any(name.startswith("encoding") for name in figures)


def test_what_private_data_drop_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Write to li@example.org today."}\n{"text": "Or do not write."}\n')
    source = {"path": str(tmp_path / "a.jsonl"), "language": "en"}
    figures = clean(tmp_path / "out", sources=[source], rules=[{"use": "private", "action": "drop"}])
    assert figures["documents_dropped"] == 1
    assert "li@" not in "".join(path.read_text() for path in (tmp_path / "out").iterdir())
