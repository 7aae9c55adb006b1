"""How likely a masked language model finds a text: each token from all others (Salazar et al. 2020, arXiv:1910.14659).

A pseudo-log-likelihood is the sum over the tokens of a text of the log-probability of each where it alone is masked.
It is no probability of the text, and compares texts only among each other. Of a continuation its own tokens count,
with the context in sight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from danlu import log
from danlu.errors import InputError
from danlu.nn.transformer import Transformer
from danlu.suites.likelihood import BATCH_TOKENS, batches, read_rows, score_targets
from danlu.suites.request import Request, Score
from danlu.tokenizers.tokenizer import Tokenizer


class MaskedScorer:
    """An encoder with a head for words.

    Raises:
        InputError: its tokenizer has no mask.
    """

    foresees = False

    def __init__(self, model: Transformer, tokenizer: Tokenizer, *, batch_tokens: int = BATCH_TOKENS) -> None:
        mask = tokenizer.special("mask_token")
        if mask is None:
            raise InputError("a masked language model is asked with a mask, and its tokenizer names no mask_token")
        self.mask: int = mask
        self.model, self.tokenizer, self.batch_tokens = model.eval(), tokenizer, batch_tokens
        self.before, self.after = tokenizer.template()

    @torch.inference_mode()
    def score(self, requests: Sequence[Request]) -> list[Score]:
        """As :class:`danlu.suites.request.Scorer` says; ``greedy`` is whether every token was found where masked."""
        texts = [self._framed(request) for request in requests]
        masked = [(number, place) for number, (_, places, _) in enumerate(texts) for place in places]
        masked.sort(key=lambda each: -len(texts[each[0]][0]))
        nats, greedy = [0.0] * len(requests), [True] * len(requests)
        with log.progress("score", len(masked), "tokens") as progress:
            done = 0
            for batch in batches([len(texts[number][0]) for number, _ in masked], self.batch_tokens):
                for number, (found, likeliest) in self._read([masked[each] for each in batch], texts):
                    nats[number] += found
                    greedy[number] = greedy[number] and likeliest
                done += len(batch)
                progress.update(done)
        return [Score(sum_, all_, cut) for sum_, all_, (_, _, cut) in zip(nats, greedy, texts, strict=True)]

    def _read(
        self, masked: Sequence[tuple[int, int]], texts: Sequence[tuple[list[int], range, bool]]
    ) -> Iterator[tuple[int, tuple[float, bool]]]:
        """By the number of its text, the log-probability of each masked token, and whether it was the likeliest."""
        rows = []
        for number, place in masked:
            tokens = texts[number][0]
            rows.append([*tokens[:place], self.mask, *tokens[place + 1 :]])
        starts = torch.tensor([0, *(len(row) for row in rows[:-1])]).cumsum(0)
        index = starts + torch.tensor([place for _, place in masked])
        hidden_ND = read_rows(self.model, rows)
        targets = [[texts[number][0][place]] for number, place in masked]
        scores = score_targets(self.model, hidden_ND[index.to(hidden_ND.device)], targets)
        return zip((number for number, _ in masked), scores, strict=True)

    def _framed(self, request: Request) -> tuple[list[int], range, bool]:
        """A text's tokens, framed as its model knows them; the places that are scored; whether the context was cut."""
        tokens = self.tokenizer.encode(request.context + request.continuation)
        context = len(self.tokenizer.encode(request.context)) if request.context else 0
        scored = len(tokens) - context
        most = self.model.config.max_length - len(self.before) - len(self.after)
        if scored < 1:
            raise InputError(f"the continuation {request.continuation!r:.100} has no token of its own")
        if scored > most:
            raise InputError(f"the model sees at most {most} tokens of a text; got a continuation of {scored}")
        kept = tokens[-most:]
        end = len(self.before) + len(kept)
        return [*self.before, *kept, *self.after], range(end - scored, end), len(tokens) > most
