"""How a task is taught: what a step is made of, and what is measured of dev before and on the way."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from danlu.errors import RecipeError
from danlu.files import read_json, write_json
from danlu.log import say
from danlu.objectives.protocol import Shape
from danlu.parallel.joining import here
from danlu.stage import Figures
from danlu.tasks.feature import fingerprint, stored
from danlu.tasks.grpo import GRPO
from danlu.tasks.lesson import TaskLesson
from danlu.tasks.material import Material, flat
from danlu.tasks.measure import TaskMeasure
from danlu.tasks.on_policy import FILE, Ground, OnPolicyLesson
from danlu.tasks.scores import score
from danlu.tasks.step_task import StepHeldout, StepLesson, StepTask
from danlu.tasks.task import Task
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.monitor import HELDOUT_TOKENS, Heldout
from danlu.train.setup import TOKENS_AT_ONCE, TOKENS_ON_GPU, Subject, Training, prepare


@dataclass(frozen=True)
class Teaching:
    """Text by text, as most tasks are."""

    material: Material
    seed: int

    alone: ClassVar[str | None] = None
    """Why one process has to make all of a step; None where several may."""

    @classmethod
    def check_processes(cls) -> None:
        """See that there are no more processes than can teach.

        Raises:
            RecipeError: one has to do it alone.
        """
        if cls.alone is not None and (count := here().size) > 1:
            raise RecipeError(f"finetune.task: {cls.alone}; there are {count} processes")

    def training(self) -> Training:
        """The training at its first step.

        Raises:
            RecipeError: the recipe asks for what cannot be.
        """
        material = self.material
        sizes = np.array([each.size for each in material.features["train"]])
        vocabulary = Vocabulary.of(Tokenizer.load(material.tokenizer))
        store = stored(material.features["train"], vocab_size=vocabulary.size, eot=vocabulary.eot)
        say(material.described())
        if (unknown := material.told_unknown()) is not None:
            say(unknown)
        say(material.start.told())
        subject = Subject(
            partial(material.draw, self.seed), self.lesson(), TaskLesson.reading, int(sizes.max()),
            self.row_tokens(float(sizes.mean())), store, vocabulary, share=1 / self.updates,
        )  # fmt: skip
        training = prepare(material.settings, subject, seed=self.seed)
        return replace(training, data=self.fingerprint())

    def fingerprint(self) -> dict[str, Any]:
        """What tells trainings on other examples apart."""
        golds = [each.gold for each in self.material.dataset.splits["dev"]]
        return fingerprint([self.material.features], golds)

    def lesson(self) -> TaskLesson:
        """The task as what is trained on."""
        return TaskLesson(task=self.material.settings.task, known=self.material.known)

    def row_tokens(self, mean: float) -> float:
        """Tokens that a step reads for each example.

        Args:
            mean: of an example's feature.
        """
        return mean

    @property
    def updates(self) -> int:
        """Steps that learn from the same examples."""
        return 1

    def before(self) -> Figures:
        """Figures of dev by the model that begins, for tasks in which its answers say how far training has come."""
        return {}

    def heldout(self, training: Training) -> TaskMeasure:
        """What is measured of dev on the way."""
        subject, dev = training.subject, self.material.features["dev"]
        store = stored(dev, vocab_size=subject.vocabulary.size, eot=subject.vocabulary.eot)
        shape = Shape(subject.objective, TOKENS_AT_ONCE)  # a row has room for many texts; a longer one has its own
        sample = subject.reading.sample(store, shape, tokens=HELDOUT_TOKENS, seed=self.seed)
        loss = Heldout(training.lesson, sample, training.example, training.micro_batch, training.masters.place.shared)
        return self.material.measure_of(loss)


class ByStep(Teaching):
    """The texts of a step are compared with each other."""

    alone = "its loss compares all texts of a step, which one process has to read"

    def lesson(self) -> TaskLesson:
        return StepLesson(task=self.material.settings.task, known=self.material.known)

    def heldout(self, training: Training) -> TaskMeasure:
        assert isinstance(training.lesson, StepLesson)
        batch = self.material.settings.batch
        return self.material.measure_of(StepHeldout(training.lesson, self.material.features["dev"], batch, self.seed))


class ByReward(Teaching):
    """Answers are written and judged before each step."""

    alone = "one process has to write and judge the answers of a step"

    @property
    def task(self) -> GRPO:
        """The only one of the kind."""
        task = self.material.settings.task
        assert isinstance(task, GRPO)
        return task

    def lesson(self) -> TaskLesson:
        material = self.material
        at_once = TOKENS_ON_GPU if material.device.type == "cuda" else TOKENS_AT_ONCE
        if material.settings.hardware.micro_batch is not None:
            most = max(each.size for each in material.features["train"]) + self.task.answer_tokens
            at_once = material.settings.hardware.micro_batch * most
        ground = Ground(
            material.dataset.splits["train"], material.features["train"], material.reader,
            partial(material.draw, self.seed), material.out / FILE, self.seed, at_once,
        )  # fmt: skip
        return OnPolicyLesson(task=self.task, known=material.known, ground=ground)

    def fingerprint(self) -> dict[str, Any]:
        """With all columns, by which answers may be judged."""
        splits = self.material.dataset.splits
        rows = [dict(each.columns) for name in ("train", "dev") for each in splits[name]]
        said = json.dumps(rows, default=str)
        return {**super().fingerprint(), "columns": hashlib.sha256(said.encode()).hexdigest()}

    def row_tokens(self, mean: float) -> float:
        """Every answer is read behind its prompt."""
        return self.task.group * (mean + self.task.answer_tokens)

    @property
    def updates(self) -> int:
        return self.task.updates

    def before(self) -> Figures:
        """They are measured once, and are in ``before.json`` for a training that goes on."""
        material, task = self.material, self.task
        path = material.out / "before.json"
        scored = read_json(path)
        if scored is None:
            examples = material.dataset.splits["dev"]
            answers = task.write(material.draw(self.seed).to(material.device), examples, material.reader)
            scored = score(task, examples, answers, material.known, seed=self.seed)
            write_json(path, scored)
        say(f"before training, {task.criterion} on dev is {scored['figures'][task.criterion]:.4f}")
        return flat("before", scored, task.criterion)

    def heldout(self, training: Training) -> TaskMeasure:
        """The task's figure alone: there is no loss that says how good answers are."""
        return self.material.measure_of(None)


def teaching_of(task: Task) -> type[Teaching]:
    """The kind that goes with a task."""
    if isinstance(task, GRPO):
        return ByReward
    return ByStep if isinstance(task, StepTask) else Teaching
