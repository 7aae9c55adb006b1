"""``torch.compile`` block by block, and the reason where a model runs without it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Literal

import torch

from danlu.nn import head
from danlu.nn.transformer import Transformer

CompileSetting = Literal["auto", "on", "off"]

WORTH_STEPS = 100
"""Compiling takes some 30 s the first time; a shorter run would not earn it back."""


@dataclass
class Compilation:
    """Whether a model is compiled, and why; a compiler that fails changes both."""

    on: bool
    why: str


def compile_blocks(model: Transformer, setting: CompileSetting, *, steps: int | None) -> Compilation:
    """Compile each block and the loss where ``setting`` and this machine allow; say whether, and why.

    The blocks are alike, so one compilation serves them all. Nothing is compiled yet when this
    returns: that happens at the first call (:func:`danlu.train.probe.warm_up`).
    """
    reason = why_not(setting, steps)
    if reason:
        return Compilation(False, f"no compilation: {reason}")
    for block in model.blocks:
        block.compile(dynamic=False)
    model.head.chunk_loss = torch.compile(head.chunk_loss, dynamic=False)
    return Compilation(True, "blocks are compiled by torch.compile")


def without_compilation(model: Transformer) -> None:
    """Undo :func:`compile_blocks`."""
    for block in model.blocks:
        block._compiled_call_impl = None
    model.head.chunk_loss = head.chunk_loss


def why_not(setting: CompileSetting, steps: int | None) -> str | None:
    """Why a run of so many steps (None: not known yet) goes without compilation; None where it compiles."""
    if setting == "off":
        return "the recipe says so"
    if shutil.which("g++") is None and shutil.which("clang++") is None and not torch.cuda.is_available():
        return "no C++ compiler (g++ or clang++) is installed"
    if setting == "auto" and steps is not None and steps < WORTH_STEPS:
        return f"{steps} steps are too few to earn it back"
    return None
