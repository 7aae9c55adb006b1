"""A tiny corpus and a tiny model, so that a whole training takes a second or two."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from danlu.corpus.store import TokenStore
from danlu.nn.families import GPT
from danlu.optim.adamw import AdamW
from danlu.recipe import Recipe, load_recipe
from danlu.runs import run_stages
from danlu.stage import Job
from danlu.train.budget import Budget
from danlu.train.pretrain import Pretrain
from danlu.train.setup import Training, set_up

# Processes that a test starts find ranks.py by its name, and so do the tests.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "parallel")]

WORDS = ("to", "be", "or", "not", "that", "is", "the", "question", "whether", "nobler", "in", "mind", "suffer")

RECIPE = """\
clean: {{sources: [{text}]}}
tokenizer: {{use: char}}
pack: {{split: {{use: hash, fraction: 0.2}}}}
pretrain:
  model: {{use: gpt, layers: 2, dim: 32, heads: 2}}
  sequence: 24
  batch: 4
  budget: {{steps: 60}}
  save: {{steps: 5}}
  evaluations: 2
  precision: fp32
  compile: off
"""


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``recipe.yaml`` and a run folder ``run``, done up to ``pack``."""
    folder = tmp_path_factory.mktemp("packed")
    randoms = random.Random(5)
    (folder / "text").mkdir()
    for number in range(30):
        text = " ".join(randoms.choices(WORDS, k=randoms.randint(2, 40)))
        (folder / "text" / f"{number:02}.txt").write_text(text, encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE.format(text=folder / "text"), encoding="utf-8")
    run_stages(load(folder), ["clean", "tokenizer", "pack"])
    return folder


def load(folder: Path, *overrides: str) -> Recipe:
    return load_recipe(folder / "recipe.yaml", [f"run_dir={folder / 'run'}", *overrides])


@pytest.fixture
def make_job(packed: Path, tmp_path: Path) -> Callable[..., Job]:
    """``make_job("pretrain.batch=2", …)``: a job of ``pretrain`` in an empty folder."""

    def make(*overrides: str, out: str = "pretrain") -> Job:
        (tmp_path / out).mkdir(exist_ok=True)
        inputs = {name: packed / "run" / name for name in ("tokenizer", "pack")}
        return Job(load(packed, *overrides), inputs, tmp_path / out)

    return make


@pytest.fixture
def train(make_job: Callable[..., Job]) -> Callable[..., Job]:
    """``train("pretrain.batch=2", …)`` runs the stage in this process; another call goes on in its folder."""

    def run(*overrides: str, out: str = "pretrain") -> Job:
        job = make_job(*overrides, out=out)
        stage = job.recipe.section("pretrain")
        assert isinstance(stage, Pretrain)
        stage.run(job)
        return job

    return run


@pytest.fixture
def make_training(packed: Path) -> Callable[..., Training]:
    """``make_training(optimizer=Muon(), …)``: what :func:`set_up` builds; settings override those here."""

    def make(*, seed: int = 3, **settings: Any) -> Training:
        known: dict[str, Any] = {
            "model": GPT(layers=2, dim=32, heads=2),
            "optimizer": AdamW(),
            "budget": Budget(steps=10),
            "sequence": 24,
            "batch": 8,
            "precision": "fp32",
            "compile": "off",
        }
        return set_up(Pretrain(**{**known, **settings}), TokenStore.open(packed / "run" / "pack" / "train"), seed=seed)

    return make


@pytest.fixture
def fresh(packed: Path, tmp_path: Path) -> Callable[..., Path]:
    """``fresh("a")``: a folder with a recipe and a run that is done up to ``pack``."""

    def make(name: str, source: Path = packed) -> Path:
        shutil.copytree(source / "run", tmp_path / name / "run")
        shutil.copy(source / "recipe.yaml", tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Several threads on tiny tensors only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
