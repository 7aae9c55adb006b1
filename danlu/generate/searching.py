"""Answers that a search finds: from prompts to token ids, and from what is found to text."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.generate.beam import Beam
from danlu.generate.engine import Answer, End, Loaded
from danlu.generate.sampling import Sampling
from danlu.generate.search import Search
from danlu.generate.special_tokens import Begun
from danlu.generate.stops import StopFilter


def find_answers(loaded: Loaded, search: Search, prompts: Sequence[str | Begun], *, settings: Sampling) -> list[Answer]:
    """The answer that ``search`` finds to each prompt; of ``settings``, ``max_tokens`` and ``stop`` count.

    Raises:
        InputError: a prompt that leaves no room for an answer, or a source text that is too long.
    """
    model, tokenizer, special = loaded
    if isinstance(search, Beam):
        search = search.with_forced(special.first, special.last)
    begins = [special.begin(tokenizer, prompt) for prompt in prompts]
    sources = [source for _, source in begins if source is not None]
    found = search.run(
        model, [context for context, _ in begins], eot=special.ends, max_tokens=settings.max_tokens,
        sources=sources or None, vocab_size=tokenizer.vocab_size,
    )  # fmt: skip
    return [_answer(loaded, context, ids, settings) for (context, _), ids in zip(begins, found, strict=True)]


def _answer(loaded: Loaded, context: list[int], ids: list[int], settings: Sampling) -> Answer:
    ended = bool(ids) and ids[-1] in loaded.special.ends
    stops = StopFilter(settings.stop)
    text = stops.push(loaded.tokenizer.decode(ids[:-1] if ended else ids, after=context)) + stops.flush()
    end: End = "stop" if stops.stopped else "end_of_text" if ended else "max_tokens"
    return Answer(text, tuple(ids), end)
