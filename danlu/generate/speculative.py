"""Speculative decoding: a small model drafts several tokens, the large one reads them all in one pass.

Leviathan et al. 2023, arXiv:2211.17192, algorithm 1. A drafted token ``x`` stays with probability
``min(1, p(x) / q(x))``, where ``q`` is what it was drawn from and ``p`` what the large model would have drawn from;
where it does not stay, one from ``max(0, p - q)``, scaled to 1, takes its place. So every token is
distributed as ``p``, whatever the small model says; with temperature 0 the answer is the same.
Axes: V vocabulary, K drafted tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.errors import CheckpointError
from danlu.generate.engine import Answer, Loaded, Row, answer_of, make_rows, permitted
from danlu.generate.penalties import History
from danlu.generate.reader import Reader, encode
from danlu.generate.sampling import Sampling, distribution, draw


@dataclass(frozen=True)
class Drafting:
    """A model and a smaller one with the same vocabulary, both as ``load`` gives them.

    Raises:
        CheckpointError: their vocabularies differ, or only one of them has an encoder.
    """

    target: Loaded
    draft: Loaded
    count: int = 4
    """Tokens to draft before each pass of the large model."""

    def __post_init__(self) -> None:
        ours, theirs = self.target.tokenizer, self.draft.tokenizer
        if ours.vocab_size != theirs.vocab_size:
            raise CheckpointError(
                "the draft model must have the model's own vocabulary; "
                f"it has {theirs.vocab_size} tokens, the model {ours.vocab_size}"
            )
        for id in range(ours.vocab_size):
            if ours.token_bytes(id) != theirs.token_bytes(id):
                raise CheckpointError(
                    f"the draft model must have the model's own vocabulary; its token {id} is "
                    f"{theirs.token_bytes(id)!r}, the model's {ours.token_bytes(id)!r}"
                )
        if (self.target.model.config.encoder is None) != (self.draft.model.config.encoder is None):
            raise CheckpointError("the draft model must have an encoder where the model has one, and only there")


def speculate(drafting: Drafting, prompts: Sequence[str], *, settings: Sampling, seed: int) -> list[Answer]:
    """An answer for each prompt, one after the other, distributed as those of ``generate`` with the large model.

    That of prompt ``i`` is drawn with ``seed + i``; it is another draw than ``generate``'s.
    """
    rows = make_rows(drafting.target, prompts, settings, seed)
    return [answer_of(row, list(_write(drafting, row, settings))) for row in rows]


def _write(drafting: Drafting, row: Row, settings: Sampling) -> Iterator[str]:
    """The pieces of one answer."""
    target, draft = (_reader(loaded, row, settings) for loaded in (drafting.target, drafting.draft))
    history = History([row.context], settings, vocab_size=drafting.target.tokenizer.vocab_size)
    while row.end is None:
        # Drafts are read before it is known whether they stay: they must not push out what the row still sees.
        count = max(0, min(drafting.count, settings.max_tokens - 1 - row.count, target.free))
        length = len(row.context)
        drafted, drawn_from = _draft(draft, row, history.copy(), settings, count)
        logits_KV = target.read(count + 1)[0]
        del row.context[length:]
        for place in range(count + 1):
            p_V = distribution(history.penalise(permitted(logits_KV[place : place + 1], [row])), settings)[0]
            stays, token = _judge(p_V, drafted[place : place + 1], drawn_from[place : place + 1], row.generator)
            history.take([token])
            yield row.take(token)
            if not stays or row.end is not None:
                break
        # The last token is new to both; of the drafts, what comes before it has been read as it is.
        for reader in (target, draft):
            reader.back_to(len(row.context) - 1)


def _reader(loaded: Loaded, row: Row, settings: Sampling) -> Reader:
    memory = encode(loaded.model, [row.source]) if row.source is not None else None
    vocab_size = loaded.tokenizer.vocab_size
    return Reader(loaded.model, [row.context], tokens=settings.max_tokens, vocab_size=vocab_size, memory=memory)


def _draft(
    reader: Reader, row: Row, history: History, settings: Sampling, count: int
) -> tuple[list[int], list[Tensor]]:
    """Add ``count`` tokens to the row's context; they, and the probabilities ``[V]`` that each was drawn from.

    A constraint does not hold the small model: what it drafts against it never stays.
    """
    tokens: list[int] = []
    drawn_from: list[Tensor] = []
    for _ in range(count):
        q_1V = distribution(history.penalise(reader.read()[:, -1]), settings)
        (token,) = draw(q_1V, [row.generator])
        history.take([token])
        row.context.append(token)
        tokens.append(token)
        drawn_from.append(q_1V[0])
    return tokens, drawn_from


def _judge(p_V: Tensor, drafted: list[int], drawn_from: list[Tensor], generator: torch.Generator) -> tuple[bool, int]:
    """Whether a drafted token stays, and what stands in its place; behind the last draft, one from ``p_V``."""
    if not drafted:
        return False, draw(p_V[None], [generator])[0]
    (token,), (q_V,) = drafted, drawn_from
    uniform = float(torch.rand(1, dtype=torch.float64, generator=generator))
    if uniform * float(q_V[token]) < float(p_V[token]):
        return True, token
    rest_V = (p_V - q_V).clamp_min(0)
    # Rounding may leave nothing where p and q are all but the same.
    return False, draw((rest_V if float(rest_V.sum()) > 0 else p_V)[None], [generator])[0]
