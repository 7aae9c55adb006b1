"""What tasks share whose answer is text that the model writes: what of a text is scored, and how answers are found.

Axes: B rows, T tokens, D model width, N scored tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, SkipValidation
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch
from danlu.errors import RecipeError
from danlu.generate.beam import Beam
from danlu.generate.engine import Loaded
from danlu.generate.sampling import Sampling
from danlu.generate.search import Search
from danlu.generate.searching import find_answers
from danlu.generate.special_tokens import Begun
from danlu.nn.config import Head, TransformerConfig
from danlu.nn.head import rows_at_once
from danlu.nn.transformer import Transformer
from danlu.objectives.words import hidden_states, scored, word_head
from danlu.recipe import OneOf
from danlu.tasks.documents import borders, number_of_token
from danlu.tasks.of_folder import special_of, tokenizer_of
from danlu.tasks.task import Answer, Known, Task
from danlu.tasks.text_reader import MOST_TOKENS, TextReader

WRITTEN_AT_ONCE = 256
"""Answers between two signs of progress; those of like length are written together."""


class Written(Task):
    """A task whose answers are text that the model has written."""

    head: ClassVar[None] = None
    judged: ClassVar[bool]
    """Whether figures are of what the model writes; else of ``numbers``."""

    def outputs(self, known: Known) -> int:
        return 0

    def write(
        self, model: Transformer, examples: Sequence[Any], reader: TextReader,
        *, told: Callable[[int], None] = lambda done: None,
    ) -> list[Answer]:  # fmt: skip
        """An answer an example, in their order.

        Raises:
            InputError: an example leaves no room for an answer.
        """
        raise NotImplementedError(type(self).__name__)


class Writing(Written):
    """A task whose answers are learned, and written, token by token."""

    loss: ClassVar[str] = "words"

    search: Annotated[SkipValidation[Search], OneOf("search")] = Beam(beams=1)
    """How answers are found; by default the likeliest token is taken at every step."""
    answer_tokens: int = Field(default=256, ge=1)
    """Tokens that a written answer has at most."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of each target that is spread evenly over the vocabulary (Szegedy et al. 2016, arXiv:1512.00567)."""

    def losses(self, model: Transformer, batch: Batch, known: Known) -> dict[str, Tensor]:
        hidden_ND, targets_N = scored(hidden_states(model, batch), batch.targets[self.loss])
        smoothing = self.label_smoothing if model.training else 0.0
        return {self.loss: word_head(model).loss(hidden_ND, targets_N, smoothing=smoothing)}

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        """Of each document the sum of its losses in nats, and how many they are."""
        found = borders(batch.inputs["segments"])
        targets = batch.targets[self.loss].flatten()
        places = (targets != IGNORE).nonzero().flatten()
        document_N = number_of_token(found, len(targets))[places]
        hidden_ND = hidden_states(model, batch).flatten(0, 1)[places]
        sums = torch.zeros(len(found.first_N), 2, dtype=torch.float64, device=targets.device)
        step = rows_at_once(model.config.vocab_size)
        for start in range(0, len(places), step):
            part = slice(start, start + step)
            logits_NV = word_head(model)(hidden_ND[part]).float()
            nats_N = F.cross_entropy(logits_NV, targets[places[part]], reduction="none").double()
            sums.index_add_(0, document_N[part], torch.stack([nats_N, torch.ones_like(nats_N)], 1))
        return list(sums.cpu())

    def prompts(self, examples: Sequence[Any], reader: TextReader) -> list[Begun]:
        """What the model goes on from."""
        raise NotImplementedError(type(self).__name__)

    def ends(self, reader: TextReader) -> frozenset[int]:
        """Tokens that end an answer, beside those that the folder names."""
        return frozenset()

    def value(self, text: str) -> Any:
        """An answer as the metric takes it."""
        return text.strip()

    def write(
        self, model: Transformer, examples: Sequence[Any], reader: TextReader,
        *, told: Callable[[int], None] = lambda done: None,
    ) -> list[Answer]:  # fmt: skip
        return self.go_on(model, self.prompts(examples, reader), reader, told=told)

    def go_on(
        self, model: Transformer, begun: Sequence[Begun], reader: TextReader, *, told: Callable[[int], None]
    ) -> list[Answer]:
        """An answer to each prompt, in their order."""
        loaded = ready(model, reader, ends=self.ends(reader))
        was_training = model.training
        model.eval()
        answers: list[Answer] = []
        with torch.compiler.set_stance("force_eager"):
            for start in range(0, len(begun), WRITTEN_AT_ONCE):
                part = begun[start : start + WRITTEN_AT_ONCE]
                found = find_answers(loaded, self.search, part, settings=Sampling(max_tokens=self.answer_tokens))
                answers += [Answer(self.value(each.text)) for each in found]
                told(len(answers))
        model.train(was_training)
        return answers


def ready(model: Transformer, reader: TextReader, *, ends: frozenset[int]) -> Loaded:
    """The model with all that writing needs from the folder it began with.

    Args:
        ends: tokens that end an answer, beside those that the folder names.
    """
    special = special_of(reader, model.config)
    return Loaded(model, tokenizer_of(reader), replace(special, ends=special.ends | ends))


def room_before(task: Task, answer_tokens: int, base: TransformerConfig) -> int:
    """Tokens that may be read where an answer of so many has to find its place behind them.

    Raises:
        RecipeError: the recipe wants more of both together than the model sees.
    """
    least = task.max_tokens or 1
    if least + answer_tokens > base.max_length:
        read = f"finetune.task.max_tokens ({task.max_tokens}, of what is read) and " if task.max_tokens else ""
        both = "together must be at most" if task.max_tokens else "must be below"
        raise RecipeError(
            f"{read}finetune.task.answer_tokens ({answer_tokens}) {both} {base.max_length}, which the model sees"
        )
    return task.max_tokens or min(base.max_length - answer_tokens, MOST_TOKENS)


def need_decoder(base: TransformerConfig, *, alone: bool = False) -> None:
    """Refuse a model that writes nothing.

    Args:
        alone: an encoder beside the decoder will not do.

    Raises:
        RecipeError: in words.
    """
    if base.decoder is None or not isinstance(base.head, Head) or (alone and base.encoder is not None):
        kind = "a decoder" if alone else "a decoder, with an encoder or without,"
        raise RecipeError(f"finetune.model: this task needs {kind} with a language-model head; got {base.family} with "
                          f"{type(base.head).__name__}")  # fmt: skip
