"""Suites in which the model has to write the word itself."""

from __future__ import annotations

from typing import ClassVar

from danlu.data.rows import Table
from danlu.suites.question import Question, Suite, cells_of, form_of
from danlu.suites.request import Request


class Lambada(Suite):
    """The last word of a passage (Paperno et al. 2016, arXiv:1606.06031): is it written, and how likely is it.

    Prompts are those of ``lambada_openai``: the word with the space before it is the continuation.
    """

    written: ClassVar[bool] = True

    def questions(self, table: Table) -> list[Question]:
        """Rows with ``context`` and ``continuation``, or with ``text``, whose last word is the continuation."""
        whole = list(form_of(table, ("context", "continuation"), ("text",))) == ["text"]
        found = []
        for cells in cells_of(table):
            if whole:
                context, space, word = cells.text("text").rpartition(" ")
                if not (space and context.strip() and word):
                    raise cells.error("text", "must end in a space and a last word")
            else:
                context, word = cells.text("context"), cells.text("continuation").removeprefix(" ")
            found.append(Question(cells.place, (Request(context, f" {word}"),), (word,), 0))
        return found
