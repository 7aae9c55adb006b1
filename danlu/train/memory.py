"""Too little memory, said in one line that names what would take less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from danlu.errors import OutOfMemoryError
from danlu.log import short
from danlu.machine import free_memory_bytes

REMEDY = "lower pretrain.model.dim, pretrain.model.layers, tokenizer.vocab_size or pretrain.hardware.micro_batch"
"""For a model that the recipe makes."""
OF_GIVEN = (
    "set {section}.hardware.recompute to true, lower {section}.hardware.micro_batch or begin with a smaller model"
)
"""For one that is there already."""
OF_STEP = (
    "choose a {section}.optimizer that keeps less for each weight, as adafactor, lion or sgd, or give it more memory, "
    "with which the same command goes on from the last checkpoint"
)
"""Where it is the optimizer that needs it: the model's own passes have had room, and no cut of a batch gives it any."""
OF_AVERAGE = "leave out {section}.average, "
OF_STEP_ON_GPU = "set {section}.hardware.offload to true, "
TORCH_SAYS = (
    "not enough memory", "can't allocate memory", "Storage size calculation overflowed", "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "bad_alloc",
)  # fmt: skip
"""Of the ``RuntimeError`` that torch raises where the system, or what drives the GPU, gives it no memory."""
GPU_SAYS = ("CUDA", "CUBLAS", "CUDNN")
"""Of those of them that are of a GPU's memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the system or the GPU had no memory to give."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in TORCH_SAYS)


@contextmanager
def told_where_too_little(section: str = "pretrain") -> Iterator[None]:
    """Turn a refused allocation into one line.

    Args:
        section: of the recipe, for the error.

    Raises:
        OutOfMemoryError: there is too little memory.
    """
    remedy = REMEDY if section == "pretrain" else OF_GIVEN.format(section=section)
    with _told("for this model", remedy):
        yield


@contextmanager
def told_where_a_step_is_too_large(section: str, *, averages: bool = False) -> Iterator[None]:
    """The same of an optimizer's step, or of the average that follows it. What it has begun cannot be begun anew, for
    some weights have moved: the training ends, and what is on the disk stays as it is.

    Args:
        section: of the recipe, for the error.
        averages: whether it is the average of the weights.

    Raises:
        OutOfMemoryError: there is too little memory.
    """
    what = "for the average of the weights" if averages else "for a step of the optimizer"
    remedy, of_gpu = ((OF_AVERAGE if averages else "") + OF_STEP).format(section=section), OF_STEP_ON_GPU
    with _told(what, remedy, of_gpu=of_gpu.format(section=section)):
        yield


@contextmanager
def _told(what: str, remedy: str, *, of_gpu: str = "") -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if _is_of_a_gpu(error):
            raise OutOfMemoryError(f"too little memory of the GPU {what}: {of_gpu}{remedy}") from error
        free = free_memory_bytes()
        have = f"; {short(free)}B of memory are free" if free is not None else ""
        raise OutOfMemoryError(f"too little memory {what}{have}: {remedy}") from error


def _is_of_a_gpu(error: Exception) -> bool:
    """Whether it is not the main memory that is short, of which much may be free."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in GPU_SAYS)
