"""From the files that a recipe names to checked examples: ``load`` reads, guesses, checks, splits, and says so.

Nothing is written, and nothing is trained on before all of it has been read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Self

from pydantic import Field, field_validator, model_validator

from danlu.data.columns import choose_columns, describe, split_column
from danlu.data.conventions import NOTHING_KNOWN, Conventions
from danlu.data.decimals import with_points
from danlu.data.delimited import TableForm
from danlu.data.example import E
from danlu.data.flags import gather_as_train, gather_flags, gather_known, gather_train, may_be_flags
from danlu.data.form import Cells, Form, Mended
from danlu.data.labelled import check_label_types
from danlu.data.labels import check_known, label_set, scheme_of
from danlu.data.names_above import read_by_names, without_names
from danlu.data.read import read_rows
from danlu.data.rows import Table
from danlu.data.split import NAMES, split
from danlu.data.tags import Scheme
from danlu.data.units import without_units
from danlu.errors import InputError, suggestion
from danlu.recipe import Settings


class Data(Settings):
    """Files of examples; the path of the one to train on will do where the rest can be seen in it."""

    short: ClassVar[str | None] = "train"

    train: Path
    """Examples to learn from (.csv .tsv .txt .json .jsonl .parquet .conll …, packed as .gz or .zst or not)."""
    dev: Path | None = None
    """Examples to choose the best checkpoint by; a part of ``train`` where there is none."""
    test: Path | None = None
    """Examples that the last figures are measured on."""
    columns: dict[str, str | int] = Field(default_factory=dict)
    """Which column holds what, by name or number from 1: ``{text: review, label: stars}``; guessed where not said."""
    split_column: str | None = None
    """A column of ``train`` that says which row is for training (train), which dev (dev, valid), which test (test)."""
    dev_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of ``train`` that becomes dev, where there is none."""
    test_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of ``train`` that becomes test, where there is none."""
    seed: int = 0
    """Which of ``train`` is taken for them."""
    labels: tuple[str, ...] | None = None
    """All labels there are, in their order; by default those of ``train``."""
    leave_out: tuple[str, ...] = ()
    """Labels whose rows are not read, such as ``-`` where people did not agree."""
    mend: bool = False
    """Put right what can be meant in one way only (answers beside their offset, an I without B), leave out rows that
    are of no use, and say how many; else the first of them is an error."""
    encoding: str | None = None
    """What the files are encoded in; by default UTF-8, or what is detected and said."""
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """What parts the cells of a table; by default what the ending says, or what is detected and said."""
    quotes: bool | None = None
    """Whether quotes enclose cells, or are characters of the text; detected where not said."""
    header: bool | None = None
    """Whether the first line names the columns; detected where not said."""

    @field_validator("labels", "leave_out", mode="before")
    @classmethod
    def _numbers_are_labels(cls, value: Any) -> Any:
        """In YAML a label 0 is a number."""
        if isinstance(value, list | tuple):
            return [str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in value]
        return value

    @model_validator(mode="after")
    def _parts_leave_something(self) -> Self:
        if self.dev_share + self.test_share >= 1:
            raise ValueError("dev_share and test_share together must leave something to train on")
        if self.split_column is not None and (self.dev or self.test):
            raise ValueError("split_column is for one file; leave out dev and test")
        return self


@dataclass(frozen=True)
class Dataset(Generic[E]):
    """Checked examples by split: train, dev, and test where there is one."""

    splits: dict[str, tuple[E, ...]]
    labels: tuple[str, ...]
    """All labels in order; none where the form has no such set."""
    scheme: Scheme
    """What the tags are of; ``none`` where there are none of entities."""
    columns: dict[str, str]
    """The column of each field in ``train``, to read other files alike."""
    said: tuple[str, ...]
    """Lines to show: what was read from where, what was detected, mended and split."""
    table: Table | None = None
    """The rows of a file to be predicted, with all of its columns."""
    conventions: Conventions = NOTHING_KNOWN
    """How ``train`` was read where it could have been otherwise, to read other files alike."""


@dataclass
class _Reading(Generic[E]):
    """What is known of the files so far."""

    settings: Data
    form: Form[E]
    said: list[str] = field(default_factory=list)
    train: Table | None = None
    columns: dict[str, str] = field(default_factory=dict)
    flags: Sequence[str] = ()
    """The columns of ``train`` that are labels, of 0 and 1."""
    conventions: Conventions = NOTHING_KNOWN
    """What ``train`` has left open, as it was found there."""

    def table(self, path: Path) -> Table:
        """The rows of a file; of one that is read after ``train``, with a header if that has one."""
        settings = self.settings
        header = settings.header
        if header is None and self.train is not None and not self.train.typed and not self.train.named:
            header = False
        names = [name for name in settings.columns.values() if isinstance(name, str)]
        if self.train is not None and self.train.named:
            names = list(self.columns.values())
        table = read_rows(
            path,
            encoding=settings.encoding,
            form=TableForm(settings.delimiter, settings.quotes, header),
            named=names,
            sentences=self.form.sentences,
        )
        return self._with_flags(table) if self.form.flags and may_be_flags(settings.columns) else table

    def _with_flags(self, table: Table) -> Table:
        """The table with its columns of 0 and 1 as labels; of a file after ``train``, those that are such there."""
        if self.train is None:
            table, self.flags = gather_train(table)
            return table
        return gather_as_train(table, self.flags, train=self.train.path) if len(self.flags) > 1 else table

    def examples(self, table: Table, *, gold: bool = True) -> list[E]:
        """The examples of a table, checked one by one and together."""
        given: Mapping[str, str | int] = self.settings.columns
        if self.train is not None:
            same = {name: column for name, column in self.columns.items() if column in table.columns}
            optional = {each.name for each in self.form.fields if not each.required}
            given = {name: each for name, each in given.items() if name in same or name not in optional}
            given = {**same, **given}
            gold_fields = {each.name for each in self.form.fields if each.gold}
            if not gold:
                given = {name: column for name, column in given.items() if name not in gold_fields or name in same}
        chosen = choose_columns(table, self.form.fields, given, gold=gold)
        if self.train is None:
            self.train, self.columns = table, chosen
        mended = Mended({}, {}) if self.settings.mend else None
        table = self._wanted(table, chosen)
        if gold and self.settings.labels is None:
            for each in self.form.fields:
                if each.kind == "label" and each.name in chosen:
                    check_label_types(table.rows, chosen[each.name], typed=table.typed, called=each.name)
        for each in self.form.fields:
            if each.kind == "number" and each.name in chosen:
                table = with_points(without_units(table, chosen[each.name]), chosen[each.name])
        if self.form.parted is not None:
            name, known = self.form.parted
            asked = not gold and not any(each.name == name and each.gold for each in self.form.fields)
            table, self.conventions = self.conventions.part(table, chosen.get(name), known, needed=asked)
        read = _read(self.form, table, chosen, gold=gold, mended=mended)
        examples, self.conventions, other = self.conventions.check(self.form, read, mended, gold=gold)
        note = ", ".join(filter(None, (self.form.said(examples), other)))
        also = {*self.form.also(table.columns), *self.flags, self.settings.split_column or ""} if gold else None
        said = describe(table, chosen, self.form.fields, also=also)
        own = split_column(table) if gold and table.path == self.settings.train else None
        if own not in (None, self.settings.split_column):
            instead = " in place of dev and test" if self.settings.dev or self.settings.test else ""
            said += f"; column {own!r} says which split a row is of, but is not used (split_column: {own}{instead})"
        self.said.append(said + (f"; {note}" if note else ""))
        self.tell(table.path, mended)
        if not examples:
            raise InputError(f"{table.path}: no example is left; {'; '.join(mended.lines() if mended else [])}")
        return list(examples)

    def tell(self, path: Path, mended: Mended | None) -> None:
        """Say what was mended."""
        if mended is not None:
            self.said += [f"{path}: {line}" for line in mended.lines()]

    def _wanted(self, table: Table, chosen: Mapping[str, str]) -> Table:
        """The rows whose label is not one of those that the recipe leaves out."""
        left_out = set(self.settings.leave_out)
        columns = [chosen[each.name] for each in self.form.fields if each.gold and each.name in chosen]
        if not left_out:
            return table
        kept = tuple(row for row in table.rows if not any(_is_among(row.cells.get(c), left_out) for c in columns))
        if not kept:
            raise InputError(f"leave_out: no row of {table.path} is left")
        note = f"{len(table.rows) - len(kept):,} rows left out by their label"
        return replace(table, rows=kept, notes=(*table.notes, note))


def load(settings: Data, form: Form[E]) -> Dataset[E]:
    """Everything that a recipe's files hold, checked.

    Raises:
        InputError: file, line, value and choices of the first thing that is wrong.
        RecipeError: ``columns`` names something that the form does not have.
    """
    reading = _Reading(settings, form)
    parts = _by_split(reading) if settings.split_column else _by_file(reading)
    shares = {} if "dev" in parts else {"dev": settings.dev_share}
    if "test" not in parts and settings.test_share:
        shares["test"] = settings.test_share
    labels_given = settings.labels
    labels = labels_given if labels_given is not None else label_set(parts["train"], scheme=scheme_of(parts))
    checked = _check_labels(reading, parts, labels)
    if shares:
        before = len(checked["train"])
        try:
            dealt = split(checked["train"], {"train": 1 - sum(shares.values()), **shares}, seed=settings.seed)
        except InputError as error:
            raise InputError(f"{settings.train}: {error}") from None
        checked.update(dealt)
        sizes = ", ".join(f"{len(checked[name]):,} {name}" for name in ("train", *shares))
        reading.said.append(f"{settings.train}: {before:,} examples split by label and the hash of their text: {sizes}")
    ordered: dict[str, tuple[E, ...]] = {
        name: tuple(checked[name]) for name in ("train", "dev", "test") if name in checked
    }
    return Dataset(
        ordered, tuple(labels), scheme_of(parts), reading.columns, tuple(reading.said), conventions=reading.conventions
    )


def load_inputs(
    path: Path,
    settings: Data,
    form: Form[E],
    *,
    columns: Mapping[str, str] | None = None,
    labels: Sequence[str] = (),
    conventions: Conventions = NOTHING_KNOWN,
) -> Dataset[E]:
    """A file to be predicted, under the split ``test``: what is right may be there, but need not.

    Args:
        settings: how ``train`` was read; its paths are not looked at.
        columns: where that had what, as :class:`Dataset` says; guessed anew where the file has other columns.
            A field of ``settings.columns`` that is not among them is said of this file.
        labels: those that are known, which alone columns of 0 and 1 are taken for; none: any such column.
        conventions: how ``train`` was read where it could have been otherwise.

    Raises:
        InputError: as :func:`load`.
    """
    gold = {each.name for each in form.fields if each.gold}
    fields = {**(columns or {}), **settings.columns}
    names = [name for field, name in fields.items() if field not in gold]
    told = columns is not None and not settings.columns.keys() <= columns.keys() | gold
    understood = partial(inputs_of, labels=labels, conventions=conventions)

    def read(header: bool | None) -> Table:
        return read_rows(
            path,
            encoding=settings.encoding,
            form=TableForm(settings.delimiter, settings.quotes, header),
            named=[name for name in names if isinstance(name, str) and not name.isdigit()],
            sentences=form.sentences,
        )

    unnamed = settings.header is None and bool(names) and all(str(name).isdigit() for name in names)  # in training
    table = read(False if unnamed and not form.sentences else settings.header)
    if unnamed and (table.typed or not form.sentences):
        table = table if table.typed else without_names(table)
        enough = table.typed or len(table.rows) > 1
        found = read_by_names(table if table.typed else read(None), form.fields) if enough and not told else None
        if found is not None:
            return understood(found, settings.model_copy(update={"columns": {}}), form)
    return understood(table, settings, form, columns=columns)


def inputs_of(
    table: Table,
    settings: Data,
    form: Form[E],
    *,
    columns: Mapping[str, str] | None = None,
    labels: Sequence[str] = (),
    conventions: Conventions = NOTHING_KNOWN,
) -> Dataset[E]:
    """As :func:`load_inputs`, of rows that are there already."""
    reading = _Reading(settings.model_copy(update={"leave_out": ()}), form, conventions=conventions)
    gold = {each.name for each in form.fields if each.gold}
    whole = table
    if form.flags and may_be_flags({**(columns or {}), **settings.columns}):
        table = gather_known(table, labels) if labels else gather_flags(table)
    given: dict[str, str | int] = {name: column for name, column in (columns or {}).items() if column in table.columns}
    alone = len(table.columns) == 1 or not table.named
    optional = {each.name for each in form.fields if not each.required}
    for name, column in settings.columns.items():
        of_training = (columns or {}).get(name) == column
        spared = of_training and (alone or name in optional)  # a file of one column may call it otherwise
        if column in table.columns or not (name in gold or spared):
            given[name] = column
    if len(table.columns) == 1 and not table.named:  # it is asked for, though the first was a label's in training
        given = {name: column for name, column in given.items() if name not in gold}
    reading.settings = reading.settings.model_copy(update={"columns": given})
    examples = reading.examples(table, gold=False)
    splits = {"test": tuple(examples)}
    return Dataset(splits, settings.labels or (), "none", reading.columns, tuple(reading.said), whole)


def _by_file(reading: _Reading[E]) -> dict[str, Sequence[E]]:
    settings = reading.settings
    paths = {"train": settings.train, "dev": settings.dev, "test": settings.test}
    parts: dict[str, Sequence[E]] = {}
    for name, path in paths.items():
        if path is None:
            continue
        try:
            parts[name] = reading.examples(reading.table(path))
        except InputError as error:
            if str(error).startswith(f"there is no file {path}"):
                raise InputError(f"{name}: {error}") from None
            raise
    return parts


def _by_split(reading: _Reading[E]) -> dict[str, Sequence[E]]:
    assert reading.settings.split_column is not None
    table = reading.table(reading.settings.train)
    tables: dict[str, Table] = {}
    for value, part in table.parts(reading.settings.split_column).items():
        name = NAMES.get(value.lower())
        if name is None:
            near = suggestion(value, NAMES)
            raise part.rows[0].place.error(f"the split {value!r} of column {reading.settings.split_column!r}{near}")
        if name in tables:
            raise part.rows[0].place.error(f"the split {value!r} is called otherwise before: {name} has two names")
        tables[name] = part
    if "train" not in tables:
        raise InputError(f"split_column: no row of {table.path} is for training; it has {', '.join(tables)}")
    return {name: reading.examples(tables[name]) for name in ("train", "dev", "test") if name in tables}


def _read(form: Form[E], table: Table, chosen: Mapping[str, str], *, gold: bool, mended: Mended | None) -> list[E]:
    examples = []
    for row in table.rows:
        try:
            examples.append(form.read(Cells(row, chosen, gold, mended)))
        except InputError as error:
            if mended is None:
                raise InputError(f"{error}{_how_many(form, table, chosen, gold=gold)}") from None
            reason = str(error).removeprefix(f"{row.place}: ").partition("; ")[0].partition(": ")[0]
            mended.add(f"row left out as {reason}", row.place)
    return examples


def _how_many(form: Form[E], table: Table, chosen: Mapping[str, str], *, gold: bool) -> str:
    """Of how many rows the first that cannot be read is one, and what can be done; nothing where none can be read."""
    failed = 0
    for row in table.rows:
        try:
            form.read(Cells(row, chosen, gold))
        except InputError:
            failed += 1
    rows = len(table.rows)
    if failed == rows:
        return ""
    hint = "; data: {mend: true} mends such rows or leaves them out" if gold else ""
    return f" ({failed:,} of {rows:,} rows cannot be read{hint})"


def _check_labels(
    reading: _Reading[E], parts: Mapping[str, Sequence[E]], labels: Sequence[str]
) -> dict[str, Sequence[E]]:
    """The examples by split, none with a label that is not among ``labels``."""
    settings = reading.settings
    if not labels:
        return dict(parts)
    checked: dict[str, Sequence[E]] = {}
    for name, examples in parts.items():
        mended = Mended({}, {}) if settings.mend else None
        source = "labels" if settings.labels is not None else str(settings.train)
        checked[name] = check_known(examples, labels, source=source, mended=mended)
        reading.tell(getattr(settings, name) or settings.train, mended)
        if not checked[name]:
            raise InputError(f"{name}: no example with a label of {source} is left")
    return checked


def _is_among(value: Any, labels: set[str]) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and str(value) in labels
