"""Too little main memory, said in one line that names what would take less."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from danlu.errors import DanluError
from danlu.log import short
from danlu.machine import free_memory_bytes

TORCH_SAYS = ("not enough memory", "can't allocate memory", "Storage size calculation overflowed")
"""Of the ``RuntimeError`` that torch raises where the system gives it no memory."""


@contextmanager
def told_where_too_little() -> Iterator[None]:
    """Turn a refused allocation, or a helper process that the system killed, into one line.

    Raises:
        DanluError: there is too little memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # BrokenProcessPool is a RuntimeError too
        refused = isinstance(error, MemoryError | BrokenProcessPool)
        if not refused and not any(words in str(error) for words in TORCH_SAYS):
            raise
        free = free_memory_bytes()
        have = f"; {short(free)}B of memory are free" if free is not None else ""
        raise DanluError(
            f"too little memory for this model{have}: lower pretrain.model.dim, pretrain.model.layers, "
            "tokenizer.vocab_size or pretrain.micro_batch"
        ) from error
