"""Reward models: one number for a conversation, higher the better its last answer.

Axes: N documents of the rows, P pairs of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.data.chats import CHAT
from danlu.data.chats import Chat as Conversation
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.data.preferred import PREFER
from danlu.errors import InputError, RecipeError
from danlu.metrics.preference import MeanReward, Pairs
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.start import Kind
from danlu.nn.hf.token_ids import part_padding
from danlu.nn.transformer import Transformer
from danlu.tasks.compared import Answered, Compared, at_first_tokens
from danlu.tasks.feature import Feature
from danlu.tasks.of_folder import transcriber_of
from danlu.tasks.pooled import document_scores
from danlu.tasks.preference import margins
from danlu.tasks.task import Answer, Known, Task
from danlu.tasks.text_reader import TextReader
from danlu.tasks.transcript import Transcriber
from danlu.tokenizers.chat_reader import TRIAL


class Reward(Compared):
    """A reward model (Ouyang et al. 2022, arXiv:2203.02155), whose score is read at the last token of what the chat
    template renders, as ``transformers`` reads it.

    By Bradley and Terry (1952) the preferred answer w is so with probability ``σ(r(w) - r(l))``; the loss of a pair is
    its negative logarithm.
    """

    form: ClassVar[Form[Any]] = PREFER
    head: ClassVar[Kind] = "ForSequenceClassification"
    loss: ClassVar[str] = "reward"
    problem: ClassVar[str | None] = "regression"

    centre: float = Field(default=0.0, ge=0)
    """Weight of ``(r(w) + r(l))²``, which keeps rewards around 0 (Eisenstein et al. 2023, arXiv:2312.09244; 0.01
    there)."""

    def outputs(self, known: Known) -> int:
        return 1

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        """One of each pair; those of which an answer cannot be read whole are told."""
        features = []
        for number, answers in self.pairs(examples, [(each.chosen, each.rejected) for each in examples], reader):
            tokens = np.concatenate([each.tokens for each in answers])
            parts = tuple(len(each.tokens) for each in answers)
            target = {self.loss: at_first_tokens([0], (len(tokens),))}
            features.append(Feature(number, tokens, target, parts=parts))
        return features

    def read(
        self, transcriber: Transcriber, chats: Sequence[Conversation], turns: Sequence[int]
    ) -> list[Answered | None]:
        """Each conversation to its end, of which no token is scored by itself."""
        return [Answered(tokens, np.zeros(len(tokens), dtype=bool)) for tokens in transcriber.whole(chats)]

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        return {self.loss: self._of_pairs(_rewards(model, batch)).sum()}

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        return list(_rewards(model, batch).cpu())

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        """The rewards of both answers; nothing of a pair that was left out."""
        rewards_P2 = torch.stack(list(numbers)).double()
        answers = [Answer(None)] * len(examples)
        losses = self._of_pairs(rewards_P2).tolist()
        for feature, (chosen, rejected), loss in zip(features, rewards_P2.tolist(), losses, strict=True):
            answers[feature.example] = Answer({"chosen": chosen, "rejected": rejected, "loss": loss})
        return answers

    def _of_pairs(self, rewards_P2: Tensor) -> Tensor:
        return -F.logsigmoid(margins(rewards_P2)) + self.centre * rewards_P2.sum(1).square()

    def metric(self, known: Known) -> Pairs:
        return Pairs()

    def as_used(self) -> Task:
        """Conversations are scored, one by one."""
        return Score(max_tokens=self.max_tokens, cut=self.cut)

    def equip(self, model: Transformer, folder: Path, reader: TextReader) -> None:
        """What a chat model's folder has, and padding that is not what a conversation ends with."""
        super().equip(model, folder, reader)
        transcriber = Transcriber.load(folder, None)
        part_padding(folder, transcriber.encode([transcriber.template.render(TRIAL)])[0][-1:])


class TooLongError(InputError):
    """A conversation has more tokens than a reward model reads."""


class Score(Compared):
    """What a reward model is used for: the reward of each conversation's last answer."""

    form: ClassVar[Form[Any]] = CHAT
    head: ClassVar[Kind] = "ForSequenceClassification"
    loss: ClassVar[str] = "none"
    rates: ClassVar[tuple[str, ...]] = ("response",)
    exact: ClassVar[bool] = True

    def as_used(self) -> Task:
        return self

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        raise RecipeError("finetune.task: rewards are learned from preferences, with use: reward")

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        """One of each conversation.

        Raises:
            InputError: there is no answer to score.
            TooLongError: a conversation has more tokens than are read.
        """
        transcriber = transcriber_of(reader, self.template)
        for each in examples:
            if each.gold is None:
                raise each.place.error(
                    "there is no answer to score: the last message has to be an assistant's, or a column has to hold "
                    "the response (response=COLUMN)"
                )
        features = []
        for number, tokens in enumerate(transcriber.whole(examples)):
            if len(tokens) > reader.max_tokens:
                raise TooLongError(
                    f"{examples[number].place}: the conversation has {len(tokens):,} tokens; the model reads at most "
                    f"{reader.max_tokens:,}"
                )
            features.append(Feature(number, tokens))
        return features

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        return list(document_scores(model, batch)[:, 0].float().cpu())

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        return [Answer(float(each)) for each in numbers]

    def metric(self, known: Known) -> MeanReward:
        return MeanReward()

    @property
    def criterion(self) -> str:
        return "reward"


def _rewards(model: Transformer, batch: Batch) -> Tensor:
    """``[P, 2]`` of both answers of each pair."""
    scores = document_scores(model, batch)
    return scores.to(torch.promote_types(scores.dtype, torch.float32)).reshape(-1, 2)
