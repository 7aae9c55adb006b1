"""Documents that repeat others: sketched where they are read, compared all together, once the rules are through.

To add one, write its settings with ``sketch`` and ``decide``, and add a line to the catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Repeats = Sequence[np.ndarray[Any, np.dtype[np.int64]]]
"""Of each portion ``[documents]``: the number, among all documents in order, of that which it repeats; -1: it stays."""


class DuplicatesChoice(Protocol):
    """Settings of one way to find documents that repeat others."""

    @property
    def reason(self) -> str:
        """Why they are dropped, in a few words that are counted."""

    def sketch(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """``[len(texts), …]``: what it has to know of each text, whatever texts are beside it."""

    def decide(self, sketches: Sequence[Path]) -> Repeats:
        """Which documents repeat which, from one file of sketches a portion; what is repeated stays itself."""
