"""JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator

from danlu.readers.lines import read_lines, too_long
from danlu.readers.record import Content, Raw, Rejected, Wanted, checked


def read_jsonl(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """One JSON object a line; lines of white space alone are no records."""
    with content.open() as file:
        for line in read_lines(file, wanted.record_bytes):
            if line.content is None:
                yield too_long(line, wanted.record_bytes)
            elif line.content.strip():
                yield _record(line.content, line.number, line.offset, wanted.text_field)


def _record(line: bytes, number: int, offset: int, text_field: str) -> Raw | Rejected:
    place = f"at byte {offset}"
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Rejected(number, "not UTF-8", f"at byte {offset + error.start}", offset)
    except (ValueError, RecursionError) as error:
        return Rejected(number, "broken JSON", f"{place}: {error}", offset)
    if not isinstance(record, dict):
        return Rejected(number, "not a JSON object", place, offset)
    if text_field not in record:
        return Rejected(number, f"no field {text_field!r}", f"{place}; it has: {', '.join(record)}", offset)
    return checked(Raw(number, "", offset=offset), record.pop(text_field), record, text_field, place)
