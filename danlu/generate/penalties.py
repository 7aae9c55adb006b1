"""What a row holds already makes tokens less likely, or rules them out.

They run in the order in which ``transformers`` runs its own: repetition, n-grams; then OpenAI's presence and
frequency. Axes: N rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy, deepcopy

import torch
from torch import Tensor

from danlu.generate.sampling import NEVER, Sampling


class History:
    """What stands in each row, as far as the penalties in ``settings`` ask for it.

    Args:
        contexts: the tokens of each row before the first one of its answer; those that are none of the vocabulary,
            as what a decoder starts from may be, count for nothing.
    """

    def __init__(self, contexts: Sequence[Sequence[int]], settings: Sampling, *, vocab_size: int) -> None:
        self._settings = settings
        shape = (len(contexts), vocab_size)
        self._seen_NV = torch.zeros(shape, dtype=torch.bool) if settings.repetition_penalty != 1 else None
        counted = settings.presence_penalty != 0 or settings.frequency_penalty != 0
        self._counts_NV = torch.zeros(shape) if counted else None
        size = settings.no_repeat_ngram
        self._ngrams = [NGrams(context, size) for context in contexts] if size is not None else None
        if self._seen_NV is not None:
            for place, context in enumerate(contexts):
                self._seen_NV[place, within(context, vocab_size)] = True

    def penalise(self, logits_NV: Tensor) -> Tensor:
        """The logits of the next tokens after all penalties."""
        settings = self._settings
        if self._seen_NV is not None:
            logits_NV = penalise_repetition(logits_NV, self._seen_NV, penalty=settings.repetition_penalty)
        if self._ngrams is not None:
            banned_NV = torch.zeros(logits_NV.shape, dtype=torch.bool)
            for place, ngrams in enumerate(self._ngrams):
                banned_NV[place, within(ngrams.completing(), logits_NV.shape[1])] = True
            logits_NV = forbid(logits_NV, banned_NV)
        if self._counts_NV is not None:
            logits_NV = penalise_presence(
                logits_NV, self._counts_NV, presence=settings.presence_penalty, frequency=settings.frequency_penalty
            )
        return logits_NV

    def take(self, tokens: Sequence[int]) -> None:
        """Add the token that was drawn for each row."""
        rows = range(len(tokens))
        if self._seen_NV is not None:
            self._seen_NV[rows, tokens] = True
        if self._counts_NV is not None:
            self._counts_NV[rows, tokens] += 1
        for ngrams, token in zip(self._ngrams or (), tokens, strict=False):
            ngrams.push(token)

    def keep(self, places: Sequence[int]) -> None:
        """Forget all rows but these."""
        index = list(places)
        self._seen_NV = None if self._seen_NV is None else self._seen_NV[index]
        self._counts_NV = None if self._counts_NV is None else self._counts_NV[index]
        self._ngrams = None if self._ngrams is None else [self._ngrams[place] for place in index]

    def copy(self) -> History:
        """One that goes its own way."""
        other = copy(self)
        other._seen_NV = None if self._seen_NV is None else self._seen_NV.clone()
        other._counts_NV = None if self._counts_NV is None else self._counts_NV.clone()
        other._ngrams = deepcopy(self._ngrams)
        return other


def within(tokens: Iterable[int], vocab_size: int) -> list[int]:
    """Those that may be written: a model can have rows to spare, which are no token of its tokenizer."""
    return [token for token in tokens if token < vocab_size]


class NGrams:
    """Which tokens would complete a sequence of ``size`` tokens that the row holds already (Paulus et al. 2017)."""

    def __init__(self, tokens: Iterable[int], size: int) -> None:
        self._size = size
        self._after: dict[tuple[int, ...], set[int]] = {}
        self._last: tuple[int, ...] = ()
        for token in tokens:
            self.push(token)

    def push(self, token: int) -> None:
        """Add a token to the row."""
        full = len(self._last) == self._size - 1
        if full:
            self._after.setdefault(self._last, set()).add(token)
        self._last = (*self._last, token)[1 if full else 0 :]

    def completing(self) -> set[int]:
        """The tokens that have followed the row's last ``size - 1`` before."""
        return self._after.get(self._last, set())


def penalise_repetition(logits_NV: Tensor, seen_NV: Tensor, *, penalty: float) -> Tensor:
    """Divide positive logits of seen tokens by ``penalty``, multiply negative ones (Keskar et al. 2019, CTRL)."""
    punished_NV = torch.where(logits_NV < 0, logits_NV * penalty, logits_NV / penalty)
    return torch.where(seen_NV, punished_NV, logits_NV)


def penalise_presence(logits_NV: Tensor, counts_NV: Tensor, *, presence: float, frequency: float) -> Tensor:
    """``logits - counts * frequency - (counts > 0) * presence``, over the tokens of the answer (OpenAI's API)."""
    return logits_NV - counts_NV * frequency - (counts_NV > 0) * presence


def forbid(logits_NV: Tensor, banned_NV: Tensor) -> Tensor:
    """Rule out tokens; not in a row where none would be left, which would have no next token at all."""
    left_NV = logits_NV.masked_fill(banned_NV, NEVER)
    stuck_N1 = (left_NV == NEVER).all(-1, keepdim=True)
    return torch.where(stuck_N1, logits_NV, left_NV)
