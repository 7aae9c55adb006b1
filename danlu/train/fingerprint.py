"""Which text a training reads: the hashes and counts that its checkpoints carry (``training/data.json``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.clean.lineage import FILE as LINEAGE
from danlu.corpus.split import PARTS
from danlu.corpus.store import TokenStore
from danlu.run_folder import RunFolder

COUNTS = ("documents", "tokens")
REFERENCES = "references"
"""Of a training for a task: a hash of what answers to dev are compared with."""


def fingerprint(pack: Path, store: TokenStore) -> dict[str, Any]:
    """Of the store in the folder of the stage ``pack`` that a training reads.

    ``pack`` and ``clean`` are hashes of the hashes of all files that these stages wrote; ``lineage`` is the SHA-256 of
    clean's ``lineage.json``, also where that came with a store that was packed elsewhere. What is not on record, as of
    a store that no stage has made, is left out.
    """
    run, known = RunFolder(pack.parent), dict(zip(COUNTS, (len(store.documents), len(store.tokens)), strict=True))
    done = run.done(pack.name)
    if done is None:
        return known
    clean = done["made_from"].get("inputs", {}).get("clean")
    found = {**known, "pack": run.digest(pack.name), **({"clean": clean} if clean else {})}
    carried = done["outputs"].get(f"{PARTS[0]}/{LINEAGE}")
    if clean is None and carried is not None:
        found["lineage"] = carried
    cleaned = run.done("clean")
    if cleaned is not None and run.digest("clean") == clean and LINEAGE in cleaned["outputs"]:
        found["lineage"] = cleaned["outputs"][LINEAGE]
    return found


def in_words(was: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """How the text of now differs from what a checkpoint has read; None where it does not, or nothing is known."""
    both = [name for name in now if name in was and was[name] != now[name]]
    if not both:
        return None
    counts = [f"{name} {was[name]:,} then, {now[name]:,} now" for name in COUNTS if name in both]
    if both == [REFERENCES]:
        return "the same documents and tokens, but dev has other references, by which the best weights are known"
    return "; ".join(counts) or "as many documents and tokens, of other text"
