"""Contrastive search: likely tokens whose hidden states are not like those that were there before.

Axes: N prompts, K candidates, T tokens so far, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from danlu.generate.search import ROWS_AT_ONCE, Rows, ends_of, read_sources, together
from danlu.nn.sight import PADDING
from danlu.nn.transformer import Transformer
from danlu.recipe import Choice


class Contrastive(Choice):
    """Contrastive search (Su et al. 2022, arXiv:2202.06417, eq. 5): deterministic, and seldom repetitive.

    Of the ``top_k`` likeliest tokens v it takes the one with the greatest ``(1 - penalty) * p(v | x) -
    penalty * max_j cos(h_v, h_j)``, where h_v is the last layer's hidden state of v as the next token
    and h_j are those of all tokens x before it, the prompt's too.
    """

    top_k: int = Field(default=4, ge=1)
    """Candidates for each token; the model reads them all."""
    penalty: float = Field(default=0.6, ge=0, le=1)
    """The paper's alpha: 0 always takes the likeliest token, 1 looks at likeness alone."""

    @torch.inference_mode()
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
        """An answer to each prompt; :class:`danlu.generate.search.Search` has the arguments.

        Raises:
            InputError: a prompt that leaves no room for an answer, or a source that is too long.
        """
        answers: list[list[int]] = [[] for _ in prompts]
        rows_at_once = max(1, ROWS_AT_ONCE // self.top_k)
        for numbers, limit in together(
            prompts, model.config, max_tokens=max_tokens, unread=0, rows=rows_at_once, sources=sources
        ):
            part = [prompts[number] for number in numbers]
            memory = read_sources(model, sources, numbers)
            length = max(map(len, part)) + limit
            rows = Rows(model, part, length=length, memory=memory, vocab_size=vocab_size)
            self._write(rows, [answers[number] for number in numbers], limit=limit, ends=ends_of(eot))
        return answers

    def _write(self, rows: Rows, answers: list[list[int]], *, limit: int, ends: frozenset[int]) -> None:
        """Append tokens to ``answers`` until all have ended; those that have leave the batch.

        Each prompt has K rows, one a candidate, which are alike but for the token read last.
        """
        before_NTD = _directions(rows.hidden_NTD)
        if rows.segments_NT is not None:  # a likeness that is there anyway in place of that to padding
            before_NTD = torch.where((rows.segments_NT == PADDING)[:, :, None], before_NTD[:, -1:], before_NTD)
        logits_NV = rows.logits()
        count = min(self.top_k, logits_NV.shape[1])
        rows.keep([place for place in range(len(answers)) for _ in range(count)])
        for _ in range(limit):
            likeliest = logits_NV.softmax(-1).topk(count)
            rows.read(likeliest.indices.flatten().tolist())
            candidates_NKD = _directions(rows.hidden_NTD[:, -1]).view(len(answers), count, -1)
            likeness_NK = (candidates_NKD @ before_NTD.transpose(1, 2)).amax(-1)
            chosen_N = ((1 - self.penalty) * likeliest.values - self.penalty * likeness_NK).argmax(-1)
            every_N = torch.arange(len(answers), device=chosen_N.device)
            for answer, token in zip(answers, likeliest.indices[every_N, chosen_N].tolist(), strict=True):
                answer.append(token)
            before_NTD = torch.cat([before_NTD, candidates_NKD[every_N, chosen_N][:, None]], 1)
            going = [place for place, answer in enumerate(answers) if answer[-1] not in ends]
            if not going:
                return
            chosen = chosen_N.tolist()
            rows.keep([place * count + chosen[place] for place in going for _ in range(count)])
            before_NTD, answers = before_NTD[going], [answers[place] for place in going]
            logits_NV = rows.logits(every=count)


def _directions(hidden: Tensor) -> Tensor:
    """Hidden states of length 1, at least float32."""
    return F.normalize(hidden.to(torch.promote_types(hidden.dtype, torch.float32)), dim=-1)
