"""Compilation: when it is left out and why, what a broken compiler does, and that it changes no result."""

from __future__ import annotations

from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters
from torch._inductor import config as inductor
from torch._inductor.utils import fresh_cache

from danlu import machine
from danlu.nn.families import GPT
from danlu.nn.transformer import Transformer
from danlu.objectives.clm import CausalLM
from danlu.train.budget import Budget
from danlu.train.compiling import compile_blocks
from danlu.train.loop import StepInfo, fit
from danlu.train.probe import probe, warm_up
from danlu.train.settings import Hardware
from danlu.train.setup import Training

MakeTraining = Callable[..., Training]
TINY = GPT(layers=2, dim=16, heads=1)


@pytest.fixture
def model() -> Transformer:
    return Transformer(TINY.config(vocab_size=9, max_length=8))


@pytest.mark.parametrize(
    ("setting", "steps", "on", "why"),
    [
        ("off", None, False, "no compilation: as asked"),
        ("off", 10_000, False, "no compilation: as asked"),
        ("auto", 99, False, "no compilation: 99 steps are too few to earn it back"),
        ("auto", 100, True, "blocks are compiled by torch.compile"),
        ("auto", None, True, "blocks are compiled by torch.compile"),
        ("on", 1, True, "blocks are compiled by torch.compile"),
    ],
)
def test_the_rule_and_its_words(setting: Any, steps: int | None, on: bool, why: str, model: Transformer) -> None:
    compiled = compile_blocks(model, setting, steps=steps)
    assert (compiled.on, compiled.why) == (on, why)
    assert all((block._compiled_call_impl is not None) == on for block in model.blocks)


@pytest.mark.parametrize(
    "budget", [Budget(steps=99), Budget(tokens=99 * 192), Budget(epochs=0.1), Budget(minutes=9, steps=5)]
)
def test_any_budget_can_be_too_small(budget: Budget, make_training: MakeTraining) -> None:
    training = make_training(compile="auto", budget=budget)
    assert not training.compiled
    assert "too few to earn it back" in training.compilation


@pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning")
def test_rows_of_many_widths_are_all_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As bucketed rows are: beyond a limit, torch goes on without the compiler."""
    torch._dynamo.reset()
    counters.clear()
    plain = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(plain, backend="eager"))
    model = Transformer(TINY.config(vocab_size=9, max_length=20))
    with torch._dynamo.config.patch(recompile_limit=8):
        assert compile_blocks(model, "on", steps=None).on
        for length in range(2, 14):
            model(torch.zeros(2, length, dtype=torch.long))
    assert counters["stats"]["unique_graphs"] == 12
    torch._dynamo.reset()


def test_without_a_compiler(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    for setting in ("auto", "on"):
        compiled = compile_blocks(model, setting, steps=None)  # type: ignore[arg-type]
        assert compiled.why == "no compilation: no C++ compiler (g++, or what CXX names) is installed"
        assert not compiled.on


@pytest.mark.parametrize("first", [warm_up, probe])
def test_a_broken_compiler_is_told_and_does_without(
    first: Callable[..., Any], make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain, broken = make_training(model=TINY), make_training(model=TINY, compile="on")
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\necho no licence today >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setattr("danlu.train.probe.PROBE_SECONDS", 0.0)
    assert broken.compiled
    told: list[str] = []
    with fresh_cache(), inductor.patch({"cpp.cxx": (None, str(compiler)), "compile_threads": 1}):
        first(broken, told.append)
    [line] = told
    assert line.startswith("no compilation: torch.compile failed: ")
    assert "\n" not in line
    assert (broken.compiled, broken.compilation) == (False, line)
    broken.masters.load(plain.masters.state())
    for training in (plain, broken):
        weights = [{"params": list(training.model.parameters()), "lr_scale": 1.0}]
        fit(training.model, training.batches, CausalLM(), torch.optim.SGD(weights), lambda _: 1.0, steps=2)
    assert all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), broken.model.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.filterwarnings(  # torch's own, of functions with a backward and of what a block is given
    "ignore:.*Function.*should not be instantiated:DeprecationWarning",
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_model_learns_the_same(precision: str, make_training: MakeTraining) -> None:
    losses: dict[str, list[float]] = {}
    family = GPT(layers=3, dim=64, heads=2)
    for setting in ("off", "on"):
        training = make_training(compile=setting, precision=precision, hardware=Hardware(micro_batch=3), model=family)
        assert training.compiled == (setting == "on")
        seen = losses[setting] = []

        def hook(info: StepInfo, seen: list[float] = seen) -> None:
            seen.append(info.loss)

        fit(training.model, training.batches, CausalLM(), training.optimizer, lambda _: 1.0, steps=8, hooks=[hook])
    tolerance = 1e-4 if precision == "fp32" else 0.03
    assert losses["on"] == pytest.approx(losses["off"], rel=tolerance)
