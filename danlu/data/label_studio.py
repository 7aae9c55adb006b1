"""Label Studio's whole export, its JSON, as the rows of its JSON-MIN: what a task shows, and what was said of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from danlu.data.example import Place
from danlu.errors import shown

Record = tuple[Place, dict[str, Any]]
SPANS = ("labels", "hypertextlabels")
"""Kinds of results that mark parts of a text."""
_LISTS = {"choices": "choices", "textarea": "text"}
_NUMBERS = {"rating": "rating", "number": "number"}


def annotated(records: Iterable[Record]) -> Iterator[Record]:
    """Records as they are; of tasks a row for each annotation that was not cancelled, and of one that nobody has
    annotated what it shows.

    A row has the columns of ``data``, and one by the name of each control: the list of the parts that were marked, none
    where there was nothing to mark; the choice, or several as a list; a number; a text.

    Raises:
        InputError: an annotation is not as Label Studio writes it.
    """
    read = list(records)
    if not any(_is_task(record) for _, record in read):
        yield from read
        return
    marking = {name for place, record in read for each in _annotations(place, record) for name in _marking(each)}
    for place, record in read:
        if not _is_task(record):
            yield place, record
            continue
        shows = {**({"id": record["id"]} if "id" in record else {}), **record["data"]}
        said = [_said(place, each, marking) for each in _annotations(place, record)]
        for each in said or [{}]:
            yield place, {**shows, **each}


def _is_task(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get("data"), dict) and isinstance(record.get("annotations"), list)


def _annotations(place: Place, record: Mapping[str, Any]) -> Sequence[Sequence[Mapping[str, Any]]]:
    """What each annotation of a task that was not cancelled says."""
    if not _is_task(record):
        return []
    found = []
    for each in record["annotations"]:
        results = each.get("result") if isinstance(each, dict) else None
        if not isinstance(results, list) or not all(map(_is_result, results)):
            raise place.error(f"an annotation must have a list 'result', as in Label Studio; got {shown(repr(each))}")
        if not each.get("was_cancelled"):
            found.append(results)
    return found


def _is_result(result: Any) -> bool:
    """Whether it is what was said by a control, or a relation, which has none."""
    return isinstance(result, dict) and (isinstance(result.get("value"), dict) or "from_name" not in result)


def _marking(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(each["from_name"]) for each in results if "from_name" in each and each.get("type") in SPANS]


def _said(place: Place, results: Sequence[Mapping[str, Any]], marking: Iterable[str]) -> dict[str, Any]:
    """What one annotation says, by the name of the control."""
    found: dict[str, Any] = {name: [] for name in marking}
    for each in results:
        if "from_name" not in each:
            continue
        name, kind, value = str(each["from_name"]), str(each.get("type")), each["value"]
        if name in found and isinstance(found[name], list) and kind in SPANS:
            found[name].append(value)
        elif name in found:
            raise place.error(f"an annotation says {name!r} twice")
        elif kind in _LISTS and isinstance(value.get(_LISTS[kind]), list):
            listed = value[_LISTS[kind]]
            found[name] = listed[0] if len(listed) == 1 else listed
        else:
            found[name] = value.get(_NUMBERS.get(kind, ""), value)
    return found
