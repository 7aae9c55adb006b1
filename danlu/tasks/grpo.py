"""GRPO: a model writes answers, a reward says how good each is, and what is better than the others becomes likelier.

Axes: N documents of the rows, A scored tokens of answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.data.asked import ASKED, Asked
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.errors import InputError, RecipeError
from danlu.generate.engine import Answer as Text
from danlu.generate.engine import Loaded
from danlu.generate.groups import write_groups
from danlu.generate.sampling import Sampling
from danlu.generate.special_tokens import Begun
from danlu.log import say
from danlu.metrics.preference import WrittenRewards
from danlu.nn.config import TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.objectives.words import hidden_states, word_head
from danlu.tasks.advantages import clipped_losses, divergences
from danlu.tasks.chat import Chat
from danlu.tasks.documents import borders, number_of_token
from danlu.tasks.feature import Feature
from danlu.tasks.judged import KL, POLICY, AnswerTokens, prompt_feature
from danlu.tasks.judges import RewardPart, rewards_of
from danlu.tasks.of_folder import transcriber_of
from danlu.tasks.task import Answer, Known, Task
from danlu.tasks.text_reader import MAX_TOKENS, TextReader
from danlu.tasks.writing import Written, need_decoder, ready, room_before
from danlu.tokenizers.chat_template import files_named

KEY = "finetune.task.reward"
WRITTEN_AT_ONCE = 256
"""Answers to dev between two signs of progress."""


class GRPO(Written):
    """Group relative policy optimisation (Shao et al. 2024, arXiv:2402.03300): to each prompt of a step the model
    writes a group of answers, and an answer's tokens become likelier by as much as its reward is above the group's.

    The loss is the mean over all tokens of answers of a step, with two bounds (DAPO, Yu et al. 2025, arXiv:2503.14476).
    The distribution that tokens are drawn from, at a temperature, is the one that learns.
    """

    form: ClassVar[Form[Any]] = ASKED
    loss: ClassVar[str] = POLICY
    judged: ClassVar[bool] = True

    reward: tuple[RewardPart, ...] = Field(min_length=1)
    """What says how good answers are: ``FILE.py:FUNCTION``, the folder of a reward model, or several, each with a
    ``weight``."""
    group: int = Field(default=8, ge=2)
    """Answers to each prompt."""
    answer_tokens: int = Field(default=256, ge=1)
    """Tokens of an answer at most."""
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """What logits are divided by, where tokens are drawn as in the loss; above 1 answers of a group differ more."""
    divide: bool = True
    """Whether what an answer is above its group is divided by the group's standard deviation; false: Dr. GRPO (Liu et
    al. 2025, arXiv:2503.20783)."""
    beta: float = Field(default=0.0, ge=0)
    """Weight of the divergence from the model that begins; above 0 that model reads every answer too."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """By how much less likely a token may become, as a share, before it moves no further."""
    clip_high: float = Field(default=0.28, gt=0)
    """By how much likelier; higher, so that rare tokens may rise (arXiv:2503.14476)."""
    updates: int = Field(default=1, ge=1)
    """Steps that are made with the same answers; from the second on, the bounds count."""
    shown: Literal["greedy", "drawn"] = "greedy"
    """How the answers to dev are written: the likeliest token each time, or drawn as in training."""
    sample: int = Field(default=200, ge=1)
    """Examples of dev that are answered for each measurement on the way; all are in the beginning and in the end."""
    template: str | None = None
    """How messages become text: by default as the model's folder says; else chatml, llama3, plain, or a .jinja file.
    It is saved with the model."""
    too_long: Literal["leave_out", "refuse"] = "leave_out"
    """Of a prompt of more than ``max_tokens``: leave it out, or end with an error."""

    @model_validator(mode="after")
    def _names_differ(self) -> GRPO:
        names = [part.name for part in self.reward]
        if len(set(names)) < len(names):
            raise ValueError(f"reward has two parts of one name, {', '.join(names)}: figures could not be told apart")
        return self

    def files(self) -> list[Path]:
        return [*files_named(self.template), *(path for key, part in self.parts() for path in part.files(key))]

    def parts(self) -> list[tuple[str, RewardPart]]:
        """The parts of the reward, each with its key in the recipe."""
        alone = len(self.reward) == 1
        return [(KEY if alone else f"{KEY}.{place}", part) for place, part in enumerate(self.reward)]

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        need_decoder(base, alone=True)
        judges = [(key, part.judge(key)) for key, part in self.parts()]
        most = self.most_tokens(base)
        for key, judge in judges:  # which may read tokens of its own, so that this is not all that can be too long
            if judge.most_tokens is not None and most + self.answer_tokens > judge.most_tokens:
                raise RecipeError(
                    f"{key}: this reward model reads at most {judge.most_tokens} tokens; finetune.task.max_tokens "
                    f"({most}, of the prompt) and finetune.task.answer_tokens ({self.answer_tokens}) together must not "
                    f"be more"
                )
        return Known()

    def most_tokens(self, base: TransformerConfig) -> int:
        return room_before(self, self.answer_tokens, base)

    @property
    def leaves_out(self) -> bool:
        return True

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        """The prompt of each example; those that are too long are told."""
        features = []
        for number, tokens in enumerate(self.prompts(examples, reader)):
            if len(tokens) > reader.max_tokens:
                if self.too_long == "refuse":
                    raise InputError(f"{examples[number].place}: the prompt has {len(tokens):,} tokens; "
                                     f"{MAX_TOKENS} is {reader.max_tokens:,}")  # fmt: skip
                continue
            features.append(prompt_feature(number, tokens))
        if left_out := len(examples) - len(features):
            say(f"{left_out:,} of {len(examples):,} prompts left out: above {reader.max_tokens:,} tokens")
        if not features:
            raise InputError(f"{examples[0].place.file}: no prompt is left")
        return features

    def prompts(self, examples: Sequence[Asked], reader: TextReader) -> list[list[int]]:
        """What the model goes on from: as a server would ask for an answer."""
        transcriber = transcriber_of(reader, self.template)
        return [transcriber.begin(each.answered()) for each in examples]

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        said = AnswerTokens.of(batch)
        logs_A = -self._nats(model, batch, said)
        written_A = logs_A if said.before_A is None else -said.before_A.to(logs_A)
        advantages_A = said.advantages_A.to(logs_A)
        losses_A = clipped_losses(logs_A, written_A, advantages_A, low=self.clip_low, high=self.clip_high)
        found = {POLICY: losses_A.sum()}
        if said.reference_A is not None:
            found[KL] = divergences(logs_A, -said.reference_A.to(logs_A)).sum()
        return found

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        """How unlikely each token of each answer is, in nats, at the temperature."""
        said, segments_BT = AnswerTokens.of(batch), batch.inputs["segments"]
        found = borders(segments_BT)
        document_A = number_of_token(found, segments_BT.numel())[said.places_A]
        counts = document_A.bincount(minlength=len(found.first_N)).tolist()
        return list(torch.split(self._nats(model, batch, said).cpu(), counts))

    def _nats(self, model: Transformer, batch: Batch, said: AnswerTokens) -> Tensor:
        hidden_AD = hidden_states(model, batch).flatten(0, 1)[said.places_A]
        nats_A: Tensor = word_head(model).token_losses(hidden_AD, said.ids_A, temperature=self.temperature)
        return nats_A

    def ready(self, model: Transformer, reader: TextReader) -> Loaded:
        """The model with what it writes answers with."""
        return ready(model, reader, ends=frozenset(transcriber_of(reader, self.template).ends))

    def write_answers(
        self, loaded: Loaded, prompts: Sequence[Sequence[int]], seeds: Sequence[Sequence[int]], *, greedy: bool = False
    ) -> list[list[Text]]:  # fmt: skip
        """To each prompt as many answers as it has seeds; the model is in the mode that it was in again afterwards."""
        settings = Sampling(max_tokens=self.answer_tokens, temperature=0.0 if greedy else self.temperature)
        model, was_training = loaded.model, loaded.model.training
        model.eval()
        with torch.compiler.set_stance("force_eager"):
            answers = write_groups(loaded, prompts, settings, seeds)
        model.train(was_training)
        return answers

    def judge(
        self, asked: Sequence[Asked], answers: Sequence[str]
    ) -> tuple[NDArray[np.float64], dict[str, list[float]]]:
        """The reward of each answer; and each part of it, not weighted, by its name, where there are several.

        Raises:
            InputError: an answer gets none.
        """
        given = rewards_of(self.parts(), asked, answers)
        weights = np.array([part.weight for part in self.reward])
        parts = {part.name: row.tolist() for part, row in zip(self.reward, given, strict=True)}
        return weights @ given, parts if len(parts) > 1 else {}

    def write(
        self, model: Transformer, examples: Sequence[Any], reader: TextReader,
        *, told: Callable[[int], None] = lambda done: None,
    ) -> list[Answer]:  # fmt: skip
        """An answer an example with its reward, always drawn alike; none to a prompt that is too long."""
        prompts, loaded = self.prompts(examples, reader), self.ready(model, reader)
        answers = [Answer(None)] * len(examples)
        fitting = [place for place, prompt in enumerate(prompts) if len(prompt) <= reader.max_tokens]
        for start in range(0, len(fitting), WRITTEN_AT_ONCE):
            part = fitting[start : start + WRITTEN_AT_ONCE]
            chosen = [prompts[place] for place in part]
            found = self.write_answers(loaded, chosen, [[place] for place in part], greedy=self.shown == "greedy")
            texts = [each for (each,) in found]
            rewards, parts = self.judge([examples[place] for place in part], [each.text for each in texts])
            for number, (place, text) in enumerate(zip(part, texts, strict=True)):
                value = {"answer": text.text, "reward": float(rewards[number]), "tokens": text.tokens,
                         "cut_off": text.end == "max_tokens"}  # fmt: skip
                own = {name: values[number] for name, values in parts.items()}
                answers[place] = Answer(value | ({"rewards": own} if own else {}))
            told(start + len(part))
        return answers

    def metric(self, known: Known) -> WrittenRewards:
        return WrittenRewards()

    @property
    def criterion(self) -> str:
        return "reward"

    @property
    def on_the_way(self) -> int:
        return self.sample

    def as_used(self) -> Task:
        """The model answers as one tuned on conversations does."""
        return Replies(max_tokens=self.max_tokens, cut=self.cut, answer_tokens=self.answer_tokens)

    def equip(self, model: Transformer, folder: Path, reader: TextReader) -> None:
        """What a chat model's folder has: the template, and the token that ends an answer."""
        Chat(template=self.template).equip(model, folder, reader)


class Replies(Chat):
    """What a trained model is used for: an answer to each prompt, whatever other columns hold."""

    form: ClassVar[Form[Any]] = ASKED

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        raise RecipeError("finetune.task: answers are learned with use: chat, or from rewards with use: grpo")

    def prompts(self, examples: Sequence[Any], reader: TextReader) -> list[Begun]:
        return super().prompts([each.answered() for each in examples], reader)
