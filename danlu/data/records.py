"""JSON, JSON lines and Parquet as rows; SQuAD's nested JSON as one row a question."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from danlu.data.example import Place
from danlu.data.label_studio import annotated
from danlu.data.rows import Row, Table
from danlu.errors import InputError, shown

_MOST_MEMBERS = 20
Record = tuple[Place, dict[str, Any]]


def read_jsonl(path: Path, text: str) -> Table:
    """One object a line; blank lines are none.

    Raises:
        InputError: a line is no object, or there is none.
    """
    if text.lstrip()[:1] == "[":
        raise Place(path, 1).error("it begins a list, not a line of JSON lines; a name that ends in .json says so")
    return table_of(path, annotated(_lines(path, text)))


def read_json(path: Path, text: str) -> Table:
    """A list of objects, an object with such a list, SQuAD's form, or JSON lines under another name.

    Raises:
        InputError: it is none of them, or empty.
    """
    start = text.lstrip()[:1]
    if start == "[":
        return table_of(path, annotated(_questions(path, _listed(path, text))))
    if start != "{":
        raise Place(path, 1).error(f"JSON must begin with [ or {{; got {shown(text.strip()[:20])!r}")
    try:
        whole = json.loads(text, object_pairs_hook=_each_once)
    except _TwiceError as error:
        raise InputError(f"{path}: {error}") from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # another object behind the first
            return read_jsonl(path, text)
        raise Place(path, error.lineno).error(f"it is not JSON: {_reason(error)}") from None
    except ValueError as error:
        raise InputError(f"{path}: {_reason(error)}") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deep") from None
    return table_of(path, annotated(_questions(path, _within(path, whole))))


def read_parquet(path: Path) -> Table:
    """All columns; where ``datasets`` wrote the file, the numbers of its classes are their names.

    Raises:
        InputError: it is damaged, no Parquet, or has no row.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        records = table.to_pylist()
    except FileNotFoundError:
        raise InputError(f"cannot read {path}: No such file or directory") from None
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no Parquet that can be read: {shown(' '.join(str(error).split()))}") from None
    classes = _classes(table.schema.metadata or {})
    for record in records:
        for column, names in classes.items():
            if column in record:
                record[column] = _class_names(record[column], names)
    return table_of(path, ((Place(path, number, "row"), record) for number, record in enumerate(records, 1)))


def table_of(path: Path, records: Iterable[Record]) -> Table:
    """Objects as rows; what objects in them hold is columns too, such as ``translation.en``. A NaN, as pandas leaves it
    in the place of a value, is none.

    Raises:
        InputError: there is none.
    """
    rows = tuple(
        Row(place, {name: None if _is_nan(cell) else cell for name, cell in cells.items()}) for place, cells in records
    )
    if not rows:
        raise InputError(f"{path} holds no record")
    columns = list(dict.fromkeys(name for row in rows for name in row.cells))
    inner = {f"{column}.{name}": (column, name) for column in columns for name in _members(rows, column)}
    inner = {name: place for name, place in inner.items() if name not in columns}
    if inner:
        rows = tuple(
            replace(row, cells={**row.cells, **{name: row.cells[outer][key] for name, (outer, key) in inner.items()}})
            for row in rows
        )
    members = {name: outer for name, (outer, _) in inner.items()}
    return Table(path, (*columns, *inner), rows, named=True, typed=True, members=members)


def _is_nan(cell: Any) -> bool:
    return isinstance(cell, float) and cell != cell


def _members(rows: Sequence[Row], column: str) -> Sequence[str]:
    """What the objects of a column hold, where all hold the same few texts and numbers, as those of translations do."""
    first = rows[0].cells.get(column)
    if not isinstance(first, dict) or not 0 < len(first) <= _MOST_MEMBERS:
        return ()
    for row in rows:
        value = row.cells.get(column)
        if not isinstance(value, dict) or value.keys() != first.keys():
            return ()
        if not all(each is None or isinstance(each, str | int | float) for each in value.values()):
            return ()
    return tuple(first)


class _TwiceError(ValueError):
    """An object has a key twice, so that it cannot be told which value is meant."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise _TwiceError(f"an object has the key {shown(repr(twice))} twice")
    return found


def _lines(path: Path, text: str) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = Place(path, number)
        try:
            record = json.loads(line, object_pairs_hook=_each_once)
        except _TwiceError as error:
            raise place.error(str(error)) from None
        except (ValueError, RecursionError) as error:
            raise place.error(f"it is not JSON: {_reason(error)}") from None
        yield place, _object(place, record)


def _reason(error: ValueError | RecursionError) -> str:
    """What is wrong, without the place: that of a line of its own would be line 1."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (column {error.colno})"
    return "it is nested too deep" if isinstance(error, RecursionError) else "a number in it has too many digits"


def _listed(path: Path, text: str) -> Iterator[Record]:
    """The objects of a list, each with the line that it begins at; where lines hold several, with its number."""
    found = list(_in_list(path, text))
    lines = [place.number for place, _ in found]
    apart = len(set(lines)) == len(lines)
    for number, (place, record) in enumerate(found, 1):
        yield place if apart else Place(path, number, "item"), record


def _in_list(path: Path, text: str) -> Iterator[Record]:
    decoder = json.JSONDecoder(object_pairs_hook=_each_once)
    position, line = text.index("[") + 1, 1
    counted = 0
    while True:
        position = _skip(text, position, " \t\r\n")
        line, counted = line + text.count("\n", counted, position), position
        if text[position : position + 1] == "]":
            break
        try:
            record, position = decoder.raw_decode(text, position)
        except _TwiceError as error:
            raise Place(path, line).error(str(error)) from None
        except json.JSONDecodeError as error:
            raise Place(path, error.lineno).error(f"it is not JSON: {_reason(error)}") from None
        except ValueError as error:
            raise Place(path, line).error(_reason(error)) from None
        except RecursionError:
            raise Place(path, line).error("it is nested too deep") from None
        yield Place(path, line), _object(Place(path, line), _in_object(record))
        position = _skip(text, position, " \t\r\n")
        if text[position : position + 1] not in (",", "]"):
            at = text.count("\n", 0, position) + 1
            raise Place(path, at).error("it is not JSON: a comma or the list's ] must follow here")
        position += text[position] == ","
    if text[position + 1 :].strip():
        raise Place(path, text.count("\n", 0, position) + 1).error("something follows behind the list's ]")


def _skip(text: str, position: int, letters: str) -> int:
    while position < len(text) and text[position] in letters:
        position += 1
    return position


def _object(place: Place, record: Any) -> dict[str, Any]:
    if not isinstance(record, dict):
        got = shown(json.dumps(record, ensure_ascii=False))
        raise place.error(f'it must be an object that names its values, as {{"text": "…", "label": "…"}}; got {got}')
    return record


def _in_object(record: Any) -> Any:
    """In an object as SQuAD's paragraphs are, where it is a list of the lines of a text, the questions about it and its
    number, as DREAM and C3 have it; anything else as it is."""
    if not isinstance(record, list) or len(record) != 3 or not all(isinstance(each, list) for each in record[:2]):
        return record
    lines, asked, _ = record
    whole = all(isinstance(each, str) for each in lines) and all(isinstance(each, dict) for each in asked)
    if not (whole and lines and asked):
        return record
    questions = [{"choices" if name == "choice" else name: value for name, value in each.items()} for each in asked]
    return {"context": "\n".join(lines), "qas": questions}


def _within(path: Path, whole: Mapping[str, Any]) -> Iterator[Record]:
    """The objects of the only list that an object has; of several, of ``data``; or the rows of columns."""
    lists = {name: value for name, value in whole.items() if isinstance(value, list)}
    columns = _columns(whole) if "data" not in lists else {}
    if columns:
        for number, cells in enumerate(zip(*columns.values(), strict=True), 1):
            yield Place(path, number, "item"), dict(zip(columns, cells, strict=True))
        return
    name = "data" if "data" in lists else next(iter(lists), "")
    if name != "data" and len(lists) != 1:
        held = ", ".join(whole) or "nothing"
        raise InputError(f"{path} must hold a list of objects, or one under the name data; it holds {held}")
    for number, record in enumerate(lists[name], 1):
        place = Place(path, number, f"{name} item")
        yield place, _object(place, record)


def _columns(whole: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Columns, all as long, each a list of cells or an object of them by row; none where it is anything else.

    The first is what ``Dataset.to_dict`` gives, the second what ``DataFrame.to_json`` writes where nothing is said.
    """
    values = list(whole.values())
    if len(values) > 1 and all(isinstance(each, dict) and each.keys() == values[0].keys() for each in values):
        return {name: list(value.values()) for name, value in whole.items()}
    if len(values) > 1 and all(isinstance(each, list) and len(each) == len(values[0]) for each in values):
        return dict(whole)
    return {}


def _questions(path: Path, records: Iterable[Record]) -> Iterator[Record]:
    """Records as they are, but SQuAD's articles and paragraphs, CMRC's and C3's, as one record a question."""
    number = 0
    for place, record in records:
        paragraphs = record.get("paragraphs", [record] if isinstance(record.get("qas"), list) else None)
        if paragraphs is None:
            yield place, record
            continue
        for paragraph in _objects(place, paragraphs, "paragraphs"):
            context = _either(place, paragraph, "context", "context_text")
            for question in _objects(place, paragraph.get("qas"), "qas"):
                number += 1
                here = Place(path, number, "question")
                text = _either(here, question, "question", "query_text")
                same = {"title": record["title"]} if "title" in record else {}
                rest = {name: value for name, value in question.items() if name != "query_text"}
                if "query_id" in rest:
                    rest["id"] = rest.pop("query_id")
                yield here, {**same, **rest, "question": text, "context": context}


def _objects(place: Place, value: Any, name: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise place.error(f"{name!r} must be a list of objects, as in SQuAD; got {shown(repr(value))}")
    return value


def _either(place: Place, record: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if name in record:
            return record[name]
    raise place.error(f"it has no {' or '.join(map(repr, names))}; it has {', '.join(record)}")


def _classes(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Names of the classes of each column, as ``datasets`` keeps them beside the columns."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):  # another program's
        return {}
    found = {}
    for column, feature in features.items():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else {}
        if isinstance(inner, dict) and isinstance(inner.get("names"), list):
            found[column] = [str(name) for name in inner["names"]]
    return found


def _class_names(value: Any, names: Sequence[str]) -> Any:
    """The name of a class, or of each in a list; what is no number of a class stays, -1 as none."""
    if isinstance(value, list):
        return [_class_names(each, names) for each in value]
    if isinstance(value, int) and value == -1:
        return None
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
