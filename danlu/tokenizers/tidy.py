"""Spaces before English punctuation, which ``transformers`` takes out of what it decodes.

That is ``clean_up_tokenization_spaces`` of ``tokenizer_config.json``.
"""

from __future__ import annotations

import re

CLOSER = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"),
    (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip
"""What is replaced, in this order."""
OUTSIDE = re.compile(rf"[^{re.escape(''.join({letter for old, _ in CLOSER for letter in old}))}]")
"""A letter that is in none of them: no replacement reaches over it."""


class Tidy:
    """The replacements, in text that comes piece by piece."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, text: str) -> str:
        """What no later piece can change."""
        whole = self._held + text
        certain = max((found.end() for found in OUTSIDE.finditer(whole)), default=0)
        self._held = whole[certain:]
        return _closer(whole[:certain])

    def flush(self) -> str:
        """What is left at the end."""
        left, self._held = _closer(self._held), ""
        return left


def _closer(text: str) -> str:
    for old, new in CLOSER:
        text = text.replace(old, new)
    return text
