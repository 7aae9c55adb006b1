"""``torch.compile`` block by block, and the reason where a model runs without it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from danlu.nn.head import LanguageModelHead
from danlu.nn.speed import CompileSetting, why_not_compiled
from danlu.nn.transformer import Transformer
from danlu.objectives.words import word_head

SHAPES = 64
"""Shapes of micro-batches that blocks of one kind are compiled for: more would go without the compiler."""
WORTH_STEPS = 100
"""Compiling takes some 30 s the first time; a shorter run would not earn it back."""
LOOPS_OF_THEIR_OWN = {"cpp.max_horizontal_fusion_size": 1}
"""On processors: left alone, the compiler joins the softmax of all blocks of queries into one loop, for which neither
registers nor caches are enough."""


@dataclass
class Compilation:
    """Whether a model is compiled, and why; a compiler that fails changes both."""

    on: bool
    why: str
    native: bool = False
    """Whether, where it is not, attention goes through C++ (``train/kernels.py``)."""

    @property
    def told(self) -> str:
        return f"{self.why}; attention in C++" if self.native else self.why


def compile_blocks(model: Transformer, setting: CompileSetting, *, steps: int | None) -> Compilation:
    """Compile each block and the loss where ``setting`` and this machine allow; say whether, and why.

    The blocks are alike, so one compilation serves them all. Nothing is compiled yet when this
    returns: that happens at the first call (:func:`danlu.train.probe.warm_up`).
    """
    reason = why_not_compiled(setting, steps, worth=WORTH_STEPS)
    if reason:
        return Compilation(False, f"no compilation: {reason}")
    torch._dynamo.config.recompile_limit = max(SHAPES, torch._dynamo.config.recompile_limit)
    for block in model.blocks:
        block.compile(dynamic=False, options=LOOPS_OF_THEIR_OWN)
    # On GPUs all scored tokens are one chunk, of as many rows as a step happens to score.
    on_gpu = model.embedding.weight.device.type == "cuda"
    if isinstance(head := word_head(model), LanguageModelHead):
        head.compile_loss(dynamic=None if on_gpu else False)
    return Compilation(True, "blocks are compiled by torch.compile")


def without_compilation(model: Transformer) -> None:
    """Undo :func:`compile_blocks`."""
    for block in model.blocks:
        block._compiled_call_impl = None
    if isinstance(head := word_head(model), LanguageModelHead):
        head.without_compilation()
