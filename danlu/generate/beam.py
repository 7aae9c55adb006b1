"""Beam search: the likeliest beginnings of an answer go on side by side, and the best whole answer is taken.

Semantics, down to when the search stops, are those of ``generate(num_beams=…)`` in ``transformers`` 5.
Axes: P prompts, N rows (beams of all prompts), K continuations, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from danlu.errors import RecipeError
from danlu.generate.penalties import NGrams, within
from danlu.generate.sampling import NEVER
from danlu.generate.search import ROWS_AT_ONCE, Rows, ends_of, read_sources, together
from danlu.nn.transformer import Transformer
from danlu.recipe import Choice


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """An answer that was found."""

    tokens: list[int]
    """What was written, with the end-of-text token where it was."""
    score: float
    """``log P(tokens) / len(tokens) ** length_penalty``; forced tokens count as certain."""


class Beam(Choice):
    """Keep the ``beams`` likeliest beginnings at every step; of the whole answers take the one with the best score.

    The score of an answer Y is ``log P(Y) / |Y| ** length_penalty``, where |Y| counts its tokens with
    the end-of-text token. A penalty of 1 compares mean log-probabilities (Freitag & Al-Onaizan 2017,
    arXiv:1702.01806); Wu et al. 2016 (arXiv:1609.08144, eq. 14) divide by ``((5 + |Y|) / 6) ** penalty``
    instead, which favours long answers less.
    """

    beams: int = Field(default=4, ge=1)
    """Beginnings that go on side by side; 1 takes the likeliest token at every step."""
    length_penalty: float = Field(default=1.0, ge=-10, le=10)
    """What the length is raised to before it divides the log-probability; the larger, the longer the answers."""
    early_stopping: bool | Literal["never"] = False
    """When a prompt with ``beams`` whole answers is done.

    True: at once. False: when no beginning scores better at its present length than the worst of
    them. never: when none could even at the length that favours it most.
    """
    no_repeat_ngram: int | None = Field(default=None, ge=1)
    """No sequence of so many tokens is written twice; the prompt's count (Paulus et al. 2017, arXiv:1705.04304)."""
    min_tokens: int = Field(default=0, ge=0)
    """Tokens that an answer has at least before the end-of-text token."""
    forced_first: int | None = Field(default=None, ge=0)
    """The token id that every answer begins with; BART's summaries begin with 0."""
    forced_last: int | None = Field(default=None, ge=0)
    """The token id that an answer ends with which reaches its greatest length; BART's end with 2."""

    def run(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        *,
        eot: int | Collection[int],
        max_tokens: int,
        sources: Sequence[list[int]] | None = None,
        vocab_size: int | None = None,
    ) -> list[list[int]]:
        """The best answer to each prompt; :class:`danlu.generate.search.Search` has the arguments."""
        found = self.hypotheses(model, prompts, eot=eot, max_tokens=max_tokens, sources=sources, vocab_size=vocab_size)
        return [each[0].tokens for each in found]

    def with_forced(self, first: int | None, last: int | None) -> Beam:
        """The same search, with these forced tokens where it has none of its own."""
        forced = {"forced_first": first, "forced_last": last}
        return self.model_copy(update={name: token for name, token in forced.items() if getattr(self, name) is None})

    @torch.inference_mode()
    def hypotheses(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        *,
        eot: int | Collection[int],
        max_tokens: int,
        sources: Sequence[list[int]] | None = None,
        vocab_size: int | None = None,
    ) -> list[list[Hypothesis]]:
        """The ``beams`` best answers to each prompt, best first; fewer where the rules allow no more.

        Raises:
            InputError: a prompt that leaves no room for an answer, or a source that is too long.
            RecipeError: a forced token that the model does not have.
        """
        self._check(vocab_size or model.config.vocab_size)
        found: list[list[Hypothesis]] = [[] for _ in prompts]
        ends, rows_at_once = ends_of(eot), max(1, ROWS_AT_ONCE // self.beams)
        for numbers, limit in together(
            prompts, model.config, max_tokens=max_tokens, unread=1, rows=rows_at_once, sources=sources
        ):
            part = [list(prompts[number]) for number in numbers]
            length = max(map(len, part)) + limit - 1  # the last token is never read
            memory = read_sources(model, sources, numbers)
            rows = Rows(model, part, length=length, memory=memory, vocab_size=vocab_size)
            searches = [_PromptSearch(self, prompt, limit=limit, ends=ends) for prompt in part]
            self._search(rows, searches)
            for number, search in zip(numbers, searches, strict=True):
                found[number] = search.found
        return found

    def _search(self, rows: Rows, searches: Sequence[_PromptSearch]) -> None:
        """Go on until all prompts are done; those that are leave the batch."""
        rows.keep([place for place in range(len(searches)) for _ in range(self.beams)])
        while True:
            logits_NV = rows.logits()
            totals_PK, places_PK = self._continuations(logits_NV, searches)
            for search, totals, places in zip(searches, totals_PK.tolist(), places_PK.tolist(), strict=True):
                search.advance(totals, [divmod(place, logits_NV.shape[1]) for place in places])
            going = [(place, search) for place, search in enumerate(searches) if not search.done]
            if not going:
                return
            searches = [search for _, search in going]
            rows.keep([place * self.beams + beam.parent for place, search in going for beam in search.beams])
            rows.read([beam.tokens[-1] for search in searches for beam in search.beams])

    def _continuations(self, logits_NV: Tensor, searches: Sequence[_PromptSearch]) -> tuple[Tensor, Tensor]:
        """The likeliest continuations of each prompt: ``[P, K]`` log-probabilities, and places in ``[beams * V]``.

        So many that enough remain to go on where every beam may end: with one end-of-text token, two for each beam.
        """
        log_probs_NV = self._rule_out(logits_NV.log_softmax(-1), searches)
        totals = [beam.total for search in searches for beam in search.beams]
        totals_NV = log_probs_NV + log_probs_NV.new_tensor(totals)[:, None]
        totals_PX = totals_NV.view(len(searches), -1)
        count = self.beams * (1 + max(1, len(searches[0].ends)))
        best = totals_PX.topk(min(count, totals_PX.shape[1]))
        return best.values, best.indices

    def _rule_out(self, log_probs_NV: Tensor, searches: Sequence[_PromptSearch]) -> Tensor:
        """The log-probabilities of what may come next; they are not made to add up to 1 again."""
        written, limit, ends = searches[0].written, searches[0].limit, searches[0].ends  # the same for all
        forced = self.forced_first if written == 0 else None
        if written == limit - 1 and self.forced_last is not None:
            forced = self.forced_last
        if forced is not None:
            log_probs_NV = torch.full_like(log_probs_NV, NEVER)
            log_probs_NV[:, forced] = 0.0
            return log_probs_NV
        if self.no_repeat_ngram is not None:
            beams = [beam for search in searches for beam in search.beams]
            for row, beam in enumerate(beams):
                repeating = NGrams(beam.tokens, self.no_repeat_ngram).completing()
                log_probs_NV[row, within(repeating, log_probs_NV.shape[1])] = NEVER
        if written < self.min_tokens:
            for token in ends:
                log_probs_NV[:, token : token + 1] = NEVER  # nothing where the token is one that may not be written
        return log_probs_NV

    def _check(self, vocab_size: int) -> None:
        for name in ("forced_first", "forced_last"):
            token = getattr(self, name)
            if token is not None and token >= vocab_size:
                raise RecipeError(f"{name} must be a token of the model, below {vocab_size}; got {token}")


@dataclass(frozen=True, slots=True)
class _Beginning:
    """Prompt and answer so far, the answer's log-probability, and the beam that it goes on from."""

    tokens: list[int]
    total: float
    parent: int


class _PromptSearch:
    """The search for answers to one prompt: its beams, always as many, and the whole answers found, best first."""

    def __init__(self, settings: Beam, prompt: list[int], *, limit: int, ends: frozenset[int]) -> None:
        self._settings, self._prompt = settings, prompt
        self.limit, self.ends = limit, ends
        self.written = 0
        self.found: list[Hypothesis] = []
        self.beams = self._filled([_Beginning(prompt, 0.0, 0)])

    def advance(self, totals: Sequence[float], continuations: Sequence[tuple[int, int]]) -> None:
        """Take the likeliest continuations ``(beam, token)``, best first.

        Only the first ``beams`` of them may end here; those behind are there to go on where others end.
        """
        self.written += 1
        going: list[_Beginning] = []
        ended: list[_Beginning] = []
        for rank, (total, (parent, token)) in enumerate(zip(totals, continuations, strict=True)):
            if total == NEVER:
                break
            longer = _Beginning([*self.beams[parent].tokens, token], total, parent)
            if token not in self.ends and self.written < self.limit:
                going.append(longer)
            elif rank < self._settings.beams:
                ended.append(longer)
        if not going and not ended:  # every continuation is ruled out
            ended = [beam for beam in self.beams if beam.total > NEVER]
        both = self.found + [self._hypothesis(beginning) for beginning in ended]
        self.found = sorted(both, key=lambda each: -each.score)[: self._settings.beams]
        self.beams = self._filled(going[: self._settings.beams])

    @property
    def done(self) -> bool:
        """Whether nothing more is looked for."""
        if self.written == self.limit or self.beams[0].total == NEVER:
            return True
        settings = self._settings
        if len(self.found) < settings.beams:
            return False
        if settings.early_stopping is True or settings.beams == 1:
            return True
        hopeful = settings.early_stopping == "never" and settings.length_penalty > 0
        length = self.limit if hopeful else self.written
        return self._score(self.beams[0].total, length) <= self.found[-1].score

    def _hypothesis(self, beginning: _Beginning) -> Hypothesis:
        tokens = beginning.tokens[len(self._prompt) :]
        return Hypothesis(tokens, self._score(beginning.total, len(tokens)))

    def _score(self, total: float, length: int) -> float:
        divisor: float = max(1, length) ** self._settings.length_penalty
        return total / divisor

    def _filled(self, beams: list[_Beginning]) -> list[_Beginning]:
        """As many as there are rows in the model; what nothing can follow from fills the rest."""
        return beams + [_Beginning(self._prompt, NEVER, 0)] * (self._settings.beams - len(beams))
