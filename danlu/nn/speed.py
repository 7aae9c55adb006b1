"""Number type and compiler: what makes a model fast on this machine, by rules that are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch

from danlu.errors import RecipeError
from danlu.machine import FAST_BFLOAT16, FAST_INT8, cpp_compiler, fast_bfloat16, fast_int8
from danlu.nn.float8 import why_no_float8

PrecisionSetting = Literal["auto", "bf16", "fp32"]
TrainingPrecision = Literal["auto", "bf16", "fp16", "fp8", "int8", "fp32"]
CompileSetting = Literal["auto", "on", "off"]
DeviceSetting = Literal["auto", "cpu", "cuda"]
CPU = torch.device("cpu")
_BESIDE: ContextVar[DeviceSetting] = ContextVar("where models beside that of a stage compute", default="auto")
AMPERE = 8
"""The first generation of NVIDIA's GPUs that multiplies bfloat16."""


def choose_device(setting: DeviceSetting, *, key: str = "pretrain.hardware.device") -> torch.device:
    """Where to compute.

    Args:
        key: of the setting, for the error.

    Raises:
        RecipeError: a GPU is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if setting == "cuda" and not there:
        raise RecipeError(f"{key} is cuda, and torch finds no GPU here (choices: auto, cpu)")
    return torch.device("cuda" if there and setting != "cpu" else "cpu")


@contextmanager
def computing_on(setting: DeviceSetting) -> Iterator[None]:
    """Meanwhile models that have no setting of their own, as those of metrics and rewards, compute where this says."""
    before = _BESIDE.set(setting)
    try:
        yield
    finally:
        _BESIDE.reset(before)


def choose_device_beside(key: str) -> torch.device:
    """Where such a model computes: as :func:`computing_on` says, or where it is fastest.

    Args:
        key: of what it is for, for the error.

    Raises:
        RecipeError: a GPU is asked for and there is none.
    """
    return choose_device(_BESIDE.get(), key=key)


def choose_training_dtype(
    setting: TrainingPrecision, device: torch.device, *, key: str = "pretrain.precision"
) -> tuple[torch.dtype, str]:
    """The number type of a model in training, and the rule that gave it, in words.

    Args:
        key: of the setting, for the error.

    Raises:
        RecipeError: products of 8 bits are asked for and cannot be.
    """
    if setting == "fp8":
        if reason := why_no_float8():
            raise RecipeError(f"{key} fp8: {reason}")
        return torch.bfloat16, "fp8: as asked, products of blocks; bf16 elsewhere"
    if setting == "int8":
        if reason := why_no_int8(device):
            raise RecipeError(f"{key} int8: {reason}")
        dtype = choose_dtype("auto")[0]
        return dtype, f"int8: as asked, products of blocks; {'bf16' if dtype == torch.bfloat16 else 'fp32'} elsewhere"
    if setting == "fp16":
        return torch.float16, "fp16: as asked, the loss scaled"
    if setting == "auto" and device.type == "cuda":
        dtype, why = choose_dtype("auto", device)
        if dtype == torch.bfloat16:
            return dtype, why
        return torch.float16, "fp16: this GPU does not multiply bfloat16; the loss is scaled"
    return choose_dtype(setting)


def choose_dtype(setting: PrecisionSetting, device: torch.device = CPU) -> tuple[torch.dtype, str]:
    """The number type there and the rule that gave it, in words."""
    if setting != "auto":
        return (torch.bfloat16 if setting == "bf16" else torch.float32), f"{setting}: as asked"
    if device.type == "cuda":
        if torch.cuda.get_device_capability(device)[0] >= AMPERE:
            return torch.bfloat16, "bf16: this GPU multiplies bfloat16"
        return torch.float32, "fp32: this GPU does not multiply bfloat16"
    if fast := fast_bfloat16():
        return torch.bfloat16, f"bf16: this processor multiplies bfloat16 in hardware ({fast})"
    return torch.float32, f"fp32: this processor has neither {' nor '.join(FAST_BFLOAT16)}; bfloat16 would be slower"


def why_no_int8(device: torch.device) -> str | None:
    """Why int8 is not multiplied fast there; None where it is."""
    if device.type != "cpu":
        return "it is for processors; on a GPU choose fp8 or bf16"
    if fast_int8() is None:
        return f"this processor has none of {', '.join(FAST_INT8)}, so it would be slower than fp32"
    return None


def why_not_compiled(setting: CompileSetting, count: int | None, *, worth: int, unit: str = "steps") -> str | None:
    """Why so many steps (None: not known yet) go without ``torch.compile``; None where they are compiled.

    Args:
        worth: fewer than this would not earn back what compiling takes.
        unit: what is counted.
    """
    if setting == "off":
        return "as asked"
    if cpp_compiler() is None and not torch.cuda.is_available():
        return "no C++ compiler (g++, or what CXX names) is installed"
    if setting == "auto" and count is not None and count < worth:
        return f"{count:,} {unit} are too few to earn it back"
    return None


def from_compiler(error: BaseException) -> bool:
    """Whether an error was raised by ``torch.compile`` and not by the model."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def first_line(error: BaseException) -> str:
    """What an error says, in a line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
