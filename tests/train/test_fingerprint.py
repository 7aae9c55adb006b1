"""Checkpoints say which text they were trained on, and a training that goes on says when it is another."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from danlu.corpus.store import TokenStore
from danlu.run_folder import RunFolder
from danlu.stage import Job
from danlu.train.checkpoint import DATA, checkpoints, find_damage, load_newest
from danlu.train.fingerprint import fingerprint, in_words
from danlu.train.pretrain import Pretrain


def test_a_checkpoint_carries_the_fingerprint_of_its_text(packed: Path, train: Callable[..., Job]) -> None:
    job = train("pretrain.budget.steps=2")
    (path,) = checkpoints(job.out / "checkpoints")
    known = json.loads((path / "training" / DATA).read_text())
    run, store = RunFolder(packed / "run"), TokenStore.open(packed / "run/pack/train")
    assert (known["documents"], known["tokens"]) == (len(store.documents), len(store.tokens))
    assert (known["pack"], known["clean"]) == (run.digest("pack"), run.digest("clean"))
    assert known["lineage"] == hashlib.sha256((packed / "run/clean/lineage.json").read_bytes()).hexdigest()
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest[f"training/{DATA}"] == hashlib.sha256((path / "training" / DATA).read_bytes()).hexdigest()
    state = load_newest(job.out / "checkpoints", print)
    assert state is not None and state.data == known
    (path / "training" / DATA).write_text("{}")
    assert find_damage(path) == f"training/{DATA} is not what was written"


def test_going_on_with_other_text_is_told(
    packed: Path, train: Callable[..., Job], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = train("pretrain.budget.steps=2")
    train("pretrain.budget.steps=3")
    assert "the text is another one" not in capsys.readouterr().out
    run = tmp_path / "run"
    shutil.copytree(packed / "run", run)
    done = json.loads((run / "pack/done.json").read_text())
    (run / "pack/done.json").write_text(json.dumps({**done, "outputs": {**done["outputs"], "train/tokens.bin": "x"}}))
    stage = job.recipe.section("pretrain")
    assert isinstance(stage, Pretrain)
    stage = stage.model_copy(update={"budget": stage.budget.model_copy(update={"steps": 4})})
    stage.run(Job(job.recipe, {name: run / name for name in ("tokenizer", "pack")}, job.out))
    told = "the text is another one than that of the checkpoint: as many documents and tokens, of other text"
    assert told in capsys.readouterr().out


def test_a_store_that_no_stage_made_has_counts(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed / "run/pack", tmp_path / "pack")
    (tmp_path / "pack/done.json").unlink()
    store = TokenStore.open(tmp_path / "pack/train")
    assert fingerprint(tmp_path / "pack", store) == {"documents": len(store.documents), "tokens": len(store.tokens)}


def test_differences_in_words() -> None:
    was = {"documents": 1200, "tokens": 5, "pack": "a"}
    assert in_words(was, was) is None and in_words({}, was) is None
    now = {**was, "documents": 1300, "pack": "b"}
    assert in_words(was, now) == "documents 1,200 then, 1,300 now"
    assert in_words(was, {**was, "pack": "b"}) == "as many documents and tokens, of other text"
