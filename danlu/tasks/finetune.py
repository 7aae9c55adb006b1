"""The stage ``finetune``: a model for a task, from a pretrained one and a file of examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from danlu.data.dataset import Dataset
from danlu.nn.speed import computing_on
from danlu.parallel.joining import here
from danlu.stage import Figures, Job
from danlu.tasks.examples import read_data
from danlu.tasks.material import Material
from danlu.tasks.scratch import Scratch, is_drawn
from danlu.tasks.task_training import OneTask
from danlu.tasks.teaching import teaching_of
from danlu.train.course import Course
from danlu.train.memory import told_where_too_little

START = "start"
"""Folder of the model that was drawn."""


class Finetune(OneTask):
    """Train a pretrained model for a task."""

    section: ClassVar[str] = "finetune"

    def external_files(self) -> list[Path]:
        return self.files_of({"": (self.data, self.task)})

    def run(self, job: Job) -> Figures:
        teaching_of(self.task).check_processes()  # before files are read that may be large
        with here().alike("prepares to train"):
            dataset = read_data(self.data, self.task, job.out)
            base = self.begins_with(job.inputs, dataset, job.out, seed=job.seed)
        return self.learn(base, dataset, job.out, seed=job.seed)

    def begins_with(self, inputs: Mapping[str, Path], dataset: Dataset[Any], out: Path, *, seed: int) -> Path:
        """The folder of the model that learns: the one that the recipe names, or one that is drawn for ``dataset``.

        Args:
            inputs: the folders of the stages before.
            out: where a drawn one is kept. A training that goes on from a checkpoint goes on with its tokens.
        """
        if not isinstance(self.model, Scratch):
            return self.model or inputs["pretrain"] / "model"
        folder, ranks = out / START, here()
        if ranks.first and not (is_drawn(folder) and self.progress(out) is not None):
            with ranks.alone("draws a model", call=self.model.longest_call(self.task, dataset)):
                self.model.begin(self.task, dataset, folder, seed=seed)
        ranks.from_first(True)  # the folder is there now
        return folder

    def learn(self, base: Path, dataset: Dataset[Any], out: Path, *, seed: int) -> Figures:
        """Train on ``dataset``, whose dev chooses the best weights; measure those on all that is not train."""
        kind = teaching_of(self.task)
        kind.check_processes()
        with told_where_too_little(self.section), computing_on(self.hardware.device):
            with here().alike("prepares to train"):
                material = Material.of(self, base, dataset, out=out, seed=seed)
                teaching = kind(material, seed)
                training = teaching.training()
                heldout = teaching.heldout(training)
            with here().alone("measures"):
                before = teaching.before()
            course = Course(self, training, heldout, out, material.tokenizer, seed)
            training, figures = course.run()
            with training.masters.ranks.alone("measures"):
                weights = training.masters.state()
                if training.masters.ranks.first:
                    figures |= before | material.conclude(material.result(training, weights, out), out, seed=seed)
        return figures
