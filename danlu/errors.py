"""Every error that a user can mend.

Each is raised with one line that states the key, the value and the choices. The command line
prints that line without a traceback and leaves with ``exit_code``; every other exception is a
bug of ours and keeps its traceback::

    DanluError                  exit 2
    ├── RecipeError             an unknown key, a wrong type, a value out of range
    ├── InputError              a file or folder that cannot be read or holds nothing of use
    ├── OutputError             a folder that cannot be written, a full disk
    ├── OutOfMemoryError        the memory that this process may use is used up
    ├── RunLockedError          another process is working in this run folder
    ├── CheckpointError         a checkpoint that is damaged or does not fit
    ├── VerificationError       what was verified does not hold
    └── Interrupted             exit 143 after SIGTERM, 130 after Ctrl-C: the work so far is saved
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 100
"""Characters of a name or value out of a file that an error shows."""


class DanluError(Exception):
    """A problem that the user can mend; its message is one line."""

    exit_code = 2


class RecipeError(DanluError):
    """A recipe or an override that cannot be used."""


class InputError(DanluError):
    """A file or folder that cannot be read or holds nothing of use."""


class OutputError(DanluError):
    """A place that cannot be written."""


class OutOfMemoryError(DanluError):
    """The memory that this process, or one that works for it, may use is used up."""


class RunLockedError(DanluError):
    """Another process is working in this run folder."""


class CheckpointError(DanluError):
    """A checkpoint that is damaged or does not fit what is asked of it."""


class VerificationError(DanluError):
    """What was verified does not hold."""


class Interrupted(DanluError):  # noqa: N818 (not an error of anyone's)
    """The process was asked to stop; what was done so far is saved and a rerun goes on from there."""

    def __init__(self, message: str, *, signal: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal


def shown(text: str) -> str:
    """What a file says, cut to the length that an error has room for."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """``'; did you mean X?'`` where a choice is near ``word``, else nothing."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def suggestion(word: str, choices: Iterable[str]) -> str:
    """What was perhaps meant, and the choices there are."""
    known = list(choices)
    return f"{did_you_mean(word, known)} (choices: {', '.join(known)})" if known else ""
