"""Metrics of sequence labels: entities found whole, equal to ``seqeval`` 1.2, and tokens with the right tag.

A tag is ``O`` or a place and a type, ``B-PER``; a place alone, ``B``, has the type ``_``. Two ways to read tags:

- the default, as the script ``conlleval`` of CoNLL-2000 does: an entity begins wherever one can be meant, so that
  ``O I-PER`` has one;
- strict: an entity is what the scheme allows, ``B I*`` in BIO, ``B I* E`` or ``S`` in BIOES, and all else is none.

Axes: B choices of items, N items, L types of entities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from danlu.errors import InputError, shown
from danlu.metrics.precision_recall import of_labels
from danlu.metrics.tally import Named, Numbers, Tally, by_sums, check_pairs, share
from danlu.recipe import Choice
from danlu.ticks import ticking

Scheme = Literal["IO", "BIO", "BIOES", "BILOU", "BMES"]
Entity = tuple[str, int, int]
"""Type, first token, and the token behind the last."""

PLACES: dict[Scheme, dict[str, str]] = {
    "IO": {"I": "I"},
    "BIO": {"B": "B", "I": "I"},
    "BIOES": {"B": "B", "I": "I", "E": "E", "S": "S"},
    "BILOU": {"B": "B", "I": "I", "L": "E", "U": "S"},
    "BMES": {"B": "B", "M": "I", "E": "E", "S": "S"},
}
"""The places of a scheme, in the letters of BIOES."""


class Entities(Choice):
    """Entities by their tags: an entity is right where its type and both its ends are."""

    scheme: Scheme | None = None
    """What the places are called; by default the smallest scheme that has those of gold and prediction."""
    strict: bool = False
    """Let an entity be only what the scheme allows; else what conlleval takes for one."""

    def tally(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Tally:
        """Figures ``micro.…`` (of all entities), ``macro.…`` (the mean over their types), ``label.TYPE.…`` and
        ``token_accuracy``.

        An item is a text's tags. In ``notes``: the scheme, and the way of reading.

        Raises:
            InputError: there is no item, lengths differ, or a tag is not one of the scheme.
        """
        check_pairs(gold, predicted)
        check_tokens(gold, predicted)
        scheme = self.scheme or find_scheme(gold, predicted)
        found = []
        for number, (right, answer) in enumerate(ticking(zip(gold, predicted, strict=True)), 1):
            sides = (("gold", right), ("predicted", answer))
            found.append([set(self._read(tags, scheme, f"item {number}: the {side} tag")) for side, tags in sides])
        labels = sorted({entity[0] for sides in found for side in sides for entity in side})
        place_of, count = {label: place for place, label in enumerate(labels)}, len(labels)
        sums_NS = np.zeros((len(gold), 3 * count + 2))
        for item, (right_set, answer_set) in enumerate(found):
            for part, entities in enumerate((right_set & answer_set, answer_set, right_set)):
                for entity in entities:
                    sums_NS[item, part * count + place_of[entity[0]]] += 1
            right_tags = sum(one == other for one, other in zip(gold[item], predicted[item], strict=True))
            sums_NS[item, -2:] = right_tags, len(gold[item])

        def figures(sums_BS: Numbers) -> Named:
            right_BL, predicted_BL, gold_BL = (sums_BS[:, part * count : (part + 1) * count] for part in range(3))
            accuracy = share(sums_BS[:, -2], sums_BS[:, -1])
            return {**of_labels(labels, right_BL, predicted_BL, gold_BL), "token_accuracy": accuracy}

        return by_sums(sums_NS, figures, {"scheme": scheme, "entities": "strict" if self.strict else "conlleval"})

    def _read(self, tags: Sequence[str], scheme: Scheme, who: str) -> list[Entity]:
        places = PLACES[scheme]
        read = []
        for token, tag in enumerate(tags, 1):
            place, dash, kind = tag.partition("-")
            if tag == "O":
                read.append(("O", ""))
            elif place in places and (kind or not dash):
                read.append((places[place], kind or "_"))
            else:
                choices = ", ".join(f"{each}-TYPE" for each in places)
                raise InputError(f"{who} of token {token} is {shown(tag)!r}; {scheme} has O, {choices}")
        return strict_entities(read, scheme) if self.strict else conlleval_entities(read)


def conlleval_entities(tags: Sequence[tuple[str, str]]) -> list[Entity]:
    """Entities of pairs of a place (B, I, E, S, O) and a type, wherever one can be meant."""
    entities, start, before = [], 0, ("O", "")
    for token, tag in enumerate([*tags, ("O", "")]):
        parted = before[0] in "ESO" or tag[0] in "BSO" or before[1] != tag[1]
        if parted and before[0] != "O":
            entities.append((before[1], start, token))
        if parted:
            start = token
        before = tag
    return entities


def strict_entities(tags: Sequence[tuple[str, str]], scheme: Scheme) -> list[Entity]:
    """Entities of pairs of a place (B, I, E, S, O) and a type that the scheme allows.

    Of IO they are the same as everywhere: tags of one type that follow each other are one entity.
    """
    if scheme == "IO":
        return conlleval_entities(tags)
    entities, start, open_type = [], 0, ""
    for token, (place, kind) in enumerate([*tags, ("O", "")]):
        goes_on = place in "IE" and kind == open_type
        if open_type and not goes_on and scheme == "BIO":
            entities.append((open_type, start, token))
        if goes_on and place == "E":
            entities.append((kind, start, token + 1))
        if place == "S":
            entities.append((kind, token, token + 1))
        if place == "B":
            start, open_type = token, kind
        elif not (goes_on and place == "I"):
            open_type = ""
    return entities


def find_scheme(*sides: Sequence[Sequence[str]]) -> Scheme:
    """The smallest scheme that has all places of the tags, in the order IO, BIO, BIOES, BILOU, BMES.

    Raises:
        InputError: none has.
    """
    places = {tag.partition("-")[0] for side in sides for tags in side for tag in tags} - {"O"}
    for scheme, known in PLACES.items():
        if places <= known.keys():
            return scheme
    known_places = sorted({place for each in PLACES.values() for place in each})
    for side, all_tags in zip(("gold", "predicted"), sides, strict=True):
        for number, tags in enumerate(all_tags, 1):
            for token, tag in enumerate(tags, 1):
                if tag != "O" and tag.partition("-")[0] not in known_places:
                    raise InputError(
                        f"item {number}: the {side} tag of token {token} is {shown(tag)!r}; "
                        f"a tag is O or begins with {', '.join(known_places)} and a dash"
                    )
    raise InputError(f"no scheme has the places {', '.join(sorted(places))}; choose among {', '.join(PLACES)}")


def check_tokens(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> None:
    """Raise InputError where an item has not as many predicted tags as gold ones."""
    for number, (right, answer) in enumerate(zip(gold, predicted, strict=True), 1):
        if len(right) != len(answer):
            raise InputError(f"item {number}: {len(answer)} predicted tags for {len(right)} gold ones")
