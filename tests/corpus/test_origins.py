"""Lineage in a store: of every portion that has documents there, the files that these are from, and no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from danlu.clean.data_card import FILE as DATA_CARD
from danlu.clean.lineage import FILE, PORTIONS, read_portions
from danlu.corpus.elsewhere import CARRIED
from danlu.corpus.origins import Origins
from danlu.corpus.split import PARTS
from danlu.corpus.store import TokenStore, check_store
from danlu.errors import InputError
from danlu.recipe import load_recipe
from danlu.runs import run_stages


def packed(folder: Path, monkeypatch: pytest.MonkeyPatch, last: str = "pack") -> Path:
    """A run of some files in many portions, and many drafts that do not begin where these do."""
    monkeypatch.setattr("danlu.clean.stage.PORTION_BYTES", 400)
    monkeypatch.setattr("danlu.corpus.portions.FEWEST_BYTES", 700)
    (folder / "texts").mkdir(exist_ok=True)
    for number in range(12):
        lines = [json.dumps({"text": f"{number} {line} {'x' * 60}" if number % 3 else ""}) for line in range(7)]
        (folder / f"texts/{number:02}.jsonl").write_text("\n".join(lines))
    path = folder / "r.yaml"
    path.write_text(
        f"run_dir: {folder}/run\nclean: {{sources: [{folder}/texts], workers: 1}}\ntokenizer: byte\n"
        "pack: {split: {use: hash, fraction: 0.05}, workers: 1}\n"
    )
    stages = ["clean", "tokenizer", "pack"]
    run_stages(load_recipe(path), stages[: stages.index(last) + 1], lambda line: None, begin=lambda stage: None)
    return folder / "run"


def test_each_store_has_the_files_of_its_own_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = packed(tmp_path, monkeypatch)
    whole = {line.portion: line for line in read_portions(run / "clean")}
    for part in PARTS:
        folder = run / "pack" / part
        sources = {each["source"] for each in TokenStore.open(folder).documents}
        lines = list(read_portions(folder))
        assert {file.name for line in lines for file in line.files} == sources
        for line in lines:
            there = whole[line.portion]
            assert (line.shard, line.source) == (there.shard, there.source)
            assert set(map(str, line.files)) <= set(map(str, there.files))
        assert (folder / FILE).read_bytes() == (run / "clean" / FILE).read_bytes()
        assert check_store(folder).bytes > 0
    assert sources < {f"{number:02}.jsonl" for number in range(12) if number % 3}, "few are held out"


def test_a_damaged_lineage_ends_pack_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = packed(tmp_path, monkeypatch, "tokenizer")
    for name, content, told in (
        (PORTIONS, "{", "is damaged at line 1"),
        (DATA_CARD, None, "is missing; run 'danlu clean'"),
    ):
        shutil.copy(run / "clean" / name, tmp_path / "kept")
        if content is None:
            (run / "clean" / name).unlink()
        else:
            (run / "clean" / name).write_text(content)
        (tmp_path / "train").mkdir(exist_ok=True)
        origins = Origins.of(run / "clean", [])
        assert origins is not None
        with pytest.raises(InputError, match=told):
            origins.write(tmp_path, "train")
        shutil.copy(tmp_path / "kept", run / "clean" / name)


def test_names_are_those_that_clean_gives() -> None:
    assert CARRIED == (FILE, PORTIONS, DATA_CARD)
