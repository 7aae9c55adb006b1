"""Which column holds what: as the recipe says, by the usual names, or by what is in them; and one line that says it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from danlu.data.decimals import are_decimal_commas
from danlu.data.delimited import counts, is_number
from danlu.data.names import SPLIT, plain_name
from danlu.data.parted import LABELS, marks_of, part
from danlu.data.rows import Table
from danlu.data.split import NAMES
from danlu.data.units import are_counted, numbers_of, unit_of
from danlu.errors import InputError, RecipeError, did_you_mean, shown, suggestion

Kind = Literal["text", "texts", "label", "labels", "number", "tokens", "tags", "other"]
_LABEL_LENGTH, _MOST_LABELS = 60, 1000
_MISSING = 0.1
"""Share of rows that may lack a label in a column that is taken to have labels."""
_SEVERAL = 0.1
"""Share of rows that have several labels in a column that is taken to have such."""
_SHOWN_VALUES = 6
_MOST_UNREAD = 8
_NUMBERS = re.compile(r"\[[-+\d.,\seE]*\]")
_OF_ROWS = re.compile(
    r"^_|(^|_)(id|ids|index|hash|timestamp|url|uri|link|path|file|filename|username|编号|序号|网址|链接|路径|用户名)$|"
    r"(文件|文件名)$"
)


class ColumnError(InputError):
    """A file lacks a column, or nothing tells which one it is."""


@dataclass(frozen=True, slots=True)
class Field:
    """Something that a form needs a column for."""

    name: str
    names: tuple[str, ...]
    """What its column is usually called."""
    kind: Kind = "other"
    """How its column is recognised where no name helps: ``text`` is the longest, ``texts`` the next one of several;
    ``other`` never is."""
    gold: bool = False
    """Whether it is what a model has to find, which a file to be predicted lacks."""
    required: bool = True


def choose_columns(
    table: Table, fields: Sequence[Field], given: Mapping[str, str | int], *, gold: bool = True
) -> dict[str, str]:
    """The column of each field that has one.

    Args:
        given: columns by field, as the recipe names them; a whole number counts from 1.
        gold: whether the fields that a model has to find are needed.

    Raises:
        RecipeError: the recipe names a field that the form does not have.
        InputError: the file has no such column, or nothing tells which column a field is in.
    """
    chosen = {field: _given(table, fields, field, column) for field, column in given.items()}
    _check_apart(chosen)
    for field in fields:  # by name
        if field.name not in chosen and table.named:
            column = _by_name(table, field, taken=chosen.values())
            if column is not None:
                chosen[field.name] = column
    wanted = [field for field in fields if field.required and (gold or not field.gold)]
    for kinds in (("label", "labels", "number", "tags"), ("tokens", "text", "texts")):  # what is left over is text
        for field in wanted:
            if field.name not in chosen and field.kind in kinds:
                column = _by_content(table, field, taken=chosen.values())
                if column is not None:
                    chosen[field.name] = column
    missing = [field.name for field in wanted if field.name not in chosen]
    if missing:
        names = " and ".join(missing)
        listed, span = ", ".join(table.columns), _span(table)
        held = f"its columns: {listed}" if table.named else f"it has columns {span}, no header"
        raise ColumnError(f"{table.path}: cannot tell which column holds the {names}; name it in columns ({held})")
    return {field.name: chosen[field.name] for field in fields if field.name in chosen}


def split_column(table: Table) -> str | None:
    """A column that says which row is for training and which is not; None where there is none."""
    for column in table.columns if table.named else ():
        if plain_name(column) in SPLIT:
            values = {str(value).strip().lower() for value in table.values(column)}
            if len(values) > 1 and values <= NAMES.keys() and any(NAMES[value] == "train" for value in values):
                return column
    return None


def by_names(table: Table, fields: Sequence[Field]) -> dict[str, str]:
    """The columns of required fields that their names alone tell."""
    chosen: dict[str, str] = {}
    for field in fields:
        column = _by_name(table, field, taken=chosen.values()) if table.named and field.required else None
        if column is not None:
            chosen[field.name] = column
    return chosen


def describe(
    table: Table, chosen: Mapping[str, str], fields: Sequence[Field], *, also: Collection[str] | None = None
) -> str:
    """One line that says what was read from where: ``a.tsv: text from column 1, label from column 2 (2 values)``.

    Args:
        also: columns that are read, too; where it is given, the line says which ones are not.
    """
    kinds = {field.name: field.kind for field in fields}
    parts = []
    for field, column in chosen.items():
        place = f"column {column!r}" if table.named else f"column {column}"
        values = _values_shown(table, column) if kinds.get(field) == "label" else ""
        parts.append(f"{field} from {place}{values}")
    notes = "".join(f"; {note}" for note in table.notes)
    rest = [] if also is None else _unread(table, {*chosen.values(), *also})
    listed = f"; not read: {', '.join(rest[:_MOST_UNREAD])}{', …' * (len(rest) > _MOST_UNREAD)}" if rest else ""
    return f"{table.path}: {len(table.rows):,} rows; {', '.join(parts)}{listed}{notes}"


def _unread(table: Table, read: Collection[str]) -> list[str]:
    """The columns that nothing is read from; of objects of which a part is read the others are not told."""
    outer = {table.outer(column) for column in read}
    whole = [column for column in table.columns if table.outer(column) is None]
    return [shown(column if table.named else f"column {column}") for column in whole if column not in {*read, *outer}]


def _values_shown(table: Table, column: str) -> str:
    values = sorted({str(value) for value in table.values(column)})
    listed = f": {', '.join(map(_visible, values))}" if len(values) <= _SHOWN_VALUES else ""
    return f" ({len(values):,} value{'s' * (len(values) != 1)}{listed})"


def _visible(value: str) -> str:
    """A value as it is; in quotes where else it could not be seen what it is."""
    return shown(value if value and value == value.strip() and value.isprintable() else repr(value))


def _span(table: Table) -> str:
    return f"1 to {len(table.columns)}" if len(table.columns) > 1 else "1"


def _given(table: Table, fields: Sequence[Field], field: str, column: str | int) -> str:
    known = [each.name for each in fields]
    if field not in known:
        meant = did_you_mean(field, known) or "; leave it out of columns"
        raise RecipeError(f"columns: this task reads no {field!r}{meant} (it reads {', '.join(known)})")
    if isinstance(column, int):
        if not 1 <= column <= len(table.columns):
            raise ColumnError(f"columns.{field}: {table.path} has columns 1 to {len(table.columns)}; got {column}")
        return table.columns[column - 1]
    if column not in table.columns:
        header = "" if table.named else " (no header was found; where there is one, set header: true)"
        near = suggestion(column, table.columns)
        noted = f" ({'; '.join(table.notes)})" if table.named and table.notes else ""
        raise ColumnError(f"columns.{field}: {table.path} has no column {column!r}{near}{header}{noted}")
    return column


def _check_apart(chosen: Mapping[str, str]) -> None:
    """Refuse one column for two things."""
    for (one, column), (other, same) in combinations(chosen.items(), 2):
        if column == same:
            raise RecipeError(f"columns.{one} and columns.{other} are both the column {column!r}")


def _by_name(table: Table, field: Field, *, taken: Any) -> str | None:
    free = [column for column in reversed(table.columns) if column not in set(taken)]
    objects = {table.outer(column) for column in free} if field.kind != "other" else set()
    whole = {plain_name(column): column for column in free if column not in objects}
    inner = {plain_name(column.rpartition(".")[2]): column for column in free if "." in column}  # of objects
    return next((called[name] for called in (whole, inner) for name in field.names if name in called), None)


def _by_content(table: Table, field: Field, *, taken: Any) -> str | None:
    free = [column for column in table.columns if column not in set(taken) and table.outer(column) is None]
    columns = {column: table.values(column) for column in free}
    if field.kind == "tags":
        like = [column for column, values in columns.items() if _looks_like_tags(values)]
        return like[-1] if like else (free[-1] if len(table.columns) == 2 and not table.named else None)
    if field.kind == "tokens":
        like = [column for column, values in columns.items() if all(isinstance(value, list) for value in values)]
        found = next((column for column in like if not _are_numbers_in_order(columns[column])), None)
        if found is not None:
            return found
    texts = {
        column: [str(value).strip() for value in values]
        for column, values in columns.items()
        if all(isinstance(value, str | int | float) for value in values)
    }
    if field.kind in ("text", "texts", "tokens"):
        like = [column for column, values in texts.items() if any(values) and not _hold_no_text(values)]
        apart = [column for column in like if not is_of_rows(column)]
        like = apart or ([] if field.kind == "texts" else like)
        return _most_like_text(texts, like, alone=field.kind != "texts")
    if field.kind == "number":
        numbers = [column for column, values in texts.items() if _are_numbers(values)]
        like = [column for column in numbers if len(set(texts[column])) > 1]
        like = [column for column in like if not _tell_rows_apart(column, texts[column])]
        return max(like, key=lambda column: len(set(texts[column])), default=None)
    if field.kind == "labels":
        return _of_several(texts)
    like = [column for column, values in texts.items() if looks_like_labels(values) and not is_of_rows(column)]
    return min(like, key=lambda column: (len(set(texts[column])), sum(map(len, texts[column]))), default=None)


def _most_like_text(texts: Mapping[str, list[str]], like: Sequence[str], *, alone: bool) -> str | None:
    """The longest column where one is sought; of the several of a pair the first with many different values."""
    various = [column for column in like if len(set(texts[column])) * 2 > len(texts[column])] or list(like)
    if not various:
        return None
    if not alone or len(various) == len(like) == 1:
        return various[0]
    return max(various, key=lambda column: sum(map(len, texts[column])))


def looks_like_labels(values: Sequence[str]) -> bool:
    """Whether there are few different values, none of them long, and hardly one is missing."""
    if values.count("") > _MISSING * len(values):
        return False
    different = {*values} - {""}
    few = 1 < len(different) <= max(2, min(_MOST_LABELS, len(values) // 2))
    return few and max(map(len, different)) <= _LABEL_LENGTH


def _of_several(texts: Mapping[str, list[str]]) -> str | None:
    """The column of which some cells hold several of a few labels, and some may hold none; None where there is none, or
    where another one has a label a row, which may be meant as well."""
    different = {}
    for column, values in texts.items():
        marks = marks_of(values, LABELS)
        cells = [part(value, marks) for value in values]
        labels = Counter(label for cell in cells for label in cell)
        several = sum(len(cell) > 1 for cell in cells) >= max(2, _SEVERAL * len(cells))
        if several and not is_of_rows(column) and not _are_numbers(values) and min(labels.values()) > 1:
            different[column] = len(labels)
        elif looks_like_labels(values) and not is_of_rows(column):
            return None
    return min(different, key=different.__getitem__, default=None)


def _hold_no_text(values: Sequence[str]) -> bool:
    """Whether these are numbers, or lists of them as a table spells them."""
    return all(is_number(value) or _NUMBERS.fullmatch(value) for value in values) or _are_numbers(values)


def _are_numbers(values: Sequence[str]) -> bool:
    """Whether these are numbers, be it with decimal commas, or with a unit that only numbers have."""
    if not are_counted(values):
        return False
    numbers = list(map(str, numbers_of(values)))
    commas = unit_of(values) is not None or are_decimal_commas(list(numbers))
    return all(is_number(number.replace(",", ".") if commas else number) for number in numbers)


def is_of_rows(column: str) -> bool:
    """Whether a column is called as one whose values only say which row it is, or where it is from: ``id``, ``url``."""
    return _OF_ROWS.search(plain_name(column)) is not None


def _tell_rows_apart(column: str, values: Sequence[str]) -> bool:
    """Whether these are numbers of rows, or others that mean nothing else."""
    return counts(values) or is_of_rows(column)


def _looks_like_tags(values: Sequence[Any]) -> bool:
    """Whether there are tags as of entities: O and places with a dash."""
    tags = {tag for value in values if isinstance(value, list) for tag in value if isinstance(tag, str)}
    marked = {tag for tag in tags if tag[:2] in ("B-", "I-", "E-", "S-", "L-", "U-", "M-")}
    return bool(marked) and len(marked) * 2 >= len(tags - {"O"})


def _are_numbers_in_order(values: Sequence[Any]) -> bool:
    """Whether they are the numbers of the tokens of a sentence."""
    first = values[0]
    return isinstance(first, list) and [str(each) for each in first] == [str(n) for n in range(1, len(first) + 1)]
