"""The stage ``pretrain``: a model from a token store; run again, it goes on where it was stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from danlu.corpus.account import in_words
from danlu.corpus.blend import Blend
from danlu.corpus.shuffle import ORDER
from danlu.corpus.split import PARTS
from danlu.corpus.store import TokenStore
from danlu.files import remove_folder
from danlu.log import say
from danlu.nn.families.given import Folder
from danlu.nn.hf.folder import save_model
from danlu.objectives.protocol import Shape
from danlu.parallel.joining import here
from danlu.stage import Figures, Job, Stage
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.tokenizers.vocabulary import Vocabulary
from danlu.train.checkpoint import as_model, checkpoints
from danlu.train.course import Course
from danlu.train.fingerprint import fingerprint
from danlu.train.memory import told_where_too_little
from danlu.train.monitor import HELDOUT_TOKENS, Heldout
from danlu.train.pretrain_settings import PretrainSettings
from danlu.train.setup import Training, set_up


class Pretrain(PretrainSettings, Stage):
    """Train a model from its first weights on a token store."""

    needs: ClassVar[tuple[str, ...]] = ("tokenizer", "pack")
    resumable: ClassVar[bool] = True
    together: ClassVar[bool] = True
    version: ClassVar[int] = ORDER
    # Not the budget, with which the schedule stretches, nor evaluations, on which early stopping and plateau hang.
    neutral: ClassVar[tuple[str, ...]] = ("save",)
    unrecorded: ClassVar[tuple[str, ...]] = ("hardware.mesh",)

    def progress(self, out: Path) -> str | None:
        found = checkpoints(out / "checkpoints")
        return f"its newest checkpoint is {found[-1].name}" if found else None

    def external_files(self) -> list[Path]:
        own = self.model.files() if isinstance(self.model, Folder) else []
        return [*own, *self.objective.external_files()]

    def run(self, job: Job) -> Figures:
        tokenizer = job.inputs["tokenizer"]
        with told_where_too_little():
            with here().alike("prepares to train"):
                training, heldout = self._prepared(job)
            training, figures = Course(self, training, heldout, job.out, tokenizer, job.seed).run()
            with training.masters.ranks.alone("saves the model", moves=training.state_bytes):
                weights = training.masters.state()
                if training.masters.ranks.first:
                    folder = job.out / "model"
                    if folder.exists():  # half of it, and perhaps a hidden file of its size, where a process was killed
                        remove_folder(folder)
                    save_model(as_model(weights, training.model.config), folder, tokenizer=tokenizer)
            return {**figures, **_read(training, self.batch * int(figures["steps"]))}

    def _prepared(self, job: Job) -> tuple[Training, Heldout]:
        """The training at its first step, and what is measured on the way."""
        pack, own = job.inputs["pack"], Tokenizer.load(job.inputs["tokenizer"])
        train, held_out = (TokenStore.open_for(own, pack / part) for part in PARTS)
        training = set_up(self, train, vocabulary=Vocabulary.of(own), seed=job.seed)
        rows = training.batches.whole.rows
        for line in in_words(rows.ledger.account()) if isinstance(rows, Blend) else ():
            say(line)
        training = replace(training, data=fingerprint(pack, train))
        return training, heldout_of(self, training, held_out, seed=job.seed)


def _read(training: Training, rows_read: int) -> Figures:
    """How often each part of a mixture has been read; nothing where there is none."""
    rows = training.batches.whole.rows
    if not isinstance(rows, Blend):
        return {}
    return {f"mixture.{part}.epochs": round(value, 3) for part, value in rows.epochs(rows_read).items()}


def heldout_of(settings: PretrainSettings, training: Training, store: TokenStore, *, seed: int) -> Heldout:
    """What is measured on the way, of the held-out ``store``."""
    form = Shape(settings.objective, settings.sequence)
    sample = settings.reading.sample(store, form, tokens=HELDOUT_TOKENS, seed=seed)
    shared = training.masters.place.shared
    return Heldout(training.lesson, sample, training.example, training.micro_batch, shared)
