"""What a row is made of: stretches of documents, by a number that says everything.

How rows are cut from a store is a choice of its own: one endless stream (``corpus/stream.py``), or documents
(``corpus/documents.py``). Row ``n`` is row ``n % per_epoch`` of epoch ``n // per_epoch`` in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from danlu.corpus.marks import Marks
from danlu.corpus.store import TokenStore

Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of one document that follow each other in the store."""

    store: TokenStore
    start: int
    """Where in the stream the first token stands, which is only seen: the one before those that are learned."""
    tokens: Ints
    """``[1 + T]``: that token, then T others; an end-of-text token can only be the first and the last."""
    seen: int = 0
    """How many of the others another piece learns too, so that here they are only seen."""
    task: str = ""
    """Which of several objectives makes an example of it."""

    @property
    def body(self) -> Ints:
        """``[T]`` or one less: the tokens without the first and without end-of-text."""
        return self.tokens[1:-1] if self.closes else self.tokens[1:]

    @property
    def marks(self) -> Marks | None:
        """``[T]`` what each token of ``body`` begins; None where the store does not know."""
        if self.store.marks is None:
            return None
        return np.asarray(self.store.marks[self.start + 1 : self.start + 1 + len(self.body)])

    @property
    def closes(self) -> bool:
        """Whether the document ends here."""
        return len(self.tokens) > 1 and int(self.tokens[-1]) == self.store.eot

    @property
    def document(self) -> int:
        """Its number in the store."""
        return int(np.searchsorted(self.store.starts, self.start, side="right")) - 1


class Widths(NamedTuple):
    """Places that an example takes, single numbers or one for each of many examples."""

    inputs: Any
    """Of what the model reads, the decoder where there are two sides."""
    source: Any = 0
    """Of what an encoder reads beside a decoder."""

    def fit(self, room: Widths) -> Any:
        """Whether they are within ``room``."""
        return (self.inputs <= room.inputs) & (self.source <= room.source)


class Unused(NamedTuple):
    """Text of which an objective can make nothing, such as a document of one token where two parts are asked for."""

    pieces: int = 0
    tokens: int = 0
    """End-of-text not counted, nor what another piece has too."""


NOTHING_UNUSED = Unused()


class Form(Protocol):
    """How much room an objective needs; what it knows of lengths before any example is made."""

    @property
    def room(self) -> Widths:
        """Of a row."""
        ...

    @property
    def longest(self) -> int:
        """The most tokens of a document that a row may have room for; longer ones are cut.

        Raises:
            RecipeError: there is room for none.
        """
        ...

    @property
    def by_length(self) -> bool:
        """Whether ``widths`` says all of an example's size, whatever stands in the text, or of a store of pairs
        ``measure`` by nothing but the lengths of both sides: then nothing is listed."""
        ...

    def widths(self, body: Ints) -> Widths:
        """Of examples of so many tokens, end-of-text not counted; 0 where nothing can be made of so few."""
        ...

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        """Of the examples of these stretches of ``store``, by where their own tokens begin and how many they are."""
        ...


class Rows(Protocol):
    """Random access to rows by their number."""

    store: TokenStore
    seed: int

    @property
    def per_epoch(self) -> int:
        """Rows that hold everything once."""
        ...

    @property
    def tokens(self) -> int:
        """What those rows hold of text: tokens that follow on another, end-of-text among them, repeated ones twice."""
        ...

    @property
    def unused(self) -> Unused:
        """What is in no row."""
        ...

    @property
    def several(self) -> bool:
        """Whether a row may hold more than one document, or padding that must not be seen."""
        ...

    def __getitem__(self, number: int) -> list[Piece]:
        """The pieces of a row; they never see each other."""
        ...


def longest_body(form: Form, *, key: str = "pretrain.sequence") -> int:
    """The most tokens of a document that a row has room for.

    Raises:
        RecipeError: there is room for none.
    """
    from danlu.errors import RecipeError

    bodies = np.arange(1, int(form.room.inputs) + int(form.room.source) + 1)
    widths = form.widths(bodies)
    fitting = bodies[np.logical_and(widths.fit(form.room), np.asarray(widths.inputs) > 0)]
    if not len(fitting):
        sequence = max(form.room)  # of two sides, the one that it speaks of
        raise RecipeError(f"{key} is too small: no text fits between the special tokens; got {sequence}")
    return int(fitting[-1])
