"""Whether the model that ``danlu init`` is given can learn the task that was guessed, and what it can instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from danlu.errors import CheckpointError, InputError
from danlu.nn.config import Head, TransformerConfig
from danlu.nn.hf.folder import load_config

DECODERS = ("gpt2", "llama", "mistral", "qwen2", "qwen3")
"""Families that are named, of those that write text."""
ALONE = ("chat", "prefer", "feedback")
"""Tasks for which an encoder beside the decoder will not do."""
WRITTEN = (*ALONE, "seq2seq", "keywords")
"""Tasks whose answer is text that the model writes."""
_ASKED, _ANSWERED = ("instruction", "source"), ("response", "target", "keywords")


def check_model(task: str, model: Path | None, chosen: Mapping[str, str], file: Path) -> None:
    """Refuse a model that cannot learn the task; one that cannot be read is told where it is read to train.

    Args:
        chosen: the column of each field of the task.

    Raises:
        InputError: in one line, with the families that can, and the task that this model can learn from the columns.
    """
    if model is None or task not in WRITTEN:
        return
    try:
        config = load_config(model)
    except (InputError, CheckpointError):
        return
    writes = config.decoder is not None and isinstance(config.head, Head)
    if writes and not (task in ALONE and config.encoder is not None):
        return
    families = ", ".join((*DECODERS, *(() if task in ALONE else ("t5", "bart"))))
    raise InputError(
        f"danlu init: {file} is for {task}, which a decoder with a language-model head learns ({families}, …); {model} "
        f"is {_kind(config)}{_instead(config, writes, chosen)}; name another --model"
    )


def _kind(config: TransformerConfig) -> str:
    if config.decoder is None:
        return f"an encoder ({config.family})"
    if config.encoder is None:
        return f"a decoder with another head ({config.family})"
    return f"an encoder with a decoder ({config.family})"


def _instead(config: TransformerConfig, writes: bool, chosen: Mapping[str, str]) -> str:
    """The task that reads the same two columns, where there is one."""
    asked = next((chosen[field] for field in _ASKED if field in chosen), None)
    answered = next((chosen[field] for field in _ANSWERED if field in chosen), None)
    if asked is None or answered is None:
        return ""
    if writes:
        return f", which learns the same by task: seq2seq, columns: {{source: {asked}, target: {answered}}}"
    if config.decoder is None:
        return (
            f", which fits classify, tag, extract and embed; by task: embed, columns: {{query: {asked}, positives: "
            f"{answered}}} it learns to find the answer among others"
        )
    return ""
