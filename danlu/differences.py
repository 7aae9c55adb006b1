"""What has changed since something was made, in a person's words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SHOWN = 10
"""Differences that one line has room for."""


def first_difference(was: Mapping[str, Any], now: Mapping[str, Any], stage: str) -> str:
    """The first thing that differs, in a person's words: ``tokenizer.vocab_size (4096, was 8192)``."""
    for part in ("settings", "seed", "sources", "inputs", "figures"):
        before, after = was.get(part), now.get(part)
        if before == after:
            continue
        if part == "settings":
            return _deepest(stage, before, after)
        if part in ("inputs", "figures"):
            known = [values if isinstance(values, dict) else {} for values in (before, after)]
            names = [need for need in known[0] | known[1] if known[0].get(need) != known[1].get(need)]
            return f"the {'output' if part == 'inputs' else 'figures'} of {' and '.join(names)}"
        return f"seed ({after}, was {before})" if part == "seed" else "the files that it reads"
    return "the version of danlu"


def _deepest(key: str, before: Any, after: Any) -> str:
    """The key of the first setting that differs, with its value now and before."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*after, *(name for name in before if name not in after)]:
            if before.get(name) != after.get(name):
                return _deepest(f"{key}.{name}", before.get(name), after.get(name))
    return f"{key} ({json.dumps(after, ensure_ascii=False)}, was {json.dumps(before, ensure_ascii=False)})"


def differences(was: Mapping[str, Any], now: Mapping[str, Any], stage: str, *, neutral: Iterable[str]) -> list[str]:
    """Everything that differs between two records of a half-done stage: ``pretrain.optimizer.lr: 0.02 -> 0.03``.

    A record has what the stage is made from, under ``files`` the hashes of the files that it reads, by stage, and under
    ``outside`` those of files that no stage has made.
    ``neutral`` settings of the stage, such as ``save`` or ``finetune.save``, do not count.
    """
    found: list[str] = []
    for part in ("danlu", "version", "seed", "settings", "sources", "figures"):
        before, after = (record["made_from"].get(part) for record in (was, now))
        if part == "settings":
            same = tuple(f"{stage}.{key}{end}" for key in neutral for end in (".", ":"))
            found += [line for line in _changes(stage, before, after) if not line.startswith(same)]
        elif part in ("danlu", "seed"):
            found += _changes(part, before, after)
        elif before != after:
            known = part == "sources" and "outside" in was  # of older versions it is not on record
            found += (_files("", was["outside"], now["outside"]) if known else []) or [f"the {part} of {stage} changed"]
    for need in now["files"]:
        found += _files(f"{need}/", was["files"].get(need), now["files"][need])
    return found


def _files(folder: str, was: Mapping[str, str] | None, now: Mapping[str, str] | None) -> list[str]:
    """What has become of files, by their hashes: ``pack/train/tokens-00000.bin changed``."""
    before, after = was or {}, now or {}
    found = []
    for file in sorted({*before, *after}):
        if before.get(file) != after.get(file):
            what = "changed" if file in before and file in after else "is gone" if file in before else "is new"
            found.append(f"{folder}{file} {what}")
    return found


def listed(found: list[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def changes(key: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every setting that differs, as deep as both have sections: its key, and its two values."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*after, *(name for name in before if name not in after)]:
            yield from changes(f"{key}.{name}" if key else name, before.get(name), after.get(name))
    elif before != after:
        yield key, before, after


def _changes(key: str, before: Any, after: Any) -> Iterator[str]:
    for name, was, now in changes(key, before, after):
        yield f"{name}: {json.dumps(was, ensure_ascii=False)} -> {json.dumps(now, ensure_ascii=False)}"
