"""Examples to look through in a page: what was read, what is right, what was said of it; sorted and filtered there.

The page works without JavaScript, which then leaves the order as it is: worst first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from danlu.evaluate.predictions import Prediction, has_right, how_bad, in_words, spelled, worst_first

MOST = 200
"""Examples of a part that a page shows."""
MOST_CHARACTERS = 3000
"""Of a text that a page shows."""
MOST_CHOICES = 300
"""Values that a filter offers."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, or what is right."""

    by: str
    text: str
    right: bool | None = None
    """None of what is right itself."""
    sure: str = ""
    """The confidence, or the figure of the example alone."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An example."""

    place: str
    texts: Sequence[str]
    said: Sequence[Said]
    kinds: Sequence[str]
    """Its value of each filter."""
    orders: Sequence[float]
    """Its number in each order, the lowest first."""


@dataclass(frozen=True, slots=True)
class Browser:
    """Examples, and by what they can be sorted and filtered."""

    title: str
    examples: Sequence[Shown]
    filters: Sequence[str] = ()
    orders: Sequence[str] = ()
    note: str = ""
    choices: Sequence[Sequence[str]] = field(default=(), init=False)
    """The values of each filter, sorted."""

    def __post_init__(self) -> None:
        choices = [
            sorted({example.kinds[place] for example in self.examples})[:MOST_CHOICES]
            for place in range(len(self.filters))
        ]
        object.__setattr__(self, "choices", choices)


def worst_examples(parts: Mapping[str, Sequence[Prediction]]) -> Browser | None:
    """The worst examples of each part, such as dev and test; None where all are right.

    Worst are the most confident of the wrong ones; where an example has a figure of its own, those with the worst.
    """
    labels = all(isinstance(each.gold, str) and isinstance(each.said, str) and not each.figures
                 for predictions in parts.values() for each in predictions)  # fmt: skip
    filters = [*(["part"] if len(parts) > 1 else []), *(["gold", "predicted"] if labels else [])]
    chosen = {part: worst_first(predictions) for part, predictions in parts.items()}
    worst = [(part, each) for part, wrong in reversed(chosen.items()) for each in wrong[:MOST]]
    if not worst:
        return None
    worst.sort(key=lambda each: how_bad(each[1]), reverse=True)
    shown = [
        _shown(part, each, place, labels=labels, several=len(parts) > 1) for place, (part, each) in enumerate(worst)
    ]
    orders = ("worst first", "least confident first", "longest first", "shortest first")
    return Browser("Worst examples", shown, filters, orders, _count(parts, chosen))


def written_examples(predictions: Sequence[Prediction]) -> Browser:
    """What a model has written, beside what is in the file, in the order of the file."""
    shown = []
    for place, each in enumerate(predictions):
        answer = in_words(each.said)
        said = [*([] if each.gold is None else [Said("file", in_words(each.gold))]), Said("written", answer)]
        shown.append(Shown(each.place, clipped(each.texts), said, (), (float(place), -float(len(answer)))))
    return Browser("Answers", shown, (), ("as in the file", "longest answer first"))


def _shown(part: str, each: Prediction, place: int, *, labels: bool, several: bool) -> Shown:
    """An example that ``place`` others are worse than."""
    gold, said = in_words(each.gold, [each.said], each.words), in_words(each.said, [each.gold], each.words)
    kinds = [*([part] if several else []), *([gold, said] if labels else [])]
    sure = 1.0 if each.confidence is None else each.confidence
    length = float(sum(map(len, each.texts)))
    answers = (Said("gold", gold), Said("predicted", said, False, surety(each)))
    where = f"{part}: {each.place}" if several else each.place
    return Shown(where, clipped(each.texts), answers, kinds, (float(place), sure, -length, length))


def surety(each: Prediction) -> str:
    """The figure of the example alone and the confidence, in words."""
    figures = [f"{spelled(name)} {value:.3g}" for name, value in each.figures.items()]
    return ", ".join([*figures, *([] if each.confidence is None else [f"{each.confidence:.1%} sure"])])


def clipped(texts: Sequence[str]) -> list[str]:
    """Texts of a length that a page has room for."""
    return [text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …" for text in texts]


def _count(parts: Mapping[str, Sequence[Prediction]], chosen: Mapping[str, list[Prediction]]) -> str:
    """How many there are, and how many of them the page has."""
    words = []
    for part, predictions in parts.items():
        wrong = len(chosen[part])
        if not has_right(predictions):
            name = next(iter(predictions[0].figures), "figure")
            words.append(f"{part}: {min(wrong, MOST):,} of {len(predictions):,}, those with the worst {spelled(name)}")
            continue
        which = f", of which these are the worst {MOST:,}" if wrong > MOST else ""
        words.append(f"{part}: {wrong:,} of {len(predictions):,} are not right{which}")
    return "; ".join(words) + ". All of them are in the files of predictions."
