"""A small corpus in English and Chinese, made on the fly, and trainings on it that take a second."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from danlu.corpus.store import TokenStore
from danlu.nn.families import GPT
from danlu.optim.adamw import AdamW
from danlu.recipe import Recipe, load_recipe
from danlu.runs import run_stages
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.budget import Budget
from danlu.train.pretrain import Pretrain
from danlu.train.settings import Hardware
from danlu.train.setup import Training, set_up

ENGLISH = (
    "The furnace was lit before sunrise.", "Nobody believed that anything valuable would come out of it.",
    "Every morning she weighed the cinnabar and ground it under the stone.", "She wrote down whatever happened.",
    "Machine learning is not so different, said the engineer.", "One measures, changes a single thing, and measures.",
    "The grocer, who had lent them money, believed it least of all.", "Most evenings there is nothing to show.",
    "An unremarkable entry in a notebook is still an entry.", "How long had the vessel been shut?",
    "The temperature rose as far as her hand could tell it.", "In the Song dynasty they called that refining.",
    "A neighbour's daughter carried charcoal up from the courtyard.", "It rained until Thursday.",
)  # fmt: skip
CHINESE = (
    "炉火在日出以前就点着了。", "街坊邻居谁也不相信那里面会出什么值钱的东西。",
    "她每天早晨都称好朱砂，在石头下面研磨。",
    "她把发生的一切都写下来。", "机器学习和这个没有太大的区别，工程师说。", "人们测量，改变一样东西，再测量。",
    "借过钱给他们的杂货店老板最不相信。", "大多数晚上什么也拿不出来。", "笔记本里平平常常的记录也是记录。",
    "容器关了多长时间？", "温度升高了，她用手能够感觉到。", "在宋朝，人们把这叫做修炼。",
    "炼丹师的女儿从院子里把木炭背上来。", "雨一直下到星期四。",
)  # fmt: skip
DOCUMENTS = 60
RECIPE = """\
run_dir: {run_dir}
seed: 11
clean: {{sources: [{text}]}}
tokenizer: {{use: wordpiece, vocab_size: 700, alphabet: 250, min_frequency: 25, special: [bert, t5]}}
pack: {{split: {{use: hash, fraction: 0.2}}, marks: [words]}}
pretrain:
  model: {{use: gpt, layers: 1, dim: 16, heads: 2}}
  optimizer: {{use: adamw}}
  sequence: 24
  batch: 4
  budget: {{steps: 60}}
  save: {{steps: 5}}
  evaluations: 2
  hardware: {{device: cpu}}
  precision: fp32
  compile: off
"""
"""An epoch of it has some twenty steps."""


def documents(*, count: int = DOCUMENTS, seed: int = 5) -> list[str]:
    """Texts of one to eight sentences, in one language each; no two alike."""
    randoms = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        chinese = len(made) % 2 == 1
        sentences = randoms.choices(CHINESE if chinese else ENGLISH, k=randoms.randint(1, 8))
        made[("" if chinese else " ").join(sentences)] = None
    return list(made)


@dataclass
class Sample:
    """A folder in which properties are looked at."""

    folder: Path
    _folders: int = field(default=0, init=False)

    @cached_property
    def recipe(self) -> Path:
        """The recipe of a run that is done up to ``pack``."""
        text = self.folder / "text"
        text.mkdir()
        for number, document in enumerate(documents()):
            (text / f"{number:02}.txt").write_text(document, encoding="utf-8")
        path = self.folder / "recipe.yaml"
        path.write_text(RECIPE.format(run_dir=self.folder / "run", text=text), encoding="utf-8")
        with quiet():
            run_stages(load_recipe(path), ["clean", "tokenizer", "pack"])
        return path

    @property
    def run(self) -> Path:
        """Its folder; nobody may write there."""
        return self.recipe.parent / "run"

    def load(self, run_dir: Path, *overrides: str) -> Recipe:
        """The recipe for another folder, which is a copy of ``run``."""
        return load_recipe(self.recipe, [f"run_dir={run_dir}", *overrides])

    def copy(self) -> Path:
        """A run folder of its own, done up to ``pack``."""
        return Path(shutil.copytree(self.run, self.new("run") / "run"))

    def new(self, name: str) -> Path:
        """An empty folder."""
        self._folders += 1
        path = self.folder / f"{name}-{self._folders}"
        path.mkdir()
        return path

    @cached_property
    def store(self) -> TokenStore:
        return TokenStore.open(self.run / "pack" / "train")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.of(Tokenizer.load(self.run / "tokenizer"))

    def training(self, *, store: TokenStore | None = None, seed: int = 3, **settings: Any) -> Training:
        """What :func:`set_up` builds."""
        return set_up(small(**settings), store or self.store, vocabulary=self.vocabulary, seed=seed)


def small(**settings: Any) -> Pretrain:
    """A training of a tiny model; ``settings`` are changed."""
    known: dict[str, Any] = {
        "model": GPT(layers=2, dim=32, heads=2), "optimizer": AdamW(), "budget": Budget(steps=10), "sequence": 32,
        "batch": 8, "hardware": Hardware(device="cpu"), "precision": "fp32", "compile": "off", "evaluations": 0,
    }  # fmt: skip
    return Pretrain(**{**known, **settings})


def at_once(rows: int) -> Hardware:
    """A processor, and so many rows that go through the model together."""
    return Hardware(device="cpu", micro_batch=rows)


@contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Keep what is said to people."""
    said = io.StringIO()
    with redirect_stdout(said):
        yield said
