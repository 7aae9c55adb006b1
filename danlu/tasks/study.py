"""The stage ``study``: the recipe's fine-tuning several times, with one thing varied, and what that says together.

Each variation has a folder of its own, ``study/NAME/``, which is one of ``finetune``. Run again, those that are done
are skipped, and a half-done one goes on where it was stopped; one that a former study has done is taken over.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import SkipValidation

from danlu.data.findings import lines
from danlu.errors import CheckpointError
from danlu.files import read_json, remove_folder, write_json, writing
from danlu.log import duration, say
from danlu.machine import environment
from danlu.nn.speed import computing_on
from danlu.parallel.joining import here
from danlu.recipe import OneOf, Recipe
from danlu.run_folder import RunFolder
from danlu.stage import Figures, Job, Stage
from danlu.tasks.examples import find_and_write, load_for
from danlu.tasks.finetune import START, Finetune
from danlu.tasks.model_folder import Trained
from danlu.tasks.scratch import remove_drawn
from danlu.tasks.study_kind import Outcome, Setting, StudyKind, Variation

FILE = "study.json"


class Study(Stage):
    """Fine-tune several times, as the section names it: ``study: {use: seeds, count: 3}``."""

    whole: ClassVar[str | None] = "kind"

    kind: Annotated[SkipValidation[StudyKind], OneOf("study")]
    """What is varied."""

    def within(self, recipe: Recipe) -> Stage:
        finetune = recipe.section("finetune")
        assert isinstance(finetune, Finetune)
        return StudyOf(kind=self.kind, finetune=finetune)


class StudyOf(Stage):
    """A study with the fine-tuning that it varies."""

    resumable: ClassVar[bool] = True
    together: ClassVar[bool] = True
    version: ClassVar[int] = Finetune.version
    neutral: ClassVar[tuple[str, ...]] = tuple(f"finetune.{key}" for key in Finetune.neutral)
    unrecorded: ClassVar[tuple[str, ...]] = tuple(f"finetune.{key}" for key in Finetune.unrecorded)
    notes: ClassVar[tuple[str, ...]] = Finetune.notes

    kind: Annotated[SkipValidation[StudyKind], OneOf("study")]
    finetune: SkipValidation[Finetune]

    def needed(self) -> tuple[str, ...]:
        return self.finetune.needed()

    def external_files(self) -> list[Path]:
        return self.finetune.external_files()

    def progress(self, out: Path) -> str | None:
        done = len(list(out.glob("*/done.json")))
        begun = [f"{path.parent.name}: {said}" for path in out.glob("*/begun.json")
                 if (said := self.finetune.progress(path.parent)) is not None]  # fmt: skip
        return f"{done} of its trainings done{''.join(f', {each}' for each in begun)}" if done or begun else None

    def run(self, job: Job) -> Figures:
        finetune = self.finetune
        with here().alike("prepares to train"):
            dataset = load_for(finetune.task, finetune.data)
            variations = self.kind.variations(dataset, seed=job.seed, data_seed=finetune.data.seed)
            findings = find_and_write(dataset, job.out)
        for line in (*dataset.said, *lines(findings)):
            say(line)
        trainings = _Trainings(finetune, job.inputs, RunFolder(job.out), set(dataset.splits))
        for number, variation in enumerate(variations, start=1):
            trainings.train(variation, f"{variation.name}, {number} of {len(variations)}")
        if not here().first:
            return {}
        outcomes = [Outcome(each, job.out / each.name) for each in variations]
        known = Trained.load(outcomes[0].folder / "model").known
        with here().alone("draws conclusions"), computing_on(finetune.hardware.device):
            found = self.kind.conclude(outcomes, Setting(finetune.task, known, job.seed, job.out))
        write_json(job.out / FILE, {
            "study": self.kind.to_recipe(), "criterion": finetune.task.criterion, "says": found.says,
            "variations": [each.row() for each in outcomes], **found.details,
        })  # fmt: skip
        for line in found.says:
            say(line)
        return {"trainings": len(outcomes), **found.figures}


@dataclass(frozen=True)
class _Trainings:
    """The trainings of a study, each in its folder."""

    settings: Finetune
    inputs: Mapping[str, Path]
    """The folders of the stages before."""
    folder: RunFolder
    told: set[str]
    """Splits of which all is told; what is odd about others, such as a fold that is held out, is new."""

    def train(self, variation: Variation, called: str) -> None:
        """Have the variation's folder done; of many processes, the first says whether it is."""
        ranks, name, out = here(), variation.name, self.folder.stage(variation.name)
        made_from = self._made_from(variation) if ranks.first else {}
        if ranks.first:
            self._take_over(name, made_from)
        why = ranks.from_first(self.folder.why_run(name, made_from) if ranks.first else None)
        if why is None:
            say(f"study: {called}: unchanged, skipped")
            return
        started = time.perf_counter()
        if not ranks.from_first(self.folder.ran(name, made_from) if ranks.first else False):
            self._learn(variation, called, made_from)
        if ranks.first:
            with writing(out):
                _remove_spent(self.settings, out)  # no output may be removed later, and nothing is needed once it ran
                self.folder.finish(name)
            say(f"study: {called}: done in {duration(time.perf_counter() - started)}")

    def _learn(self, variation: Variation, called: str, made_from: Mapping[str, Any]) -> None:
        """Fill the variation's folder."""
        ranks, name, out = here(), variation.name, self.folder.stage(variation.name)
        say(f"study: {called}: begins")
        started = time.perf_counter()
        if ranks.first:
            with writing(out):
                self.folder.begin(name, {"made_from": made_from}, resumable=True, go_on=True)
        ranks.from_first(True)  # the folder is there now
        with ranks.alike("prepares to train"):
            findings = find_and_write(variation.dataset, out)
        for finding in findings:
            if not set(finding.splits) <= self.told:
                say(f"study: {variation.name}: {finding}")
        settings = with_epochs(self.settings, times=variation.longer)
        with ranks.alike("prepares to train"):
            base = settings.begins_with(self.inputs, variation.dataset, out, seed=variation.seed)
        figures = settings.learn(base, variation.dataset, out, seed=variation.seed)
        if ranks.first:
            with writing(out):
                self.folder.returned(name, made_from, figures, time.perf_counter() - started, environment())

    def _take_over(self, name: str, made_from: Mapping[str, Any]) -> None:
        """Copy what a former study has done of the same, as one of fewer seeds has: whole or not at all."""
        out, study = self.folder.stage(name), self.folder.path
        if out.exists():
            return
        for former in sorted(study.parent.glob(f"previous/{study.name}-*")):
            if RunFolder(former).why_run(name, made_from) is None:
                hidden = out.with_name(f".{name}.partial")
                with writing(study):
                    shutil.rmtree(hidden, ignore_errors=True)
                    shutil.copytree(former / name, hidden)
                    hidden.rename(out)
                return

    def _made_from(self, variation: Variation) -> Mapping[str, Any]:
        """What the study is made from, of its own settings only what the variation is."""
        record = read_json(self.folder.path / "begun.json")
        if record is None:
            raise CheckpointError(f"{self.folder.path / 'begun.json'} is missing or damaged")
        made_from: dict[str, Any] = record["made_from"]
        about = {"seed": variation.seed, "longer": variation.longer, **variation.about}
        settings = {
            key: value for key, value in made_from["settings"]["finetune"].items() if key not in Finetune.neutral
        }
        return {**made_from, "settings": settings, "variation": about}


def _remove_spent(settings: Finetune, out: Path) -> None:
    """Delete what a training that is done goes on from, and a drawn model that nothing of it names."""
    # The checkpoints first: without them, a training whose best weights are gone begins again.
    for spent in ("checkpoints", "best"):
        if (out / spent).exists():
            remove_folder(out / spent)
    if (out / START).exists() and not settings.method.names_base:
        remove_drawn(out / START)


def with_epochs(settings: Finetune, *, times: float) -> Finetune:
    """The same with another number of epochs, where the budget has one."""
    epochs = settings.budget.epochs
    if epochs is None or times == 1:
        return settings
    return settings.model_copy(update={"budget": settings.budget.model_copy(update={"epochs": epochs * times})})
