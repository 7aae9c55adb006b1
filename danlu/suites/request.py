"""What is asked of a model: how likely a continuation is after a context; and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Request(NamedTuple):
    """A context, which may be empty, and the continuation that is scored; spaces between words begin the latter."""

    context: str
    continuation: str


class Score(NamedTuple):
    """What a model makes of a continuation."""

    log_likelihood: float
    """Nats, at most 0: the sum over its tokens."""
    greedy: bool
    """Whether each token was the likeliest one at its place."""
    cut: bool
    """Whether some of the context was left out, because the model does not see so much at once."""


class Scorer(Protocol):
    """A model that scores."""

    foresees: bool
    """Whether it writes continuations from left to right, so that ``greedy`` is what it would have written."""

    def score(self, requests: Sequence[Request]) -> list[Score]:
        """A score for each request, in their order.

        Raises:
            InputError: a continuation has no token of its own, or is longer than what the model sees.
            CheckpointError: the model gives infinity, or what is no number.
        """
        ...
