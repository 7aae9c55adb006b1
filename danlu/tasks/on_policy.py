"""GRPO as a lesson: before a step its answers are written and judged; the step then learns from them as from any text.

Axes: P prompts, G answers of a group, T tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.data.asked import Asked
from danlu.errors import CheckpointError
from danlu.files import atomic_write, sync_file, writing
from danlu.generate.engine import Answer
from danlu.nn.config import TransformerConfig
from danlu.nn.lora import adapted_layers, without_adapters
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Experience, Lesson
from danlu.tasks.advantages import advantages, equal_groups
from danlu.tasks.answering import batches_of, numbers_of
from danlu.tasks.feature import Feature
from danlu.tasks.grpo import GRPO
from danlu.tasks.judged import KL, Judged, examples_of
from danlu.tasks.lesson import TaskLesson
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader

FILE = "answers.jsonl"
"""A line for each answer that was learned from: its step, example, text and reward."""


@dataclass(frozen=True)
class Ground:
    """What answers are written from, and where they are kept."""

    examples: Sequence[Asked]
    prompts: Sequence[Feature]
    reader: TextReader
    begin: Callable[[], Transformer]
    """The model that begins."""
    file: Path | None
    """Where answers are kept; None where steps are only timed."""
    seed: int
    tokens_at_once: int
    """Tokens of a row, where no single answer with its prompt has more."""


class OnPolicyLesson(TaskLesson):
    """GRPO before a training."""

    ground: Ground

    @property
    def compares_readings(self) -> bool:
        return True

    def prepare(self, config: TransformerConfig, *, dtype: torch.dtype, seed: int) -> Lesson:
        """With what is remembered from step to step."""
        assert isinstance(self.task, GRPO)
        prompts = {each.example: each.tokens.tolist() for each in self.ground.prompts}
        return OnPolicy(self.task, self.known, self.ground, dtype, prompts)


@dataclass
class OnPolicy:
    """The task in training (a :class:`danlu.objectives.protocol.LessonOfOwnText`).

    Answers are written for ``updates`` steps at once. All of them are in a file before the first of these steps, from
    which a training that was stopped in between takes them, for its weights are then no longer those that wrote them.
    """

    task: GRPO
    known: Known
    ground: Ground
    dtype: torch.dtype
    prompts: dict[int, list[int]]
    """By the number of the example."""
    _first: int = -1
    """The step for which the answers at hand were written."""
    _micro: list[Batch] = field(default_factory=list)
    _reference: Transformer | None = None
    _kept_to: int | None = None
    """The last step that the file has answers of; None where nobody has looked yet."""

    @property
    def modules(self) -> None:
        return None

    def weight(self, name: str) -> float:
        return self.task.beta if name == KL else 1.0

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        return self.task.losses(model, batch, self.known)

    def rehearsal(self) -> OnPolicy:
        return OnPolicy(self.task, self.known, replace(self.ground, file=None), self.dtype, self.prompts)

    def experience(self, model: Transformer, batches: Callable[[int], Sequence[Batch]], step: int) -> Experience:
        """What ``step`` learns from; on the first of its ``updates`` also what the answers are like, as figures.

        Raises:
            InputError: an answer gets no reward.
            CheckpointError: the answers that a stopped training was learning from are gone.
        """
        turn, update = divmod(step, self.task.updates)
        figures: dict[str, float] = {}
        if update == 0:
            judged, figures = self._write(model, batches(turn), step)
        elif self._first != step - update:
            judged = self._read(step - update)
        else:
            return Experience(self._micro, figures)
        self._first = step - update
        features = [each.feature(self.prompts[each.example]) for each in judged]
        self._micro = [batch for _, batch in batches_of(features, tokens=self.ground.tokens_at_once)]
        return Experience(self._micro, figures)

    def _write(self, model: Transformer, asked: Sequence[Batch], step: int) -> tuple[list[Judged], dict[str, float]]:
        task, group = self.task, self.task.group
        numbers = [number for batch in asked for number in examples_of(batch)]
        # The 12 keeps it apart from the other sources of this seed.
        source = np.random.SeedSequence([self.ground.seed, step, 12])
        seeds_PG = source.generate_state(len(numbers) * group, np.uint64).reshape(-1, group) >> np.uint64(1)
        prompts = [self.prompts[number] for number in numbers]
        written = task.write_answers(task.ready(model, self.ground.reader), prompts, seeds_PG.tolist())
        texts = [each for answers in written for each in answers]
        flat = [number for number in numbers for _ in range(group)]
        examples = [self.ground.examples[number] for number in flat]
        rewards_N, parts = task.judge(examples, [each.text for each in texts])
        rewards_PG = rewards_N.reshape(-1, group)
        better_N = advantages(rewards_PG, divide=task.divide).flatten()
        judged = [Judged(number, each.ids, better)
                  for number, each, better in zip(flat, texts, better_N.tolist(), strict=True)]  # fmt: skip
        if task.updates > 1:
            judged = [replace(each, before=nats) for each, nats in zip(judged, self._nats(model, judged), strict=True)]
        if task.beta > 0:
            with self._begun(model) as reference:
                nats = self._nats(reference, judged)
            judged = [replace(each, reference=own) for each, own in zip(judged, nats, strict=True)]
        self._keep(step, judged, texts, rewards_N.tolist(), parts)
        equal_P = equal_groups(rewards_PG)
        if equal_P.all() and self.ground.file is not None:
            self.ground.reader.say_once(
                f"step {step + 1}: to every prompt all answers had the same reward, of which nothing is learned; a "
                "larger group, a higher temperature, or prompts that are answered right now and then let them differ",
                about="equal_groups",
            )
        return judged, {
            "reward": float(rewards_N.mean()),
            "reward_spread": float(rewards_PG.std(1, ddof=1).mean()),
            "equal_groups": float(equal_P.mean()),
            "answer_tokens": float(np.mean([each.tokens for each in texts])),
            "cut_off": float(np.mean([each.end == "max_tokens" for each in texts])),
            **{f"reward.{name}": float(np.mean(values)) for name, values in parts.items()},
        }

    def _nats(self, model: Transformer, judged: Sequence[Judged]) -> list[tuple[float, ...]]:
        features = [each.feature(self.prompts[each.example]) for each in judged]
        return [tuple(each.tolist()) for each in numbers_of(self.task, model, features, self.known)]

    @contextmanager
    def _begun(self, model: Transformer) -> Iterator[Transformer]:
        """The model that began: this one without its adapters where only they train, or else one of its own."""
        if adapted_layers(model):
            with without_adapters(model):
                yield model
            return
        if self._reference is None:
            self._reference = self.ground.begin().requires_grad_(False).eval().to(self.dtype)
        self._reference.to(next(model.parameters()).device)
        yield self._reference

    def _keep(
        self, step: int, judged: Sequence[Judged], texts: Sequence[Answer], rewards: Sequence[float],
        parts: dict[str, list[float]],
    ) -> None:  # fmt: skip
        """Put the answers of a step behind those of the steps before it; what a stopped training left is dropped."""
        file = self.ground.file
        if file is None:
            return
        lines = []
        for place, (each, text, reward) in enumerate(zip(judged, texts, rewards, strict=True)):
            example = self.ground.examples[each.example]
            line = {
                "step": step + 1, "file": example.place.file.name, example.place.unit: example.place.number,
                "prompt": example.prompt[-1].content, "answer": text.text, "reward": reward,
                **({"rewards": {name: values[place] for name, values in parts.items()}} if parts else {}),
                "advantage": each.advantage, "tokens": text.tokens, "cut_off": text.end == "max_tokens",
            }  # fmt: skip
            if self.task.updates > 1:
                line |= {"example": each.example, "ids": each.ids, "before": each.before, "reference": each.reference}
            lines.append(f"{json.dumps(line, ensure_ascii=False)}\n")
        with writing(file.parent):
            if self._kept_to is None or self._kept_to > step:
                known = [each for each in _lines(file) if each["step"] <= step]
                atomic_write(file, "".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in known).encode())
            with file.open("a", encoding="utf-8") as out:
                out.write("".join(lines))
            if self.task.updates > 1:
                sync_file(file)  # before a checkpoint that needs it
        self._kept_to = step + 1

    def _read(self, step: int) -> list[Judged]:
        file = self.ground.file
        assert file is not None, "what is only timed goes through its steps in their order"
        found = [each for each in _lines(file) if each["step"] == step + 1]
        if not found:
            raise CheckpointError(
                f"{file} lacks the answers of step {step + 1}, which the training was learning from when "
                f"it was stopped; delete {file.parent} to train from the start"
            )
        return [Judged(each["example"], tuple(each["ids"]), each["advantage"], tuple(each["before"]),
                       tuple(each["reference"])) for each in found]  # fmt: skip


def _lines(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a file, none where there is none: the last one may have been cut off by a kill."""
    if not file.exists():
        return []
    data = file.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]
