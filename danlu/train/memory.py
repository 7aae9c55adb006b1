"""Too little main memory, said in one line that names what would take less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from danlu.errors import DanluError
from danlu.log import short
from danlu.machine import free_memory_bytes

REMEDY = "lower pretrain.model.dim, pretrain.model.layers, tokenizer.vocab_size or pretrain.hardware.micro_batch"
"""For a model that the recipe makes."""
OF_GIVEN = (
    "set {section}.hardware.recompute to true, lower {section}.hardware.micro_batch or begin with a smaller model"
)
"""For one that is there already."""
TORCH_SAYS = (
    "not enough memory", "can't allocate memory", "Storage size calculation overflowed", "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "bad_alloc",
)  # fmt: skip
"""Of the ``RuntimeError`` that torch raises where the system, or what drives the GPU, gives it no memory."""


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
        DanluError: there is too little memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        free = free_memory_bytes()
        have = f"; {short(free)}B of memory are free" if free is not None else ""
        remedy = REMEDY if section == "pretrain" else OF_GIVEN.format(section=section)
        raise DanluError(f"too little memory for this model{have}: {remedy}") from error
