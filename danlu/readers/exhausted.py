"""When this machine is at its end (disk, open files, memory): the run stops, for no file is to blame."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from danlu.errors import InputError
from danlu.files import writing

_EXHAUSTED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def check_blame(error: BaseException, name: str) -> None:
    """Do nothing where a file may be to blame for ``error``, which came while it was read.

    Raises:
        InputError: the machine is.
    """
    number = getattr(error, "errno", None)
    if number in _EXHAUSTED:
        raise InputError(f"cannot read {name}: {os.strerror(number)} (this machine's limit)") from error


@contextmanager
def keeping() -> Iterator[None]:
    """Write to a temporary file, for a ``with``.

    Raises:
        OutputError: the disk of temporary files (``TMPDIR``) refuses.
    """
    with writing(Path(tempfile.gettempdir())):
        yield
