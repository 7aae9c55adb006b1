"""What is searched for, with texts that answer it and texts that only look so."""

from __future__ import annotations

from dataclasses import dataclass

from danlu.data import names
from danlu.data.columns import Field
from danlu.data.example import Record
from danlu.data.form import Cells, Form
from danlu.errors import shown


@dataclass(frozen=True, slots=True)
class Retrieved(Record):
    """A query, what is to be near it, and what is to be far; without negatives those of the other queries serve."""

    query: str
    positives: tuple[str, ...] | None
    negatives: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.query,)

    @property
    def gold(self) -> tuple[str, ...] | None:
        return self.positives


def _retrieved(cells: Cells) -> Retrieved:
    query = cells.text("query")
    if not cells.gold and not cells.has("positives"):
        return Retrieved(cells.place, query, None)
    positives = cells.several("positives", cells.listed("positives"))
    found = cells.listed("negatives") if cells.has("negatives") else []
    negatives = cells.several("negatives", found) if found != [] else ()
    both = next((text for text in negatives if text in positives), None)
    if both is not None:
        raise cells.error("negatives", f"has a text that is a positive too: {shown(both)!r}")
    return Retrieved(cells.place, query, positives, negatives)


RETRIEVE = Form(
    "retrieve",
    (
        Field("query", names.SEARCHED, "texts"),
        Field("positives", names.POSITIVE, "texts", gold=True),
        Field("negatives", names.NEGATIVES, gold=True, required=False),
    ),
    _retrieved,
)
