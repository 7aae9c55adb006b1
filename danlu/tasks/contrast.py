"""Embeddings for search: a query is nearer to the texts that answer it than to all others of a step.

InfoNCE (van den Oord et al. 2018, arXiv:1807.03748) over the positives and hard negatives of all queries of a step, as
``sentence-transformers``' MultipleNegativesRankingLoss (Henderson et al. 2017, arXiv:1705.00652). What is known to
answer a query is never its negative.

Axes: N documents of the rows, Q queries, C candidates (the documents that are no queries), P known answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.data.form import Form
from danlu.data.retrieved import RETRIEVE, Retrieved
from danlu.errors import InputError
from danlu.metrics.retrieval import Retrieval
from danlu.nn.transformer import Transformer
from danlu.tasks.documents import borders, number_of_token
from danlu.tasks.feature import Feature
from danlu.tasks.pooled import first_targets
from danlu.tasks.task import Answer, Known
from danlu.tasks.text_reader import Read, TextReader
from danlu.tasks.vectors import VectorTask, first_of_documents

PARTS, TEXTS, ANSWERS = "parts", "texts", "answers"
"""Targets beside the loss's own: at a query's first token how many documents its feature has; at the first token of
each document which text it is; at the first tokens of a feature which texts answer its query."""
FOUND = 20
"""Texts of a ranking that are kept."""
SHOWN = 5
AT_ONCE = 256
"""Queries whose cosines are in memory together."""


class Embed(VectorTask):
    """Queries near the texts that answer them."""

    form: ClassVar[Form[Any]] = RETRIEVE
    loss: ClassVar[str] = "contrast"
    together: ClassVar[bool] = True

    hard_negatives: int = Field(default=8, ge=0)
    """Negatives of a query that are read, the first ones."""
    query_prompt: str = ""
    """What goes before every query; the model's folder says it too."""
    document_prompt: str = ""
    """What goes before every other text."""

    def prompts(self) -> dict[str, str]:
        return {"query": self.query_prompt, "document": self.document_prompt}

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        """One for each positive of a query: the query, that positive, the hard negatives.

        Raises:
            InputError: there is nothing but queries.
        """
        if not any(each.positives for each in examples):
            raise InputError(
                "there are queries alone, and no texts to find: danlu similar MODEL TEXT TEXTS searches a list of texts"
            )
        kinds = [(self.query_prompt + each.query, *map(self.document_prompt.__add__, self._others(each)))
                 for each in examples]  # fmt: skip
        distinct = list(dict.fromkeys(text for kind in kinds for text in kind))
        read = dict(zip(distinct, reader.read([(text,) for text in distinct]), strict=True))
        numbers: dict[str, int] = {}
        answers: dict[str, list[int]] = {}
        for each in examples:
            for text in (each.query, *self._others(each)):
                numbers.setdefault(text, len(numbers))
            answers.setdefault(each.query, []).extend(numbers[text] for text in each.positives or ())
        return [
            _feature(number, texts, [read[text] for text in prompted], [numbers[text] for text in texts],
                     answers[example.query] if example.positives else None, reader.types)
            for number, example in enumerate(examples)
            for texts, prompted in self._parts(example)
        ]  # fmt: skip

    def _others(self, example: Retrieved) -> tuple[str, ...]:
        return (*(example.positives or ()), *example.negatives[: self.hard_negatives])

    def _parts(self, example: Retrieved) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The texts of each feature of an example, without prompts and with them."""
        negatives = example.negatives[: self.hard_negatives]
        beside: list[tuple[str, ...]] = [(each, *negatives) for each in example.positives or ()] or [negatives]
        for others in beside:
            yield (
                (example.query, *others),
                (self.query_prompt + example.query, *map(self.document_prompt.__add__, others)),
            )

    def losses_of(self, vectors: Sequence[Tensor], batches: Sequence[Batch], known: Known) -> dict[str, Tensor]:
        vectors_ND, step = torch.cat(list(vectors)), _step(batches, self.loss)
        total = vectors_ND.new_zeros(())
        parts = self.lengths(vectors_ND)
        for units in parts:
            cosines_QC = units[step.query_N] @ units[~step.query_N].T
            logits_QC = (cosines_QC / self.temperature).masked_fill(step.hidden_QC, -torch.inf)
            total = total + F.cross_entropy(logits_QC, step.right_Q, ignore_index=IGNORE, reduction="sum")
        return {self.loss: total / len(parts)}

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        """Unit vectors of the documents of each feature, the query's first."""
        units_ND = F.normalize(self.vectors(model, batch), dim=-1).cpu()
        counts_N = first_targets(batch, PARTS)
        return list(torch.split(units_ND, counts_N[counts_N != IGNORE].tolist()))

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        """For each query the nearest ones of all texts that any of the examples has beside its query."""
        queries: dict[int, Tensor] = {}
        found: dict[str, Tensor] = {}
        for feature, units_ND in zip(features, numbers, strict=True):
            queries.setdefault(feature.example, units_ND[0])
            for text, unit_D in zip(feature.words[1:], units_ND[1:], strict=True):
                found.setdefault(text, unit_D)
        texts, units_CD = list(found), torch.stack(list(found.values()))
        answers: list[Answer] = []
        for some in torch.stack([queries[number] for number in range(len(examples))]).split(AT_ONCE):  # type: ignore[no-untyped-call]
            best = (some @ units_CD.T).topk(min(FOUND, len(texts)), dim=1)
            for cosines, places in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                ranked = tuple(texts[place] for place in places)
                answers.append(Answer(ranked, None, dict(zip(ranked[:SHOWN], cosines, strict=False))))
        return answers

    def metric(self, known: Known) -> Retrieval:
        return Retrieval()

    @property
    def criterion(self) -> str:
        return f"ndcg@{Retrieval().depth}"


class Step(NamedTuple):
    """Who is who among the documents of a step."""

    query_N: Tensor
    """Which of them are queries."""
    right_Q: Tensor
    """The candidate that is the query's own; ``IGNORE`` where it has none."""
    hidden_QC: Tensor
    """Candidates that are not to be far from a query, though they are not its own."""


def _step(batches: Sequence[Batch], loss: str) -> Step:
    texts_N, parts_N = first_of_documents(batches, TEXTS), first_of_documents(batches, PARTS)
    query_N = parts_N != IGNORE
    texts_C, texts_Q = texts_N[~query_N], texts_N[query_N]
    counts_Q = parts_N[query_N] - 1
    own_Q = counts_Q.cumsum(0) - counts_Q
    right_Q = torch.where(first_of_documents(batches, loss)[query_N] != IGNORE, own_Q, IGNORE)
    hidden_QC = texts_Q[:, None] == texts_C[None]
    owners_P, answers_P = _known_answers(batches)
    known_PC = (answers_P[:, None] == texts_C[None]).to(torch.float32)
    hidden_QC = hidden_QC | (torch.zeros_like(hidden_QC, dtype=torch.float32).index_add(0, owners_P, known_PC) > 0)
    scored = (right_Q != IGNORE).nonzero().flatten()
    hidden_QC[scored, right_Q[scored]] = False
    return Step(query_N, right_Q, hidden_QC)


def _known_answers(batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """``[P]`` the number of the query, and the text that answers it."""
    owners, answers, before = [], [], 0
    for batch in batches:
        answers_T = batch.targets[ANSWERS].flatten()
        document_T = number_of_token(borders(batch.inputs["segments"]), len(answers_T))
        query_N = first_targets(batch, PARTS) != IGNORE
        places = (answers_T != IGNORE).nonzero().flatten()
        owners.append(query_N.cumsum(0)[document_T[places]] - 1 + before)
        answers.append(answers_T[places])
        before += int(query_N.sum())
    return torch.cat(owners), torch.cat(answers)


def _feature(
    number: int,
    texts: Sequence[str],
    read: Sequence[Read],
    numbers: Sequence[int],
    answers: Sequence[int] | None,
    types: bool,
) -> Feature:
    sizes = [len(each.tokens) for each in read]
    firsts = np.cumsum([0, *sizes[:-1]])
    targets = {name: np.full(sum(sizes), IGNORE, dtype=np.int64) for name in (Embed.loss, PARTS, TEXTS, ANSWERS)}
    targets[PARTS][0] = len(read)
    targets[TEXTS][firsts] = numbers
    if answers is not None:
        targets[Embed.loss][0] = 0
        few = list(dict.fromkeys(answers))[: sum(sizes)]
        targets[ANSWERS][: len(few)] = few
    own_types = np.concatenate([each.types for each in read]) if types else None
    return Feature(
        number, np.concatenate([each.tokens for each in read]), targets, own_types, tuple(sizes), words=tuple(texts),
        cut=any(each.cut for each in read),
    )  # fmt: skip
