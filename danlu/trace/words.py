"""A walk in lines for a terminal; what a file says is made harmless there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from danlu.log import harmless

SHOWN = 160
"""Characters of a text that a line has."""


def document(told: Mapping[str, Any]) -> Iterator[str]:
    """The walk of one document."""
    yield harmless(told["id"])
    for place in told["pack"]:
        yield _line("pack", f"{place['part']}, document {place['document']:,}, {place['tokens']:,} tokens")
    if not told["pack"] and told.get("clean", {}).get("became") == "kept":
        yield _line("pack", "not packed")
    yield from _walk(told)
    yield from told["changed"]


def row(told: Mapping[str, Any]) -> Iterator[str]:
    """A row, and the walk of each of its documents."""
    yield f"row {told['row']:,} of pretrain, in epoch {told['epoch']}, counted from 0"
    for each in told["documents"]:
        yield ""
        yield harmless(each["id"])
        for stretch in told["stretches"]:
            if stretch["id"] == each["id"]:
                yield _line("row", f"{_tokens(stretch)}: {_short(stretch['text'])}")
        yield from _walk(each)
    yield from told["changed"]


def step(told: Mapping[str, Any]) -> Iterator[str]:
    """The rows of a step."""
    yield f"step {told['step']:,} of pretrain: rows {_listed(told['rows'])}; 'danlu trace … --row N' goes on from one"
    for stretch in told["stretches"]:
        yield f"  row {stretch['row']:,}  {harmless(stretch['id'])}  {_tokens(stretch)}"
    yield from told["changed"]


def _listed(rows: list[int]) -> str:
    if len(rows) > 2 and rows == list(range(rows[0], rows[-1] + 1)):
        return f"{rows[0]:,} to {rows[-1]:,}"
    return ", ".join(f"{number:,}" for number in rows)


def _tokens(stretch: Mapping[str, Any]) -> str:
    task = f"{stretch['task']}: " if stretch["task"] else ""
    drawn = ", drawn to stand beside" if stretch["drawn"] else ""
    if stretch["first"] >= stretch["end"]:
        return f"{task}the end of its {stretch['tokens']:,} tokens"
    return f"{task}tokens {stretch['first']:,} to {stretch['end'] - 1:,} of its {stretch['tokens']:,}{drawn}"


def _walk(told: Mapping[str, Any]) -> Iterator[str]:
    if "ends" in told:
        yield _line("clean", told["ends"])
        return
    clean, source = told["clean"], told["source"]
    if clean["became"] == "kept":
        where = "of the run that packed the store" if clean["line"] is None else f"line {clean['line']:,}"
        yield _line("clean", f"kept: {clean['shard']}, {where}")
    else:
        rule = f"{clean['rule']}: " if "rule" in clean else ""
        detail = f" ({clean['detail']})" if "detail" in clean else ""
        yield _line("clean", f"{clean['became']}: {rule}{clean['reason']}{detail}")
    if (first := clean.get("of")) is not None:
        where = f"{first['shard']}, line {first['line']:,}" if first["shard"] else first["became"]
        yield _line("repeats", f"{first['id']}: {where}")
    yield _line("source", _source(source))
    if "text" in told:
        yield _line("text", _short(told["text"]))
    if "raw" in source:
        yield _line("bytes", _short(source["raw"]))
    if "record_now" in source:
        yield _line("record", _short(source["record_now"]))
    if "problem" in source:
        yield _line("problem", source["problem"])


def _source(source: Mapping[str, Any]) -> str:
    member = f", {source['member']} in it" if "member" in source else ""
    at = "" if source["offset"] is None else f", at byte {source['offset']:,}{' of it unpacked' if member else ''}"
    state = {"unchanged": "unchanged since", "changed": "CHANGED since it was read", "missing": "not there any more"}
    known = state.get(source["state"], "whether it has changed is not known")
    return f"{source['file']}{member}, record {source['record']:,}{at}; {known}"


def _line(title: str, text: str) -> str:
    return f"  {title:<8} {harmless(text)}"


def _short(text: str) -> str:
    """On one line, as JSON would spell the end of a line."""
    flat = text[: SHOWN + 1].replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return flat if len(flat) <= SHOWN else f"{flat[:SHOWN]}…"
