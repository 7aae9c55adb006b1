"""A classifier of quality that learns from a user's good and bad texts, as for GPT-3 (Brown et al. 2020, appendix A).

Logistic regression on hashed n-grams of characters: no words are needed, so that it serves every language. A text is
its share of n-grams in each of ``2 ** BITS`` places.

E is the number of examples, P that of n-grams of a text, F that of places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from danlu import log
from danlu.clean.arrays import Arrays
from danlu.clean.rules import Rule
from danlu.errors import InputError
from danlu.recipe import Choice
from danlu.text.document import Document, main_language
from danlu.text.lists import read_list

BITS = 18
"""Places of n-grams are numbers of so many bits."""
ORDERS = (1, 2, 3, 4)
"""Characters of an n-gram."""
LEAST_EXAMPLES = 50
"""Of each side; a tenth of them is held out."""
HELD_OUT = 10
"""Of so many examples one is held out, drawn by its text."""
STEPS = 200
"""Of the search for the best weights, at most; some 50 are usual."""
SMALL = 1e-6
"""It ends where no part of the gradient is larger."""
PENALTY = 1e-4
"""On half the squared weights, for each example's loss: it decides between weights that separate equally well."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

Floats = NDArray[np.float64]


class Classifier(Choice):
    """Drop documents that look more like the bad examples than like the good ones.

    Both files are .txt (a line is an example), .jsonl (field ``text``), .csv or .tsv (column ``text``).
    """

    good: Path
    """A file of good examples."""
    bad: Path
    """A file of bad ones."""
    language: str | None = None
    """The language (ISO 639-1) whose documents are judged; all, where not given."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Documents fall that are good with less probability, good and bad ones being equally frequent."""
    max_examples: int = Field(default=2000, ge=LEAST_EXAMPLES)
    """Of each side that are learned from, spread evenly over the file; they take some 250 MB."""
    max_characters: int = Field(default=2000, ge=100)
    """Of an example that are learned from, and of a document that are looked at, from its middle."""

    def external_files(self) -> list[Path]:
        return [self.good, self.bad]

    def make(self) -> Rule:
        """Learn from the examples, and tell how many of those held out are judged right.

        Raises:
            InputError: a file cannot be read, or holds too few examples.
        """
        learned, said = self.learn()
        log.say(said)
        return self.rule(learned)

    def learn(self) -> tuple[Arrays, str]:
        """The weights, and a line that tells how many of the examples held out they judge right.

        Raises:
            InputError: a file cannot be read, or holds too few examples.
        """
        sides = [self._examples(self.good, "good"), self._examples(self.bad, "bad")]
        if shared := set(sides[0]) & set(sides[1]):
            raise InputError(f"classifier: {len(shared)} texts are in both {self.good} and {self.bad}")
        model = train(*([text for text in side if not _is_held_out(text)] for side in sides))
        held_out = [[text for text in side if _is_held_out(text)] for side in sides]
        shares = [
            sum((model.good(text) >= self.threshold) is is_good for text in side) / max(1, len(side))
            for side, is_good in zip(held_out, (True, False), strict=True)
        ]
        return {"weights": model.weights_F, "bias": np.array([model.bias])}, (
            f"classifier: of examples held out it is right on {shares[0]:.1%} of {len(held_out[0])} good ones "
            f"and {shares[1]:.1%} of {len(held_out[1])} bad ones"
        )

    def rule(self, learned: Arrays) -> Rule:
        """The rule by what :meth:`learn` gave."""
        model = Model(learned["weights"], float(learned["bias"][0]))

        def drop(document: Document) -> str | None:
            if self.language is not None and main_language(document) != self.language:
                return None
            good = model.good(self._middle(document.text))
            return "classifier: probability of good" if good < self.threshold else None

        return drop

    def _examples(self, path: Path, side: str) -> list[str]:
        """Different texts of a file, as many as may be learned from."""
        texts = list(dict.fromkeys(self._middle(line.text) for line in read_list(path)))
        if len(texts) < LEAST_EXAMPLES:
            raise InputError(
                f"classifier.{side}: {path} holds {len(texts)} different examples; at least {LEAST_EXAMPLES} are needed"
            )
        step = -(-len(texts) // self.max_examples)
        return texts[::step]

    def _middle(self, text: str) -> str:
        start = max(0, (len(text) - self.max_characters) // 2)
        return text[start : start + self.max_characters]


@dataclass(frozen=True, slots=True)
class Model:
    """A weight for each place, and one for all."""

    weights_F: Floats
    bias: float

    def good(self, text: str) -> float:
        """The probability that ``text`` is a good one."""
        places_P = features(text)
        return float(np.exp(-np.logaddexp(0, -self.bias - self.weights_F[places_P].mean())))


def train(good: Sequence[str], bad: Sequence[str]) -> Model:
    """The weights with the least penalised loss, both sides counting the same however many texts they have.

    Shares are scaled so that an example's are of length one, root mean square: the penalty is on weights of those.
    """
    places = [features(text) for text in (*good, *bad)]
    firsts, columns, shares = _matrix(places)
    labels_E = np.array([1.0] * len(good) + [-1.0] * len(bad))
    times_E = np.array([0.5 / len(good)] * len(good) + [0.5 / len(bad)] * len(bad))
    scale = np.sqrt(len(places) / max(float(shares @ shares), 1e-12))
    values = shares * scale
    counts_E = np.diff(firsts, append=len(columns))

    def loss(weights: Floats) -> tuple[float, Floats]:
        """Of the weights, the bias behind them, and its gradient."""
        margin_E = labels_E * (np.add.reduceat(values * weights[columns], firsts) + weights[-1])
        pull_E = -times_E * labels_E * np.exp(-np.logaddexp(0, margin_E))
        gradient = PENALTY * weights
        gradient[:-1] += np.bincount(columns, weights=values * np.repeat(pull_E, counts_E), minlength=1 << BITS)
        gradient[-1] += pull_E.sum()
        return float(times_E @ np.logaddexp(0, -margin_E)) + PENALTY / 2 * float(weights @ weights), gradient

    weights = minimise(loss, np.zeros((1 << BITS) + 1))
    return Model(weights[:-1] * scale, float(weights[-1]))


def minimise(function: Callable[[Floats], tuple[float, Floats]], start: Floats) -> Floats:
    """Where a smooth convex function is least, by L-BFGS (Nocedal and Wright 2006, algorithm 7.4).

    Steps are halved until they go down enough; it ends where the gradient is nearly 0.
    """
    now = start
    value, gradient = function(now)
    history: list[tuple[Floats, Floats]] = []
    for _ in range(STEPS):
        if float(np.abs(gradient).max()) < SMALL:
            break
        direction = -_two_loops(gradient, history)
        slope, size = float(direction @ gradient), 1.0
        while True:
            following = now + size * direction
            new_value, new_gradient = function(following)
            if new_value <= value + 1e-4 * size * slope or size < 1e-12:
                break
            size /= 2
        moved, turned = following - now, new_gradient - gradient
        if float(moved @ turned) > 0:
            history = [*history[-9:], (moved, turned)]
        now, value, gradient = following, new_value, new_gradient
    return now


def _two_loops(gradient: Floats, history: list[tuple[Floats, Floats]]) -> Floats:
    """The gradient times an estimate of the inverse of the second derivatives."""
    direction = gradient.copy()
    shares = []
    for moved, turned in reversed(history):
        shares.append(float(moved @ direction) / float(moved @ turned))
        direction -= shares[-1] * turned
    if history:
        moved, turned = history[-1]
        direction *= float(moved @ turned) / float(turned @ turned)
    for (moved, turned), share in zip(history, reversed(shares), strict=True):
        direction += (share - float(turned @ direction) / float(moved @ turned)) * moved
    return direction


def features(text: str) -> NDArray[np.int64]:
    """The place of every n-gram of ``text``, in small letters and with single spaces, a space around it ``[P]``."""
    spaced = f" {' '.join(text.lower().split())} "
    codes = np.frombuffer(spaced.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    places = []
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    for order in ORDERS:
        sums = (sums[:-1] ^ codes[order - 1 :]) * _FACTOR  # one n-gram less for each order
        sums ^= sums >> np.uint64(32)
        places.append((sums * _FACTOR >> np.uint64(64 - BITS)).astype(np.int64))
    return np.concatenate(places)


def _matrix(places: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int32], Floats]:
    """Where each row begins; of all that is not 0 the column and the share."""
    columns, shares = [], []
    for each in places:
        column, times = np.unique(each, return_counts=True)
        columns.append(column.astype(np.int32))
        shares.append(times / len(each))
    lengths = np.array([len(column) for column in columns])
    return np.cumsum(lengths) - lengths, np.concatenate(columns), np.concatenate(shares)


def _is_held_out(text: str) -> bool:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=4).digest()[0] % HELD_OUT == 0
