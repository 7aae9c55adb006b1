"""Stores that were packed elsewhere lead back to their sources, by what they carry."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from traced import Made

from danlu.clean.lineage import read_portions
from danlu.cli import main
from danlu.corpus.description import write_description
from danlu.corpus.elsewhere import CARRIED
from danlu.corpus.origins import Origins
from danlu.corpus.split import PARTS
from danlu.corpus.store import TokenStore
from danlu.errors import InputError
from danlu.files import hash_file
from danlu.nn.hf.card import data_card_of
from danlu.recipe import load_recipe
from danlu.run_folder import RunFolder
from danlu.runs import run_stages
from danlu.trace.training import Order
from danlu.trace.walk import of_document, of_row
from danlu.train.fingerprint import fingerprint

RECIPE = """
run_dir: {folder}/moved
seed: 5
tokenizer: {{use: folder, path: {tokenizer}}}
pack: {{stores: "memory://stores", cache: {folder}/cache}}
pretrain:
  model: {{use: gpt, layers: 1, dim: 16}}
  sequence: 32
  batch: 3
  budget: {{steps: 2}}
export: {{}}
"""


@pytest.fixture
def bucket(made: Made) -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    for path in made.folder.stage("pack").glob("*/*"):
        files.pipe(f"/stores/{path.parent.name}/{path.name}", path.read_bytes())
    yield files
    files.rm("/stores", recursive=True)


def moved(made: Made, tmp_path: Path) -> Path:
    """The recipe of a training on the stores, without their texts."""
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.format(folder=tmp_path, tokenizer=made.folder.stage("tokenizer")))
    run_stages(load_recipe(path), ["tokenizer", "pack"], lambda line: None, begin=lambda stage: None)
    return path


def test_every_document_leads_to_its_file_and_byte(
    made: Made, bucket: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    folder = RunFolder(load_recipe(moved(made, tmp_path)).run_dir)
    for identity in made.texts:
        told, there = of_document(folder, identity), of_document(made.folder, identity)
        assert told["source"] == there["source"] and told["pack"] == there["pack"]
        known = ("became", "shard", "portion")
        assert [told["clean"][each] for each in known] == [there["clean"][each] for each in known]
        if identity in made.records:
            assert bytes.fromhex(told["source"]["raw_hex"])[:9] == made.records[identity][:9]


def test_rows_do_too_in_both_forms(
    made: Made, bucket: fsspec.AbstractFileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = moved(made, tmp_path)
    recipe = load_recipe(path)
    told = of_row(RunFolder(recipe.run_dir), Order(recipe, RunFolder(recipe.run_dir)), 2)
    there = of_row(made.folder, Order(made.recipe, made.folder), 2)
    assert told["stretches"] == there["stretches"]
    assert [each["source"] for each in told["documents"]] == [each["source"] for each in there["documents"]]
    capsys.readouterr()
    assert main(["trace", str(path), "--row", "2"]) == 0
    assert "of the run that packed the store" in capsys.readouterr().out


def test_a_store_carries_the_files_of_its_documents_and_no_text(made: Made) -> None:
    clean = made.folder.stage("clean")
    named: dict[str, set[str]] = {}
    for part in PARTS:
        folder = made.folder.stage("pack") / part
        documents = list(TokenStore.open(folder).documents)
        lines = list(read_portions(folder))
        assert {file.name for line in lines for file in line.files} == {each["source"] for each in documents}
        assert all(line.shard is not None for line in lines)
        for name in ("lineage.json", "data_card.md"):
            assert (folder / name).read_bytes() == (clean / name).read_bytes()
        content = b"".join((folder / name).read_bytes() for name in CARRIED)
        assert b"Tale " not in content
        named[part] = {each["source"] for each in documents}
    assert named["heldout"] < named["train"], "what a part has no document of is not in its lineage"


def test_the_training_tells_its_sources(made: Made, bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    recipe = load_recipe(moved(made, tmp_path))
    card = data_card_of(recipe)
    assert card is not None and card.read_bytes() == (made.folder.stage("clean") / "data_card.md").read_bytes()
    pack = RunFolder(recipe.run_dir).stage("pack")
    told = fingerprint(pack, TokenStore.open(pack / "train"))
    assert told["lineage"] == hash_file(made.folder.stage("clean") / "lineage.json")


def test_what_the_stores_do_not_know_is_one_line(
    made: Made, bucket: fsspec.AbstractFileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = moved(made, tmp_path)
    for identity in ("a.jsonl#41", "nothing", "a.jsonl#" + "9" * 5000):
        capsys.readouterr()
        assert main(["trace", str(path), identity]) == 2
        told = capsys.readouterr().err
        assert "in the stores, which know nothing of what was dropped" in told and told.count("\n") == 1


def test_a_store_of_another_sort_ends_the_walk_at_the_id(
    made: Made, bucket: fsspec.AbstractFileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = moved(made, tmp_path)
    for file in (tmp_path / "moved" / "pack").glob("*/lineage.json*"):
        file.unlink()
        about = json.loads((file.parent / "store.json").read_text())
        assert file.name in about["files"]
    shutil.rmtree(tmp_path / "moved" / "pack")
    for part in PARTS:
        about = json.loads(bucket.cat(f"/stores/{part}/store.json"))
        left = {name: size for name, size in about["files"].items() if name not in CARRIED}
        blocks = bucket.cat(f"/stores/{part}/hashes.bin")[: 32 * len(left)]  # all files are of one block here
        about |= {"files": left, "hashes": hashlib.sha256(blocks).hexdigest()}
        bucket.pipe(f"/stores/{part}/hashes.bin", blocks)
        write_description(tmp_path, about)
        bucket.pipe(f"/stores/{part}/store.json", (tmp_path / "store.json").read_bytes())
    run_stages(load_recipe(path), ["pack"], lambda line: None, begin=lambda stage: None)
    capsys.readouterr()
    for arguments in (["--row", "1"], ["a.jsonl#0"]):
        assert main(["trace", str(path), *arguments]) == 0
        assert "the store does not say where its documents come from" in capsys.readouterr().out
    assert main(["trace", str(path), "a.jsonl#7777"]) == 2
    assert "no document 'a.jsonl#7777' in the stores" in capsys.readouterr().err


def test_damage_on_the_way_is_refused(made: Made, bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    content = bucket.cat("/stores/train/lineage.jsonl")
    bucket.pipe("/stores/train/lineage.jsonl", content.replace(b"a.jsonl", b"b.jsonl"))
    with pytest.raises(InputError, match=r"stores/train/lineage.jsonl is damaged: bytes 0 to "):
        moved(made, tmp_path)


def test_documents_that_no_clean_wrote_carry_nothing(tmp_path: Path) -> None:
    assert Origins.of(tmp_path, []) is None
