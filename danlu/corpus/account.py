"""What a mixture reads of each part, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from danlu.corpus.cells import Members
from danlu.corpus.proportions import Floats

OFTEN = 4.0
"""Times that the same text is read, beyond which it teaches less and less (Muennighoff et al. 2023,
arXiv:2305.16264)."""
HEADINGS = ("part", "documents", "tokens", "share", "epochs")


@dataclass(frozen=True, slots=True)
class Portion:
    """What is read of one part."""

    part: str
    documents: int
    tokens: int
    """Of the part, when it is read once."""
    share: float
    """Of the tokens that are read."""
    epochs: float | None
    """How often the part is read; None where nobody knows how long the training will be."""


@dataclass(frozen=True, slots=True)
class Account:
    """What is read in each period of a training."""

    periods: tuple[tuple[Portion, ...], ...]
    until: tuple[int, ...]
    """The step that each period but the last ends with."""
    epochs: dict[str, float]
    """How often each stretch of text that is read alike is read in all; nothing where nobody knows."""
    left_out: tuple[int, int]
    """Documents and tokens that are of no part."""


@dataclass(frozen=True)
class Plan:
    """How much is read of each part in each period."""

    per_epoch: float
    """Rows that are an epoch."""
    batch: int
    """Rows a step."""
    steps: int | None
    """In all; None where only the clock tells."""
    begins: tuple[int, ...]
    """The step that each period begins with."""
    rows: tuple[Floats, ...]
    """``[periods][parts]`` that are read; in proportion only, where the number of steps is not known."""
    members: tuple[Members, ...]
    """The parts of each period."""


@dataclass(frozen=True)
class Ledger:
    """A plan and the names of what it reads; it holds no text."""

    plan: Plan
    labels: tuple[str, ...]
    """Of the cells."""
    documents_C: Floats
    """Of each cell."""
    left_out: tuple[int, int]
    """Documents and tokens that are in no cell."""

    def account(self, steps: int | None = None) -> Account:
        """What is read in so many steps; where None, in those of the plan, should it know how many."""
        plan, steps = self.plan, self.plan.steps if steps is None else steps
        portions, epochs_C = [], np.zeros(len(self.labels))
        for number, (members, rows_P) in enumerate(zip(plan.members, plan.rows, strict=True)):
            begin, later = plan.begins[number], plan.begins[number + 1 : number + 2]
            read = None if steps is None else rows_P * (self._rows(begin, *later, steps) / rows_P.sum())
            portions.append(tuple(self._portions(members, rows_P, read)))
            if read is not None:
                epochs_C += members.to_cells(read) / members.cells.rows
        epochs = {} if steps is None else dict(zip(self.labels, epochs_C.tolist(), strict=True))
        return Account(tuple(portions), plan.begins[1:], epochs, self.left_out)

    def _rows(self, begin: int, *ends: int) -> int:
        """Between the step ``begin`` and the first of these."""
        return max(0, min(ends) - begin) * self.plan.batch

    def _portions(self, members: Members, rows_P: Floats, read_P: Floats | None) -> Iterator[Portion]:
        extents = members.extents
        shares_P = rows_P * extents.tokens_a_row
        shares_P /= shares_P.sum()
        documents_P = members.sum(self.documents_C)
        for number, name in enumerate(members.names):
            there = read_P is not None and extents.rows[number] > 0
            epochs = float(read_P[number] / extents.rows[number]) if there and read_P is not None else None
            yield Portion(
                name, round(documents_P[number]), round(extents.tokens[number]), float(shares_P[number]), epochs
            )


def in_words(account: Account) -> list[str]:
    """Tables of the parts, and what is odd about them."""
    lines: list[str] = []
    for number, portions in enumerate(account.periods):
        if len(account.periods) > 1:
            first = account.until[number - 1] if number else 0
            end = f"to step {account.until[number]:,}" if number < len(account.until) else "to the end"
            lines.append(f"from step {first:,} {end}:")
        lines += _table(portions)
    documents, tokens = account.left_out
    if documents:
        lines.append(f"{documents:,} documents, {tokens:,} tokens, are of no part and are not read")
    lines += [
        f"the text of {name} is read {epochs:.1f} times: beyond about {OFTEN:g} it teaches less and less"
        for name, epochs in account.epochs.items()
        if epochs > OFTEN
    ]
    return lines


def _table(portions: Sequence[Portion]) -> list[str]:
    cells = [HEADINGS, *(_cells(portion) for portion in portions)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    return ["  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]) for first, *rest in cells]


def _cells(portion: Portion) -> tuple[str, ...]:
    epochs = "?" if portion.epochs is None else f"{portion.epochs:.2f}"
    return portion.part, f"{portion.documents:,}", f"{portion.tokens:,}", f"{portion.share:.2%}", epochs
