"""The stage ``joint``: one pretrained model for several tasks at once, with a head for each (Caruana 1997; Liu et al.
2019, arXiv:1901.11504).

Rows are of one task each, drawn by the tasks' shares; the loss of a step is the weighted sum of each task's mean. In
the end each task has a folder of its own, with the body that all have trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field, SkipValidation, model_validator
from torch import Tensor

from danlu.corpus.batches import Batch, Example
from danlu.corpus.mixture import Mixture, Part
from danlu.corpus.parts import Selection
from danlu.corpus.reading import Packed
from danlu.corpus.rows import Form, Ints, Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.data.dataset import Data, Dataset
from danlu.errors import RecipeError
from danlu.log import say
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.folder import load_config
from danlu.nn.speed import computing_on
from danlu.nn.transformer import Transformer
from danlu.objectives.multitask import Lessons, check_mixed
from danlu.objectives.protocol import AnyObjective, Lesson, Shape, Sides, Total
from danlu.parallel.joining import here
from danlu.recipe import OneOf, Settings
from danlu.runs import Figures, Job
from danlu.tasks.examples import read_data
from danlu.tasks.feature import Feature, FeatureStore, stored
from danlu.tasks.finetune import Finetune
from danlu.tasks.grpo import GRPO
from danlu.tasks.heads import alone, as_for, joined
from danlu.tasks.keys import keys_of, keys_said
from danlu.tasks.lesson import TaskLesson
from danlu.tasks.material import Material
from danlu.tasks.measure import TIE, TaskMeasure
from danlu.tasks.scratch import Scratch
from danlu.tasks.step_task import StepTask
from danlu.tasks.study_curve import MOST
from danlu.tasks.task import Task
from danlu.tasks.task_training import TaskTraining
from danlu.tokenizers.added import with_tokens
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.checkpoint import as_model
from danlu.train.course import Course
from danlu.train.memory import told_where_too_little
from danlu.train.monitor import HELDOUT_TOKENS, Heldout, Measured
from danlu.train.setup import Subject, Training, prepare

OWN_FOLDERS = ("best", "checkpoints", "tensorboard", "tokenizer")
"""What lies beside the folders of the tasks."""
ROW = 128
"""Tokens of a row at most, where no text is longer."""
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
        shape = load_config(base)
        if shape.encoder is not None and shape.decoder is not None:
            raise RecipeError(f"joint.model must have an encoder or a decoder, not both; got {shape.family}")
        self._check_tasks()
        with computing_on(self.hardware.device):
            joint = JointMaterial.of(self, base, job.out, seed=job.seed)
        with told_where_too_little(), computing_on(self.hardware.device):
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
        for name, part in self.tasks.items():
            if isinstance(part.task, StepTask):
                raise RecipeError(f"joint.tasks.{name}.task: it compares all texts of a step, and has to train alone")
            if part.task.by_step and (count := here().size) > 1:
                raise RecipeError(
                    f"joint.tasks.{name}.task: it reckons with all texts of a step, which beside other tasks one "
                    f"process has to read; there are {count} processes"
                )
            if isinstance(part.task, GRPO):
                raise RecipeError(
                    f"joint.tasks.{name}.task: it learns from what the model writes, and has to train alone"
                )


@dataclass(frozen=True)
class FeaturePart(Part):
    """A task's rows, of a store of its own."""

    own: FeatureStore | None = None

    def store(self, whole: TokenStore) -> TokenStore | None:
        return self.own


class JointLesson(AnyObjective):
    """The tasks as one objective over their features."""

    sides: ClassVar[Sides] = "encoder"

    lessons: dict[str, TaskLesson]
    weights: dict[str, float]

    def widths(self, body: Ints) -> Widths:
        return Widths(body)

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        return self.lessons[piece.task].example(piece, vocabulary=vocabulary, noise=noise)

    def prepare(self, config: TransformerConfig, *, dtype: torch.dtype, seed: int) -> Lesson:
        each: dict[str, Lesson] = {name: OwnHead(name, lesson) for name, lesson in self.lessons.items()}
        return Lessons(each, self.weights)


@dataclass(frozen=True)
class OwnHead:
    """A task's lesson, with the model as it is for that task."""

    name: str
    lesson: TaskLesson

    @property
    def modules(self) -> None:
        return None

    def weight(self, name: str) -> float:
        return self.lesson.weight(name)

    @property
    def by_step(self) -> bool:
        """Whether the task reckons with a whole step."""
        return self.lesson.by_step

    def of_step(self, model: Transformer, micro: Sequence[Batch], total: Total) -> OwnHead:
        """With what the task reckons of its own part of a step."""
        with as_for(model, self.name):
            return replace(self, lesson=self.lesson.of_step(model, micro, total))

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        with as_for(model, self.name):
            return self.lesson.losses(model, batch)


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
            say(f"task {name}")
            (out / name).mkdir(exist_ok=True)
            with keys_said(keys_of(settings.section, name)):
                datasets[name] = read_data(part.data, part.task, out / name)
                tokens |= dict.fromkeys(part.task.new_tokens(datasets[name]))
        tokenizer = with_tokens(base, list(tokens), out / "tokenizer")
        materials: dict[str, Material] = {}
        for name, part in settings.tasks.items():
            one = Finetune(data=part.data, task=part.task, model=base, hardware=settings.hardware)
            with keys_said(keys_of(settings.section, name)):
                found = Material.of(one, base, datasets[name], out=out / name, seed=seed, tokenizer=tokenizer)
            say(f"task {name} {found.start.told()}")
            materials[name] = found
        return cls(settings, tokenizer, materials)

    @property
    def sequence(self) -> int:
        """Tokens of a row."""
        sizes = self._sizes
        few = self.settings.batch * float(np.mean(sizes)) / (ROWS_A_TASK * len(self.materials))
        return max(*sizes, min(ROW, round(few)))

    def in_rows(self) -> Joint:
        """The settings, their examples a step counted in rows."""
        rows = round(self.settings.batch * float(np.mean(self._sizes)) / self.sequence)
        return self.settings.model_copy(update={"batch": max(len(self.materials), rows)})

    @property
    def _sizes(self) -> list[int]:
        return [each.size for part in self.materials.values() for each in part.features["train"]]

    def training(self, seed: int) -> Training:
        """The training at its first step.

        Raises:
            RecipeError: the recipe asks for what cannot be.
        """
        vocabulary = Vocabulary.of(Tokenizer.load(self.tokenizer))
        lessons = {name: TaskLesson(task=part.settings.task, known=part.known) for name, part in self.materials.items()}
        weights = {name: part.weight for name, part in self.settings.tasks.items()}

        def draw() -> Transformer:
            return joined({name: part.begun() for name, part in self.materials.items()})

        reading = self._reading("train", lessons, vocabulary)
        subject = Subject(
            draw, JointLesson(lessons=lessons, weights=weights), reading, self.sequence, self.sequence,
            _store(next(iter(self.materials.values())).features["train"], vocabulary), vocabulary, several=True,
        )  # fmt: skip
        return prepare(self.in_rows(), subject, seed=seed)

    def heldout(self, training: Training, seed: int) -> JointMeasure:
        """What is measured of the tasks' dev on the way."""
        subject, lesson = training.subject, training.subject.objective
        assert isinstance(lesson, JointLesson)
        longest = max(self.sequence, *(each.size for part in self.materials.values() for each in part.features["dev"]))
        reading = self._reading("dev", lesson.lessons, subject.vocabulary)
        sample = reading.sample(subject.store, Shape(lesson, longest), tokens=HELDOUT_TOKENS, seed=seed)
        loss = Heldout(training.lesson, sample, training.example, training.micro_batch, training.masters.place.shared)
        return JointMeasure(loss, {name: part.measure_of(loss) for name, part in self.materials.items()})

    def conclude(self, weights: dict[str, Tensor], training: Training, out: Path, *, seed: int) -> Figures:
        """A folder for each task, with its answers and figures."""
        configs = training.model.head.configs
        figures: Figures = {}
        for name, part in self.materials.items():
            say(f"task {name}")
            model = as_model(alone(weights, name), configs[name])
            found = part.conclude(model, out / name, seed=seed)
            figures |= {f"{name}.{figure}": value for figure, value in found.items()}
        return figures

    def _reading(self, split: str, lessons: Mapping[str, TaskLesson], vocabulary: Vocabulary) -> Mixture:
        parts = tuple(
            FeaturePart(
                name, Selection(), Packed(), _form(lessons[name]), self.settings.tasks[name].share,
                own=_store(part.features[split], vocabulary),
            )
            for name, part in self.materials.items()
        )  # fmt: skip
        return Mixture(parts, self.settings.temperature)


@dataclass(frozen=True)
class JointMeasure:
    """The loss of a sample of all tasks, and each task's figure (a :class:`danlu.train.monitor.Measure`)."""

    loss: Heldout
    tasks: Mapping[str, TaskMeasure]

    def measure(self, model: Transformer) -> Measured:
        """The best checkpoint has the best mean of the tasks' criteria, each as a share of the most that it can be."""
        loss = self.loss.measure(model)
        figures: dict[str, float] = {}
        criteria: list[float] = []
        for name, each in self.tasks.items():
            with as_for(model, name):
                found, criterion = each.figures(model)
            figures |= {f"{name}.{figure}": value for figure, value in found.items()}
            criteria.append(criterion / MOST.get(next(iter(found)), 1.0))
        return Measured(loss.loss, loss.losses, figures, criterion=float(np.mean(criteria)) + TIE * loss.least)


def _store(features: Sequence[Feature], vocabulary: Vocabulary) -> FeatureStore:
    return stored(features, vocab_size=vocabulary.size, eot=vocabulary.eot)


def _form(lesson: TaskLesson) -> Any:
    """The form of a task's rows, from that of all."""

    def of_task(whole: Form) -> Form:
        assert isinstance(whole, Shape)
        return replace(whole, objective=lesson)

    return of_task
