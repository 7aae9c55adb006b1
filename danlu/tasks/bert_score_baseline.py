"""What BERTScore is of texts that have nothing to do with each other: figures are rescaled so that this is 0.

``(x - b) / (1 - b)``, of precision, recall and F1 each, as the package ``bert_score`` does with its files; b is of a
file of that form, or of pairs of lines of the user's own text.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from danlu.data.content import read_text
from danlu.errors import InputError, RecipeError, shown

HEADER = "layer,p,r,f"
"""The first line of a file of the package, in lower case; then a line a layer, that of the embedding is 0."""
LINES = 2000
"""Of a file of text, drawn by a fixed seed: the standard error of b is some thousandths then."""
FEWEST = 20


class Baseline(NamedTuple):
    """Of texts that have nothing to do with each other."""

    precision: float
    recall: float
    f1: float


def read_baseline(path: Path, layer: int) -> Baseline | list[tuple[str, str]]:
    """What a file of the package says of ``layer``; of any other text pairs of its lines to measure it by.

    Each of the drawn lines is paired with the next in a drawn order, and the last with the first, so that each is an
    answer once and a reference once, and none its own.

    Raises:
        InputError: it cannot be read, has a damaged line, or fewer than 20 different lines of text.
        RecipeError: it has no such layer.
    """
    text, _ = read_text(path)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if lines and lines[0].replace(" ", "").casefold() == HEADER:
        return _of_layer(path, lines, layer)
    different = list(dict.fromkeys(lines))
    if len(different) < FEWEST:
        raise InputError(f"metrics: bertscore.baseline: {path} must have at least {FEWEST} different lines of text, or "
                         f"be a file of the package bert_score (LAYER,P,R,F); it has {len(different)}")  # fmt: skip
    drawn = np.random.default_rng(0).permutation(len(different))[:LINES].tolist()
    return [(different[one], different[other]) for one, other in zip(drawn, [*drawn[1:], drawn[0]], strict=True)]


def _of_layer(path: Path, lines: list[str], layer: int) -> Baseline:
    found = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            name, *values = map(float, line.split(","))
            found[int(name)] = Baseline(*values)
        except (ValueError, TypeError):
            raise InputError(f"metrics: bertscore.baseline: {path}, row {number}: it must be LAYER,P,R,F in numbers; "
                             f"got {shown(line)!r}") from None  # fmt: skip
    if layer not in found:
        layers = ", ".join(map(str, found))
        raise RecipeError(f"metrics: bertscore.baseline: {path} says nothing of layer {layer} (it has {layers})")
    return checked(path, found[layer])


def checked(path: Path, baseline: Baseline) -> Baseline:
    """The baseline, if figures can be rescaled by it.

    Raises:
        InputError: it is no number below 1.
    """
    if not all(np.isfinite(value) and value < 1 for value in baseline):
        raise InputError(f"metrics: bertscore.baseline: {path} comes to {max(baseline):g}, and must be below 1")
    return baseline
