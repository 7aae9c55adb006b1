"""Attention in C++ in trainings that are not compiled: where it is, on all ranks or on none, and that it is told."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from danlu.corpus.batches import Group
from danlu.corpus.rows import Widths
from danlu.data.dataset import Data, load
from danlu.nn.attention import Attention
from danlu.nn.families import GPT, T5
from danlu.nn.transformer import Transformer
from danlu.parallel.joining import ALONE
from danlu.recipe import build_choice
from danlu.tasks.classify import Classify
from danlu.tasks.finetune import Finetune
from danlu.tasks.joint_lesson import JointLesson
from danlu.tasks.lesson import TaskLesson
from danlu.tasks.material import Material
from danlu.tasks.task import Known
from danlu.tasks.teaching import teaching_of
from danlu.train import kernels
from danlu.train.compiling import Compilation
from danlu.train.kernels import use_native_attention
from danlu.train.settings import Hardware

ONE_ROW = [Group([0], Widths(8)), Group([1], Widths(8))]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Transformer:
    """With heads of 32, on a processor that has what they need."""
    monkeypatch.setattr("danlu.nn.native.attention.HERE", True)
    monkeypatch.setattr(kernels, "can_load", lambda name, **numbers: numbers == {"HEAD": 32})
    return Transformer(GPT(layers=2, dim=64, heads=2).config(vocab_size=9, max_length=8))


def ways(model: Transformer) -> set[bool]:
    return {each.native for each in model.modules() if isinstance(each, Attention)}


def test_all_layers_take_it(model: Transformer) -> None:
    assert ways(model) == {False}
    assert use_native_attention(model, torch.bfloat16, ALONE, groups=ONE_ROW, wanted=True)
    assert ways(model) == {True}


@pytest.mark.parametrize(
    ("dtype", "groups", "wanted", "loads", "here"),
    [
        (torch.float32, ONE_ROW, True, True, True),
        (torch.bfloat16, [*ONE_ROW, Group([3, 4], Widths(8))], True, True, True),
        (torch.bfloat16, ONE_ROW, False, True, True),
        (torch.bfloat16, ONE_ROW, True, False, True),
        (torch.bfloat16, ONE_ROW, True, True, False),
    ],
    ids=["float32", "several rows", "not wanted", "no compiler", "another processor"],
)
def test_where_it_is_not(  # noqa: PLR0913
    dtype: torch.dtype,
    groups: list[Group],
    wanted: bool,
    loads: bool,
    here: bool,
    model: Transformer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What each rank has is asked for in any case: to ask is a step of all."""
    monkeypatch.setattr("danlu.nn.native.attention.HERE", here)
    monkeypatch.setattr(kernels, "can_load", lambda *_, **__: loads)
    asked: list[bool] = []
    ranks: Any = SimpleNamespace(all=lambda own: asked.append(own) or [own], compiling=nullcontext)
    assert not use_native_attention(model, dtype, ranks, groups=groups, wanted=wanted)
    assert ways(model) == {False} and asked == [False]
    assert not capsys.readouterr().out


def test_a_rank_that_has_none_is_named(model: Transformer, capsys: pytest.CaptureFixture[str]) -> None:
    ranks: Any = SimpleNamespace(all=lambda own: [own, False, True, False], compiling=nullcontext)
    assert not use_native_attention(model, torch.bfloat16, ranks, groups=ONE_ROW, wanted=True)
    assert ways(model) == {False}
    said = "attention goes through torch, for it cannot go through C++ on rank 1, 3\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("family", [GPT(layers=2, dim=16, heads=2), T5(layers=2, dim=64, heads=2)], ids=["8", "bias"])
def test_layers_that_it_is_not_for(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads of another width, and scores with a bias."""
    monkeypatch.setattr("danlu.nn.native.attention.HERE", True)
    monkeypatch.setattr(kernels, "can_load", lambda *_, **__: pytest.fail("nothing to load"))
    model = Transformer(family.config(vocab_size=9, max_length=8))
    assert not use_native_attention(model, torch.bfloat16, ALONE, groups=ONE_ROW, wanted=True)
    assert ways(model) == {False}


def test_it_is_told_with_what_is_compiled() -> None:
    assert Compilation(False, "no compilation: as asked").told == "no compilation: as asked"
    assert Compilation(False, "no compilation: as asked", True).told == "no compilation: as asked; attention in C++"


@pytest.mark.parametrize(("loss", "compares"), [("dpo", True), ("simpo", False)])
def test_what_compares_two_readings_has_both_by_one_arithmetic(loss: str, compares: bool) -> None:
    task = build_choice("task", {"use": "prefer", "by": loss}, key="finetune.task")
    assert TaskLesson(task=task, known=Known()).compares_readings is compares
    both = {"one": TaskLesson(task=Classify(), known=Known()), "other": TaskLesson(task=task, known=Known())}
    assert JointLesson(lessons=both, weights={"one": 1.0, "other": 1.0}).compares_readings is compares


@pytest.mark.parametrize(("loss", "native"), [("dpo", False), ("orpo", True)])
def test_a_training_asks_for_it_where_it_compares_no_readings(
    loss: str, native: bool, decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On any processor: nothing is computed."""
    monkeypatch.setattr("danlu.nn.native.attention.HERE", True)
    monkeypatch.setattr("danlu.nn.native.attention.WIDTHS", range(1, 1000))
    monkeypatch.setattr(kernels, "can_load", lambda *_, **__: True)
    file = tmp_path / "data.jsonl"
    rows = [{"prompt": f"{number}?", "chosen": "to be", "rejected": "not"} for number in range(6)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = build_choice("task", {"use": "prefer", "by": loss, "template": "plain"}, key="finetune.task")
    settings = Finetune(
        data=Data(train=file, dev=file), task=task, model=decoder, precision="bf16", batch=2,
        hardware=Hardware(device="cpu"),
    )  # fmt: skip
    material = Material.of(settings, decoder, load(settings.data, task.form), out=tmp_path, seed=1)
    training = teaching_of(task)(material, 1).training()
    assert training.compiling.native is native
    assert ("attention in C++" in training.compilation) is native
