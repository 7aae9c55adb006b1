"""Chat and instruction tuning: of each conversation only what the assistant says is learned.

Axes: T tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from danlu.corpus.batches import IGNORE
from danlu.data.chats import CHAT
from danlu.data.dataset import Dataset
from danlu.data.form import Form
from danlu.errors import InputError
from danlu.files import read_json, write_json
from danlu.generate.special_tokens import Begun
from danlu.log import say
from danlu.metrics.likelihood import Likelihood
from danlu.nn.config import TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.tasks.feature import Feature
from danlu.tasks.of_folder import transcriber_of
from danlu.tasks.task import Answer, Known, Task
from danlu.tasks.text_reader import MAX_TOKENS, TextReader
from danlu.tasks.transcript import Transcriber, Transcript
from danlu.tasks.writing import Writing, need_decoder
from danlu.tokenizers.chat_template import files_named, write_template


class Chat(Writing):
    """The answers of conversations, one turn or many; several conversations stand in a row and do not see each other.

    What is scored ends with the token that ends an answer. Figures are of the answers in the files.
    """

    form: ClassVar[Form[Any]] = CHAT
    judged: ClassVar[bool] = False
    least_is_best: ClassVar[bool] = True

    template: str | None = None
    """How messages become text: by default as the model's folder says; else chatml, llama3, plain, or a .jinja file.
    It is saved with the model."""
    turns: Literal["together", "apart"] = "together"
    """together: a conversation is one text. apart: a text for each answer, for templates that render an answer
    otherwise once more is said (Qwen3's leaves out earlier thoughts)."""
    too_long: Literal["cut", "leave_out", "refuse"] = "cut"
    """Of a conversation of more than ``max_tokens``: learn the turns that fit, leave it out, or end with an error."""

    def files(self) -> list[Path]:
        return files_named(self.template)

    def know(self, dataset: Dataset[Any], base: TransformerConfig) -> Known:
        need_decoder(base, alone=True)
        return Known()

    @property
    def leaves_out(self) -> bool:
        return self.too_long != "cut"

    def features(self, examples: Sequence[Any], known: Known, reader: TextReader) -> list[Feature]:
        """One of each conversation, or of each answer; those of which nothing is left are told."""
        transcriber = transcriber_of(reader, self.template)
        features, told = [], Counter[str]()
        _tell_spelled(transcriber, examples)
        apart = self.turns == "apart"
        for number, transcripts in enumerate(transcriber.read(examples, apart=apart)):
            for transcript in transcripts:
                if not transcript.turns:
                    told["left out: a server would part the text before an answer into other tokens"] += 1
                    continue
                fitting = [turn for turn in transcript.turns if turn.end <= reader.max_tokens]
                if len(fitting) < len(transcript.turns):
                    if self.too_long == "refuse":
                        raise InputError(f"{examples[number].place}: the conversation has {len(transcript.tokens):,} "
                                         f"tokens; {MAX_TOKENS} is {reader.max_tokens:,}")  # fmt: skip
                    if self.too_long == "leave_out" or not fitting:
                        told[
                            f"left out: not even one answer ends within {reader.max_tokens:,} tokens"
                            if self.too_long == "cut"
                            else f"left out: above {reader.max_tokens:,} tokens"
                        ] += 1
                        continue
                    told[f"cut behind the last answer within {reader.max_tokens:,} tokens"] += 1
                features.append(self._feature(number, Transcript(transcript.tokens, tuple(fitting))))
        for reason, count in told.items():
            say(f"{count:,} of {len(examples):,} conversations {reason}")
        if not features:
            raise InputError(f"{examples[0].place.file}: no conversation is left")
        return features

    def _feature(self, number: int, transcript: Transcript) -> Feature:
        tokens = transcript.tokens[: transcript.turns[-1].end]
        targets = np.full(len(tokens) - 1, IGNORE, dtype=np.int64)
        for turn in transcript.turns:
            targets[turn.start - 1 : turn.end - 1] = tokens[turn.start : turn.end]
        return Feature(number, tokens[:-1], {self.loss: targets})

    def as_used(self) -> Task:
        """With the template that the folder itself has, wherever that came from."""
        return self.model_copy(update={"template": None})

    def answers(
        self, numbers: Sequence[Tensor], features: Sequence[Feature], examples: Sequence[Any], known: Known
    ) -> list[Answer]:
        """How likely the answers in the file are; of a conversation that was left out there is no token."""
        sums = np.zeros((len(examples), 2))
        for feature, number in zip(features, numbers, strict=True):
            sums[feature.example] += number.numpy()
        return [Answer({"nats": nats, "tokens": int(tokens)}) for nats, tokens in sums.tolist()]

    def metric(self, known: Known) -> Likelihood:
        return Likelihood()

    @property
    def criterion(self) -> str:
        return "loss"

    def prompts(self, examples: Sequence[Any], reader: TextReader) -> list[Begun]:
        transcriber = transcriber_of(reader, self.template)
        return [Begun(transcriber.begin(each), None) for each in examples]

    def ends(self, reader: TextReader) -> frozenset[int]:
        return frozenset(transcriber_of(reader, self.template).ends)

    def equip(self, model: Transformer, folder: Path, reader: TextReader) -> None:
        """The chat template, and the token that ends an answer, where ``transformers`` and servers look for them."""
        transcriber = transcriber_of(reader, self.template)
        write_template(folder, transcriber.template)
        path = folder / "generation_config.json"
        said = read_json(path) or {}
        ends = said.get("eos_token_id")
        known = ends if isinstance(ends, list) else [] if ends is None else [ends]
        write_json(path, {**said, "eos_token_id": sorted({*known, *transcriber.ends})})


def _tell_spelled(transcriber: Transcriber, examples: Sequence[Any]) -> None:
    found = [(each.place, token) for each in examples if (token := transcriber.spelled(each)) is not None]
    if found:
        place, token = found[0]
        say(f"{len(found):,} of {len(examples):,} conversations spell a special token, which is read as one, as by "
            f"servers; the first: {place}, {token}")  # fmt: skip
