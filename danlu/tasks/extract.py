"""Extractive question answering: the part of a text that answers a question, or that none does.

A context of any length is read, in windows that share tokens; those that lack the answer point to their first token, as
questions without an answer do (Devlin et al. 2019, arXiv:1810.04805).

Axes: B rows, T tokens, N documents of the rows, L tokens of the longest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.data.alike import IDEOGRAPHS
from danlu.data.dataset import Dataset
from danlu.data.extracted import EXTRACT, Question
from danlu.data.form import Form
from danlu.errors import RecipeError
from danlu.metrics.extraction import CMRC, SQuAD, best_threshold
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.start import Kind
from danlu.nn.transformer import Transformer
from danlu.objectives.words import hidden_states
from danlu.tasks.answer_spans import Found, context_offsets, find, tokens_of
from danlu.tasks.documents import apart, side_by_side
from danlu.tasks.feature import Feature
from danlu.tasks.pooled import first_targets
from danlu.tasks.task import Answer, Known, Task
from danlu.tasks.text_reader import Read, TextReader
from danlu.ticks import ticking

_LETTER, _IDEOGRAPH = re.compile(r"\w"), re.compile(f"[{IDEOGRAPHS}]")
USUAL = 0.99
"""Share of the answers to learn from that are no longer than the longest answer which is given."""
LEAST_SURE = 1e30
"""In place of an infinite threshold, which JSON has not."""


class Extract(Task):
    """The part of a context that answers a question."""

    form: ClassVar[Form[Any]] = EXTRACT
    head: ClassVar[Kind] = "ForQuestionAnswering"
    loss: ClassVar[str] = "answer"
    windows: ClassVar[bool] = True

    stride: int | None = Field(default=None, ge=0)
    """Tokens that two windows of a long context share; by default a quarter of a window."""
    longest: int | None = Field(default=None, ge=1)
    """Characters of the longest answer that is given; by default what 99 of 100 answers to learn from have at most."""
    answers_listed: int = Field(default=20, ge=1)
    """Answers of each question that the predictions list, the most probable ones."""
    figures: Literal["squad", "cmrc"] | None = None
    """Whose figures are measured: SQuAD's compare words, CMRC's characters, for Chinese; by default what the questions
    are written in."""

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        train: Sequence[Question] = dataset.splits["train"]
        texts = [answer.text for each in train for answer in each.answers or () if answer.start is not None]
        if not texts:
            raise RecipeError("finetune.data.train: no question has an answer that is learned from")
        usual = np.quantile([len(text) for text in texts], USUAL, method="higher")
        numbers = {"longest": float(self.longest or usual)}
        if any(each.answers == () for split in dataset.splits.values() for each in split):
            numbers["threshold"] = 0.0
        return Known(numbers=numbers, metric=self.figures or ("cmrc" if _is_chinese(train) else "squad"))

    def outputs(self, known: Known) -> int:
        return 2

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        pairs = [(each.question, each.context) for each in examples]
        types, features = reader.types, []
        for number, windows in enumerate(reader.windows(pairs, shared=reader.shared(self.stride))):
            for read in windows:
                features.append(_feature(number, read, examples[number], name=self.loss, types=types))
        return features

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        """The mean of the cross entropies of the first and of the last token, over the tokens of a document."""
        scores_BT2 = model.head.scores(hidden_states(model, batch)).float()
        scores_NL2 = side_by_side(scores_BT2, batch.inputs["segments"], filler=-float("inf"))
        total = scores_NL2.new_zeros(())
        for end, name in enumerate((self.loss, _end(self.loss))):
            targets_N = first_targets(batch, name)
            total = total + F.cross_entropy(scores_NL2[:, :, end], targets_N, reduction="sum", ignore_index=IGNORE)
        return {self.loss: total / 2}

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        scores_BT2 = model.head.scores(hidden_states(model, batch)).float()
        return apart(scores_BT2.cpu(), batch.inputs["segments"].cpu())

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        threshold = known.numbers.get("threshold")
        found = self._find(numbers, features, examples, known)
        return [_answer(each, example, threshold) for each, example in zip(found, examples, strict=True)]

    def tuned(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> Known:
        """Where some questions have no answer: how much doubt an answer bears, for the highest F1."""
        if "threshold" not in known.numbers:
            return known
        found = self._find(numbers, features, examples, known)
        texts = [each.text(example.context) for each, example in zip(found, examples, strict=True)]
        doubts = [min(each.doubt, LEAST_SURE) for each in found]
        threshold = best_threshold([each.gold for each in examples], texts, doubts, metric=self.metric(known))
        # Midway to the next doubt, so that the last bits of a score decide nothing.
        above = min((doubt for doubt in doubts if doubt > threshold), default=threshold)
        middle = (threshold + above) / 2 if threshold > -LEAST_SURE else -LEAST_SURE
        return replace(known, numbers={**known.numbers, "threshold": middle})

    def metric(self, known: Known) -> SQuAD | CMRC:
        none = "threshold" in known.numbers
        return CMRC(no_answer=none) if known.metric == "cmrc" else SQuAD(version="2.0" if none else "1.1")

    @property
    def criterion(self) -> str:
        return "f1"

    def _find(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Found]:
        windows: list[list[tuple[Any, Any]]] = [[] for _ in examples]
        for scores_T2, feature in zip(numbers, features, strict=True):
            windows[feature.example].append((scores_T2.numpy(), feature.words))
        longest = int(known.numbers["longest"])
        return [find(each, longest=longest, most=self.answers_listed) for each in ticking(windows)]


def _feature(number: int, read: Read, example: Question, *, name: str, types: bool) -> Feature:
    """A window, and where in it the answer stands; its first token where it lacks the answer."""
    offsets = context_offsets(read, example.context)
    first, last = IGNORE, IGNORE
    if example.answers is not None:
        answer = next((each for each in example.answers if each.start is not None), None)
        if answer is not None and answer.start is not None:
            first, last = tokens_of(offsets, example.context, answer.start, answer.start + len(answer.text)) or (0, 0)
        elif not example.answers:
            first, last = 0, 0
    targets = {}
    for target, place in ((name, first), (_end(name), last)):
        targets[target] = np.full(len(read.tokens), IGNORE, dtype=np.int64)
        targets[target][0] = place
    return Feature(number, read.tokens, targets, read.types if types else None, words=offsets)


def _end(loss: str) -> str:
    """The name of the targets that say where answers end; those that say where they begin are called as the loss is."""
    return f"{loss}_end"


def _answer(found: Found, example: Question, threshold: float | None) -> Answer:
    """The best answer, or none where one may be missing and the doubt is above ``threshold``."""
    listed = found.listed(example.context, none=threshold is not None)
    none = not found.spans or (threshold is not None and found.doubt > threshold)
    given = next((each for each in listed if (each["start"] is None) == none), None)
    said = {name: None if given is None else given[name] for name in ("start", "end")}
    more = {"id": example.id, **said, "best": listed}
    return Answer("" if given is None else given["text"], None if given is None else given["confidence"], more=more)


def _is_chinese(examples: Sequence[Question]) -> bool:
    """Whether most letters of the questions are ideographs."""
    text = "".join(each.question for each in examples)
    return 2 * len(_IDEOGRAPH.findall(text)) > len(_LETTER.findall(text))
