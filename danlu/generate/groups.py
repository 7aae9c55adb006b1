"""Several answers to each of many prompts, drawn from one model: a prompt is read once, whatever its answers.

Axes: N rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch

from danlu.generate.engine import Answer, End, Loaded
from danlu.generate.reader import Reader, may_be_padded
from danlu.generate.sampling import Sampling, choose

ROWS = 64
"""Answers that are written together; a prompt with more of them has them all at once."""
ROWS_ON_GPU = 256
"""The same on a GPU, which few rows leave idle."""


def write_groups(
    loaded: Loaded, prompts: Sequence[Sequence[int]], settings: Sampling, seeds: Sequence[Sequence[int]]
) -> list[list[Answer]]:
    """The answers to each prompt, as many as it has seeds: those of the same prompt and seed are the same, to rounding.

    Args:
        loaded: a decoder without an encoder.
        settings: of which temperature, top-k, top-p, min-p, typical-p and ``max_tokens`` count.
        seeds: below 2**63.
    """
    answers: list[list[Answer]] = [[] for _ in prompts]
    for places in _together(loaded, prompts, seeds):
        contexts = [list(prompts[place]) for place in places for _ in seeds[place]]
        generators = [torch.Generator().manual_seed(seed) for place in places for seed in seeds[place]]
        begun = [list(prompts[place]) for place in places]
        reader = Reader(loaded.model, begun, tokens=settings.max_tokens, vocab_size=loaded.tokenizer.vocab_size)
        _write(loaded, reader, contexts, generators, [len(seeds[place]) for place in places], settings)
        done = iter(contexts)
        for place in places:
            answers[place] = [_answer(loaded, prompts[place], next(done)) for _ in seeds[place]]
    return answers


def _together(loaded: Loaded, prompts: Sequence[Sequence[int]], seeds: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Places of prompts of about equal length, whose answers are so many together."""

    def length(place: int) -> int:
        return len(prompts[place])

    rows = ROWS_ON_GPU if loaded.model.embedding.weight.device.type == "cuda" else ROWS
    ordered = sorted(range(len(prompts)), key=length)
    alike = [ordered] if may_be_padded(loaded.model.config) else [list(group) for _, group in groupby(ordered, length)]
    for group in alike:
        part: list[int] = []
        for place in group:
            if part and sum(len(seeds[each]) for each in [*part, place]) > rows:
                yield part
                part = []
            part.append(place)
        yield part


def _write(
    loaded: Loaded, reader: Reader, contexts: list[list[int]], generators: list[torch.Generator],
    copies: Sequence[int], settings: Sampling,
) -> None:  # fmt: skip
    """Add to each context the tokens of its answer; ``reader`` has each prompt once, the contexts ``copies`` of it."""
    begun = [len(context) for context in contexts]
    origin = [prompt for prompt, times in enumerate(copies) for _ in range(times)]
    logits_NV = reader.read()[:, -1][origin]
    reader.fork(origin, contexts)
    rows = list(range(len(contexts)))
    while True:
        tokens = choose(logits_NV, settings, [generators[row] for row in rows])
        for row, token in zip(rows, tokens, strict=True):
            contexts[row].append(token)
        going = [
            place for place, (row, token) in enumerate(zip(rows, tokens, strict=True))
            if token not in loaded.special.ends and len(contexts[row]) - begun[row] < settings.max_tokens
        ]  # fmt: skip
        if not going:
            return
        if len(going) < len(rows):
            rows = [rows[place] for place in going]
            reader.keep(going)
        logits_NV = reader.read()[:, -1]


def _answer(loaded: Loaded, prompt: Sequence[int], context: list[int]) -> Answer:
    ids = context[len(prompt) :]
    ended = ids[-1] in loaded.special.ends
    text = loaded.tokenizer.decode(ids[:-1] if ended else ids, after=context[: len(prompt)])
    end: End = "end_of_text" if ended else "max_tokens"
    return Answer(text, tuple(ids), end)
