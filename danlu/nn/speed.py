"""Number type and compiler: what makes a model fast on this machine, by rules that are told."""

from __future__ import annotations

import shutil
from typing import Literal

import torch

from danlu.machine import FAST_BFLOAT16, fast_bfloat16

PrecisionSetting = Literal["auto", "bf16", "fp32"]
CompileSetting = Literal["auto", "on", "off"]


def choose_dtype(setting: PrecisionSetting) -> tuple[torch.dtype, str]:
    """The number type and the rule that gave it, in words."""
    if setting != "auto":
        return (torch.bfloat16 if setting == "bf16" else torch.float32), f"{setting}: as asked"
    if fast := fast_bfloat16():
        return torch.bfloat16, f"bf16: this processor multiplies bfloat16 in hardware ({fast})"
    return torch.float32, f"fp32: this processor has neither {' nor '.join(FAST_BFLOAT16)}; bfloat16 would be slower"


def why_not_compiled(setting: CompileSetting, count: int | None, *, worth: int, unit: str = "steps") -> str | None:
    """Why so many steps (None: not known yet) go without ``torch.compile``; None where they are compiled.

    Args:
        worth: fewer than this would not earn back what compiling takes.
        unit: what is counted.
    """
    if setting == "off":
        return "as asked"
    if shutil.which("g++") is None and shutil.which("clang++") is None and not torch.cuda.is_available():
        return "no C++ compiler (g++ or clang++) is installed"
    if setting == "auto" and count is not None and count < worth:
        return f"{count:,} {unit} are too few to earn it back"
    return None


def from_compiler(error: BaseException) -> bool:
    """Whether an error was raised by ``torch.compile`` and not by the model."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def first_line(error: BaseException) -> str:
    """What an error says, in a line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
