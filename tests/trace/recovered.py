"""The tokens of the texts in a batch, put together again from what the model sees and should say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from danlu.corpus.batches import IGNORE, PADDING, Batch
from danlu.tokenizers.vocabulary import Vocabulary


def examples(batch: Batch) -> Iterator[list[dict[str, list[int]]]]:
    """Of each row of a batch its examples, each with what the model sees and should say, without padding."""
    kinds = {"inputs": batch.inputs, "targets": batch.targets, "source": batch.source}
    for row in range(len(batch.inputs["tokens"])):
        found: list[dict[str, list[int]]] = []
        for side, names in (("inputs", ("inputs", "targets")), ("source", ("source",))):
            if not kinds[side]:
                continue
            length = kinds[side]["tokens"].shape[1]
            segments = kinds[side]["segments"][row].numpy() if "segments" in kinds[side] else np.zeros(length, int)
            for number in range(int(segments.max()) + 1):
                there = segments == number
                assert number != PADDING and there.any()
                if side == "inputs":
                    found.append({})
                found[number] |= {f"{kind}.{name}": values[row].numpy()[there].tolist()
                                  for kind in names for name, values in kinds[kind].items()}  # fmt: skip
        yield found


def stream(example: dict[str, list[int]], known: Vocabulary) -> list[list[int]]:
    """A causal model reads all but the last token, which the last target is."""
    tokens = [*example["inputs.tokens"], example["targets.words"][-1]]
    if tokens[-1] == IGNORE:
        tokens.pop()
    body = tokens[1:]
    return [body[:-1] if body and body[-1] == known.eot else body]


def masked(example: dict[str, list[int]], known: Vocabulary) -> list[list[int]]:
    both = zip(example["inputs.tokens"], example["targets.words"], strict=True)
    clear = [seen if target == IGNORE else target for seen, target in both]
    assert clear[0] == known.roles["cls"] and clear[-1] == known.roles["sep"]
    return [clear[1:-1]]


def paired(example: dict[str, list[int]], known: Vocabulary) -> list[list[int]]:
    (clear,) = masked(example, known)
    border = example["inputs.types"].index(1)
    assert clear[border - 2] == known.roles["sep"]
    return [clear[: border - 2], clear[border - 1 :]]


def middle(example: dict[str, list[int]], known: Vocabulary) -> list[list[int]]:
    (body,) = stream(example, known)
    before, between, behind = (known.roles[f"fim_{part}"] for part in ("prefix", "middle", "suffix"))
    if before not in body:
        return [body]
    moved = body[1:]
    if moved[0] == behind:  # suffix, then prefix and middle behind each other
        border = moved.index(between)
        return [[*moved[border + 1 :], *moved[1:border]]]
    one, other = moved.index(behind), moved.index(between)
    return [[*moved[:one], *moved[other + 1 :], *moved[one + 1 : other]]]


def spans(example: dict[str, list[int]], known: Vocabulary) -> list[list[int]]:
    """What was cut out stands behind its sentinel in the targets, and goes back to that sentinel in the source."""
    modes = known.sentinels[-3:]
    cut: dict[int, list[int]] = {}
    for token in example["targets.words"][:-1]:
        if token in known.sentinels:
            cut[token] = []
        else:
            cut[[*cut][-1]].append(token)
    source = example["source.tokens"][:-1]
    return [[back for token in source if token not in modes for back in cut.get(token, [token])]]


def written(example: dict[str, list[int]], known: Vocabulary) -> list[list[int]]:
    assert example["targets.words"][0] == known.roles["cls"] and example["targets.words"][-1] == known.eot
    return [example["targets.words"][1:-1]]


def both_sides(example: dict[str, list[int]], known: Vocabulary) -> list[list[int]]:
    source = example["source.tokens"][len(known.before) : -len(known.after or (0,))]
    return [[*source, known.roles["sep"], *example["targets.words"][:-1]]]
