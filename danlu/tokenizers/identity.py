"""Which tokenizer it is: a hash of what decides the ids of a text, the same wherever and however often it is saved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tokenizers

DECIDING = ("model", "normalizer", "pre_tokenizer", "added_tokens")
"""Parts of a ``tokenizer.json`` that ids hang on; what is put around a text, and how ids are decoded, are others."""
TOLD_WHERE_OFF = ("strip_accents",)
"""Settings that are something else off than not given: not given, this one is as ``lowercase`` is."""


def identity(inner: tokenizers.Tokenizer, ends: Mapping[str, int | None]) -> str:
    """SHA-256 of the tokenizer, as 64 hexadecimal digits.

    Args:
        ends: the ids of the tokens that stand between texts, which the config names.
    """
    state = json.loads(inner.to_str())
    content = {**{name: _said(state.get(name)) for name in DECIDING}, "ends": dict(ends)}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _said(value: Any) -> Any:
    """Without settings that are off or not given: a newer ``tokenizers`` names more of them than an older one.

    Scores in float32, as SentencePiece has them: in 64 bits one in seven is the next number once it was written and
    read, for the library reads it nearly as it was written.
    """
    if isinstance(value, dict):
        return {
            key: _said(each)
            for key, each in value.items()
            if each is not None and (each is not False or key in TOLD_WHERE_OFF)
        }
    if isinstance(value, float):
        return float(np.float32(value))
    return [_said(each) for each in value] if isinstance(value, list) else value
