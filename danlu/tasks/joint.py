"""The stage ``joint``: one pretrained model for several tasks at once, with heads of their own (Caruana 1997; Liu et
al. 2019, arXiv:1901.11504).

Rows are of one task each, drawn by the tasks' shares; the loss of a step is the weighted sum of each task's mean. In
the end each task has a folder of its own, with the body that all have trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, SkipValidation, model_validator
from torch import Tensor

from danlu.corpus.mixture import MixedRows, Mixture
from danlu.corpus.rows import Widths
from danlu.data.across import split_alike
from danlu.data.dataset import Data, Dataset
from danlu.errors import RecipeError
from danlu.log import say
from danlu.nn.speed import computing_on
from danlu.nn.transformer import Transformer
from danlu.objectives.multitask import check_mixed
from danlu.objectives.protocol import Shape
from danlu.parallel.joining import here
from danlu.recipe import OneOf, Settings
from danlu.stage import Figures, Job
from danlu.tasks.examples import load_for, tell, tell_across
from danlu.tasks.feature import FeatureStore, fingerprint, stored
from danlu.tasks.finetune import Finetune
from danlu.tasks.grpo import GRPO
from danlu.tasks.heads import Heads, alone, joined
from danlu.tasks.joint_lesson import JointLesson
from danlu.tasks.joint_measure import JointLoss, JointMeasure
from danlu.tasks.joint_rows import FeaturePart, part_of, room_for, widest
from danlu.tasks.keys import keys_of, keys_said
from danlu.tasks.lesson import TaskLesson
from danlu.tasks.material import Material
from danlu.tasks.scratch import Scratch
from danlu.tasks.step_task import StepHeldout, StepLesson, StepTask
from danlu.tasks.task import Task
from danlu.tasks.task_training import TaskTraining
from danlu.tokenizers.added import with_tokens
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.checkpoint import as_model
from danlu.train.course import Course
from danlu.train.memory import told_where_too_little
from danlu.train.monitor import HELDOUT_TOKENS, Heldout
from danlu.train.setup import Subject, Training, prepare

OWN_FOLDERS = ("best", "checkpoints", "tensorboard", "tokenizer")
"""What lies beside the folders of the tasks."""
ROW = 128
"""Tokens of a row at most, where no text is longer."""
ENOUGH = 4
"""Examples that a step has of a task which compares them, on average, so that hardly a step has a single one."""
ROWS_A_TASK = 4
"""So many rows a step has of each task, on average, where texts are short enough."""


class JointTask(Settings):
    """One of the tasks."""

    data: Data
    """The file of its examples, or where all its files are and how they are read."""
    task: Annotated[SkipValidation[Task], OneOf("task")]
    """What is learned."""
    weight: float = Field(default=1.0, gt=0)
    """What its mean loss is multiplied by in the sum that is minimised."""
    share: float | None = Field(default=None, gt=0)
    """Its part of the rows, against those of the others; where no task has one, the number of their rows decides."""


class Joint(TaskTraining):
    """Train a pretrained model for several tasks at once."""

    section: ClassVar[str] = "joint"

    tasks: dict[str, JointTask] = Field(min_length=2)
    """The tasks by names of your own."""
    temperature: float = Field(default=1.0, gt=0)
    """Where no task has a share, shares are as the tasks' numbers of rows to the power of 1 / temperature: 1 reads all
    equally often, a high one gives all the same share."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if isinstance(self.model, Scratch):
            raise ValueError("model must be a folder: a model from scratch is for one task")
        for name in self.tasks:
            if name in OWN_FOLDERS:
                raise ValueError(f"a task must not be called {name!r}: the training has a folder of that name")
        check_mixed({name: task.share for name, task in self.tasks.items()}, self.temperature)
        return self

    def external_files(self) -> list[Path]:
        return self.files_of({f"tasks.{name}.": (part.data, part.task) for name, part in self.tasks.items()})

    def run(self, job: Job) -> Figures:
        assert not isinstance(self.model, Scratch), "refused when the recipe was loaded"
        base = self.model or job.inputs["pretrain"] / "model"
        self._check_tasks()
        with here().alike("prepares to train"), computing_on(self.hardware.device):
            joint = JointMaterial.of(self, base, job.out, seed=job.seed)
        with told_where_too_little(self.section), computing_on(self.hardware.device):
            with here().alike("prepares to train"):
                training = joint.training(job.seed)
                heldout = joint.heldout(training, job.seed)
            course = Course(joint.in_rows(), training, heldout, job.out, joint.tokenizer, job.seed)
            training, figures = course.run()
            with training.masters.ranks.alone("measures"):
                weights = training.masters.state()
                if training.masters.ranks.first:
                    figures |= joint.conclude(weights, training, job.out, seed=job.seed)
        return figures

    def _check_tasks(self) -> None:
        """See that each can be learned beside others, before the data of any is read.

        Raises:
            RecipeError: one cannot.
        """
        count = here().size
        for name, part in self.tasks.items():
            if count > 1 and (part.task.by_step or isinstance(part.task, StepTask)):
                raise RecipeError(
                    f"joint.tasks.{name}.task: its loss sees all of its texts of a step, which beside other tasks one "
                    f"process has to read; there are {count} processes"
                )
            if isinstance(part.task, GRPO):
                raise RecipeError(
                    f"joint.tasks.{name}.task: it learns from what the model writes, and has to train alone"
                )


@dataclass(frozen=True)
class JointMaterial:
    """All that a joint training works with."""

    settings: Joint
    tokenizer: Path
    """The folder of the one that all tasks read with: it has the tokens that any of them needs."""
    materials: Mapping[str, Material]

    @classmethod
    def of(cls, settings: Joint, base: Path, out: Path, *, seed: int) -> JointMaterial:
        """Read the files of all tasks, and then their examples as the model in ``base`` reads them.

        Raises:
            InputError, CheckpointError, RecipeError: as with a task alone, named by its key.
        """
        datasets: dict[str, Dataset[Any]] = {}
        tokens: dict[str, None] = {}
        for name, part in settings.tasks.items():
            with keys_said(keys_of(settings.section, name)):
                datasets[name] = load_for(part.task, part.data)
        datasets = split_alike(datasets, {name: part.data for name, part in settings.tasks.items()})
        for name, part in settings.tasks.items():
            say(f"task {name}")
            (out / name).mkdir(exist_ok=True)
            tell(datasets[name], out / name)
            with keys_said(keys_of(settings.section, name)):
                tokens |= dict.fromkeys(part.task.new_tokens(datasets[name]))
        tell_across(datasets, out)
        tokenizer = with_tokens(base, list(tokens), out / "tokenizer")
        materials: dict[str, Material] = {}
        for name, part in settings.tasks.items():
            one = Finetune(data=part.data, task=part.task, model=base, hardware=settings.hardware)
            with keys_said(keys_of(settings.section, name)):
                found = Material.of(one, base, datasets[name], out=out / name, seed=seed, tokenizer=tokenizer)
            say(f"task {name} {found.start.told()}")
            if (unknown := found.told_unknown()) is not None:
                say(f"task {name}: {unknown}")
            materials[name] = found
        return cls(settings, tokenizer, materials)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Of the tokenizer."""
        return Vocabulary.of(Tokenizer.load(self.tokenizer))

    @cached_property
    def rooms(self) -> dict[str, Widths]:
        """Of the rows of each task."""
        sizes = self._sizes
        few = self.settings.batch * float(np.mean(sizes)) / (ROWS_A_TASK * len(self.materials))
        tokens = max(*sizes, min(ROW, round(few)))
        return {name: room_for(part.features["train"], tokens) for name, part in self.materials.items()}

    def in_rows(self) -> Joint:
        """The settings, their examples a step counted in rows."""
        rows = round(self.settings.batch * float(np.mean(self._sizes)) / widest(self.rooms))
        return self.settings.model_copy(update={"batch": max(len(self.materials), rows)})

    @property
    def _sizes(self) -> list[int]:
        return [each.size for part in self.materials.values() for each in part.features["train"]]

    def training(self, seed: int) -> Training:
        """The training at its first step.

        Raises:
            RecipeError: the recipe asks for what cannot be.
        """
        lessons = {name: _lesson(part) for name, part in self.materials.items()}
        weights = {name: part.weight for name, part in self.settings.tasks.items()}

        def draw() -> Transformer:
            return joined({name: part.begun() for name, part in self.materials.items()})

        rooms = self.rooms
        parts = [self._part(name, "train", lesson, rooms[name]) for name, lesson in lessons.items()]
        reading, longest = Mixture(tuple(parts), self.settings.temperature), widest(rooms)
        subject = Subject(
            draw, JointLesson(lessons=lessons, weights=weights), reading, longest, longest,
            self._store(next(iter(self.materials)), "train"), self.vocabulary, several=True,
        )  # fmt: skip
        training = prepare(self.in_rows(), subject, seed=seed)
        golds = [each.gold for part in self.materials.values() for each in part.dataset.splits["dev"]]
        return replace(training, data=fingerprint([part.features for part in self.materials.values()], golds))

    def heldout(self, training: Training, seed: int) -> JointMeasure:
        """What is measured of the tasks' dev on the way.

        Raises:
            RecipeError: a step has too few texts of a task that compares them with each other.
        """
        lesson, rows = training.subject.objective, training.batches.whole.rows
        assert isinstance(lesson, JointLesson) and isinstance(rows, MixedRows)
        each: list[FeaturePart] = []
        whole: dict[str, StepHeldout] = {}
        for part, share in zip(rows.parts, rows.order.stretches[0].shares, strict=True):
            own, features = lesson.lessons[part.task], self.materials[part.task].features
            if isinstance(own, StepLesson):
                held = share * self.in_rows().batch * len(features["train"]) / part.rows.per_epoch
                whole[part.task] = StepHeldout(own, features["dev"], self._compared(part.task, held), seed)
            else:
                room = room_for(features["dev"], widest(self.rooms))
                each.append(self._part(part.task, "dev", own, room))
        loss = JointLoss(self._heldout(each, training, seed) if each else None, whole, lesson.weights)
        return JointMeasure(loss, {name: part.measure_of(None) for name, part in self.materials.items()})

    def _compared(self, name: str, held: float) -> int:
        """How many examples of a task a step compares with each other, told.

        Raises:
            RecipeError: fewer than two, so that there is nothing to compare.
        """
        if held < ENOUGH:
            batch = math.ceil(self.settings.batch * ENOUGH / held)
            raise RecipeError(
                f"joint.batch: a step has {held:.1f} examples of the task {name!r}, which learns by comparing them; it "
                f"needs {ENOUGH} at least: a batch of {batch:,} in place of {self.settings.batch:,}, or a larger share"
            )
        say(f"task {name}: about {held:,.0f} examples a step are compared with each other")
        return round(held)

    def _heldout(self, parts: Sequence[FeaturePart], training: Training, seed: int) -> Heldout:
        subject = training.subject
        reading, form = Mixture(tuple(parts)), Shape(subject.objective, subject.sequence)
        sample = reading.sample(subject.store, form, tokens=HELDOUT_TOKENS, seed=seed)
        return Heldout(training.lesson, sample, training.example, training.micro_batch, training.masters.place.shared)

    def conclude(self, weights: dict[str, Tensor], training: Training, out: Path, *, seed: int) -> Figures:
        """A folder for each task, with its answers and figures."""
        heads = training.model.head
        assert isinstance(heads, Heads)
        figures: Figures = {}
        for name, part in self.materials.items():
            say(f"task {name}")
            model = as_model(alone(weights, heads.owners[name]), heads.configs[name])
            found = part.conclude(model, out / name, seed=seed)
            figures |= {f"{name}.{figure}": value for figure, value in found.items()}
        return figures

    def _part(self, name: str, split: str, lesson: TaskLesson, room: Widths) -> FeaturePart:
        return part_of(name, lesson, self._store(name, split), room, self.settings.tasks[name].share)

    def _store(self, name: str, split: str) -> FeatureStore:
        features = self.materials[name].features[split]
        return stored(features, vocab_size=self.vocabulary.size, eot=self.vocabulary.eot)


def _lesson(material: Material) -> TaskLesson:
    """A task as what is trained on."""
    task = material.settings.task
    return (StepLesson if isinstance(task, StepTask) else TaskLesson)(task=task, known=material.known)
