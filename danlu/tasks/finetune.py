"""The stage ``finetune``: a model for a task, from a pretrained one and a file of examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import SkipValidation
from torch import Tensor

from danlu.data.dataset import Data, Dataset, load
from danlu.data.findings import lines, look
from danlu.data.found import Finding
from danlu.errors import RecipeError
from danlu.files import write_json
from danlu.log import say
from danlu.metrics.tally import overall
from danlu.nn.hf.folder import load_config, save_model
from danlu.nn.hf.start import Start
from danlu.nn.speed import choose_device
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Shape
from danlu.parallel.joining import here
from danlu.recipe import OneOf
from danlu.runs import Figures, Job
from danlu.tasks.answering import answer, numbers_of, tuned_answers
from danlu.tasks.classify import Classify
from danlu.tasks.feature import Feature, stored
from danlu.tasks.lesson import TaskLesson
from danlu.tasks.methods import Full, Method, load_trained
from danlu.tasks.model_folder import Trained
from danlu.tasks.scores import of_itself, score, tally, write_predictions, write_scores
from danlu.tasks.scratch import Scratch
from danlu.tasks.step_task import StepHeldout, StepLesson, StepTask
from danlu.tasks.task import Known, Task
from danlu.tasks.task_training import TaskTraining
from danlu.tasks.text_reader import MOST_TOKENS, TextReader
from danlu.tasks.writing import Writing
from danlu.tokenizers.added import with_tokens
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.checkpoint import as_model
from danlu.train.course import Course
from danlu.train.memory import told_where_too_little
from danlu.train.monitor import HELDOUT_TOKENS, Heldout, Measure, Measured
from danlu.train.setup import Subject, Training, prepare

TIE = 1e-6
"""Weight of the loss in what the best checkpoint has the least of: of two with one figure the one with less loss."""
START = "start"
"""Folder of the model that was drawn."""
SAMPLES = 8
"""Answers that are written in the end where figures do not need them, to be looked at."""


class Finetune(TaskTraining):
    """Train a pretrained model for a task."""

    section: ClassVar[str] = "finetune"

    data: Data
    """The file of examples to train on, or where all the files are and how they are read."""
    task: Annotated[SkipValidation[Task], OneOf("task")] = Classify()
    """What is learned."""
    method: Annotated[SkipValidation[Method], OneOf("method")] = Full()
    """Which weights train: all, or so few that a large model fits."""

    def external_files(self) -> list[Path]:
        return self.files_of({"data": self.data})

    def run(self, job: Job) -> Figures:
        dataset = read_data(self.data, self.task, job.out)
        return self.learn(self.begins_with(job, dataset), dataset, job.out, seed=job.seed)

    def begins_with(self, job: Job, dataset: Dataset[Any]) -> Path:
        """The folder of the model that learns."""
        if not isinstance(self.model, Scratch):
            return self.model or job.inputs["pretrain"] / "model"
        folder = job.out / START
        ranks = here()
        if ranks.first:
            self.model.begin(self.task, dataset, folder, seed=job.seed)
        ranks.from_first(True)  # the folder is there now
        return folder

    def learn(self, base: Path, dataset: Dataset[Any], out: Path, *, seed: int) -> Figures:
        """Train on ``dataset``, whose dev chooses the best weights; measure those on all that is not train."""
        with told_where_too_little():
            material = Material.of(self, base, dataset, out=out, seed=seed)
            training = material.training(seed)
            course = Course(self, training, material.heldout(training, seed), out, material.tokenizer, seed)
            training, figures = course.run()
            with training.masters.ranks.alone("measures"):
                weights = training.masters.state()
                if training.masters.ranks.first:
                    figures |= material.conclude(material.result(training, weights, out), out, seed=seed)
        return figures


def read_data(data: Data, task: Task, out: Path) -> Dataset[Any]:
    """The examples of a task; what was read and what may be wrong with it is told, and written as ``data.json``.

    Raises:
        InputError: a file is no file of the task: file, line and reason.
    """
    dataset = load(data, task.form)
    for line in (*dataset.said, *lines(find_and_write(dataset, out))):
        say(line)
    return dataset


def find_and_write(dataset: Dataset[Any], out: Path) -> list[Finding]:
    """Look for what may be wrong with the data, and write it to ``data.json`` with what was read."""
    findings = look(dataset.splits)
    if here().first:
        write_json(out / "data.json", {
            "said": list(dataset.said), "columns": dataset.columns, "labels": list(dataset.labels),
            "examples": {name: len(each) for name, each in dataset.splits.items()},
            "findings": [asdict(each) for each in findings],
        })  # fmt: skip
    return findings


@dataclass(frozen=True)
class Material:
    """All that a fine-tuning works with."""

    settings: Finetune
    base: Path
    tokenizer: Path
    """The folder of the one that goes with the model: ``base``, or where it has new tokens one of its own."""
    dataset: Dataset[Any]
    start: Start
    known: Known
    reader: TextReader
    features: Mapping[str, Sequence[Feature]]
    """By split."""

    @classmethod
    def of(cls, settings: Finetune, base: Path, dataset: Dataset[Any], *, out: Path, seed: int) -> Material:
        """Read the model's files, and all examples as it reads them.

        Raises:
            InputError, CheckpointError, RecipeError: the model cannot be read, or cannot learn the task.
        """
        task, shape = settings.task, load_config(base)
        known = task.know(dataset, shape)
        tokenizer = with_tokens(base, task.new_tokens(dataset), out / "tokenizer")
        start = task.start(base, known, seed=seed).with_rows(Tokenizer.load(tokenizer).vocab_size)
        most = task.max_tokens or min(shape.max_length, MOST_TOKENS)
        if most > shape.max_length:
            raise RecipeError(
                f"finetune.task.max_tokens must be at most {shape.max_length}, which the model sees; got {most}"
            )
        reader = TextReader.load(tokenizer, max_tokens=most, cut=task.cut)
        features = {name: task.features(each, known, reader) for name, each in dataset.splits.items()}
        made = cls(settings, base, tokenizer, dataset, start, known, reader, features)
        return replace(made, features=made.referred()) if task.refers else made

    def draw(self, seed: int) -> Transformer:
        """The model that begins, the same in each call."""
        model = self.start.draw()
        self.settings.method.begin(model, seed=seed)
        return model

    def referred(self) -> Mapping[str, Sequence[Feature]]:
        """Features that know what the model that begins makes of them, in float32; it is not kept."""
        settings, task = self.settings, self.settings.task
        say("the model that begins reads all examples once: it is what the trained one is compared with")
        device = choose_device(settings.hardware.device, key=f"{settings.section}.hardware.device")
        model = self.draw(self.start.seed).to(device)
        return {
            name: task.refer(each, numbers_of(task, model, each, self.known)) for name, each in self.features.items()
        }

    def training(self, seed: int) -> Training:
        """The training at its first step."""
        train = self.features["train"]
        sizes = np.array([each.size for each in train])
        vocabulary = Vocabulary.of(Tokenizer.load(self.tokenizer))
        store = stored(train, vocab_size=vocabulary.size, eot=vocabulary.eot)
        kind = StepLesson if isinstance(self.settings.task, StepTask) else TaskLesson
        lesson = kind(task=self.settings.task, known=self.known)
        cut = sum(each.longest >= self.reader.max_tokens for each in train)
        texts = len(self.dataset.splits["train"])
        windows = f" in {len(train):,} windows" if len(train) > texts else ""
        lost = (
            f"; {cut:,} reach max_tokens, behind which nothing is read"
            if cut and not self.settings.task.windows
            else ""
        )
        say(f"{texts:,} texts{windows} of {sizes.mean():.0f} tokens, the longest {sizes.max():,}{lost}")
        if new := self.start.new:
            say(f"begins with {self.base}; drawn anew: {', '.join(new)}")

        subject = Subject(partial(self.draw, seed), lesson, TaskLesson.reading, int(sizes.max()), float(sizes.mean()),
                          store, vocabulary)  # fmt: skip
        training = prepare(self.settings, subject, seed=seed)
        if kind is StepLesson and training.masters.place.size > 1:
            raise RecipeError("finetune.task: its loss compares all texts of a step, which one process has to read")
        return training

    def heldout(self, training: Training, seed: int) -> TaskMeasure:
        """What is measured of dev on the way."""
        subject = training.subject
        if isinstance(training.lesson, StepLesson):
            return self.measure_of(StepHeldout(training.lesson, self.features["dev"], self.settings.batch, seed))
        store = stored(self.features["dev"], vocab_size=subject.vocabulary.size, eot=subject.vocabulary.eot)
        longest = max(subject.sequence, *(each.size for each in self.features["dev"]))
        sample = subject.reading.sample(store, Shape(subject.objective, longest), tokens=HELDOUT_TOKENS, seed=seed)
        loss = Heldout(training.lesson, sample, training.example, training.micro_batch, training.masters.place.shared)
        return self.measure_of(loss)

    def measure_of(self, loss: Measure) -> TaskMeasure:
        """The figures of dev beside a loss."""
        examples = self.dataset.splits["dev"]  # in the order of their file, which may be by label
        drawn = np.random.default_rng(0).permutation(len(examples))[: self.settings.task.on_the_way]
        place_of = {number: place for place, number in enumerate(sorted(drawn.tolist()))}
        features = [
            replace(each, example=place_of[each.example]) for each in self.features["dev"] if each.example in place_of
        ]
        chosen = [examples[number] for number in place_of]
        return TaskMeasure(self.settings.task, self.known, self.reader, loss, chosen, features)

    def result(self, training: Training, weights: dict[str, Tensor], out: Path) -> Transformer:
        """The trained model, all of it in float32 whatever it has computed in."""
        if not training.frozen:
            return as_model(weights, training.model.config)
        for weight in training.model.parameters():  # whose memory the whole one needs
            weight.data = weight.data.new_empty(0)
        device = next(training.model.parameters()).device
        model = training.subject.draw()
        load_trained(model, weights)
        self.settings.method.finish(model, out, base=self.base)
        return model.to(device)

    def conclude(self, model: Transformer, out: Path, *, seed: int) -> Figures:
        """Save the model with all that using it needs; its answers to dev, test and the like, and their figures."""
        settings, task, known = self.settings, self.settings.task, self.known
        figures: Figures = {}
        for split, examples in self.dataset.splits.items():
            if split == "train":
                continue
            features = self.features[split]
            if split == "dev":  # which comes first: what it settles holds for the others
                known, answers = tuned_answers(task, model, features, examples, known, self.reader)
            else:
                answers = answer(task, model, features, examples, known, self.reader)
            scored = score(task, examples, answers, known, seed=seed)
            write_scores(out / f"{split}.json", scored)
            alone = of_itself(task, examples, answers, known)
            write_predictions(out / f"{split}.predictions.jsonl", examples, answers, alone)
            figures |= _flat(split, scored, task.criterion)
        if isinstance(task, Writing) and not task.judged:
            shown = self.dataset.splits["dev"][:SAMPLES]
            write_predictions(out / "dev.samples.jsonl", shown, task.write(model, shown, self.reader))
        known = task.finish(model, known)
        labels = known.labels if len(known.labels) == task.outputs(known) else ()
        save_model(model, out / "model", tokenizer=self.tokenizer, labels=labels, problem=task.problem)
        task.equip(model, out / "model", self.reader)
        used = task.as_used()
        alike = used.form is task.form
        data = settings.data if alike else settings.data.model_copy(update={"columns": {}})
        columns = self.dataset.columns if alike else {}
        Trained(used, known, self.reader.max_tokens, data, columns).save(out / "model")
        return figures


@dataclass(frozen=True)
class TaskMeasure:
    """The loss of a sample of dev, and the task's figures of all of it (a :class:`danlu.train.monitor.Measure`)."""

    task: Task
    known: Known
    reader: TextReader
    loss: Measure
    examples: Sequence[Any]
    features: Sequence[Feature]

    def measure(self, model: Transformer) -> Measured:
        """The best checkpoint has the most, or the least, of the task's criterion."""
        loss = self.loss.measure(model)
        figures, criterion = self.figures(model)
        return Measured(loss.loss, loss.losses, figures, criterion=criterion + TIE * loss.loss)

    def figures(self, model: Transformer) -> tuple[dict[str, float], float]:
        """The task's criterion by its name; and as what there should be least of."""
        known, answers = tuned_answers(self.task, model, self.features, self.examples, self.known, self.reader)
        figures = overall(tally(self.task, self.examples, answers, known))
        wanted = self.task.criterion
        return {wanted: figures[wanted]}, figures[wanted] if self.task.least_is_best else -figures[wanted]


def _flat(split: str, scored: Mapping[str, Any], criterion: str) -> Figures:
    """What stands in the table of a run: not each label's own figures, and one interval."""
    figures = {f"{split}.{name}": round(value, 6) for name, value in scored["figures"].items()
               if not name.startswith("label.")}  # fmt: skip
    if criterion in scored["intervals"]:
        low, high = scored["intervals"][criterion]
        figures[f"{split}.{criterion}.interval"] = f"{low:.4f} to {high:.4f}"
    return {f"{split}.examples": scored["examples"], **figures}
