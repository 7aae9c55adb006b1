"""The entries of ``meta`` that Danlu writes; every other one is a field of the record, as its file has it."""

from __future__ import annotations

from danlu.clean.language_of import SCORE, SHARES, VARIANT
from danlu.text.document import OFFSET, TARGET_START

PRIVATE = "private"
"""What the rule ``private`` found, by kind: ``email 2, phone 1``."""
DECONTAMINATED = "decontaminated"
"""The evaluation sets whose text the rule ``decontaminate`` cut out."""
OURS = frozenset(
    {"source", "language", OFFSET, TARGET_START, SCORE, VARIANT, SHARES, PRIVATE, DECONTAMINATED}
)  # fmt: skip
"""They say what was found out, which fields of the same name must not be taken for: those give way."""
