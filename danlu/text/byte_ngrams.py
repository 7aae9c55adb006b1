"""The classifier of py3langid (naive Bayes over sequences of up to six bytes), with its automaton run by numpy.

The automaton's state after a byte depends on the last six bytes alone, so that it is run at all places
of a text at once, in six steps. The scores are those of py3langid but for the order of summation.
"""

from __future__ import annotations

import math
import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

_DEPTH = 6
"""Bytes of the longest sequence in the automaton of py3langid 0.4."""

_FEW = 80
"""Bytes; for fewer, a loop is faster than six steps of numpy."""

_Columns = tuple[list[str], npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""The languages of some columns of the model, their weights and their prior."""


class Classifier:
    """The model of py3langid: 100,053 sequences of bytes, 140 languages."""

    def __init__(self) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        model = LanguageIdentifier.from_model_file(MODEL_FILE)
        self.languages: list[str] = list(model.nb_classes)
        self._weights = np.asarray(model.nb_ptc)
        self._prior = np.asarray(model.nb_pc, dtype=np.float32)
        self._next = np.asarray(model.tk_nextmove)
        self._row = np.asarray(model.tk_row, dtype=np.int32) << 8
        self._feature = np.asarray(model.tk_output, dtype=np.int32)
        first = self._next[self._row[0] : self._row[0] + 256]
        self._second = self._next[self._row[first][:, None] + np.arange(256)].ravel()  # the states after two bytes
        self._of: dict[tuple[str, ...] | None, _Columns] = {}

    def scores(self, text: str, languages: tuple[str, ...] | None = None) -> npt.NDArray[np.float32] | None:
        """The logarithms of how likely each language is, or None where no sequence of bytes is known.

        Returns:
            A vector in the order of ``self.languages``, of ``languages`` alone if they are given; not normalised.
        """
        if text.isupper():
            text = text.lower()
        data = np.frombuffer(unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass"), dtype=np.uint8)
        features = self._feature[self._states(data)]
        found, counts = np.unique(features[features >= 0], return_counts=True)
        if not found.size:
            return None
        _, weights, prior = self._columns(languages)
        summed: npt.NDArray[np.float32] = np.log1p(counts.astype(np.float32)) @ weights[found] + prior
        return summed

    def probabilities(self, text: str, languages: tuple[str, ...]) -> dict[str, float]:
        """Of ``languages`` alone, normalised as py3langid does: softmax at the temperature √bytes."""
        labels, likely = self._columns(languages)[0], self._likely(text, languages)
        summed: dict[str, float] = {}
        for label, value in zip(labels, likely.tolist(), strict=True) if likely is not None else ():
            summed[label] = summed.get(label, 0.0) + value  # Serbian has a column for each of its scripts
        return summed

    def most_probable(self, text: str, languages: tuple[str, ...]) -> tuple[str, float] | None:
        """The one of ``languages`` and its probability; None where no sequence of bytes is known."""
        labels, likely = self._columns(languages)[0], self._likely(text, languages)
        if likely is None:
            return None
        best = int(likely.argmax())
        label = labels[best]
        twice = labels.count(label) > 1  # Serbian, which has a column for each of its scripts
        return label, float(likely[[each == label for each in labels]].sum() if twice else likely[best])

    def _likely(self, text: str, languages: tuple[str, ...]) -> npt.NDArray[np.float64] | None:
        scores = self.scores(text, languages)
        if scores is None:
            return None
        scaled = scores.astype(np.float64) / math.sqrt(len(text.encode("utf-8", "surrogatepass")))
        likely: npt.NDArray[np.float64] = np.exp(scaled - scaled.max())
        likely /= likely.sum()
        return likely

    def _columns(self, languages: tuple[str, ...] | None) -> _Columns:
        """In float32: the sum would convert the weights again for every text."""
        if languages not in self._of:
            places = [at for at, label in enumerate(self.languages) if languages is None or label in languages]
            labels = [self.languages[at] for at in places]
            weights = np.ascontiguousarray(self._weights[:, places], dtype=np.float32)  # a text picks rows
            self._of[languages] = labels, weights, self._prior[places]
        return self._of[languages]

    def _states(self, data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
        """The automaton's state after each byte: begun anew ``_DEPTH`` bytes before it, or where the text begins."""
        steps = data.astype(np.int32)
        if len(data) <= _FEW:
            return np.array(self._begun(steps), dtype=self._next.dtype)
        states = np.zeros(len(data), dtype=self._next.dtype)
        states[: _DEPTH - 1] = self._begun(steps[: _DEPTH - 1])
        if len(data) >= _DEPTH:
            whole = len(data) - _DEPTH + 1
            after = self._second[(steps[:whole] << 8) + steps[1 : whole + 1]]
            for ahead in range(2, _DEPTH):
                after = self._next[self._row[after] + steps[ahead : whole + ahead]]
            states[_DEPTH - 1 :] = after
        return states

    def _begun(self, steps: npt.NDArray[np.int32]) -> list[int]:
        """The states after the first few bytes of a text."""
        state, states = 0, []
        for step in steps.tolist():
            state = int(self._next[int(self._row[state]) + step])
            states.append(state)
        return states


@cache
def classifier() -> Classifier:
    """The only one, loaded at the first call: 70 MB, and 36 MB for Latin script."""
    return Classifier()
