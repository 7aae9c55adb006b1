"""``danlu trace`` as it is typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from traced import Made

from danlu.cli import main


def traced(made: Made, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["trace", str(made.folder.path), *arguments]) == 0
    return capsys.readouterr().out


def test_a_document_from_the_store_to_its_bytes(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(traced(made, capsys, "e.tar.gz!/in.zip!/deep/d.jsonl#1", "--json"))
    record = made.records["e.tar.gz!/in.zip!/deep/d.jsonl#1"]
    assert bytes.fromhex(told["source"]["raw_hex"]) == record[:400] and told["text"] == made.texts[told["id"]][:400]
    source = told["source"]
    assert (source["member"], source["record"], source["state"]) == ("in.zip!/deep/d.jsonl", 1, "unchanged")
    assert source["offset"] == len(made.records["e.tar.gz!/in.zip!/deep/d.jsonl#0"])
    assert told["clean"]["became"] == "kept" and len(told["pack"]) == 1
    out = traced(made, capsys, "b.txt#2.0")
    assert f"{made.source}/books/b.txt, record 2, at byte {1 + len(made.records['b.txt#1.0'])}; unchanged" in out


def test_a_copy_leads_to_what_it_repeats(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    out = traced(made, capsys, "a.jsonl#41")
    assert "dropped: clean.duplicates.0 (exact): exact duplicate" in out
    assert "repeats  a.jsonl#3: documents-00000.jsonl, line 4" in out
    told = json.loads(traced(made, capsys, "a.jsonl#41", "--json"))
    assert told["clean"]["of"] == {"id": "a.jsonl#3", "became": "kept", "shard": "documents-00000.jsonl", "line": 4}


def test_a_row_and_a_step_lead_to_their_documents(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    step = json.loads(traced(made, capsys, "--step", "2", "--json"))
    assert step["rows"] == [3, 4, 5]
    row = json.loads(traced(made, capsys, "--row", "4", "--json"))
    assert row["stretches"] == [each for each in step["stretches"] if each["row"] == 4]
    assert [each["id"] for each in row["documents"]] == list(dict.fromkeys(each["id"] for each in row["stretches"]))
    for stretch, document in zip(row["stretches"], row["documents"], strict=False):
        assert stretch["text"] in made.texts[document["id"]] or "\ufffd" in stretch["text"]
    assert traced(made, capsys, "--step", "2").startswith("step 2 of pretrain: rows 3 to 5;")
    assert traced(made, capsys, "--row", "4").startswith("row 4 of pretrain, in epoch 0")


def test_a_recipe_does_as_well(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", str(made.folder.path.parent / "r.yaml"), "g.parquet#0"]) == 0
    assert "record   Tale 400." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "leads back one thing: a DOCUMENT_ID, --row N or --step N"),
        (["a.jsonl#0", "--row", "1"], "leads back one thing"),
        (["a.jsonl#99"], "no document 'a.jsonl#99'; nearest: 'a.jsonl#41'"),
        (["--step", "0"], "--step must be from 1, as metrics.jsonl counts; got 0"),
    ],
)
def test_what_cannot_be_traced_is_one_line(
    made: Made, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(["trace", str(made.folder.path), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and told in captured.err and captured.err.count("\n") == 1


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", str(tmp_path), "a#0"]) == 2
    assert "is no folder of a run: it has no recipe.yaml" in capsys.readouterr().err


def test_stages_that_were_made_anew_are_told(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(made.folder.path, run)
    done = json.loads((run / "clean/done.json").read_text())
    done["outputs"]["documents-00000.jsonl"] = "another"
    (run / "clean/done.json").write_text(json.dumps(done))
    assert main(["trace", str(run), "a.jsonl#0"]) == 0
    assert "clean has changed since pack ran" in capsys.readouterr().out
