"""The whole walk of a document, and of a row, as plain tables that JSON can hold."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from danlu.clean.lineage import FILE as LINEAGE
from danlu.corpus.elsewhere import FILE as ELSEWHERE
from danlu.corpus.split import PARTS
from danlu.errors import InputError, shown
from danlu.run_folder import RunFolder
from danlu.text.encodings import ENCODINGS
from danlu.trace.carried import Carried
from danlu.trace.fates import Cleaned, Fate
from danlu.trace.places import look
from danlu.trace.training import Order, changed_since, packed

SHOWN = 400
"""Characters of a text that are shown, its first ones."""


UNKNOWN = "the store does not say where its documents come from: the run that packed it knows"


def lineage_of(folder: RunFolder) -> Cleaned | Carried | None:
    """What leads from the documents of a run to their sources: its ``clean``; where that is elsewhere, as of stores
    that were packed there, the stores themselves. None where they do not say it."""
    clean, store = folder.stage("clean"), folder.stage("pack") / PARTS[0]
    elsewhere = (store / ELSEWHERE).exists()
    if not elsewhere and (clean / LINEAGE).exists():
        return Cleaned(clean)
    if (store / LINEAGE).exists():
        return Carried(folder.stage("pack"))
    return None if elsewhere else Cleaned(clean)


def walk(cleaned: Cleaned | Carried | None, identity: str) -> dict[str, Any]:
    """What became of a document in ``clean``, and what stands now where it comes from.

    Raises:
        InputError: there is no such document.
    """
    if cleaned is None:
        return {"id": identity, "ends": UNKNOWN}
    fate = cleaned.find(identity)
    number = fate.origin.portion.source
    told: dict[str, Any] = {"id": identity, "clean": _clean(cleaned, fate), "source": _source(cleaned, fate, number)}
    if fate.of is not None:
        first = cleaned.find(fate.of)
        told["clean"]["of"] = {"id": first.id, "became": first.became, "shard": _shard(first), "line": first.line}
    if fate.text:
        told["text"] = fate.text[:SHOWN]
    return told


def _shard(fate: Fate) -> str | None:
    return fate.origin.portion.shard if fate.became == "kept" else None


def _clean(cleaned: Cleaned | Carried, fate: Fate) -> dict[str, Any]:
    known: dict[str, Any] = {"became": fate.became, "portion": fate.origin.portion.portion}
    if fate.became == "kept":
        return {**known, "shard": _shard(fate), "line": fate.line, "meta": fate.meta}
    details = {"rule": fate.rule, "reason": fate.reason, "detail": fate.detail}
    return {**known, **{name: value for name, value in details.items() if value is not None}}


def _source(cleaned: Cleaned | Carried, fate: Fate, number: int) -> dict[str, Any]:
    origin, settings = fate.origin, cleaned.source(number)
    place = look(fate, settings)
    told: dict[str, Any] = {
        "source": number, "license": settings.license, "file": origin.file.path,
        **({"member": origin.member} if origin.member else {}),
        "record": origin.record, "offset": fate.offset, "sha256": origin.file.sha256, "state": place.state,
    }  # fmt: skip
    if place.raw is not None:
        known = (fate.meta or {}).get("encoding")  # a record may have a field of that name, which may say anything
        encoding = known if known in ENCODINGS else settings.encoding or "utf-8"
        told |= {"raw": place.raw.decode(encoding, errors="backslashreplace"), "raw_hex": place.raw.hex()}
    if place.record is not None:
        told["record_now"] = place.record
    if place.problem is not None:
        told["problem"] = place.problem
    return told


def of_document(folder: RunFolder, identity: str) -> dict[str, Any]:
    """The walk of one document, and where it stands in the packed store.

    Raises:
        InputError: there is no such document.
    """
    known = lineage_of(folder)
    places = [asdict(each) for each in packed(folder, identity)]
    if known is None and not places:
        raise InputError(f"no document {shown(identity)!r} in the stores, which know nothing else")
    told = walk(known, identity)
    return {**told, "pack": places, "changed": [line for line in changed_since(folder) if "pack ran" in line]}


def of_row(folder: RunFolder, order: Order, row: int) -> dict[str, Any]:
    """What is in a row, and the walk of each document in it.

    Raises:
        InputError: there is no such row.
    """
    cleaned = lineage_of(folder)
    stretches = [asdict(each) for each in order.of_row(row)]
    walks = {identity: walk(cleaned, identity) for identity in dict.fromkeys(each["id"] for each in stretches)}
    return {"row": row, "epoch": order.epoch(row), "stretches": stretches, "documents": list(walks.values()),
            "changed": order.changed()}  # fmt: skip


def of_step(folder: RunFolder, order: Order, step: int) -> dict[str, Any]:
    """The rows of a step, and what each has of which documents.

    Raises:
        InputError: the training has no such step.
    """
    rows = order.of_step(step)
    stretches = [asdict(each) for row in rows for each in order.of_row(row)]
    return {"step": step, "rows": rows, "stretches": stretches, "changed": order.changed()}
