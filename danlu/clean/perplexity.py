"""Drop what an n-gram model of good text finds unlikely, as CCNet does (Wenzek et al. 2020, arXiv:1911.00359).

The model counts characters, so that it needs no words and knows every language: interpolated modified Kneser-Ney
(:mod:`danlu.text.ngram`). White space counts as one space.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from danlu import log
from danlu.clean.arrays import Arrays
from danlu.clean.examples import example_paths, example_texts
from danlu.clean.rules import Rule
from danlu.errors import InputError
from danlu.recipe import Choice
from danlu.text.document import Document, main_language
from danlu.text.ngram import Floats, KneserNey, train

PIECE = 1000
"""Characters of a piece of good text."""
HELD_OUT = 10
"""Of so many pieces one is not learned from, but tells how unlikely good text may be."""
LEAST_PIECES = 200
"""Fewer pieces say too little about a percentile: 20 are held out of these."""
AT_ONCE = 2**16
"""Characters that are scored at once, which bounds the memory."""


class Perplexity(Choice):
    """Drop documents whose perplexity a character, under a model of good text, is too high.

    A tenth of the good text is held out; what is more unlikely than nearly all pieces of that, of 1,000 characters
    each, falls. Perplexities of languages are not alike: give each its own rule, with ``language``.
    """

    good: Path
    """A file or a folder of good text."""
    language: str | None = None
    """The language (ISO 639-1) whose documents are judged; all, where not given."""
    order: int = Field(default=5, ge=1, le=8)
    """Characters of the longest n-gram."""
    percentile: float = Field(default=99, gt=0, le=100)
    """Documents fall whose perplexity is above that of so many hundredths of the pieces held out."""
    max_perplexity: float | None = Field(default=None, gt=1)
    """Documents fall whose perplexity is above this, in place of the percentile."""
    max_characters: int = Field(default=2_000_000, ge=100_000)
    """Characters of good text that are learned from, spread evenly over all of it; up to some 250 bytes of memory
    each."""

    def external_files(self) -> list[Path]:
        return example_paths(self.good, key="perplexity.good")

    def make(self) -> Rule:
        """Learn from the good text, and tell what it says.

        Raises:
            InputError: there is too little of it.
        """
        learned, said = self.learn()
        log.say(said)
        return self.rule(learned)

    def learn(self) -> tuple[Arrays, str]:
        """The model of the good text, and the perplexities of what of it is held out; and a line that tells of them.

        Raises:
            InputError: there is too little of it.
        """
        pieces = _pieces(self.good, self.max_characters)
        if len(pieces) < LEAST_PIECES:
            raise InputError(
                f"perplexity.good: {self.good} holds {sum(map(len, pieces)):,} characters of text; "
                f"at least {LEAST_PIECES} pieces of up to {PIECE:,} are needed"
            )
        model = CharacterModel.of_texts([piece for number, piece in enumerate(pieces) if number % HELD_OUT], self.order)
        held_out = np.array([model.perplexity(piece) for piece in pieces[::HELD_OUT]])
        above = f"above {self._most(held_out):.2f} documents fall"
        said = f"perplexity: good text has {np.median(held_out):.2f} a character; {above}"
        return {**model.arrays(), "held_out": held_out}, said

    def rule(self, learned: Arrays) -> Rule:
        """The rule by what :meth:`learn` gave."""
        model, most = CharacterModel.of_arrays(learned), self._most(learned["held_out"])

        def drop(document: Document) -> str | None:
            if self.language is not None and main_language(document) != self.language:
                return None
            return "perplexity: perplexity" if model.perplexity(document.text) > most else None

        return drop

    def _most(self, held_out: NDArray[Any]) -> float:
        return self.max_perplexity or float(np.percentile(held_out, self.percentile))


class CharacterModel:
    """An n-gram model of characters; those that it has not seen are all one.

    Args:
        known: the code points that it has seen, ascending.
        model: of their places among these.
    """

    def __init__(self, known: NDArray[Any], model: KneserNey) -> None:
        self._known, self._model = known, model
        self._ids = _ids(known)

    @classmethod
    def of_texts(cls, texts: list[str], order: int) -> Self:
        """The model that ``texts`` teach."""
        codes = [_codes(_one_spaced(text)) for text in texts]
        all_codes = np.concatenate(codes)
        known = np.unique(all_codes)
        depth_N = np.concatenate([np.arange(len(each)) for each in codes])
        return cls(known, train(_ids(known)[all_codes], depth_N, len(known) + 1, order))

    def arrays(self) -> Arrays:
        """All of it, of which :meth:`of_arrays` makes the same model."""
        return {"known": self._known, **self._model.arrays()}

    @classmethod
    def of_arrays(cls, arrays: Arrays) -> Self:
        """The model of which :meth:`arrays` were made."""
        return cls(arrays["known"], KneserNey.of_arrays(arrays))

    def nats(self, text: str) -> Floats:
        """What each character of ``text`` costs, in nats."""
        ids_N = self._ids[_codes(_one_spaced(text))]
        parts = [ids_N[first : first + AT_ONCE] for first in range(0, len(ids_N), AT_ONCE)]
        return np.concatenate([np.zeros(0), *(self._model.nats(part, np.arange(len(part)))[0] for part in parts)])

    def perplexity(self, text: str) -> float:
        """The perplexity a character; of white space alone 1."""
        nats_N = self.nats(text)
        return float(np.exp(nats_N.mean())) if len(nats_N) else 1.0


def _ids(known: NDArray[Any]) -> NDArray[np.int32]:
    """The number of each code point; of all that are not ``known`` the last one."""
    ids = np.full(sys.maxunicode + 1, len(known), dtype=np.int32)
    ids[known] = np.arange(len(known))
    return ids


def _one_spaced(text: str) -> str:
    return " ".join(text.split())


def _codes(text: str) -> NDArray[Any]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _pieces(path: Path, most: int) -> list[str]:
    """Pieces of the good text, spread evenly: where there are too many, every second one goes, and so on."""
    pieces: list[str] = []
    characters, every, number = 0, 1, 0
    for text in example_texts(path, key="perplexity.good"):
        for start in range(0, len(text), PIECE):
            if number % every == 0:
                pieces.append(text[start : start + PIECE])
                characters += len(pieces[-1])
            number += 1
            if characters > most:
                pieces, every = pieces[::2], 2 * every
                characters = sum(map(len, pieces))
    return pieces
