"""Answers that were written and judged, as features; and what a batch of them says. No other file knows how.

Axes: T tokens of a row, A tokens of answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.tasks.compared import at_first_tokens
from danlu.tasks.feature import Feature
from danlu.tasks.pooled import first_targets

POLICY, KL = "policy", "kl"
"""Losses: that of the rewards, of which ``[T]`` targets are the tokens of answers; and the divergence from the model
that began, of which they are what that says of each token, in nats."""
ADVANTAGE, BEFORE = "advantage", "before"
"""What else stands at the tokens of answers: how much better the answer is than its group, and how unlikely the token
was when it was written, in nats."""
EXAMPLE = "example"
"""At the first token of a prompt: its number."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A written answer, and all that a step learns of it."""

    example: int
    ids: tuple[int, ...]
    advantage: float
    before: tuple[float, ...] = ()
    """How unlikely each token was when it was written, in nats; none where only one step learns from it."""
    reference: tuple[float, ...] = ()
    """The same for the model that began; none where nothing is compared with that."""

    def feature(self, prompt: Sequence[int]) -> Feature:
        """Prompt and answer, of which only the latter is scored."""
        tokens = np.array([*prompt, *self.ids], dtype=np.int64)

        def at_answer(values: Any, kind: type[Any]) -> Any:
            whole = np.full(len(tokens) - 1, IGNORE, dtype=kind)
            whole[len(prompt) - 1 :] = values
            return whole

        targets = {POLICY: at_answer(self.ids, np.int64), ADVANTAGE: at_answer(self.advantage, np.float64)}
        for name, values in ((BEFORE, self.before), (KL, self.reference)):
            if values:
                targets[name] = at_answer(values, np.float64)
        return Feature(self.example, tokens[:-1], targets)


class AnswerTokens(NamedTuple):
    """What a batch says of the tokens of its answers."""

    places_A: Tensor
    """In the flattened rows."""
    ids_A: Tensor
    advantages_A: Tensor
    before_A: Tensor | None
    """Nats; None where it is not said."""
    reference_A: Tensor | None

    @classmethod
    def of(cls, batch: Batch) -> AnswerTokens:
        """In the order of the rows."""
        places_A = (batch.targets[POLICY].flatten() != IGNORE).nonzero().flatten()
        said = {name: values.flatten()[places_A] for name, values in batch.targets.items()}
        return cls(places_A, said[POLICY], said[ADVANTAGE], said.get(BEFORE), said.get(KL))


def prompt_feature(number: int, prompt: Sequence[int]) -> Feature:
    """The prompt of an example, which says which one it is."""
    tokens = np.array(prompt, dtype=np.int64)
    return Feature(number, tokens, {EXAMPLE: at_first_tokens([number], (len(tokens),))})


def examples_of(batch: Batch) -> list[int]:
    """The numbers of the examples whose prompts are in a batch."""
    return [int(number) for number in first_targets(batch, EXAMPLE)]
