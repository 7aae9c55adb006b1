"""What tasks share that learn from judged answers: two conversations are one feature, so that nothing parts them.

Axes: B rows, T tokens, N documents of the rows, P pairs of documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from danlu.corpus.batches import IGNORE, Array, Batch
from danlu.corpus.rows import Ints
from danlu.data.chats import Chat as Conversation
from danlu.data.chats import Messages
from danlu.data.dataset import Dataset
from danlu.errors import InputError, RecipeError
from danlu.log import say
from danlu.nn.config import TransformerConfig
from danlu.nn.head import at_least_float32
from danlu.nn.transformer import Transformer
from danlu.objectives.words import hidden_states, word_head
from danlu.tasks.chat import Chat
from danlu.tasks.documents import borders, number_of_token
from danlu.tasks.feature import REFERENCE, Feature
from danlu.tasks.of_folder import transcriber_of
from danlu.tasks.pooled import first_targets
from danlu.tasks.task import Known, Task
from danlu.tasks.text_reader import MAX_TOKENS, TextReader
from danlu.tasks.transcript import Transcriber
from danlu.tokenizers.chat_template import files_named

WORDS = "words"
"""Targets beside the loss's own: the tokens of answers, and at the first token of each document how unlikely its
answer was for the model that began, in nats."""


class Answered(NamedTuple):
    """A conversation and the answer in it that was judged."""

    tokens: Ints
    """``[T]``, up to the token that ends the answer, or to the end of what the template renders."""
    said: Array
    """``[T]`` whether a token is of what the assistant says there."""


class Compared(Task):
    """A task that learns from two conversations at once: by default from how likely their answers are."""

    head: ClassVar[Any] = None

    template: str | None = None
    """How messages become text: by default as the model's folder says; else chatml, llama3, plain, or a .jinja file.
    It is saved with the model."""
    too_long: Literal["leave_out", "refuse"] = "leave_out"
    """Of an answer that does not end within ``max_tokens``: leave it out with what it is compared with, or end with an
    error."""

    def files(self) -> list[Path]:
        return files_named(self.template)

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        if base.decoder is None or base.encoder is not None:
            raise RecipeError(f"finetune.model: this task needs a decoder without an encoder; got {base.family}")
        return Known()

    @property
    def leaves_out(self) -> bool:
        return True

    def outputs(self, known: Known) -> int:
        return 0

    def refer(self, features: Sequence[Feature], numbers: Sequence[Tensor]) -> list[Feature]:
        return with_reference(features, numbers)

    def numbers(self, model: Transformer, batch: Batch, known: Known) -> list[Tensor]:
        return list(log_probabilities(model, batch).cpu().reshape(-1, 2, 2))

    @property
    def criterion(self) -> str:
        return "accuracy"

    def as_used(self) -> Task:
        """The model answers as one tuned on conversations does."""
        return Chat(max_tokens=self.max_tokens, cut=self.cut)

    def pairs(
        self, examples: Sequence[Any], answers: Sequence[Sequence[Messages]], reader: TextReader
    ) -> list[tuple[int, list[Answered]]]:
        """The number of each example with its conversations, of those that can be read; the others are told.

        Args:
            answers: of each example what may follow its prompt.

        Raises:
            InputError: nothing is left; or an answer is too long, and that is refused.
        """
        transcriber = transcriber_of(reader, self.template)
        flat = [
            Conversation(example.place, (*example.prompt, *answer))
            for example, of_example in zip(examples, answers, strict=True)
            for answer in of_example
        ]
        turns = [sum(said.role == "assistant" for said in answer) for of_example in answers for answer in of_example]
        read = iter(self.read(transcriber, flat, turns))
        kept, told = [], Counter[str]()
        for number, (example, of_example) in enumerate(zip(examples, answers, strict=True)):
            found = [next(read) for _ in of_example]
            longest = max((len(each.tokens) for each in found if each is not None), default=0)
            if any(each is None for each in found):
                told["a server would part the text before an answer into other tokens"] += 1
            elif longest > reader.max_tokens:
                if self.too_long == "refuse":
                    raise InputError(f"{example.place}: an answer ends after {longest:,} tokens; {MAX_TOKENS} is "
                                     f"{reader.max_tokens:,}")  # fmt: skip
                told[f"an answer ends after more than {reader.max_tokens:,} tokens"] += 1
            else:
                kept.append((number, [each for each in found if each is not None]))
        for reason, count in told.items():
            say(f"{count:,} of {len(examples):,} examples left out: {reason}")
        if not kept:
            raise InputError(f"{examples[0].place.file}: no example is left")
        return kept

    def read(
        self, transcriber: Transcriber, chats: Sequence[Conversation], turns: Sequence[int]
    ) -> list[Answered | None]:
        """Each conversation, of whose answers the last ones are judged; None where they begin as a server never would.

        Args:
            turns: how many answers are judged.
        """
        found: list[Answered | None] = []
        apart = all(count == 1 for count in turns)  # as a server is asked for the only answer that is judged
        for transcripts, count in zip(transcriber.read(chats, apart=apart), turns, strict=True):
            transcript = transcripts[-1]
            if not transcript.turns:
                found.append(None)
                continue
            said = np.zeros(len(transcript.tokens), dtype=bool)
            for turn in transcript.turns[-count:]:
                said[turn.start : turn.end] = True
            found.append(Answered(transcript.tokens, said))
        return found

    def equip(self, model: Transformer, folder: Path, reader: TextReader) -> None:
        """What a chat model's folder has: the template, and the token that ends an answer."""
        Chat(template=self.template).equip(model, folder, reader)


def scored_together(number: int, answers: Sequence[Answered], targets: dict[str, Any]) -> Feature:
    """A feature of which each document is a conversation and its answer's tokens are predicted.

    Args:
        targets: what stands at its first token, by the name of the loss.
    """
    tokens = np.concatenate([each.tokens[:-1] for each in answers])
    words = [np.where(each.said[1:], each.tokens[1:], IGNORE) for each in answers]
    parts = tuple(len(each.tokens) - 1 for each in answers)
    first = {name: at_first_tokens([value], (len(tokens),)) for name, value in targets.items()}
    return Feature(number, tokens, {WORDS: np.concatenate(words), **first}, parts=parts)


def at_first_tokens(values: Sequence[float], parts: Sequence[int]) -> Array:
    """``[T]``: of each part a value at its first token, and nothing scored behind it."""
    filled = np.full(sum(parts), IGNORE, dtype=np.float64 if isinstance(values[0], float) else np.int64)
    filled[np.cumsum([0, *parts[:-1]])] = values
    return filled


def log_probabilities(model: Transformer, batch: Batch) -> Tensor:
    """``[N, 2]``: of each document the log-probability of its answer in nats, and the tokens that it is the sum of.

    No more logits are there at once than in any other training (:meth:`LanguageModelHead.token_losses`).
    """
    found = borders(batch.inputs["segments"])
    targets = batch.targets[WORDS].flatten()
    places = (targets != IGNORE).nonzero().flatten()
    document_N = number_of_token(found, len(targets))[places]
    hidden_ND = hidden_states(model, batch).flatten(0, 1)[places]
    nats_N = word_head(model).token_losses(hidden_ND, targets[places])
    wide = torch.promote_types(at_least_float32(nats_N), torch.float64)
    each_N2 = torch.stack([-nats_N.to(wide), torch.ones_like(nats_N, dtype=wide)], 1)
    return each_N2.new_zeros(len(found.first_N), 2).index_add(0, document_N, each_N2)


def with_reference(features: Sequence[Feature], numbers: Sequence[Tensor]) -> list[Feature]:
    """The features with what the model that begins makes of them: ``[2, 2]``, of both documents what
    :func:`log_probabilities` says."""
    return [
        replace(each, targets={**each.targets, REFERENCE: at_first_tokens((-found[:, 0]).tolist(), each.parts)})
        for each, found in zip(features, numbers, strict=True)
    ]


def references(features: Sequence[Feature]) -> Tensor:
    """``[P, 2]``: the log-probabilities that the features keep of the model that began."""
    kept = [each.targets[REFERENCE][[0, each.parts[0]]] for each in features]
    return -torch.from_numpy(np.array(kept, dtype=np.float64))


def batch_references(batch: Batch) -> Tensor:
    """``[N]``: the same, of the documents of a batch."""
    return -first_targets(batch, REFERENCE)
