"""A loaded model made ready to write fast: its weights packed, and the step from token to token compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from danlu import log
from danlu.generate.engine import Loaded, load
from danlu.nn.attention import Context
from danlu.nn.heap import keep_freed_memory
from danlu.nn.packed import may_be_packed, pack
from danlu.nn.speed import (
    CompileSetting,
    DeviceSetting,
    PrecisionSetting,
    choose_device,
    choose_dtype,
    first_line,
    from_compiler,
    why_not_compiled,
)
from danlu.nn.stack import call_block
from danlu.nn.transformer import Transformer

WORTH_CALLS = 20_000
"""Compiling takes some 5 s, and a compiled block saves some 0.3 ms; fewer calls of a block would not earn it back."""
SHAPES = 64
"""So many kinds of blocks and numbers of rows may be compiled; the compiler's own limit of 8 is meant for loops."""


class Speed(NamedTuple):
    """How fast the model is to be, as settings say it."""

    precision: PrecisionSetting = "fp32"
    compile: CompileSetting = "auto"
    device: DeviceSetting = "cpu"
    key: str = "device"
    """What the device is called where it is set."""


def load_ready(folder: Path, speed: Speed, *, tokens: int | None) -> tuple[Loaded, str]:
    """The model in ``folder``, ready to write so many tokens (None: nobody knows), and what was done, in words.

    Raises:
        RecipeError: a GPU is asked for and there is none.
        InputError, CheckpointError: as :func:`danlu.generate.engine.load`.
    """
    keep_freed_memory()
    device = choose_device(speed.device, key=speed.key)
    dtype, why = choose_dtype(speed.precision, device)
    loaded = load(folder, dtype=dtype)
    loaded.model.to(device)
    return loaded, f"precision {why}; {prepare(loaded.model, speed.compile, tokens=tokens)}"


def prepare(model: Transformer, setting: CompileSetting, *, tokens: int | None) -> str:
    """Pack the model's weights and compile its steps where that pays; what was done, in words.

    The model can then no longer train nor be saved.

    Args:
        tokens: how many will be written, those of one step counted once; None where nobody knows, which does not pay
            unless ``setting`` is on.
    """
    packed = may_be_packed(model)
    if packed:
        pack(model)
    decoder = model.decoder
    assert decoder is not None
    worth = -(-WORTH_CALLS // len(decoder.blocks))
    reason = why_not_compiled(setting, tokens, worth=worth, unit="tokens")
    if reason is None and setting == "auto" and tokens is None:
        reason = "how many tokens there will be is not known"
    if reason is None:
        decoder.step = CompiledStep()
    compiled = "steps are compiled by torch.compile" if reason is None else f"no compilation: {reason}"
    return f"{'weights are packed' if packed else 'weights are as they were'}; {compiled}"


class CompiledStep:
    """:func:`call_block`, compiled; where the compiler fails, that is told once and blocks run without it."""

    def __init__(self) -> None:
        torch._dynamo.config.recompile_limit = max(SHAPES, torch._dynamo.config.recompile_limit)
        self._compiled: Any = torch.compile(call_block)

    def __call__(self, block: Any, x_BTD: Tensor, context: Context) -> Tensor:
        try:
            out: Tensor = self._compiled(block, x_BTD, context)
        except Exception as error:
            if not from_compiler(error):
                raise
            log.say(f"no compilation: torch.compile failed: {first_line(error)}")
            self._compiled = call_block
            out = call_block(block, x_BTD, context)
        return out
