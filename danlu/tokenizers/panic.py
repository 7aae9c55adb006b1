"""Panics of the tokenizers library's Rust, which are no Exception in Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_panics() -> Iterator[None]:
    """A panic becomes a ValueError with what it says.

    Raises:
        ValueError: the library has panicked.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # pyo3_runtime has no module to import it from
            raise
        raise ValueError(f"the tokenizers library gave up on it: {error}") from None
