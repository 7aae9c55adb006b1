"""Suites of minimal pairs: two sentences that differ in little, one of which is wrong."""

from __future__ import annotations

from typing import ClassVar

from danlu.data.rows import Table
from danlu.suites.question import Question, Suite, cells_of, form_of
from danlu.suites.request import Request


class Blimp(Suite):
    """English grammar (Warstadt et al. 2020, arXiv:1912.00582): 67 paradigms of 12 phenomena.

    A sentence stands behind the token that begins a text, with a space, as in ``blimp``.
    """

    first_is_right: ClassVar[bool] = True
    shown: ClassVar[str] = "phenomenon"
    space: ClassVar[str] = " "
    phenomenon: ClassVar[str] = "linguistics_term"
    """The column that names it."""

    def questions(self, table: Table) -> list[Question]:
        """Rows with ``sentence_good`` and ``sentence_bad``; ``UID`` names the paradigm."""
        form_of(table, ("sentence_good", "sentence_bad"))
        kinds = {"phenomenon": self.phenomenon, "paradigm": "UID"}
        there = {kind: column for kind, column in kinds.items() if column in table.columns}
        found = []
        for cells in cells_of(table):
            sentences = (cells.text("sentence_good"), cells.text("sentence_bad"))
            requests = tuple(Request("", self.space + sentence) for sentence in sentences)
            groups = {kind: cells.text(column) for kind, column in there.items()}
            found.append(Question(cells.place, requests, sentences, 0, groups))
        return found


class ZhoBlimp(Blimp):
    """Chinese grammar (Liu et al. 2024, arXiv:2411.06096): 118 paradigms of 15 phenomena, without the space."""

    normalised: ClassVar[bool] = True
    space: ClassVar[str] = ""
    phenomenon: ClassVar[str] = "phenomenon"
