"""The stage ``finetune``: a model for a task, from a pretrained one and a file of examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, SkipValidation

from danlu.data.dataset import Data, Dataset, load
from danlu.data.findings import lines, look
from danlu.errors import InputError, RecipeError
from danlu.files import write_json
from danlu.log import say
from danlu.metrics.tally import overall
from danlu.nn.hf.folder import load_config, save_model
from danlu.nn.hf.start import Start, begin
from danlu.nn.speed import CompileSetting
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Shape
from danlu.optim.adamw import AdamW
from danlu.optim.protocol import OptimizerChoice, ScheduleChoice
from danlu.optim.schedules import Linear
from danlu.recipe import OneOf
from danlu.runs import Figures, Job, Stage
from danlu.tasks.answering import answer
from danlu.tasks.classify import Classify
from danlu.tasks.feature import Feature, stored
from danlu.tasks.lesson import TaskLesson
from danlu.tasks.model_folder import Trained
from danlu.tasks.scores import of_itself, score, tally, write_predictions, write_scores
from danlu.tasks.task import Known, Task
from danlu.tasks.text_reader import TextReader
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.budget import Budget
from danlu.train.checkpoint import as_model, checkpoints
from danlu.train.course import Course
from danlu.train.memory import told_where_too_little
from danlu.train.monitor import HELDOUT_TOKENS, Heldout, Measured
from danlu.train.settings import TrainSettings
from danlu.train.setup import Subject, Training, prepare
from danlu.train.stopping import EarlyStopping

MOST_TOKENS = 512
"""Of a text that a model reads in a task, unless ``max_tokens`` says otherwise."""
MEASURED = 4000
"""Examples of dev whose figures are measured on the way; all are in the end."""


class Finetune(TrainSettings, Stage):
    """Train a pretrained model for a task."""

    section: ClassVar[str] = "finetune"
    resumable: ClassVar[bool] = True
    neutral: ClassVar[tuple[str, ...]] = ("save",)
    unrecorded: ClassVar[tuple[str, ...]] = ("hardware.mesh",)

    data: Data
    """The file of examples to train on, or where all the files are and how they are read."""
    model: Path | None = None
    """A Hugging Face folder to begin with; by default what this recipe has pretrained."""
    task: Annotated[SkipValidation[Task], OneOf("task")] = Classify()
    """What is learned."""
    optimizer: Annotated[SkipValidation[OptimizerChoice], OneOf("optimizer")] = AdamW(
        lr=1e-4, betas=(0.9, 0.999), weight_decay=0.01
    )
    """How the weights move."""
    schedule: Annotated[SkipValidation[ScheduleChoice], OneOf("schedule")] = Linear(warmup=0.06)
    """How the learning rate moves."""
    budget: Budget = Budget(epochs=3)
    """When to stop."""
    batch: int = Field(default=32, ge=1)
    """Examples a step."""
    early_stopping: EarlyStopping | None = EarlyStopping(patience=3)
    """When training ends before its budget does; the best weights so far are the result."""
    compile: CompileSetting = "off"
    """Whether ``torch.compile`` makes the blocks faster: rarely, where every row has a length of its own."""
    evaluations: int = Field(default=6, ge=0)
    """How many times dev is measured on the way."""

    def needed(self) -> tuple[str, ...]:
        return () if self.model is not None else ("pretrain",)

    def progress(self, out: Path) -> str | None:
        found = checkpoints(out / "checkpoints")
        return f"its newest checkpoint is {found[-1].name}" if found else None

    def external_files(self) -> list[Path]:
        files = [path for path in (self.data.train, self.data.dev, self.data.test) if path is not None]
        if self.model is not None:
            if not self.model.is_dir():
                raise InputError(f"finetune.model: there is no folder {self.model}")
            files += sorted(path for path in self.model.glob("*") if path.is_file())
        for path in files:
            if not path.is_file():
                raise InputError(f"finetune.data: there is no file {path}")
        return files

    def run(self, job: Job) -> Figures:
        base = self.model or job.inputs["pretrain"] / "model"
        dataset = load(self.data, self.task.form)
        findings = look(dataset.splits)
        for line in (*dataset.said, *lines(findings)):
            say(line)
        write_json(job.out / "data.json", {
            "said": list(dataset.said), "columns": dataset.columns, "labels": list(dataset.labels),
            "examples": {name: len(each) for name, each in dataset.splits.items()},
            "findings": [asdict(each) for each in findings],
        })  # fmt: skip
        with told_where_too_little():
            material = Material.of(self, base, dataset, seed=job.seed)
            training = material.training(job.seed)
            course = Course(self, training, material.heldout(training, job.seed), job.out, base, job.seed)
            training, figures = course.run()
            with training.masters.ranks.alone("measures"):
                weights = training.masters.state()
                if training.masters.ranks.first:
                    figures |= material.conclude(as_model(weights, training.model.config), job.out, seed=job.seed)
        return figures


@dataclass(frozen=True)
class Material:
    """All that a fine-tuning works with."""

    settings: Finetune
    base: Path
    dataset: Dataset[Any]
    start: Start
    known: Known
    reader: TextReader
    features: Mapping[str, Sequence[Feature]]
    """By split."""

    @classmethod
    def of(cls, settings: Finetune, base: Path, dataset: Dataset[Any], *, seed: int) -> Material:
        """Read the model's files, and all examples as it reads them.

        Raises:
            InputError, CheckpointError, RecipeError: the model cannot be read, or cannot learn the task.
        """
        task, shape = settings.task, load_config(base)
        known = task.know(dataset, shape)
        start = begin(base, task.head, labels=task.outputs(known), seed=seed)
        most = task.max_tokens or min(shape.max_length, MOST_TOKENS)
        if most > shape.max_length:
            raise RecipeError(
                f"finetune.task.max_tokens must be at most {shape.max_length}, which the model sees; got {most}"
            )
        reader = TextReader.load(base, max_tokens=most, cut=task.cut)
        features = {name: task.features(each, known, reader) for name, each in dataset.splits.items()}
        return cls(settings, base, dataset, start, known, reader, features)

    def training(self, seed: int) -> Training:
        """The training at its first step."""
        train = self.features["train"]
        sizes = np.array([each.size for each in train])
        vocabulary = Vocabulary.of(Tokenizer.load(self.base))
        store = stored(train, vocab_size=vocabulary.size, eot=vocabulary.eot)
        lesson = TaskLesson(task=self.settings.task, known=self.known)
        cut = sum(len(each.tokens) >= self.reader.max_tokens for each in train)
        say(f"{len(train):,} texts of {sizes.mean():.0f} tokens, the longest {sizes.max():,}"
            + (f"; {cut:,} reach max_tokens, behind which nothing is read" if cut else ""))  # fmt: skip
        if new := self.start.new:
            say(f"begins with {self.base}; drawn anew: {', '.join(new)}")
        subject = Subject(self.start.draw, lesson, TaskLesson.reading, int(sizes.max()), float(sizes.mean()), store,
                          vocabulary)  # fmt: skip
        return prepare(self.settings, subject, seed=seed)

    def heldout(self, training: Training, seed: int) -> TaskMeasure:
        """What is measured of dev on the way."""
        subject = training.subject
        store = stored(self.features["dev"], vocab_size=subject.vocabulary.size, eot=subject.vocabulary.eot)
        longest = max(subject.sequence, *(each.size for each in self.features["dev"]))
        sample = subject.reading.sample(store, Shape(subject.objective, longest), tokens=HELDOUT_TOKENS, seed=seed)
        loss = Heldout(training.lesson, sample, training.example, training.micro_batch, training.masters.place.shared)
        chosen = self.dataset.splits["dev"][:MEASURED]
        features = [each for each in self.features["dev"] if each.example < len(chosen)]
        return TaskMeasure(self.settings.task, self.known, loss, chosen, features)

    def conclude(self, model: Transformer, out: Path, *, seed: int) -> Figures:
        """Save the model with all that using it needs; its answers to dev and test, and their figures."""
        settings, task = self.settings, self.settings.task
        figures: Figures = {}
        for split in ("dev", "test"):
            if split not in self.dataset.splits:
                continue
            examples = self.dataset.splits[split]
            answers = answer(task, model, self.features[split], examples, self.known)
            scored = score(task, examples, answers, self.known, seed=seed)
            write_scores(out / f"{split}.json", scored)
            alone = of_itself(task, examples, answers, self.known)
            write_predictions(out / f"{split}.predictions.jsonl", examples, answers, alone)
            figures |= _flat(split, scored, task.criterion)
        known = task.finish(model, self.known)
        labels = known.labels if len(known.labels) == task.outputs(known) else ()
        save_model(model, out / "model", tokenizer=self.base, labels=labels)
        data, columns = settings.data, self.dataset.columns
        Trained(task, known, self.reader.max_tokens, data, columns).save(out / "model")
        return figures


@dataclass(frozen=True)
class TaskMeasure:
    """The loss of a sample of dev, and the task's figures of all of it (a :class:`danlu.train.monitor.Measure`)."""

    task: Task
    known: Known
    loss: Heldout
    examples: Sequence[Any]
    features: Sequence[Feature]
    _last: list[Measured] = field(default_factory=list)

    def measure(self, model: Transformer) -> Measured:
        """The best checkpoint has the most of the task's criterion."""
        loss = self.loss.measure(model)
        answers = answer(self.task, model, self.features, self.examples, self.known)
        figures = overall(tally(self.task, self.examples, answers, self.known))
        wanted = self.task.criterion
        return Measured(loss.loss, loss.losses, {wanted: figures[wanted]}, criterion=-figures[wanted])


def _flat(split: str, scored: Mapping[str, Any], criterion: str) -> Figures:
    """What stands in the table of a run: not each label's own figures, and one interval."""
    figures = {f"{split}.{name}": round(value, 6) for name, value in scored["figures"].items()
               if not name.startswith("label.")}  # fmt: skip
    if criterion in scored["intervals"]:
        low, high = scored["intervals"][criterion]
        figures[f"{split}.{criterion}.interval"] = f"{low:.4f} to {high:.4f}"
    return {f"{split}.examples": scored["examples"], **figures}
