"""What a file leaves open: how the one that is trained on was read, and how others are read alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from danlu.data.example import E
from danlu.data.form import Form, Mended
from danlu.data.parted import Marks, has_any, part_column, texts_of
from danlu.data.rows import Table


@dataclass(frozen=True, slots=True)
class Conventions:
    """How the file that is trained on was read; a model's folder keeps it for files that are to be predicted."""

    marks: Marks | None = None
    """What parts cells that hold several things, nothing where it is empty; None: no cell has told."""
    counted_from: int | None = None
    """What answers are counted from that are numbers; None: none is a number."""

    @classmethod
    def of(cls, said: dict[str, Any]) -> Conventions:
        """From what JSON has kept."""
        marks = said["marks"]
        return cls(None if marks is None else tuple(marks), said["counted_from"])

    def part(
        self, table: Table, column: str | None, known: Sequence[Marks], *, needed: bool
    ) -> tuple[Table, Conventions]:
        """The table with lists where cells of a column hold several things as one text; and what is known then.

        Args:
            needed: of what is to be predicted no cell holds one thing alone: where no mark of the training is in any,
                the file's own part it.
        """
        texts = texts_of(table, column)
        otherwise = needed and bool(self.marks) and not has_any(texts, self.marks or ())
        parted, marks = part_column(table, column, known, None if otherwise else self.marks)
        if otherwise and marks and column is not None:
            note = f"{column} parted by {_shown(marks, texts)}, unlike in training ({_shown(self.marks or (), ())})"
            parted = replace(parted, notes=(*parted.notes, note))
        return parted, self if otherwise else replace(self, marks=marks)

    def check(
        self, form: Form[E], read: Sequence[E], mended: Mended | None, *, gold: bool
    ) -> tuple[Sequence[E], Conventions, str]:
        """The examples of a file, checked together; what is known then; and what is to be told, which may be empty.

        Args:
            gold: whether the file is one of the training; one that is to be predicted may count otherwise, where it
                could not count so and can otherwise.

        Raises:
            InputError: an example is none of the form.
        """
        first, counting = self.counted_from, form.counting
        if counting is None:
            return form.check(read, mended), self, ""
        if first is not None and (gold or counting.fits(read, first) or not counting.fits(read, 1 - first)):
            return counting.check(read, first, mended), self, ""
        examples = form.check(read, mended)
        if first is None:
            return examples, replace(self, counted_from=counting.found(examples)), ""
        return examples, self, f"unlike in training, where they were counted from {first}"


NOTHING_KNOWN = Conventions()


def _shown(marks: Marks, texts: Sequence[str]) -> str:
    """Those marks that are in the texts; where none is, the first."""
    return " ".join(map(repr, [mark for mark in marks if has_any(texts, (mark,))] or marks[:1]))
