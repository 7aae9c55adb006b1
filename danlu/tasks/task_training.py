"""What trainings for tasks share: a pretrained model to begin with, and defaults that suit few examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, SkipValidation

from danlu.corpus.shuffle import ORDER
from danlu.data.dataset import Data
from danlu.errors import InputError
from danlu.nn.speed import CompileSetting
from danlu.optim.adamw import AdamW
from danlu.optim.protocol import OptimizerChoice, ScheduleChoice
from danlu.optim.schedules import Linear
from danlu.recipe import OneOf
from danlu.stage import Stage
from danlu.tasks.classify import Classify
from danlu.tasks.examples import FILE
from danlu.tasks.keys import keys_said
from danlu.tasks.methods import Full, Method
from danlu.tasks.scratch import Scratch
from danlu.tasks.task import Task
from danlu.train.budget import Budget
from danlu.train.checkpoint import checkpoints
from danlu.train.settings import TrainSettings
from danlu.train.stopping import EarlyStopping


class TaskTraining(TrainSettings, Stage):
    """Settings of a stage that begins with a pretrained model."""

    resumable: ClassVar[bool] = True
    together: ClassVar[bool] = True
    notes: ClassVar[tuple[str, ...]] = (FILE,)
    version: ClassVar[int] = ORDER
    neutral: ClassVar[tuple[str, ...]] = ("save",)
    unrecorded: ClassVar[tuple[str, ...]] = ("hardware.mesh",)

    model: Path | Scratch | None = None
    """A Hugging Face folder to begin with; or from scratch ``{family: {use: t5, layers: 6}, tokenizer: …}``; by default
    what this recipe has pretrained."""
    optimizer: Annotated[SkipValidation[OptimizerChoice], OneOf("optimizer")] = AdamW(
        lr=1e-4, betas=(0.9, 0.999), weight_decay=0.01
    )
    """How the weights move."""
    schedule: Annotated[SkipValidation[ScheduleChoice], OneOf("schedule")] = Linear(warmup=0.06)
    """How the learning rate moves."""
    budget: Budget = Budget(epochs=3)
    """When to stop."""
    batch: int = Field(default=16, ge=1)
    """Examples a step."""
    early_stopping: EarlyStopping | None = EarlyStopping(patience=6)
    """When training ends before its budget does; the best weights so far are the result. By default it goes to the end
    of ``evaluations``, for a rate that falls gains most there."""
    compile: CompileSetting = "off"
    """Whether ``torch.compile`` makes the blocks faster: rarely, where every row has a length of its own."""
    evaluations: int = Field(default=6, ge=0)
    """How many times dev is measured on the way."""

    def needed(self) -> tuple[str, ...]:
        return () if self.model is not None else ("pretrain",)

    def progress(self, out: Path) -> str | None:
        found = checkpoints(out / "checkpoints")
        return f"its newest checkpoint is {found[-1].name}" if found else None

    def files_of(self, parts: Mapping[str, tuple[Data, Task]]) -> list[Path]:
        """All files that it reads: of examples and of tasks, each by what is before its key, and of the model.

        Raises:
            InputError: one is not there.
        """
        files: list[Path] = []
        for before, (data, task) in parts.items():
            own = [("data", path) for path in (data.train, data.dev, data.test) if path is not None]
            with keys_said({"finetune.": f"{self.section}.{before}"}):
                own += [("task", path) for path in task.files()]
            for key, path in own:
                if not path.is_file():
                    raise InputError(f"{self.section}.{before}{key}: there is no file {path}")
            files += [path for _, path in own]
        if isinstance(self.model, Scratch):
            files += self.model.files()
        elif self.model is not None:
            if not self.model.is_dir():
                raise InputError(f"{self.section}.model: there is no folder {self.model}")
            files += sorted(path for path in self.model.rglob("*") if path.is_file())
        return files


class OneTask(TaskTraining):
    """Settings of a training for one task."""

    data: Data
    """The file of examples to train on, or where all the files are and how they are read."""
    task: Annotated[SkipValidation[Task], OneOf("task")] = Classify()
    """What is learned."""
    method: Annotated[SkipValidation[Method], OneOf("method")] = Full()
    """Which weights train: all, or so few that a large model fits."""
